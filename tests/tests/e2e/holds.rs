//! Lots on hold, with all that was made from them: placed, met by operators, released as a whole and in parts, by the API.

use std::time::Duration;

use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

const SOON: Duration = Duration::from_secs(30);
const SHOWN: &str = "holdId hold { code cause reason actor open releaseReason decisionId lots(first: 100) { nodes { direct held lot { code } } } }";

fn code(code: &str) -> Value {
    json!({ "code": code })
}

fn codes(lots: &[&str]) -> Value {
    lots.iter().map(|lot| code(lot)).collect()
}

fn keyed(more: Value) -> Value {
    let mut input = json!({ "idempotencyKey": key(), "site": SITE, "reason": "glass in the filler" });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    input.as_object_mut().unwrap().extend(more);
    input
}

fn place(lots: &[&str]) -> Value {
    keyed(json!({ "lots": codes(lots) }))
}

fn release(hold: &str) -> Value {
    keyed(json!({ "hold": code(hold) }))
}

fn release_lots(hold: &str, lots: &[&str]) -> Value {
    keyed(json!({ "hold": code(hold), "lots": codes(lots) }))
}

/// Codes of the lots that a payload shows as held, in order.
fn held(payload: &Value) -> Vec<String> {
    let lots = payload["hold"]["lots"]["nodes"].as_array().unwrap().iter();
    let mut codes: Vec<String> =
        lots.filter(|lot| lot["held"] == true).map(|lot| lot["lot"]["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    codes
}

async fn message(client: &Client, name: &str, input: &Value) -> (Value, Value) {
    let mut payload = client.try_mutate(name, "", input).await.unwrap();
    let error = payload["userErrors"][0].take();
    (error["code"].clone(), error["message"].clone())
}

#[tokio::test]
async fn a_hold_reaches_descendants_and_is_released_in_parts_on_the_embedded_log() {
    whole_way(Log::Postgres).await;
}

#[tokio::test]
async fn a_hold_reaches_descendants_and_is_released_in_parts_on_kafka() {
    whole_way(Log::Kafka).await;
}

/// `M` → `A`, `B`; `A` and `B` → `MIX`; `A` → `TAIL`; `FREE` is beside them.
async fn plant_lots(ann: &Client) {
    for (name, parents) in [
        ("M", vec![]),
        ("FREE", vec![]),
        ("A", vec![("M", "20")]),
        ("B", vec![("M", "20")]),
        ("MIX", vec![("A", "5"), ("B", "5")]),
        ("TAIL", vec![("A", "5")]),
    ] {
        ann.mutate("registerLot", "", &lot(SITE, name, "100", &parents)).await;
    }
}

async fn whole_way(log: Log) {
    let plant = Plant::new("holds", log).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    plant_lots(&ann).await;
    let mut changes = ann
        .subscribe("subscription { holdChanged(site: \"north\") { position hold { code open } } }", &json!({}))
        .await;

    assert_eq!(
        ann.refused("placeHold", &keyed(json!({ "lots": codes(&["M"]), "reason": " " }))).await,
        "REASON_REQUIRED"
    );
    let bad = place(&["M", "nothing"]);
    assert_eq!(ann.refused("placeHold", &bad).await, "UNKNOWN_LOT", "one bad lot, and nothing is on hold");
    let given = place(&["M"]);
    let placed = ann.mutate("placeHold", SHOWN, &given).await;
    let again = ann.mutate("placeHold", "holdId", &given).await;
    assert_eq!((&again["holdId"], &again["replayed"]), (&placed["holdId"], &json!(true)));
    assert_eq!((&placed["hold"]["code"], &placed["hold"]["cause"]), (&json!("H-1"), &json!("PERSON")));
    assert_eq!(held(&placed), ["A", "B", "M", "MIX", "TAIL"]);
    let told = changes.next(SOON).await.expect("a hold is told of");
    assert_eq!(told["holdChanged"]["hold"], json!({ "code": "H-1", "open": true }));

    let use_of = |name: &str| lot(SITE, &format!("of-{name}-{}", key()), "1", &[(name, "1"), ("FREE", "1")]);
    let refused = message(&ann, "registerLot", &use_of("MIX")).await;
    assert_eq!(refused, (json!("LOT_ON_HOLD"), json!("lot 'MIX' is on hold H-1 through lot 'M'")));
    ann.mutate("moveLot", "", &keyed(json!({ "lot": code("MIX"), "location": "quarantine" }))).await;
    let parts = json!([{ "code": "P", "quantity": { "value": "10", "unit": "KGM" } }, { "code": "Q", "quantity": { "value": "10", "unit": "KGM" } }]);
    ann.mutate("splitLot", "", &keyed(json!({ "lot": code("TAIL"), "outputs": parts }))).await;

    let second = ann.mutate("placeHold", SHOWN, &place(&["B"])).await;
    assert_eq!(held(&second), ["B", "MIX"]);
    assert_eq!(ann.refused("releaseHoldLots", &release_lots("H-2", &["MIX", "M"])).await, "LOT_NOT_HELD");
    let let_go = ann.mutate("releaseHoldLots", SHOWN, &release_lots("H-1", &["A"])).await;
    assert_eq!(held(&let_go), ["B", "M", "MIX"], "and the parts of TAIL are free too");
    ann.mutate("registerLot", "", &use_of("Q")).await;
    let refused = message(&ann, "registerLot", &use_of("MIX")).await;
    assert_eq!(refused.1, json!("lot 'MIX' is on hold H-1 through lot 'M', H-2 through lot 'B'"));
    let released = ann.mutate("releaseHold", SHOWN, &release("H-1")).await;
    assert_eq!(
        (&released["hold"]["open"], &released["hold"]["releaseReason"]),
        (&json!(false), &json!("glass in the filler"))
    );
    assert_eq!(ann.refused("releaseHold", &release("H-1")).await, "HOLD_RELEASED");
    assert_eq!(ann.refused("registerLot", &use_of("MIX")).await, "LOT_ON_HOLD", "the other hold is still there");
    looked_up(&ann, &released["position"]).await;
    judged(&ann).await;
    plant.assert_tables_equal_the_log(&ann).await;
}

async fn looked_up(ann: &Client, at: &Value) {
    let query = "query($site: String, $at: PositionToken) {
        open: holds(site: $site, first: 10, filter: { open: true }, consistentWith: $at) { nodes { code } }
        over: holds(site: $site, first: 10, filter: { open: false }, consistentWith: $at) { nodes { id code releasedBy } }
        one: hold(site: \"north\", code: \"H-2\", consistentWith: $at) { code lots(first: 1) { pageInfo { hasNextPage endCursor } nodes { lot { code } } } }
        mix: lot(site: \"north\", code: \"MIX\", consistentWith: $at) { onHold holds(first: 5) { direct held releasedBy hold { code } } }
        free: lot(site: \"north\", code: \"FREE\", consistentWith: $at) { onHold holds(first: 5) { held } } }";
    let data = ann.query(query, &json!({ "site": SITE, "at": at })).await;
    assert_eq!(data["open"]["nodes"], json!([{ "code": "H-2" }]));
    let over = &data["over"]["nodes"][0];
    assert_eq!((&over["code"], &over["releasedBy"]), (&json!("H-1"), &json!("ann")));
    let holds = json!([
        { "direct": false, "held": true, "releasedBy": null, "hold": { "code": "H-2" } },
        { "direct": false, "held": false, "releasedBy": "ann", "hold": { "code": "H-1" } },
    ]);
    assert_eq!(data["mix"], json!({ "onHold": true, "holds": holds }));
    assert_eq!(data["free"], json!({ "onHold": false, "holds": [] }));
    let page = &data["one"]["lots"];
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let query = "query($id: ID!, $after: String) { node(id: $id) { id } hold(site: \"north\", code: \"H-2\") { lots(first: 1, after: $after) {
        pageInfo { hasNextPage } nodes { lot { code } } } } }";
    let next = ann.query(query, &json!({ "id": over["id"], "after": page["pageInfo"]["endCursor"] })).await;
    assert_eq!(next["node"]["id"], over["id"]);
    assert_eq!(next["hold"]["lots"]["pageInfo"]["hasNextPage"], false);
    assert_ne!(next["hold"]["lots"]["nodes"], page["nodes"]);
}

/// A HOLD decision places a hold that the next PASS releases; a FAIL reaches descendants for good.
async fn judged(ann: &Client) {
    ann.mutate("recordQcDecision", "", &decision(SITE, "FREE", "HOLD")).await;
    let child = lot(SITE, "FREE-2", "1", &[("FREE", "1")]);
    let refused = message(ann, "registerLot", &child).await;
    assert_eq!(refused, (json!("LOT_ON_HOLD"), json!("lot 'FREE' is on hold H-3")));
    ann.mutate("recordQcDecision", "", &decision(SITE, "FREE", "PASS")).await;
    ann.mutate("registerLot", "", &lot(SITE, "FREE-2", "10", &[("FREE", "10")])).await;
    let failed = ann.mutate("recordQcDecision", "", &decision(SITE, "FREE", "FAIL")).await;
    let refused = message(ann, "registerLot", &lot(SITE, "FREE-3", "1", &[("FREE-2", "1")])).await;
    assert_eq!(refused, (json!("LOT_ON_HOLD"), json!("lot 'FREE-2' is on hold H-4 through lot 'FREE'")));
    let query =
        "query($at: PositionToken) { hold(site: \"north\", code: \"H-4\", consistentWith: $at) { cause decisionId }
        third: hold(site: \"north\", code: \"H-3\", consistentWith: $at) { open releaseDecisionId } }";
    let data = ann.query(query, &json!({ "at": failed["position"] })).await;
    assert_eq!(data["hold"]["cause"], "DECISION");
    assert!(data["hold"]["decisionId"].is_string() && data["third"]["releaseDecisionId"].is_string(), "{data}");
    ann.mutate("releaseHold", "", &release("H-4")).await;
    ann.mutate("registerLot", "", &lot(SITE, "FREE-3", "1", &[("FREE-2", "1")])).await;
    assert_eq!(ann.refused("registerLot", &lot(SITE, "FREE-4", "1", &[("FREE", "1")])).await, "LOT_BLOCKED");
}
