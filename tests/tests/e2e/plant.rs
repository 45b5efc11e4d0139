//! Machines: a device that Lotline did not write is read over Modbus TCP, stored, and seen at a subscriber; and an integrator who
//! knows only the documents reads both topics of Kafka.

use std::process::Command;
use std::time::{Duration, Instant};

use lotline_domain::sample::SignalBatch;
use lotline_domain::signal::{DataType, ModbusTable, WordOrder};
use lotline_infra::demo::plant::registers;
use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::modbus::{Peer, Served};
use lotline_tests::server::{Log, Server, free_port};
use lotline_tests::stack;
use serde_json::{Value, json};

use crate::site::{Plant, SITE, beginning};

const SOON: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(90);
const SUBSCRIPTIONS: [(&str, &str); 4] = [
    (
        "lotChanged",
        "subscription($after: PositionToken) { lotChanged(site: \"north\", after: $after) { position lots { code } } }",
    ),
    (
        "qcDecisionRecorded",
        "subscription($after: PositionToken) { qcDecisionRecorded(after: $after) { position decision { lot { code } } } }",
    ),
    (
        "pipelineChanged",
        "subscription($after: PositionToken) { pipelineChanged(after: $after) { position pipeline { name } } }",
    ),
    (
        "signalValues",
        "subscription($after: PositionToken, $ids: [ID!]!) { signalValues(ids: $ids, after: $after) { position values { \
         value signal { number } } } }",
    ),
];

#[tokio::test]
async fn samples_reach_a_subscriber_on_the_embedded_log() {
    samples_reach_a_subscriber(Log::Postgres).await;
}

#[tokio::test]
async fn samples_reach_a_subscriber_and_an_integrator_on_kafka() {
    let plant = samples_reach_a_subscriber(Log::Kafka).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/integrator.py");
    let output = Command::new(stack::python())
        .args([script, "--brokers", &stack::kafka_brokers(), "--tenant", &plant.settings.tenant])
        .output()
        .expect("the Python of the test stack starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the integrator found the log broken: {printed}{complaints}");
    let summary: Value = serde_json::from_str(&printed).expect("the integrator prints a summary");
    let ledger = plant.ledger().await;
    let oracle = lotline_tests::oracle::Oracle::read(ledger.as_ref()).await;
    assert_eq!(summary["ledger"]["events"], json!(oracle.world.audit.len()), "{summary}");
    assert!(summary["signals"]["samples"].as_u64().unwrap() > 0, "{summary}");
}

/// One value in each of the four word orders, in both wide types.
fn chosen(peer: &Peer) -> Vec<Served> {
    let orders = [WordOrder::Abcd, WordOrder::Cdab, WordOrder::Badc, WordOrder::Dcba];
    let mut chosen = Vec::new();
    for order in orders {
        for data_type in [DataType::F32, DataType::F64, DataType::I32] {
            let fits = |served: &&Served| {
                served.order == order
                    && served.data_type == data_type
                    && served.table == ModbusTable::HoldingRegisters
                    && served.value.is_some_and(|value| value != 0.0)
            };
            chosen.push(peer.layout.signals.iter().find(fits).expect("the peer serves every order").clone());
        }
    }
    chosen
}

async fn samples_reach_a_subscriber(log: Log) -> Plant {
    let peer = Peer::start(free_port());
    let mut plant = Plant::new("plant", log).await;
    let device = format!(r#"[{{id="peer",host="127.0.0.1",port={},poll_interval_ms=100,timeout_ms=5000}}]"#, peer.port);
    plant.settings.environment.push(("LOTLINE_COLLECTOR__DEVICES".into(), device));
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let served = chosen(&peer);
    let mut ids = Vec::new();
    for (number, served) in served.iter().enumerate() {
        let input = declaration(number, served);
        ids.push(ann.mutate("declareSignal", "signal { id }", &input).await["signal"]["id"].clone());
    }
    let query = "subscription($ids: [ID!]!) { signalValues(ids: $ids) { position values { signalId value quality } } }";
    let mut values = ann.subscribe(query, &json!({ "ids": ids })).await;
    let item = values.next(SOON).await.expect("values arrive");
    let value = &item["signalValues"]["values"][0];
    let place = ids.iter().position(|id| *id == value["signalId"]).expect("a subscribed signal");
    assert_eq!(value["value"].as_f64(), served[place].value, "{value}");

    wait_for_all(&ann, &ids, &served).await;
    let history = "query($id: ID!) { signalHistory(id: $id, range: { from: \"2020-01-01T00:00:00Z\", until: \"2100-01-01T00:00:00Z\" }, first: 100) { value sourceTime } }";
    let data = ann.query(history, &json!({ "id": ids[0] })).await;
    let samples = data["signalHistory"].as_array().unwrap();
    assert!(!samples.is_empty() && samples.iter().all(|sample| sample["value"].as_f64() == served[0].value), "{data}");

    // Traffic for the integrator: accepted, refused, judged.
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-1", "PASS")).await;
    assert_eq!(ann.refused("registerLot", &lot(SITE, "L-1", "10", &[])).await, "DUPLICATE_LOT_CODE");
    plant.assert_tables_equal_the_log(&ann).await;
    assert!(server.stop(Duration::from_secs(20)).await, "the server stops cleanly:\n{}", server.printed());
    plant
}

fn declaration(number: usize, served: &Served) -> Value {
    let name = |value: Value| value.as_str().expect("enums are texts").to_uppercase();
    let text = |value: &dyn Fn() -> Value| name(value());
    json!({
        "idempotencyKey": key(), "site": SITE, "name": format!("peer.{number}"), "unit": "1", "device": "peer",
        "dataType": text(&|| serde_json::to_value(served.data_type).expect("data types are texts")),
        "address": { "modbus": {
            "unit": served.unit, "table": "HOLDING_REGISTERS", "address": served.address,
            "wordOrder": text(&|| serde_json::to_value(served.order).expect("word orders are texts")),
        } },
    })
}

async fn wait_for_all(ann: &Client, ids: &[Value], served: &[Served]) {
    let until = Instant::now() + SOON;
    loop {
        let data = ann
            .query("query($ids: [ID!]!) { signalLatest(ids: $ids) { signalId value quality } }", &json!({ "ids": ids }))
            .await;
        let latest = data["signalLatest"].as_array().unwrap();
        let right = |(id, served): (&Value, &Served)| {
            latest.iter().any(|value| value["signalId"] == *id && value["value"].as_f64() == served.value)
        };
        if ids.iter().zip(served).all(right) {
            return;
        }
        assert!(Instant::now() < until, "not every signal has its value: {data}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The demo from its machine and its operators to Kafka, to PostgreSQL and to subscribers.
#[tokio::test]
async fn the_demo_plays_on_kafka() {
    let mut plant = Plant::new("demo", Log::Kafka).await;
    plant.settings.environment.push(("RUST_BACKTRACE".into(), "1".into()));
    let mut server =
        Server::start(&plant.settings, &["demo", "--lots", "2000", "--batches", "3", "--pace-ms", "5"]).await;
    let ann = Client::new(&server.url, "ann");
    let ids = until_declared(&ann).await;
    let mut heard = Vec::new();
    for (field, query) in SUBSCRIPTIONS {
        let variables = json!({ "after": beginning(), "ids": ids });
        let item = ann.subscribe(query, &variables).await.next(PATIENCE).await;
        let mut item = item.unwrap_or_else(|| panic!("no {field} arrives:\n{}", server.printed()));
        heard.push(item[field].take());
    }
    assert!(heard[0]["lots"][0]["code"].is_string(), "{}", heard[0]);
    assert!(heard[1]["decision"]["lot"]["code"].is_string(), "{}", heard[1]);
    assert!(heard[2]["pipeline"]["name"].is_string(), "{}", heard[2]);

    let until = Instant::now() + PATIENCE;
    while !server.printed().contains("the operators have gone home") {
        assert!(Instant::now() < until, "the demo did not end:\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let printed = server.printed();
    let tally = printed.lines().find(|line| line.contains("the operators have gone home")).unwrap_or_default();
    assert!(tally.contains(" surprises=0"), "every step was answered as the story says:\n{printed}");
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert!(
        oracle.world.lots.len() > 2_010
            && oracle.world.edges.len() > 3_000
            && !oracle.world.decisions.is_empty()
            && !oracle.world.pipelines.is_empty()
    );
    assert_eq!(oracle.world.signals.len(), registers::signals().len(), "{:?}", oracle.world.signals);
    assert_in_kafka(&plant, &heard[3]["values"][0]).await;
    assert_in_postgres(&ann).await;
    assert!(server.stop(PATIENCE).await, "the demo stops cleanly:\n{}", server.printed());
}

/// Global ids of the demo's signals, once its operators have declared them.
async fn until_declared(ann: &Client) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let data = ann.query("{ signals(site: \"north\", first: 20) { nodes { id } } }", &json!({})).await;
        let nodes = data["signals"]["nodes"].as_array().unwrap();
        if nodes.len() == registers::signals().len() {
            return nodes.iter().map(|node| node["id"].clone()).collect();
        }
        assert!(Instant::now() < until, "the demo's signals are not declared: {data}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The signals topic holds the machine's batches, and among them what a subscriber was told.
async fn assert_in_kafka(plant: &Plant, told: &Value) {
    let batches = plant.batches().await;
    assert!(!batches.is_empty(), "the signals topic is empty");
    for (batch, sequence) in batches.iter().zip(1..) {
        let (site, device) = (batch.site.as_str(), batch.device.as_str());
        assert_eq!((site, device, batch.sequence), (SITE, registers::DEVICE, sequence));
    }
    let (number, value) = (told["signal"]["number"].as_u64(), told["value"].as_f64());
    let is_told = |batch: &SignalBatch| {
        let mut samples = batch.signals.iter().zip(&batch.values);
        samples.any(|(signal, sample)| number == Some(u64::from(*signal)) && value == Some(*sample))
    };
    assert!(batches.iter().any(is_told), "{told} came from no batch");
}

/// Every signal of the machine has a latest value.
async fn assert_in_postgres(ann: &Client) {
    let until = Instant::now() + PATIENCE;
    loop {
        let query = "{ signals(site: \"north\", first: 20) { nodes { name latest { value quality } } } }";
        let data = ann.query(query, &json!({})).await;
        let nodes = data["signals"]["nodes"].as_array().unwrap();
        if nodes.iter().all(|node| node["latest"]["value"].is_number()) {
            return;
        }
        assert!(Instant::now() < until, "{data}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
