//! How many requests an hour: the same for HTTP, event streams and sockets, said in headers, refused with the time to wait.

use std::time::Duration;

use lotline_api::Limits;
use serde_json::json;

use crate::plant::Plant;

fn limits(workspace: u32, actor: u32) -> Limits {
    Limits { requests_per_hour: workspace, requests_per_hour_by_actor: actor, ..Limits::default() }
}

#[tokio::test]
async fn an_actor_is_told_what_is_left_and_when_to_come_back() {
    let plant = Plant::start("api_rates", limits(100, 3)).await;
    for left in [2, 1, 0] {
        // What is wrong costs as much as what is right.
        let answer = plant.post(if left == 1 { "{" } else { "{ sites }" }, json!({}), "application/json").await;
        assert_eq!(answer.status(), 200);
        let policy = "\"actor\";q=3;w=3600, \"workspace\";q=100;w=3600";
        assert_eq!(answer.headers()["ratelimit-policy"], policy);
        let standing = answer.headers()["ratelimit"].to_str().unwrap();
        let (own, all) = standing.split_once(", ").unwrap();
        assert!(own.starts_with(&format!("\"actor\";r={left};t=3")), "{standing}");
        assert!(all.starts_with(&format!("\"workspace\";r={};t=3", 97 + left)), "{standing}");
    }
    for accept in ["application/json", "application/graphql-response+json", "text/event-stream"] {
        let answer = plant.post("{ sites }", json!({}), accept).await;
        assert_eq!(answer.status(), 429, "{accept}");
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((3_500..=3_660).contains(&wait), "{wait}");
        assert!(answer.headers()["ratelimit"].to_str().unwrap().starts_with("\"actor\";r=0;"));
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{body}");
    }
    // Somebody else is not kept waiting, nor is a probe.
    let other = plant.request("bob", "{ sites }").send().await.unwrap();
    assert_eq!(other.status(), 200);
    assert_eq!(reqwest::get(format!("http://{}/health/live", plant.address)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn operations_of_a_socket_count_like_requests_and_one_subscription_counts_once() {
    let plant = Plant::start("api_rates_socket", limits(0, 4)).await;
    let mut socket = plant.ready_socket().await;
    socket.subscribe("live", "subscription { lotChanged { lots { code } } }", json!({})).await;
    for id in ["1", "2", "3"] {
        socket.subscribe(id, "{ sites }", json!({})).await;
        socket.next().await;
        assert_eq!(socket.receive().await["type"], "complete");
    }
    socket.subscribe("4", "{ sites }", json!({})).await;
    let refused = socket.receive().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("4")), "{refused}");
    let extensions = &refused["payload"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED", "{refused}");
    assert!(extensions["retryAfter"].as_u64().is_some_and(|wait| wait > 3_000), "{refused}");
    // The socket of an unnamed client acts as `dev`; ann has her own count. What is subscribed goes on.
    plant.register("north", "A").await;
    let item = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("the item comes");
    assert_eq!(item["lotChanged"]["lots"][0]["code"], "A");
}

#[tokio::test]
async fn the_workspace_has_a_limit_of_its_own() {
    let plant = Plant::start("api_rates_workspace", limits(3, 0)).await;
    for actor in ["ann", "bob", "cid"] {
        assert_eq!(plant.request(actor, "{ sites }").send().await.unwrap().status(), 200);
    }
    let answer = plant.request("dan", "{ sites }").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["ratelimit-policy"], "\"workspace\";q=3;w=3600");
}

#[tokio::test]
async fn an_actor_has_so_many_streams_and_gets_the_place_of_one_that_ended() {
    let limits = Limits { connections_per_actor: 2, ..Limits::default() };
    let plant = Plant::start("api_seats", limits).await;
    let query = "subscription { lotChanged { position } }";
    let first = plant.ready_socket().await;
    let stream = plant.request("dev", query).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let third = plant.request("dev", query).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(third.status(), 429);
    let body: serde_json::Value = third.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "TOO_MANY_STREAMS");
    let mut socket = plant.socket(Some("graphql-transport-ws")).await;
    socket.send(&json!({ "type": "connection_init" })).await;
    assert_eq!(socket.closed().await, 4403);
    let other = plant.request("bob", query).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(other.status(), 200, "another actor has places of its own");
    drop((first, stream));
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while plant.request("dev", query).header("accept", "text/event-stream").send().await.unwrap().status() != 200 {
        assert!(tokio::time::Instant::now() < until, "the places are free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
