//! A process from its template to its end, by the API.

use std::time::{Duration, Instant};

use lotline_tests::client::{Client, key, lot};
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

/// The smallest process there is.
pub(crate) fn process() -> Value {
    json!({
        "streams": [{ "key": "milk", "name": "Milk", "colour": "#1e90ff", "sortOrder": 1 }],
        "phases": [{ "number": 0, "name": "Intake", "stream": "milk" }, { "number": 1, "name": "Fill", "stream": "milk" }],
    })
}

/// Three phases with a gate for the run after the first and one for lots after the second.
fn yogurt() -> Value {
    let gate = |name: &str, after: u32, judges: &str| {
        json!({ "key": name, "afterPhase": after, "gateType": "laboratory", "judges": judges, "ccp": true, "blocking": true,
            "checklist": [{ "key": "sealed", "question": "Sealed?", "answer": "YES_NO", "required": true }],
            "limits": [{ "name": "core", "unit": "Cel", "low": "72", "high": "75.5", "signal": "pasteuriser.temperature" }] })
    };
    let phase = |number: u32, name: &str| json!({ "number": number, "name": name, "stream": "milk" });
    let mut filling = phase(20, "Fill");
    filling["registers"] =
        json!({ "lotType": "FINISHED", "product": "yogurt", "quantity": { "value": "500", "unit": "C62" } });
    json!({
        "streams": [{ "key": "milk", "name": "Milk", "colour": "#1E90FF", "sortOrder": 1 }],
        "phases": [phase(0, "Heat"), phase(10, "Culture"), filling],
        "gates": [gate("heat", 0, "RUN"), gate("ripe", 10, "LOTS")],
    })
}

/// A mutation's input under a key of its own.
fn keyed(mut input: Value) -> Value {
    input["idempotencyKey"] = json!(key());
    input
}

#[tokio::test]
async fn templates_become_versions_that_can_be_compared() {
    let plant = Plant::new("scenarios", Log::Postgres).await;
    let server = plant.serve().await;
    let eva = Client::new(&server.url, "eva");
    let drafted = keyed(json!({ "name": "Yogurt", "definition": yogurt() }));
    let drafted = eva.mutate("draftScenario", "scenarioId scenario { name publishedVersion }", &drafted).await;
    assert_eq!(drafted["scenario"], json!({ "name": "Yogurt", "publishedVersion": null }));
    let id = &drafted["scenarioId"];
    eva.mutate("publishScenario", "", &keyed(json!({ "scenarioId": id }))).await;
    assert_eq!(eva.refused("publishScenario", &keyed(json!({ "scenarioId": id }))).await, "NOTHING_TO_PUBLISH");

    let mut inverted = yogurt();
    inverted["gates"][0]["limits"][0]["low"] = json!("80");
    let refused = keyed(json!({ "scenarioId": id, "name": "Yogurt", "definition": inverted }));
    let refused = eva.try_mutate("reviseScenario", "", &refused).await.unwrap();
    let message = "gate 'heat': limit 'core' has its low bound 80 above its high bound 75.5";
    let expected = json!([{ "field": "gates", "code": "LIMIT_INVERTED", "message": message }]);
    assert_eq!(refused["userErrors"], expected);

    let mut stricter = yogurt();
    stricter["gates"][0]["limits"][0]["low"] = json!("73.0");
    stricter["gates"].as_array_mut().unwrap().pop();
    let revised = keyed(json!({ "scenarioId": id, "name": "Yogurt 2", "definition": stricter }));
    eva.mutate("reviseScenario", "", &revised).await;
    let second = eva.mutate("publishScenario", "", &keyed(json!({ "scenarioId": id }))).await;
    let query = "query($id: ID!, $at: PositionToken) {
        scenario(id: $id, consistentWith: $at) { name publishedVersion hasUnpublishedChanges versions(first: 5) { number name
            definition { phases { number registers { product quantity { value unit } } } gates { key judges limits { low } } } } }
        diff: scenarioDiff(id: $id, from: 1, to: 2, consistentWith: $at) { path kind fields { field before after } }
        none: scenarioDiff(id: $id, from: 2, consistentWith: $at) { path }
        node(id: $id) { id }
    }";
    let data = eva.query(query, &json!({ "id": id, "at": second["position"] })).await;
    let versions = data["scenario"]["versions"].as_array().unwrap();
    assert_eq!((&versions[0]["number"], &versions[1]["number"]), (&json!(2), &json!(1)));
    assert_eq!(
        versions[1]["definition"]["gates"][1],
        json!({ "key": "ripe", "judges": "LOTS", "limits": [{ "low": "72" }] })
    );
    let filled = json!({ "product": "yogurt", "quantity": { "value": "500", "unit": "C62" } });
    assert_eq!(versions[0]["definition"]["phases"][2], json!({ "number": 20, "registers": filled }));
    assert_eq!((&data["none"], &data["node"]["id"]), (&json!([]), id));
    let change = json!([{ "field": "low", "before": "72", "after": "73" }]);
    let expected = json!([
        { "path": "gates/heat/limits/core", "kind": "CHANGED", "fields": change },
        { "path": "gates/ripe", "kind": "REMOVED", "fields": [] },
    ]);
    assert_eq!(data["diff"], expected);
    eva.mutate("retireScenario", "", &keyed(json!({ "scenarioId": id, "reason": "replaced" }))).await;
    assert_eq!(eva.refused("retireScenario", &keyed(json!({ "scenarioId": id }))).await, "SCENARIO_RETIRED");
    plant.assert_tables_equal_the_log(&eva).await;
}

/// A lot of a size, registered and linked to a run.
async fn link(client: &Client, run: &Value, code: &str, value: &str) {
    client.mutate("registerLot", "", &lot(SITE, code, value, &[])).await;
    let input = json!({ "site": SITE, "run": { "id": run }, "lot": { "code": code } });
    client.mutate("linkLotToRun", "", &keyed(input)).await;
}

fn decision(run: &Value, gate: &str, outcome: &str, core: &str) -> Value {
    keyed(json!({ "site": SITE, "run": { "id": run }, "gate": gate, "outcome": outcome,
        "measurements": [{ "name": "core", "value": core, "unit": "Cel" }], "checklist": [{ "item": "sealed", "answer": "yes" }] }))
}

fn advance(run: &Value, from: u32) -> Value {
    keyed(json!({ "site": SITE, "run": { "id": run }, "fromPhase": from }))
}

async fn message(client: &Client, name: &str, input: &Value) -> (Value, Value) {
    let mut payload = client.try_mutate(name, "", input).await.unwrap();
    let error = payload["userErrors"][0].take();
    (error["code"].clone(), error["message"].clone())
}

/// The published scenario of [`yogurt`].
async fn published(client: &Client) -> Value {
    let drafted = keyed(json!({ "name": "Yogurt", "definition": yogurt() }));
    let id = client.mutate("draftScenario", "scenarioId", &drafted).await["scenarioId"].take();
    client.mutate("publishScenario", "", &keyed(json!({ "scenarioId": id }))).await;
    id
}

#[tokio::test]
async fn a_run_goes_its_whole_way_past_its_gates_on_the_embedded_log() {
    whole_way(Log::Postgres).await;
}

#[tokio::test]
async fn a_run_goes_its_whole_way_past_its_gates_on_kafka() {
    whole_way(Log::Kafka).await;
}

async fn whole_way(log: Log) {
    let plant = Plant::new("run", log).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let scenario = published(&ann).await;
    let at = "2026-11-20T06:00:00Z";
    let start = keyed(json!({ "site": SITE, "scenarioId": scenario, "version": 1, "occurredAt": at }));
    let started = started_soon(&ann, &start).await;
    assert_eq!(
        started["run"],
        json!({ "code": "R-20261120-01", "phase": 0, "stage": "RUNNING", "scenarioVersion": 1 })
    );
    let run = &started["runId"];

    // A second version changes nothing about the run.
    let revised = json!({ "scenarioId": scenario, "name": "Yogurt", "definition": process() });
    ann.mutate("reviseScenario", "", &keyed(revised)).await;
    ann.mutate("publishScenario", "", &keyed(json!({ "scenarioId": scenario }))).await;

    let refused = message(&ann, "advanceRun", &advance(run, 0)).await;
    let expected = "run 'R-20261120-01' can't pass gate 'heat' after phase 0: the run has no decision";
    assert_eq!(refused, (json!("GATE_NOT_PASSED"), json!(expected)));
    let cold = message(&ann, "decideGate", &decision(run, "heat", "PASS", "71.9")).await;
    let expected = "gate 'heat': there is no PASS with core 71.9 Cel; the limit is 72 to 75.5";
    assert_eq!(cold, (json!("OUTSIDE_LIMIT"), json!(expected)));
    let held = ann.mutate("decideGate", "decisionId", &decision(run, "heat", "HOLD", "71.9")).await;
    assert_eq!(ann.refused("decideGate", &decision(run, "heat", "PASS", "72.5")).await, "DECISION_STANDS");
    let mut passed = decision(run, "heat", "PASS", "72.5");
    (passed["replaces"], passed["notes"]) = (held["decisionId"].clone(), json!("Bob had the door open"));
    ann.mutate("decideGate", "", &passed).await;
    link(&ann, run, "M-1", "100").await;
    ann.mutate("advanceRun", "", &advance(run, 0)).await;
    assert_eq!(ann.refused("advanceRun", &advance(run, 0)).await, "RUN_PHASE_MOVED");

    link(&ann, run, "C-1", "60").await;
    link(&ann, run, "C-2", "35").await;
    let mut first = decision(run, "ripe", "PASS", "74");
    first["lot"] = json!({ "code": "C-1" });
    ann.mutate("decideGate", "", &first).await;
    let refused = message(&ann, "advanceRun", &advance(run, 10)).await;
    let expected = "run 'R-20261120-01' can't pass gate 'ripe' after phase 10: lot 'C-2' has no decision";
    assert_eq!(refused, (json!("GATE_NOT_PASSED"), json!(expected)));
    let board = "query($site: String, $at: PositionToken) { runs(site: $site, first: 10, filter: { stages: [RUNNING, HELD] },
        consistentWith: $at) { nodes { code phase currentPhase { name } gates { gate { key } due passed outcome lots passedLots } } } }";
    let mut second = decision(run, "ripe", "PASS", "74");
    second["lot"] = json!({ "code": "C-2" });
    let decided = ann.mutate("decideGate", "", &second).await;
    let data = ann.query(board, &json!({ "site": SITE, "at": decided["position"] })).await;
    let gate = |key: &str, outcome: Value, lots: u32| json!({ "gate": { "key": key }, "due": true, "passed": true, "outcome": outcome, "lots": lots, "passedLots": lots });
    let gates = [gate("heat", json!("PASS"), 0), gate("ripe", json!(null), 2)];
    let row = json!({ "code": "R-20261120-01", "phase": 10, "currentPhase": { "name": "Culture" }, "gates": gates });
    assert_eq!(data["runs"]["nodes"], json!([row]));
    ann.mutate("advanceRun", "", &advance(run, 10)).await;
    finish(&ann, run).await;
    plant.assert_tables_equal_the_log(&ann).await;
}

/// Where the tenant's stream is another partition's, the site's writer learns of it a moment later; the same key is good then.
pub(crate) async fn started_soon(client: &Client, input: &Value) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = "runId run { code phase stage scenarioVersion }";
        let payload = client.try_mutate("startRun", shown, input).await.unwrap();
        if payload["userErrors"] == json!([]) {
            return payload;
        }
        let code = &payload["userErrors"][0]["code"];
        assert!(code == "UNKNOWN_SCENARIO" || code == "SCENARIO_NOT_PUBLISHED", "{payload}");
        assert!(Instant::now() < until, "the site's writer learns of the scenario");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Completes the run, and looks at what it came to.
async fn finish(ann: &Client, run: &Value) {
    let query = "query($id: ID!, $at: PositionToken) { run(id: $id, consistentWith: $at) { uuid stage scenarioVersion
        phases { phase leftAt } lots(first: 10) { phase quantity { value unit } lot { code } } definition { gates { key } }
        decisions(first: 10) { gate outcome notes replaces lot { code } } scenario { publishedVersion }
        summary { phases { phase lots amounts { value unit } } decisions { pass hold fail } openGates yieldRatio } } }";
    let ended = ann.mutate("completeRun", "", &keyed(json!({ "site": SITE, "run": { "id": run } }))).await;
    let data = ann.query(query, &json!({ "id": run, "at": ended["position"] })).await;
    let run = &data["run"];
    assert_eq!((&run["stage"], &run["scenarioVersion"]), (&json!("COMPLETED"), &json!(1)));
    assert_eq!(run["scenario"]["publishedVersion"], 2);
    assert_eq!(run["definition"]["gates"], json!([{ "key": "heat" }, { "key": "ripe" }]));
    assert!(run["phases"].as_array().unwrap().iter().all(|phase| phase["leftAt"].is_string()), "{run}");
    let lot = |phase: u32, code: &str, value: &str, unit: &str| json!({ "phase": phase, "quantity": { "value": value, "unit": unit }, "lot": { "code": code } });
    let lots = json!([
        lot(0, "M-1", "100", "KGM"),
        lot(10, "C-1", "60", "KGM"),
        lot(10, "C-2", "35", "KGM"),
        lot(20, "R-20261120-01-20", "500", "C62"),
    ]);
    assert_eq!(run["lots"], lots);
    let decisions = run["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 4);
    assert_eq!((&decisions[0]["lot"]["code"], &decisions[0]["notes"]), (&json!("C-2"), &json!(null)));
    assert_eq!((&decisions[2]["outcome"], &decisions[2]["notes"]), (&json!("PASS"), &json!("Bob had the door open")));
    assert!(decisions[2]["replaces"].is_string());
    let phase = |phase: u32, lots: u32, value: &str, unit: &str| json!({ "phase": phase, "lots": lots, "amounts": [{ "value": value, "unit": unit }] });
    let phases = [phase(0, 1, "100", "KGM"), phase(10, 2, "95", "KGM"), phase(20, 1, "500", "C62")];
    let decided = json!({ "pass": 3, "hold": 1, "fail": 0 });
    let summary = json!({ "phases": phases, "decisions": decided, "openGates": [], "yieldRatio": null });
    assert_eq!(run["summary"], summary);
    audited(ann, run, &ended["position"]).await;
    let late = keyed(json!({ "site": SITE, "run": { "code": "R-20261120-01" }, "fromPhase": 20 }));
    assert_eq!(ann.refused("advanceRun", &late).await, "RUN_OVER");
}

/// The trail says what each step changed from what to what.
async fn audited(ann: &Client, run: &Value, at: &Value) {
    let query = "query($of: String, $at: PositionToken) { auditTrail(first: 100, filter: { subject: $of }, consistentWith: $at) {
        nodes { eventType changes } } }";
    let subject = format!("run/{}", run["uuid"].as_str().unwrap());
    let data = ann.query(query, &json!({ "of": subject, "at": at })).await;
    let changes = |kind: &str| -> Vec<&Value> {
        let events = data["auditTrail"]["nodes"].as_array().unwrap().iter();
        events.filter(|event| event["eventType"] == kind).map(|event| &event["changes"]).collect()
    };
    let from = |before: Value, after: Value| json!({ "before": before, "after": after });
    assert_eq!(changes("lotline.run.completed.v1")[0]["stage"], from(json!("running"), json!("completed")));
    let advanced = changes("lotline.run.phase_advanced.v1");
    assert_eq!((advanced.len(), &advanced[0]["phase"]), (2, &from(json!(10), json!(20))));
    let decided = changes("lotline.run.gate_decided.v1");
    let (passed, held) = (&decided[2]["gates.heat"], &decided[3]["gates.heat"]);
    assert_eq!((&held["before"], &passed["before"]), (&json!(null), &held["after"]));
    assert_eq!(changes("lotline.run.started.v1")[0]["code"], from(json!(null), json!("R-20261120-01")));
}

#[tokio::test]
async fn of_operators_who_race_to_advance_one_wins_and_all_others_are_told() {
    let plant = Plant::new("race", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let drafted = keyed(json!({ "name": "Simple", "definition": process() }));
    let scenario = ann.mutate("draftScenario", "scenarioId", &drafted).await["scenarioId"].take();
    ann.mutate("publishScenario", "", &keyed(json!({ "scenarioId": scenario }))).await;
    let started = started_soon(&ann, &keyed(json!({ "site": SITE, "scenarioId": scenario }))).await;
    let run = &started["runId"];
    let racers = (0..16).map(|number| {
        let (racer, input) = (Client::new(&server.url, &format!("op-{number}")), advance(run, 0));
        tokio::spawn(async move { racer.try_mutate("advanceRun", "", &input).await.unwrap() })
    });
    let mut codes = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        let payload = racer.await.unwrap();
        codes.push(payload["userErrors"][0]["code"].as_str().unwrap_or("won").to_owned());
    }
    codes.sort();
    assert_eq!(codes.iter().filter(|code| *code == "won").count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "RUN_PHASE_MOVED").count(), 15, "{codes:?}");
    plant.assert_tables_equal_the_log(&ann).await;
}
