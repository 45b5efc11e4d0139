//! The whole way once: command → log → read models → query, on both logs.

use std::time::Duration;

use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::{Log, Server};
use serde_json::json;

use crate::site::{self, Plant, SITE};

#[tokio::test]
async fn a_plant_works_on_the_embedded_log() {
    works(Log::Postgres).await;
}

#[tokio::test]
async fn a_plant_works_on_kafka() {
    works(Log::Kafka).await;
}

async fn works(log: Log) {
    let plant = Plant::new("flow", log).await;
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    lots_and_decisions(&ann).await;
    pipelines(&ann).await;
    signals(&ann).await;
    audit(&ann).await;
    plant.assert_tables_equal_the_log(&ann).await;
    assert!(server.stop(Duration::from_secs(15)).await, "the server stops cleanly:\n{}", server.printed());

    let again = Server::start(&plant.settings, &["serve"]).await;
    let ann = Client::new(&again.url, "ann");
    assert_eq!(ann.refused("registerLot", &lot(SITE, "M-1", "1", &[])).await, "DUPLICATE_LOT_CODE");
    assert_eq!(site::lot(&ann, "M-2", &json!(null)).await["qcStatus"], "PASS");
    plant.assert_tables_equal_the_log(&ann).await;
}

async fn lots_and_decisions(ann: &Client) {
    ann.mutate("registerLot", "", &lot(SITE, "M-1", "100", &[])).await;
    let mixed = lot(SITE, "M-2", "60", &[("M-1", "40.5")]);
    let first = ann.mutate("registerLot", "lotId lot { code }", &mixed).await;
    assert_eq!((&first["lot"]["code"], &first["replayed"]), (&json!("M-2"), &json!(false)));
    let second = ann.mutate("registerLot", "lotId", &mixed).await;
    assert_eq!((&second["lotId"], &second["replayed"]), (&first["lotId"], &json!(true)));

    let parent = site::lot(ann, "M-1", &first["position"]).await;
    assert_eq!(parent["remaining"]["value"], "59.5");
    assert_eq!(parent["children"][0]["child"]["code"], "M-2");
    let child = site::lot(ann, "M-2", &first["position"]).await;
    assert_eq!(child["parents"][0]["parent"]["code"], "M-1");

    let mut hold = decision(SITE, "M-2", "HOLD");
    hold["notes"] = json!("Bob smelled something");
    let held = ann.mutate("recordQcDecision", "qcDecision { notes notesErased outcome }", &hold).await;
    assert_eq!(held["qcDecision"]["notes"], "Bob smelled something");
    assert_eq!(ann.refused("registerLot", &lot(SITE, "M-3", "1", &[("M-2", "1")])).await, "LOT_ON_HOLD");
    let mut stale = decision(SITE, "M-2", "PASS");
    stale["expectedVersion"] = first["version"].clone();
    assert_eq!(ann.refused("recordQcDecision", &stale).await, "VERSION_CONFLICT");
    stale["expectedVersion"] = held["version"].clone();
    stale["idempotencyKey"] = json!(key());
    let passed = ann.mutate("recordQcDecision", "", &stale).await;
    assert_eq!(site::lot(ann, "M-2", &passed["position"]).await["qcStatus"], "PASS");
}

async fn pipelines(ann: &Client) {
    let task = |id: &str| json!({ "id": id, "kind": "extract.csv", "config": { "path": "in.csv" } });
    let definition = json!({ "tasks": [task("a"), task("b")], "edges": [{ "from": "a", "to": "b" }] });
    let input = json!({ "idempotencyKey": key(), "name": "intake", "definition": definition });
    let drafted = ann.mutate("draftPipeline", "pipelineId", &input).await;
    let id = &drafted["pipelineId"];
    ann.mutate("publishPipeline", "", &json!({ "idempotencyKey": key(), "pipelineId": id })).await;
    let unchanged = json!({ "idempotencyKey": key(), "pipelineId": id });
    assert_eq!(ann.refused("publishPipeline", &unchanged).await, "NOTHING_TO_PUBLISH");
    let looped =
        json!({ "tasks": [task("a"), task("b")], "edges": [{ "from": "a", "to": "b" }, { "from": "b", "to": "a" }] });
    let revised = json!({ "idempotencyKey": key(), "pipelineId": id, "name": "intake", "definition": looped });
    assert_eq!(ann.refused("revisePipeline", &revised).await, "TASK_CYCLE");
    let revised = json!({ "idempotencyKey": key(), "pipelineId": id, "name": "intake 2", "definition": { "tasks": [task("a")], "edges": [] } });
    ann.mutate("revisePipeline", "", &revised).await;
    let second = ann.mutate("publishPipeline", "", &json!({ "idempotencyKey": key(), "pipelineId": id })).await;
    let query = "query($id: ID!, $at: PositionToken) { pipeline(id: $id, consistentWith: $at) { name publishedVersion versions(first: 10) { number name } } }";
    let data = ann.query(query, &json!({ "id": id, "at": second["position"] })).await;
    assert_eq!((&data["pipeline"]["name"], &data["pipeline"]["publishedVersion"]), (&json!("intake 2"), &json!(2)));
    assert_eq!(data["pipeline"]["versions"].as_array().unwrap().len(), 2);
    ann.mutate("archivePipeline", "", &json!({ "idempotencyKey": key(), "pipelineId": id })).await;
}

async fn signals(ann: &Client) {
    let input = json!({
        "idempotencyKey": key(), "site": SITE, "name": "pasteuriser.temperature", "unit": "Cel", "dataType": "F32", "device": "pasteuriser",
        "address": { "modbus": { "unit": 1, "table": "HOLDING_REGISTERS", "address": 0, "wordOrder": "ABCD" } },
    });
    let declared = ann.mutate("declareSignal", "signal { number name unit }", &input).await;
    assert_eq!(declared["signal"], json!({ "number": 1, "name": "pasteuriser.temperature", "unit": "Cel" }));
}

/// Every command is there, the refused ones too, each with who and what.
async fn audit(ann: &Client) {
    let query = "{ auditTrail(first: 100) { edges { node { eventType actor subject changes data } } } }";
    let data = ann.query(query, &json!({})).await;
    let events: Vec<_> = data["auditTrail"]["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]).collect();
    let count = |kind: &str| events.iter().filter(|event| event["eventType"] == kind).count();
    assert_eq!(count("lotline.lot.registered.v1"), 2);
    assert_eq!(count("lotline.command.refused.v1"), 4);
    assert_eq!(count("lotline.qc_decision.recorded.v1"), 2);
    assert!(events.iter().all(|event| event["actor"] == "ann"));
    assert!(!data.to_string().contains("Bob"), "what was said about people is not in the log in clear");
}
