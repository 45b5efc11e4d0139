//! Lots are split, merged, transformed, reworked, counted, moved, sampled, thrown away and expire, over the API and back out of the tables.

use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::operations::operation;
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::site::{self, Plant, SITE};

const MADE: &str = "transformationId lots { code product lotType quantity { value unit } remaining { value } expiresOn location \
                    parents { parent { code } quantity { value unit } } transformation { uuid kind } } \
                    transformation { kind step reason actor loss { value unit } gain { value } documents { documentType number } \
                    inputs { quantity { value unit } expiredOn exception lot { code remaining { value } } } outputs { lot { code } share } }";

fn kilograms(value: &str) -> Value {
    json!({ "value": value, "unit": "KGM" })
}

fn code(code: &str) -> Value {
    json!({ "code": code })
}

fn with(mut input: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    input.as_object_mut().unwrap().extend(more);
    input
}

#[tokio::test]
async fn lots_become_lots_on_the_embedded_log() {
    works(Log::Postgres).await;
}

#[tokio::test]
async fn lots_become_lots_on_kafka() {
    works(Log::Kafka).await;
}

async fn works(log: Log) {
    let plant = Plant::new("transforming", log).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    for (name, expires_on) in [("M-1", "2099-01-10"), ("M-2", "2099-01-05"), ("OLD", "2020-01-01")] {
        let milk = with(lot(SITE, name, "100", &[]), json!({ "expiresOn": expires_on }));
        ann.mutate("registerLot", "", &milk).await;
    }
    split(&ann).await;
    merge_and_transform(&ann).await;
    refused(&ann).await;
    one_lot(&ann).await;
    plant.assert_tables_equal_the_log(&ann).await;
}

async fn split(ann: &Client) {
    let outputs = json!([
        { "code": "S-1", "quantity": kilograms("40"), "location": "rack 1" },
        { "code": "S-2", "quantity": { "value": "20500", "unit": "GRM" }, "lotType": "INGREDIENT" },
    ]);
    let given = json!({ "idempotencyKey": key(), "site": SITE, "lot": code("M-1"), "outputs": outputs, "loss": kilograms("0.5"),
        "step": "portioning", "documents": [{ "documentType": "batch record", "number": "B-7" }] });
    let payload = ann.mutate("splitLot", MADE, &given).await;
    let [first, second] = payload["lots"].as_array().unwrap().as_slice() else { panic!("two lots: {payload}") };
    assert_eq!((&first["code"], &second["code"]), (&json!("S-1"), &json!("S-2")));
    assert_eq!((&first["product"], &first["lotType"]), (&json!("Whole milk"), &json!("RAW")));
    assert_eq!((&second["lotType"], &second["quantity"]["value"]), (&json!("INGREDIENT"), &json!("20500")));
    assert_eq!((&first["expiresOn"], &first["location"]), (&json!("2099-01-10"), &json!("rack 1")));
    assert_eq!(first["transformation"], json!({ "uuid": payload["transformationId"], "kind": "SPLIT" }));
    let edges = |lot: &Value| lot["parents"][0]["quantity"]["value"].clone();
    assert_eq!((edges(first), edges(second)), (json!("40.330579"), json!("20.669421")), "60.5 and what was lost");
    let made = &payload["transformation"];
    assert_eq!((&made["step"], &made["actor"]), (&json!("portioning"), &json!("ann")));
    assert_eq!((&made["loss"]["value"], &made["documents"][0]["number"]), (&json!("0.5"), &json!("B-7")));
    assert_eq!(made["inputs"][0]["lot"], json!({ "code": "M-1", "remaining": { "value": "39" } }));
    let again = ann.mutate("splitLot", "transformationId", &given).await;
    assert_eq!((&again["transformationId"], &again["replayed"]), (&payload["transformationId"], &json!(true)));
    let parent = site::lot(ann, "M-1", &payload["position"]).await;
    assert_eq!(parent["children"].as_array().unwrap().len(), 2);
}

async fn merge_and_transform(ann: &Client) {
    let given = json!({ "idempotencyKey": key(), "site": SITE, "inputs": [{ "lot": code("S-1") }, { "lot": code("M-2"), "quantity": kilograms("10") }],
        "output": { "code": "T-1", "quantity": kilograms("50") } });
    let merged = ann.mutate("mergeLots", MADE, &given).await;
    assert_eq!(merged["lots"][0]["expiresOn"], "2099-01-05", "the earliest of its parents");
    assert_eq!(merged["transformation"]["inputs"][0]["lot"]["remaining"]["value"], "0", "all that was left");

    let outputs = json!([
        { "code": "CUPS", "lotType": "FINISHED", "product": "Yoghurt", "quantity": { "value": "60", "unit": "C62" }, "share": "3", "expiresOn": "2099-03-01" },
        { "code": "WHEY", "lotType": "BY_PRODUCT", "product": "Whey", "quantity": { "value": "12", "unit": "LTR" }, "share": "1" },
    ]);
    let old = json!({ "lot": code("OLD"), "quantity": kilograms("1"), "exception": "starter culture, approved by QA" });
    let given = json!({ "idempotencyKey": key(), "site": SITE, "inputs": [{ "lot": code("T-1"), "quantity": kilograms("48") }, old],
        "outputs": outputs, "loss": kilograms("0.2") });
    let payload = ann.mutate("transformLots", MADE, &given).await;
    let parents = |index: usize| {
        let all = payload["lots"][index]["parents"].as_array().unwrap().iter();
        let mut all: Vec<String> =
            all.map(|edge| format!("{}{}", edge["parent"]["code"], edge["quantity"]["value"])).collect();
        all.sort();
        all.join(" ")
    };
    assert_eq!(parents(0), r#""OLD""0.75" "T-1""36""#, "{payload}");
    assert_eq!(parents(1), r#""OLD""0.25" "T-1""12""#);
    assert_eq!(payload["lots"][0]["expiresOn"], "2099-03-01", "another product may last longer");
    assert_eq!(payload["lots"][1]["expiresOn"], "2020-01-01", "and nothing said, it lasts as long as its inputs");
    let exception = &payload["transformation"]["inputs"][1];
    assert_eq!(exception["exception"], "starter culture, approved by QA");
    assert_eq!(exception["expiredOn"], "2020-01-01");

    let rework = with(operation("reworkLots", SITE, &[code("CUPS")]).unwrap(), json!({ "reason": null }));
    assert_eq!(ann.refused("reworkLots", &rework).await, "REASON_REQUIRED");
}

/// Ten inputs of which one is bad, and every other rule that an operator can run into: nothing changes.
async fn refused(ann: &Client) {
    for number in 0..10 {
        ann.mutate("registerLot", "", &lot(SITE, &format!("L-{number}"), "12.5", &[])).await;
    }
    let inputs: Vec<Value> = (0..10)
        .map(|number| json!({ "lot": code(&format!("L-{number}")), "quantity": kilograms(if number == 7 { "13" } else { "10" }) }))
        .collect();
    let output = |code: &str, value: &str| json!({ "code": code, "lotType": "INTERMEDIATE", "product": "Mix", "quantity": kilograms(value) });
    let mix = |more: Value| {
        let given =
            json!({ "idempotencyKey": key(), "site": SITE, "inputs": inputs, "outputs": [output("MIX", "103")] });
        with(given, more)
    };
    let payload = ann.try_mutate("transformLots", MADE, &mix(json!({}))).await.unwrap();
    let error = json!([{ "field": "inputs", "code": "NOT_ENOUGH_LEFT", "message": "lot 'L-7' has 12.5 KGM left, 13 KGM asked" }]);
    assert_eq!(payload["userErrors"], error);
    assert_eq!((&payload["lots"], &payload["transformation"]), (&json!([]), &Value::Null));
    for number in 0..10 {
        let lot = site::lot(ann, &format!("L-{number}"), &payload["position"]).await;
        assert_eq!((&lot["remaining"]["value"], &lot["children"]), (&json!("12.5"), &json!([])));
    }
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-9", "HOLD")).await;
    let one = |name: &str| json!({ "inputs": [{ "lot": code(name), "quantity": kilograms("5") }] });
    let of = |name: &str, value: &str, code: &str| {
        with(with(mix(json!({})), one(name)), json!({ "outputs": [output(code, value)] }))
    };
    for (given, expected) in [
        (of("L-9", "5", "MIX"), "LOT_ON_HOLD"),
        (of("L-0", "4", "MIX"), "UNBALANCED"),
        (of("L-0", "5", "L-1"), "DUPLICATE_LOT_CODE"),
        (of("L-0", "1e400", "MIX"), "QUANTITY_NOT_DECIMAL"),
        (of("nothing", "5", "MIX"), "UNKNOWN_LOT"),
        (of("OLD", "5", "MIX"), "LOT_EXPIRED"),
        (with(of("L-0", "5", "MIX"), json!({ "outputs": [] })), "WRONG_COUNT"),
        (
            with(of("L-0", "5", "MIX"), json!({ "outputs": [output("A", "2"), output(" A", "3")] })),
            "DUPLICATE_OUTPUT_CODE",
        ),
        (with(of("L-0", "5", "MIX"), json!({ "expectedVersion": 1 })), "VERSION_CONFLICT"),
        (with(of("L-0", "5", "MIX"), json!({ "site": "nowhere" })), "UNKNOWN_SITE"),
    ] {
        assert_eq!(ann.refused("transformLots", &given).await, expected, "{given}");
    }
    ann.mutate("transformLots", "", &of("L-0", "5", "MIX")).await;
}

async fn one_lot(ann: &Client) {
    let fields = "lot { code location expired remaining { value } }";
    let do_it = |field: &'static str, more: Value| with(operation(field, SITE, &[code("L-1")]).unwrap(), more);
    let increase =
        do_it("adjustLot", json!({ "direction": "INCREASE", "quantity": { "value": "500", "unit": "GRM" } }));
    let mut last = Value::Null;
    for (field, given, left) in [
        ("adjustLot", increase, "13"),
        ("adjustLot", do_it("adjustLot", json!({})), "12"),
        (
            "sampleLot",
            do_it("sampleLot", json!({ "quantity": { "value": "250", "unit": "GRM" }, "label": "P-1" })),
            "11.75",
        ),
        ("scrapLot", do_it("scrapLot", json!({ "quantity": kilograms("1.75") })), "10"),
        ("moveLot", do_it("moveLot", json!({})), "10"),
        ("scrapLot", do_it("scrapLot", json!({ "quantity": null })), "0"),
    ] {
        let payload = ann.mutate(field, fields, &given).await;
        assert_eq!(payload["lot"]["remaining"]["value"], left, "{field}: {payload}");
        last = payload["lot"].clone();
    }
    assert_eq!(last, json!({ "code": "L-1", "location": "dock", "expired": false, "remaining": { "value": "0" } }));
    for (field, more, expected) in [
        ("scrapLot", json!({ "quantity": null }), "NOTHING_LEFT"),
        ("scrapLot", json!({ "reason": " " }), "REASON_REQUIRED"),
        ("sampleLot", json!({ "quantity": kilograms("-1") }), "QUANTITY_NOT_POSITIVE"),
        ("moveLot", json!({ "location": "" }), "INVALID_TEXT"),
        ("expireLot", json!({}), "NO_EXPIRY"),
        ("expireLot", json!({ "lot": code("M-1") }), "NOT_EXPIRED"),
    ] {
        assert_eq!(ann.refused(field, &do_it(field, more)).await, expected, "{field}");
    }
    let over = do_it("expireLot", json!({ "lot": code("OLD") }));
    let payload = ann.mutate("expireLot", "lot { expired }", &over).await;
    assert_eq!(payload["lot"]["expired"], true);
    let trail = "query($at: PositionToken) { auditTrail(first: 1, filter: { eventType: \"lotline.lot.moved.v1\" }, consistentWith: $at) { nodes { changes } } }";
    let data = ann.query(trail, &json!({ "at": payload["position"] })).await;
    assert_eq!(data["auditTrail"]["nodes"][0]["changes"], json!({ "location": { "before": null, "after": "dock" } }));
}
