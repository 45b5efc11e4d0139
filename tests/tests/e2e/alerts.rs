//! Alerts by the API: raised with the decision, told at once, acknowledged, resolved; and those that the time raises.

use std::time::Duration;

use lotline_adapters::clock::SystemClock;
use lotline_domain::port::Clock;
use lotline_domain::timestamp::Timestamp;
use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::runs::process;
use crate::site::{Plant, SITE};

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_mins(1);
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

const RAISED: &str =
    "subscription { alertRaised(site: \"north\") { alert { id kind severity title lot { code qcStatus }
    decision { outcome } } position } }";
const CHANGED: &str = "subscription($after: PositionToken) { alertChanged(after: $after) { alert { id status level resolvedByItself } } }";
const INBOX: &str = "query($at: PositionToken, $after: String, $filter: AlertFilterInput) {
    alerts(site: \"north\", first: 2, after: $after, filter: $filter, consistentWith: $at) {
        pageInfo { endCursor hasNextPage } nodes { kind severity status level title gate lot { code } acknowledgedBy note resolvedBy resolution actor } } }";

fn about(alert: &Value, more: Value) -> Value {
    let mut input = more;
    (input["idempotencyKey"], input["site"], input["alert"]) = (json!(key()), json!(SITE), alert.clone());
    input
}

async fn titles(client: &Client, filter: Value, at: &Value) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = client.query(INBOX, &json!({ "at": at, "after": after, "filter": filter })).await;
        let page = &data["alerts"];
        found.extend(page["nodes"].as_array().unwrap().iter().map(|node| node["title"].as_str().unwrap().to_owned()));
        if page["pageInfo"]["hasNextPage"] == false {
            return found;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

#[tokio::test]
async fn a_hold_alerts_until_somebody_has_seen_to_it_on_the_embedded_log() {
    seen_to(Log::Postgres).await;
}

#[tokio::test]
async fn a_hold_alerts_until_somebody_has_seen_to_it_on_kafka() {
    seen_to(Log::Kafka).await;
}

async fn seen_to(log: Log) {
    let plant = Plant::new("alerts", log).await;
    let server = plant.serve().await;
    let (ann, ben) = (Client::new(&server.url, "ann"), Client::new(&server.url, "ben"));
    let mut raised = ann.subscribe(RAISED, &json!({})).await;
    for code in ["L-1", "L-2", "L-3"] {
        ann.mutate("registerLot", "", &lot(SITE, code, "10", &[])).await;
    }
    let held = ann.mutate("recordQcDecision", "qcDecision { outcome version }", &decision(SITE, "L-1", "HOLD")).await;
    // The version is that of the lot, whatever followed the decision: the next who goes by it is not refused.
    assert_eq!(held["version"], held["qcDecision"]["version"]);
    let told = raised.next(PATIENCE).await.expect("the alert is told");
    let alert = told["alertRaised"]["alert"].clone();
    let expected = json!({ "id": alert["id"], "kind": "DECISION", "severity": "WARNING", "title": "lot 'L-1' has a HOLD at gate 'intake'",
        "lot": { "code": "L-1", "qcStatus": "HOLD" }, "decision": { "outcome": "HOLD" } });
    assert_eq!(alert, expected);
    let id = &alert["id"];
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-2", "FAIL")).await;
    let mut expecting = decision(SITE, "L-1", "HOLD");
    expecting["expectedVersion"] = held["version"].clone();
    ann.mutate("recordQcDecision", "", &expecting).await;
    let last = ann.mutate("recordQcDecision", "", &decision(SITE, "L-3", "HOLD")).await;
    let inbox = [
        "lot 'L-2' has a FAIL at gate 'intake'",
        "lot 'L-3' has a HOLD at gate 'intake'",
        "lot 'L-1' has a HOLD at gate 'intake'",
    ];
    assert_eq!(titles(&ann, Value::Null, &last["position"]).await, inbox);
    assert_eq!(titles(&ann, json!({ "severity": "CRITICAL" }), &last["position"]).await, inbox[..1]);

    let acknowledged = about(id, json!({ "notes": "Bob had the door open" }));
    let acknowledged = ben.mutate("acknowledgeAlert", "alert { status acknowledgedBy note }", &acknowledged).await;
    let expected = json!({ "status": "ACKNOWLEDGED", "acknowledgedBy": "ben", "note": "Bob had the door open" });
    assert_eq!(acknowledged["alert"], expected);
    assert_eq!(ann.refused("acknowledgeAlert", &about(id, json!({}))).await, "ALERT_ALREADY_ACKNOWLEDGED");
    assert_eq!(ben.refused("resolveAlert", &about(id, json!({}))).await, "REASON_REQUIRED");
    let resolve = |id: &Value| about(id, json!({ "reason": "measured again" }));
    assert_eq!(ben.refused("resolveAlert", &resolve(id)).await, "ALERT_CAUSE_STANDS");
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-1", "PASS")).await;
    let resolved = ben.mutate("resolveAlert", "alertId alert { status resolvedBy resolution }", &resolve(id)).await;
    assert_eq!(resolved["alertId"], *id);
    assert_eq!(resolved["alert"], json!({ "status": "RESOLVED", "resolvedBy": "ben", "resolution": "measured again" }));
    assert_eq!(ben.refused("resolveAlert", &resolve(id)).await, "ALERT_ALREADY_RESOLVED");
    let open = json!({ "statuses": ["OPEN", "ACKNOWLEDGED"] });
    assert_eq!(titles(&ann, open, &resolved["position"]).await, inbox[..2]);

    let after = json!({ "after": told["alertRaised"]["position"] });
    let mut changed = ann.subscribe(CHANGED, &after).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let change = changed.next(PATIENCE).await.expect("what changed meanwhile is told");
        seen.push(change["alertChanged"]["alert"]["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["OPEN", "OPEN", "RESOLVED"], "each as it is by now");
    let query = "query($id: ID!) { alert(id: $id) { status } node(id: $id) { id } }";
    let data = ann.query(query, &json!({ "id": id })).await;
    assert_eq!(data, json!({ "alert": { "status": "RESOLVED" }, "node": { "id": id } }));
    plant.assert_tables_equal_the_log(&ann).await;
}

fn day(micros: i64) -> String {
    SystemClock.now().plus_micros(micros).to_utc().date_naive().to_string()
}

fn time(micros: i64) -> Timestamp {
    SystemClock.now().plus_micros(micros)
}

#[tokio::test]
async fn the_time_raises_alerts_once() {
    let mut plant = Plant::new("watch", Log::Postgres).await;
    plant.settings.environment.push(("LOTLINE_ALERTS__CHECK_INTERVAL_S".into(), "1".into()));
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let mut raised = ann.subscribe("subscription { alertRaised { alert { id kind title actor } } }", &json!({})).await;
    let mut perishable = lot(SITE, "L-1", "10", &[]);
    perishable["expiresOn"] = json!(day(DAY_MICROS));
    ann.mutate("registerLot", "", &perishable).await;
    let told = raised.next(PATIENCE).await.expect("somebody is warned of the lot");
    let alert = &told["alertRaised"]["alert"];
    let title = format!("10 KGM of lot 'L-1' are left, whose last day of use is {}", day(DAY_MICROS));
    assert_eq!((&alert["kind"], &alert["actor"]), (&json!("EXPIRY"), &json!("lotline")));
    assert_eq!(alert["title"], title.as_str());

    let drafted = json!({ "idempotencyKey": key(), "name": "Yogurt", "definition": process() });
    let id = ann.mutate("draftScenario", "scenarioId", &drafted).await["scenarioId"].take();
    ann.mutate("publishScenario", "", &json!({ "idempotencyKey": key(), "scenarioId": id })).await;
    let started = json!({ "idempotencyKey": key(), "site": SITE, "scenarioId": id, "code": "R-1",
        "occurredAt": time(-DAY_MICROS).to_string() });
    crate::runs::started_soon(&ann, &started).await;
    let told = raised.next(PATIENCE).await.expect("somebody is warned of the run");
    assert_eq!(told["alertRaised"]["alert"]["kind"], "STUCK_RUN");
    let mut changed = ann.subscribe(CHANGED, &json!({})).await;
    let advance = json!({ "idempotencyKey": key(), "site": SITE, "run": { "code": "R-1" }, "fromPhase": 0 });
    ann.mutate("advanceRun", "", &advance).await;
    let change = changed.next(PATIENCE).await.expect("the step resolves the alert");
    let expected =
        json!({ "id": told["alertRaised"]["alert"]["id"], "status": "RESOLVED", "level": 1, "resolvedByItself": true });
    assert_eq!(change["alertChanged"]["alert"], expected);
    // The next looks have found nothing new.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(raised.next(Duration::from_millis(10)).await, None);
    plant.assert_tables_equal_the_log(&ann).await;
}
