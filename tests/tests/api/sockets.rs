//! `graphql-transport-ws` and server-sent events over real sockets: every close code, pings, refusals, and an orderly end.

use std::time::Duration;

use futures_util::SinkExt;
use lotline_api::Limits;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::plant::{DEADLINE, Plant, START};

const PROTOCOL: Option<&str> = Some("graphql-transport-ws");

#[tokio::test]
async fn each_breach_of_the_protocol_has_its_close_code() {
    let limits = Limits { connection_init_timeout_ms: 200, ..Limits::default() };
    let plant = Plant::start("api_ws_codes", limits).await;
    assert_eq!(plant.socket(None).await.closed().await, 4406);
    assert_eq!(plant.socket(PROTOCOL).await.closed().await, 4408);
    let mut socket = plant.socket(PROTOCOL).await;
    socket.subscribe("1", "{sites}", json!({})).await;
    assert_eq!(socket.closed().await, 4401);
    for text in ["nonsense", "{}", "{\"type\":\"start\"}", "[]"] {
        let mut socket = plant.socket(PROTOCOL).await;
        socket.0.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.closed().await, 4400, "{text}");
    }
    let mut socket = plant.socket(PROTOCOL).await;
    socket.0.send(Message::binary(b"x".to_vec())).await.unwrap();
    assert_eq!(socket.closed().await, 4400);
    let mut socket = plant.ready_socket().await;
    socket.send(&json!({ "type": "connection_init" })).await;
    assert_eq!(socket.closed().await, 4429);
    let mut socket = plant.ready_socket().await;
    for _ in 0..2 {
        socket.subscribe("same", "subscription { lotChanged { position } }", json!({})).await;
    }
    assert_eq!(socket.closed().await, 4409);
    let mut socket = plant.socket(PROTOCOL).await;
    socket.send(&json!({ "type": "connection_init", "payload": { "x-lotline-actor": "a b" } })).await;
    assert_eq!(socket.closed().await, 4403);
}

#[tokio::test]
async fn a_message_beyond_the_limit_closes_the_socket() {
    let plant = Plant::start("api_ws_size", Limits { body_bytes: 1_024, ..Limits::default() }).await;
    let mut socket = plant.ready_socket().await;
    socket.0.send(Message::text("x".repeat(2_048))).await.expect("the client may send it");
    assert_eq!(socket.closed().await, 1009);
}

#[tokio::test]
async fn operations_answer_in_their_own_messages() {
    let plant = Plant::start("api_ws_messages", Limits { operations_per_socket: 2, ..Limits::default() }).await;
    let mut socket = plant.ready_socket().await;
    socket.subscribe("q", "{ sites }", json!({})).await;
    assert_eq!(socket.next().await, json!({ "sites": ["north", "south"] }));
    assert_eq!(socket.receive().await, json!({ "id": "q", "type": "complete" }));
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (&format!("{{ {} }}", "a:sites ".repeat(51)), "TOO_MANY_ALIASES"),
        ("subscription { signalValues(ids: []) { position } }", "BAD_USER_INPUT"),
    ] {
        socket.subscribe("e", query, json!({})).await;
        let message = socket.receive().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("e")), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{message}");
    }
    socket.send(&json!({ "type": "subscribe", "id": "e", "payload": { "query": 1 } })).await;
    assert_eq!(socket.receive().await["payload"][0]["extensions"]["code"], "INVALID_PARAMETERS");
    for id in ["1", "2", "3"] {
        socket.subscribe(id, "subscription { lotChanged { position } }", json!({})).await;
    }
    let message = socket.receive().await;
    assert_eq!(
        (&message["id"], &message["payload"][0]["extensions"]["code"]),
        (&json!("3"), &json!("TOO_MANY_OPERATIONS"))
    );
    socket.send(&json!({ "type": "complete", "id": "1" })).await;
    socket.send(&json!({ "type": "ping", "payload": { "n": 1 } })).await;
    assert_eq!(socket.receive().await, json!({ "type": "pong", "payload": { "n": 1 } }));
    socket.subscribe("1", "{ tenant }", json!({})).await;
    assert_eq!(socket.next().await["tenant"], "test", "the id is free again");
}

#[tokio::test]
async fn the_server_pings_and_drops_the_silent() {
    let plant = Plant::start("api_ws_ping", Limits { ping_interval_ms: 100, ..Limits::default() }).await;
    let mut socket = plant.ready_socket().await;
    assert!(matches!(socket.frame().await, Message::Ping(_)));
    // Reading answers the first ping; then the client falls silent for more than two periods.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(socket.closed().await, 1001);
}

#[tokio::test]
async fn shutdown_closes_sockets_and_streams() {
    let plant = Plant::start("api_shutdown", Limits::default()).await;
    let mut socket = plant.ready_socket().await;
    socket.subscribe("1", "subscription { lotChanged { position } }", json!({})).await;
    let mut stream = plant.post("subscription { lotChanged { position } }", json!({}), "text/event-stream").await;
    assert_eq!(plant.connections.len(), 2);
    plant.shutdown.cancel();
    plant.connections.close();
    assert_eq!(socket.closed().await, 1001);
    let mut text = String::new();
    while let Some(chunk) = timeout(DEADLINE, stream.chunk()).await.unwrap().unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(text.ends_with("event: complete\ndata:\n\n"), "{text}");
    timeout(DEADLINE, plant.connections.wait()).await.expect("nothing is left open");
}

#[tokio::test]
async fn event_streams_carry_subscriptions() {
    let plant = Plant::start("api_sse", Limits { ping_interval_ms: 50, ..Limits::default() }).await;
    let query = "subscription($after: PositionToken) { lotChanged(after: $after) { lots { code } } }";
    let mut stream = plant.post(query, json!({ "after": START }), "text/event-stream").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    // Nothing has happened yet, so the first thing to come is a comment that keeps the connection.
    while !text.contains(":\n\n") {
        text.push_str(
            std::str::from_utf8(&timeout(DEADLINE, stream.chunk()).await.unwrap().unwrap().unwrap()).unwrap(),
        );
    }
    plant.register("south", "S1").await;
    while !text.contains("event: next\ndata: {\"data\":{\"lotChanged\":{\"lots\":[{\"code\":\"S1\"}]}}") {
        text.push_str(
            std::str::from_utf8(&timeout(DEADLINE, stream.chunk()).await.unwrap().unwrap().unwrap()).unwrap(),
        );
    }
}

/// Partition 0 at offset 999, as base64url of `l0.999`: nothing comes there, so the query waits until its time is over.
const ENDLESS: &str = "{ lots(first: 1, consistentWith: \"bDAuOTk5\", consistencyTimeoutMs: 10000) { nodes { id } } }";

#[tokio::test]
async fn an_operation_that_takes_too_long_is_ended() {
    let limits = Limits { request_timeout_ms: 300, ..Limits::default() };
    let plant = Plant::start("api_time", limits).await;
    let answer = plant.post(ENDLESS, json!({}), "application/graphql-response+json").await;
    let status = answer.status().as_u16();
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (503, &json!("TIMEOUT")), "{body}");
    let mut socket = plant.ready_socket().await;
    socket.subscribe("slow", ENDLESS, json!({})).await;
    let ended = socket.receive().await;
    assert!(ended.to_string().contains("\"TIMEOUT\""), "{ended}");
    // What is over makes room, and the socket goes on.
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        socket.subscribe("next", "{ sites }", json!({})).await;
        let message = socket.receive().await;
        if message["payload"]["data"]["sites"] == json!(["north", "south"]) {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{message}");
    }
}
