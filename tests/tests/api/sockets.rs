//! `graphql-transport-ws` and server-sent events over real sockets: every close code, pings, refusals, and an orderly end.

use std::time::Duration;

use futures_util::SinkExt;
use lotline_api::Limits;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::plant::{DEADLINE, Plant};

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
    let mut stream = plant.post("subscription { lotChanged { lots { code } } }", json!({}), "text/event-stream").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    // A keep-alive comment proves that the subscription has begun.
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
