//! What is asked wrongly is refused at once, with a code that a program can act on.

use std::time::{Duration, Instant};

use lotline_api::Limits;
use serde_json::{Value, json};

use crate::plant::Plant;

/// base64url of `l3.5`: the plant's ledger has the partitions 0 to 2.
const NO_PARTITION: &str = "bDMuNQ";
/// base64url of `s1.5`: its signals topic has one partition.
const NO_SIGNALS_PARTITION: &str = "czEuNQ";
/// base64url of `x0.1`: no topic is called so.
const NO_TOPIC: &str = "eDAuMQ";

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("no code")
}

/// The first message of a subscription that is refused.
async fn refused(plant: &Plant, query: &str, variables: Value) -> Value {
    let mut socket = plant.ready_socket().await;
    socket.subscribe("1", query, variables).await;
    let message = tokio::time::timeout(Duration::from_secs(5), socket.receive()).await;
    let mut message = message.unwrap_or_else(|_| panic!("{query} was not refused"));
    let mut payload = message["payload"].take();
    // `next` carries a response, `error` a list of errors.
    if payload.is_array() { json!({ "errors": payload.take() }) } else { payload }
}

#[tokio::test]
async fn a_value_that_a_scalar_does_not_take_has_a_code() {
    let plant = Plant::start("api_scalars", Limits::default()).await;
    for (query, variables) in [
        ("{ lots(first: 1, consistentWith: \"l0.999\") { nodes { id } } }", json!({})),
        ("query($p: PositionToken) { lots(first: 1, consistentWith: $p) { nodes { id } } }", json!({ "p": "???" })),
        ("{ auditTrail(first: 1, filter: {correlationId: \"no uuid\"}) { nodes { id } } }", json!({})),
        (
            "query($t: DateTime) { auditTrail(first: 1, filter: {decidedFrom: $t}) { nodes { id } } }",
            json!({ "t": "noon" }),
        ),
        ("query A { sites } query B { sites }", json!({})),
    ] {
        let answer = plant.ask(query, variables).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT", "{query}: {answer}");
    }
    let answer = refused(&plant, "subscription { lotChanged(after: \"l0.999\") { position } }", json!({})).await;
    assert_eq!(code(&answer), "BAD_USER_INPUT", "{answer}");
}

#[tokio::test]
async fn a_position_that_can_not_be_is_refused_at_once() {
    let plant = Plant::start("api_positions", Limits::default()).await;
    for (token, said) in [
        (NO_PARTITION, "partition 3 of the ledger, which has 3 partitions"),
        (NO_SIGNALS_PARTITION, "partition 1 of the signals topic, which has 1 partitions"),
        (NO_TOPIC, "malformed"),
    ] {
        let asked = Instant::now();
        for query in [
            "query($p: PositionToken) { lots(first: 1, consistentWith: $p) { nodes { id } } }",
            "query($p: PositionToken) { auditTrail(first: 1, consistentWith: $p) { nodes { id } } }",
        ] {
            let answer = plant.ask(query, json!({ "p": token })).await;
            assert_eq!(code(&answer), "BAD_USER_INPUT", "{query}: {answer}");
            let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
            assert!(message.contains(said), "{message}");
        }
        let query = "subscription($p: PositionToken) { lotChanged(after: $p) { position } }";
        let answer = refused(&plant, query, json!({ "p": token })).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT", "{answer}");
        assert!(asked.elapsed() < Limits::default().consistency_timeout(), "nothing was waited for");
    }
}

#[tokio::test]
async fn an_unknown_site_is_an_error_everywhere() {
    let plant = Plant::start("api_sites", Limits::default()).await;
    plant.register("north", "A").await;
    for query in [
        "query($s: String!) { lots(site: $s, first: 1) { nodes { id } } }",
        "query($s: String!) { lot(site: $s, code: \"A\") { id } }",
        "query($s: String!) { qcDecisions(site: $s, first: 1) { nodes { id } } }",
        "query($s: String!) { signals(site: $s, first: 1) { nodes { id } } }",
        "query($s: String!) { auditTrail(filter: {stream: $s}, first: 1) { nodes { id } } }",
    ] {
        for site in ["nowhere", "nul\u{0}"] {
            let answer = plant.ask(query, json!({ "s": site })).await;
            assert_eq!(code(&answer), "UNKNOWN_SITE", "{query}: {answer}");
        }
        // A site without lots is a site all the same.
        let answer = plant.ask(query, json!({ "s": "south" })).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
    }
    let answer = plant.ask("{ auditTrail(filter: {stream: \"_tenant\"}, first: 1) { nodes { id } } }", json!({})).await;
    assert!(answer.get("errors").is_none(), "the tenant's own stream is one: {answer}");
    for query in [
        "subscription { lotChanged(site: \"nowhere\") { position } }",
        "subscription { lotChanged(site: \"_tenant\") { position } }",
        "subscription { qcDecisionRecorded(site: \"nowhere\") { position } }",
        "subscription { auditTrail(filter: {stream: \"nowhere\"}) { position } }",
    ] {
        let answer = refused(&plant, query, json!({})).await;
        assert_eq!(code(&answer), "UNKNOWN_SITE", "{query}: {answer}");
    }
}
