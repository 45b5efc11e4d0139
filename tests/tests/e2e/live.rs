//! Subscriptions: after commit, resumable from a token, no gap and no double.

use std::collections::BTreeSet;
use std::time::Duration;

use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::Log;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::site::{self, Plant, SITE};

const SOON: Duration = Duration::from_secs(10);
const LOTS: &str = "subscription($after: PositionToken) { lotChanged(site: \"north\", after: $after) { position lots { code qcStatus version } } }";
const PIPELINES: &str = "subscription($after: PositionToken) { pipelineChanged(after: $after) { position pipeline { id name publishedVersion } } }";
const AUDIT: &str = "subscription($after: PositionToken) { auditTrail(after: $after) { position entry { stream sequence eventType } } }";

#[tokio::test]
async fn changes_arrive_after_commit_on_the_embedded_log() {
    changes_arrive(Log::Postgres).await;
}

#[tokio::test]
async fn changes_arrive_after_commit_on_kafka() {
    changes_arrive(Log::Kafka).await;
}

async fn changes_arrive(log: Log) {
    let plant = Plant::new("live", log).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let mut lots = ann.subscribe(LOTS, &json!({})).await;
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;
    let first = lots.next(SOON).await.expect("a change arrives");
    assert_eq!(first["lotChanged"]["lots"][0]["code"], "L-1");
    drop(lots);

    ann.mutate("registerLot", "", &lot(SITE, "L-2", "5", &[("L-1", "2")])).await;
    let judged = ann.mutate("recordQcDecision", "", &decision(SITE, "L-2", "PASS")).await;
    assert_eq!(site::lot(&ann, "L-2", &judged["position"]).await["qcStatus"], "PASS");
    let after = &first["lotChanged"]["position"];
    let mut lots = ann.subscribe(LOTS, &json!({ "after": after })).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let change = lots.next(SOON).await.expect("what happened meanwhile arrives");
        for lot in change["lotChanged"]["lots"].as_array().unwrap() {
            seen.insert(lot["code"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, BTreeSet::from(["L-1".to_owned(), "L-2".to_owned()]));
    assert_eq!(lots.next(Duration::from_millis(700)).await, None, "nothing is told twice");

    let mut decisions =
        ann.subscribe("subscription { qcDecisionRecorded { decision { outcome lot { code } } } }", &json!({})).await;
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-1", "HOLD")).await;
    let told = decisions.next(SOON).await.expect("a decision arrives");
    assert!(told.to_string().contains("HOLD") && told.to_string().contains("L-1"), "{told}");
    pipelines_arrive(&ann).await;
}

/// Each step of a pipeline is told after its commit; a subscriber who was away is told what it missed, once.
async fn pipelines_arrive(ann: &Client) {
    let mut pipelines = ann.subscribe(PIPELINES, &json!({})).await;
    let definition = json!({ "tasks": [{ "id": "a", "kind": "extract.csv", "config": {} }], "edges": [] });
    let draft = json!({ "idempotencyKey": key(), "name": "intake", "definition": definition });
    let drafted = ann.mutate("draftPipeline", "pipelineId", &draft).await;
    let first = pipelines.next(SOON).await.expect("a draft arrives");
    let change = &first["pipelineChanged"]["pipeline"];
    assert_eq!(change, &json!({ "id": drafted["pipelineId"], "name": "intake", "publishedVersion": null }));
    drop(pipelines);

    let publish = json!({ "idempotencyKey": key(), "pipelineId": drafted["pipelineId"] });
    ann.mutate("publishPipeline", "", &publish).await;
    let after = &first["pipelineChanged"]["position"];
    let mut pipelines = ann.subscribe(PIPELINES, &json!({ "after": after })).await;
    let published = pipelines.next(SOON).await.expect("what happened meanwhile arrives");
    let change = &published["pipelineChanged"]["pipeline"];
    assert_eq!(change, &json!({ "id": drafted["pipelineId"], "name": "intake", "publishedVersion": 1 }));
    assert_eq!(pipelines.next(Duration::from_millis(700)).await, None, "nothing is told twice");
}

/// A subscriber that comes and goes while others work sees each event once, in order.
#[tokio::test]
async fn a_subscriber_that_comes_and_goes_misses_nothing() {
    let plant = Plant::new("gaps", Log::Postgres).await;
    let server = plant.serve().await;
    let url = server.url.clone();
    let ann = Client::new(&url, "ann");
    let start = ann.mutate("registerLot", "", &lot(SITE, "L-0", "10", &[])).await["position"].clone();
    let mut workers = JoinSet::new();
    for worker in 0..4 {
        let client = Client::new(&url, &format!("worker-{worker}"));
        workers.spawn(async move {
            for number in 0..50 {
                client.mutate("registerLot", "", &lot(SITE, &format!("W-{worker}-{number}"), "1", &[])).await;
            }
        });
    }
    let (mut position, mut expected) = (start, 2_u64);
    while expected <= 201 {
        let mut audit = ann.subscribe(AUDIT, &json!({ "after": position })).await;
        for _ in 0..23 {
            if expected > 201 {
                break;
            }
            let item = audit.next(SOON).await.expect("an event arrives");
            position = item["auditTrail"]["position"].clone();
            let event = &item["auditTrail"]["entry"];
            // Each time of coming is an event of the tenant's own stream.
            if event["stream"] == "_tenant" {
                continue;
            }
            assert_eq!(sequence(event), expected, "no gap, no double: {event}");
            expected += 1;
        }
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
}

fn sequence(event: &Value) -> u64 {
    let sequence = &event["sequence"];
    sequence.as_u64().or_else(|| sequence.as_str()?.parse().ok()).unwrap_or_else(|| panic!("no sequence in {event}"))
}
