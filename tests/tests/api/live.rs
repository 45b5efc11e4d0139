//! Subscriptions: after commit, resumable, no gap and no double, and nobody held up by a slow one.

use std::sync::Arc;

use lotline_api::Limits;
use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use lotline_domain::port::SignalLog;
use lotline_domain::sample::codec::to_record;
use lotline_domain::sample::{Quality, SignalBatch};
use lotline_domain::timestamp::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::plant::{NOW_MS, Plant, START, key};

const LOTS: &str = "subscription($after: PositionToken, $site: String) { lotChanged(after: $after, site: $site) { \
                    position lots { code remaining { value } } } }";

/// base64url of `s0.0`.
const START_OF_SIGNALS: &str = "czAuMA";

fn codes(item: &Value) -> Vec<String> {
    let lots = item["lotChanged"]["lots"].as_array().expect("an item has lots");
    lots.iter().map(|lot| lot["code"].as_str().expect("a lot has a code").to_owned()).collect()
}

#[tokio::test]
async fn resuming_from_any_token_neither_skips_nor_repeats() {
    let plant = Arc::new(Plant::start("api_resume", Limits { subscription_batch: 3, ..Limits::default() }).await);
    plant.register("north", "first").await;
    let mut socket = plant.ready_socket().await;
    socket.subscribe("1", LOTS, json!({ "after": START })).await;
    assert_eq!(codes(&socket.next().await), ["first"]);

    let writing = {
        let plant = Arc::clone(&plant);
        tokio::spawn(async move {
            for count in 0..40 {
                plant.register(if count % 2 == 0 { "north" } else { "south" }, &format!("L{count}")).await;
            }
        })
    };
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    while seen.len() < 40 {
        // Every few items the subscriber goes away and comes back with its last token.
        for _ in 0..3.min(40 - seen.len()) {
            let item = socket.next().await;
            seen.extend(codes(&item));
            after = item["lotChanged"]["position"].clone();
        }
        socket = plant.ready_socket().await;
        socket.subscribe("1", LOTS, json!({ "after": after })).await;
    }
    writing.await.unwrap();
    let sorted = |mut codes: Vec<String>| {
        codes.sort();
        codes
    };
    assert_eq!(sorted(seen), sorted((0..40).map(|count| format!("L{count}")).collect()));
    plant.register("north", "last").await;
    assert_eq!(codes(&socket.next().await), ["last"], "and nothing comes twice after the last token");
}

#[tokio::test]
async fn one_decision_is_one_item_with_all_the_lots_it_changed() {
    let plant = Plant::start("api_group", Limits { subscription_batch: 1, ..Limits::default() }).await;
    let mut last = Value::Null;
    for count in 0..5 {
        last = plant.register("north", &format!("P{count}")).await;
    }
    let mut socket = plant.ready_socket().await;
    socket.subscribe("1", LOTS, json!({ "after": last["position"], "site": "north" })).await;
    let parent =
        |count| json!({ "lot": { "code": format!("P{count}") }, "quantity": { "value": "0.5", "unit": "LTR" } });
    let parents: Vec<Value> = (0..5).map(parent).collect();
    plant.register("south", "elsewhere").await;
    plant.register_with(json!({ "code": "child", "parents": parents })).await;
    let mut changed = codes(&socket.next().await);
    changed.sort();
    assert_eq!(changed, ["P0", "P1", "P2", "P3", "P4", "child"]);
    plant.register("north", "next").await;
    assert_eq!(codes(&socket.next().await), ["next"]);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_up_nobody() {
    let plant = Plant::start("api_slow", Limits { send_timeout_ms: 200, ..Limits::default() }).await;
    let mut slow = plant.ready_socket().await;
    let mut quick = plant.ready_socket().await;
    let begin = plant.register("north", "begin").await;
    let audit = "subscription($after: PositionToken) { auditTrail(after: $after, filter: {stream: \"north\"}) { position \
                 entry { sequence data changes } } }";
    for id in 0..20 {
        slow.subscribe(&id.to_string(), audit, json!({ "after": begin["position"] })).await;
    }
    quick.subscribe("1", audit, json!({ "after": begin["position"] })).await;
    let attributes: Vec<Value> =
        (0..60).map(|n| json!({ "name": format!("n{n}"), "value": "x".repeat(900) })).collect();
    for count in 0..30 {
        plant.register_with(json!({ "code": format!("L{count}"), "attributes": attributes })).await;
    }
    for sequence in 2..=31 {
        assert_eq!(quick.next().await["auditTrail"]["entry"]["sequence"], sequence);
    }
    drop(slow);
}

#[tokio::test]
async fn decisions_pipelines_and_the_audit_trail_are_followed() {
    let plant = Plant::start("api_topics", Limits::default()).await;
    plant.register("north", "A").await;
    let mut socket = plant.ready_socket().await;
    let after = json!({ "after": START });
    for (id, query) in [
        (
            "qc",
            "subscription($after: PositionToken) { qcDecisionRecorded(after: $after, site: \"north\") { position decision { gate outcome lot { code } } } }",
        ),
        (
            "pipeline",
            "subscription($after: PositionToken) { pipelineChanged(after: $after) { position pipeline { name } } }",
        ),
        (
            "audit",
            "subscription($after: PositionToken) { auditTrail(after: $after, filter: {actor: \"ann\"}) { position entry { eventType } } }",
        ),
    ] {
        socket.subscribe(id, query, after.clone()).await;
    }
    let decide = "mutation($key: UUID!) { recordQcDecision(input: {idempotencyKey: $key, site: \"north\", lot: {code: \"A\"}, \
                  gate: \"intake\", outcome: PASS}) { userErrors { code } } }";
    plant.data(decide, json!({ "key": key() })).await;
    let draft = "mutation($key: UUID!) { draftPipeline(input: {idempotencyKey: $key, name: \"p\", definition: {tasks: [{id: \"a\", \
                 kind: \"x\"}]}}) { userErrors { code } } }";
    plant.data(draft, json!({ "key": key() })).await;
    let (mut audit, mut others) = (Vec::new(), Vec::new());
    while audit.len() + others.len() < 6 {
        let mut data = socket.next().await;
        if let Some(entry) = data.pointer("/auditTrail/entry/eventType") {
            audit.push(entry.as_str().unwrap().to_owned());
        } else {
            for field in ["/qcDecisionRecorded", "/pipelineChanged"] {
                others.extend(data.pointer_mut(field).and_then(Value::as_object_mut).map(|item| {
                    assert!(item.remove("position").unwrap().is_string());
                    Value::Object(item.clone())
                }));
            }
        }
    }
    audit.sort();
    let types = [
        "lotline.access.trail_read.v1",
        "lotline.lot.registered.v1",
        "lotline.pipeline.drafted.v1",
        "lotline.qc_decision.recorded.v1",
    ];
    assert_eq!(audit, types);
    assert!(
        others.contains(&json!({ "decision": { "gate": "intake", "outcome": "PASS", "lot": { "code": "A" } } })),
        "{others:?}"
    );
    assert!(others.contains(&json!({ "pipeline": { "name": "p" } })), "{others:?}");
}

#[tokio::test]
async fn signals_are_declared_read_and_followed() {
    let plant = Plant::start("api_signals", Limits::default()).await;
    let payload = declare_temperature(&plant).await;
    let address = json!({ "unit": 1, "address": 10, "wordOrder": "ABCD" });
    assert_eq!((&payload["signal"]["number"], &payload["signal"]["address"]), (&json!(1), &address), "{payload}");
    let id = payload["signal"]["id"].clone();
    let mut socket = plant.ready_socket().await;
    let query = "subscription($ids: [ID!]!, $after: PositionToken) { signalValues(ids: $ids, after: $after) { position \
                 values { value quality good signal { name } } } }";
    socket.subscribe("1", query, json!({ "ids": [id], "after": START_OF_SIGNALS })).await;
    for sequence in 1..=3 {
        publish(&plant, sequence).await;
        let item = socket.next().await["signalValues"].take();
        let value = json!([{ "value": 70.0 + f64::from(sequence), "quality": "0x00000000", "good": true, "signal": { "name": "past.temp" } }]);
        assert_eq!(item["values"], value);
    }
    let query = "query($id: ID!, $from: DateTime!, $until: DateTime!) { signalLatest(ids: [$id]) { value } \
                 signalHistory(id: $id, range: {from: $from, until: $until}, first: 2) { value } \
                 signals(first: 5) { nodes { latest { value } } } }";
    let (from, until) = (Timestamp::from_millis(NOW_MS), Timestamp::from_millis(NOW_MS + 60_000));
    let data = plant.data(query, json!({ "id": id, "from": from, "until": until })).await;
    assert_eq!(data["signalLatest"], json!([{ "value": 73.0 }]));
    assert_eq!(data["signalHistory"], json!([{ "value": 71.0 }, { "value": 72.0 }]));
    assert_eq!(data["signals"]["nodes"], json!([{ "latest": { "value": 73.0 } }]));
}

/// Declares a signal of the device `past`, and gives the payload.
async fn declare_temperature(plant: &Plant) -> Value {
    let declare = "mutation($input: DeclareSignalInput!) { declareSignal(input: $input) { name version userErrors { code } \
                   signal { id number dataType address { ... on ModbusAddress { unit address wordOrder } } } } }";
    let input = json!({ "idempotencyKey": key(), "site": "north", "name": "past.temp", "unit": "Cel", "dataType": "I16",
        "device": "past", "address": { "modbus": { "unit": 1, "table": "HOLDING_REGISTERS", "address": 10 } }, "scale": "0.1" });
    plant.data(declare, json!({ "input": input })).await["declareSignal"].take()
}

/// What happened before anybody listened is told from the beginning, and from the token of an item only what came after it.
#[tokio::test]
async fn every_topic_is_resumed_from_a_token() {
    let plant = Plant::start("api_tokens", Limits::default()).await;
    let signal = declare_temperature(&plant).await["signal"]["id"].clone();
    for (field, query, start, pointer) in [
        (
            "qcDecisionRecorded",
            "subscription($after: PositionToken) { qcDecisionRecorded(after: $after) { position decision { gate } } }",
            START,
            "/decision/gate",
        ),
        (
            "pipelineChanged",
            "subscription($after: PositionToken) { pipelineChanged(after: $after) { position pipeline { name } } }",
            START,
            "/pipeline/name",
        ),
        (
            "signalValues",
            "subscription($ids: [ID!]!, $after: PositionToken) { signalValues(ids: $ids, after: $after) { position values { value } } }",
            START_OF_SIGNALS,
            "/values/0/value",
        ),
    ] {
        for number in 1..=3 {
            happen(&plant, field, number).await;
        }
        let expected = |number| match field {
            "signalValues" => json!(70.0 + f64::from(number)),
            _ => json!(format!("{field}-{number}")),
        };
        let mut token = Value::Null;
        // First from the beginning, then from the token of the first item.
        for (after, first) in [(Some(start), 1), (None, 2)] {
            let after = after.map_or_else(|| token.clone(), Value::from);
            let mut socket = plant.ready_socket().await;
            socket.subscribe("1", query, json!({ "after": after, "ids": [signal] })).await;
            for number in first..=3 {
                let item = socket.next().await[field].take();
                assert_eq!(item.pointer(pointer), Some(&expected(number)), "{field} after {after}: {item}");
                if number == 1 {
                    token = item["position"].clone();
                }
            }
            if first == 2 {
                happen(&plant, field, 4).await;
                let item = socket.next().await[field].take();
                assert_eq!(item.pointer(pointer), Some(&expected(4)), "{field}: nothing twice, and then what is new");
            }
        }
    }
}

/// Lets something happen that the subscription tells, marked by the number.
async fn happen(plant: &Plant, field: &str, number: u32) {
    let mark = format!("{field}-{number}");
    match field {
        "qcDecisionRecorded" => {
            plant.register("north", &mark).await;
            let decide = "mutation($key: UUID!, $mark: String!) { recordQcDecision(input: {idempotencyKey: $key, site: \"north\", \
                          lot: {code: $mark}, gate: $mark, outcome: PASS}) { userErrors { code } } }";
            let payload = plant.data(decide, json!({ "key": key(), "mark": mark })).await;
            assert_eq!(payload["recordQcDecision"]["userErrors"], json!([]));
        }
        "pipelineChanged" => {
            let draft = "mutation($key: UUID!, $mark: String!) { draftPipeline(input: {idempotencyKey: $key, name: $mark, \
                         definition: {tasks: [{id: \"a\", kind: \"x\"}]}}) { userErrors { code } } }";
            let payload = plant.data(draft, json!({ "key": key(), "mark": mark })).await;
            assert_eq!(payload["draftPipeline"]["userErrors"], json!([]));
        }
        _ => publish(plant, number).await,
    }
}

async fn publish(plant: &Plant, sequence: u32) {
    let at = Timestamp::from_millis(NOW_MS + i64::from(sequence) * 1_000);
    let batch = SignalBatch {
        site: SiteId::new("north").expect("a valid id"),
        collector: CollectorId::new("c1").expect("a valid id"),
        epoch: Uuid::from_u128(1),
        sequence: u64::from(sequence),
        device: DeviceId::new("past").expect("a valid id"),
        signals: vec![1, 2],
        source_times: vec![at, at],
        values: vec![70.0 + f64::from(sequence), 0.0],
        qualities: vec![Quality::GOOD, Quality::BAD_NO_COMMUNICATION],
        collected_at: at,
    };
    plant.signals.publish(vec![to_record(&plant.tenant, &batch)]).await.expect("the memory log takes a batch");
}
