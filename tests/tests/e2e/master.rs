//! Master data through the API: defined, changed, imported from files, and told of in the audit trail.

use lotline_tests::client::{Client, key};
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

const PRODUCT: &str =
    "productId product { id code name gtin unit conversions { unit factor } shelfLifeDays active version }";
const REPORT: &str = "position userErrors { code message } created changed unchanged refused lines { line code outcome field error message }";

fn yoghurt() -> Value {
    json!({
        "code": "YOG-500", "name": "Yoghurt 500 g", "gtin": "4012345678901", "unit": "C62",
        "conversions": [{ "unit": "KGM", "factor": "0.50" }], "shelfLifeDays": 28,
    })
}

/// With a key of its own.
fn once(input: Value) -> Value {
    with(input, "idempotencyKey", json!(key()))
}

fn with(mut input: Value, field: &str, value: Value) -> Value {
    input[field] = value;
    input
}

async fn import(client: &Client, kind: &str, csv: &str) -> Value {
    read_in(client, &json!({ "idempotencyKey": key(), "kind": kind, "csv": csv })).await
}

async fn read_in(client: &Client, input: &Value) -> Value {
    let query =
        format!("mutation($input: ImportMasterDataInput!) {{ importMasterData(input: $input) {{ {REPORT} }} }}");
    client.query(&query, &json!({ "input": input })).await["importMasterData"].take()
}

/// `line code outcome` of each line.
fn outcomes(report: &Value) -> Vec<String> {
    let lines = report["lines"].as_array().expect("a report has lines");
    let told = |line: &Value| {
        let (code, outcome) = (line["code"].as_str().unwrap(), line["outcome"].as_str().unwrap());
        let error = line["error"].as_str().map(|error| format!(" {error}")).unwrap_or_default();
        format!("{} {code} {outcome}{error}", line["line"])
    };
    lines.iter().map(told).collect()
}

#[tokio::test]
async fn products_and_partners_are_defined_and_looked_up() {
    let plant = Plant::new("master", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let defined = ann.mutate("defineProduct", PRODUCT, &once(yoghurt())).await;
    let product = &defined["product"];
    assert_eq!((&product["id"], &product["version"]), (&defined["productId"], &defined["version"]));
    assert_eq!(product["conversions"], json!([{ "unit": "KGM", "factor": "0.5" }]));
    let renamed = with(yoghurt(), "name", json!("Yoghurt, half a kilogram"));
    let stale = with(renamed.clone(), "expectedVersion", json!(0));
    assert_eq!(ann.refused("defineProduct", &once(stale)).await, "VERSION_CONFLICT");
    let renamed = with(renamed, "expectedVersion", defined["version"].clone());
    let changed = ann.mutate("defineProduct", PRODUCT, &once(renamed)).await;
    assert_eq!(
        (&changed["productId"], changed["product"]["name"].as_str()),
        (&defined["productId"], Some("Yoghurt, half a kilogram"))
    );
    let farm = json!({ "code": "FARM-7", "name": "Green Hill Farm Ltd", "gln": "9506000140445", "supplies": true });
    let farm = ann.mutate("definePartner", "partnerId partner { code supplies buys active }", &once(farm)).await;
    assert_eq!(farm["partner"], json!({ "code": "FARM-7", "supplies": true, "buys": false, "active": true }));

    for (code, mutation, input) in [
        ("UNCHANGED", "defineProduct", with(yoghurt(), "name", json!("Yoghurt, half a kilogram"))),
        (
            "CANONICAL_UNIT_FIXED",
            "defineProduct",
            with(with(yoghurt(), "unit", json!("LTR")), "conversions", json!([])),
        ),
        ("DUPLICATE_GS1_KEY", "defineProduct", with(yoghurt(), "code", json!("YOG-501"))),
        ("INVALID_GS1_KEY", "defineProduct", with(yoghurt(), "gtin", json!("4012345678902"))),
        ("UNKNOWN_UNIT", "defineProduct", with(yoghurt(), "unit", json!("cup"))),
        ("NO_TRADE", "definePartner", json!({ "code": "X", "name": "X" })),
    ] {
        assert_eq!(ann.refused(mutation, &once(input.clone())).await, code, "{input}");
    }

    let query = "query($at: PositionToken, $id: ID!, $subject: String!) {
        gtin: products(first: 9, gtin: \"04012345678901\", consistentWith: $at) { nodes { code } }
        gone: products(first: 9, active: false) { nodes { code } }
        sellers: partners(first: 9, supplies: true) { nodes { code } }
        buyers: partners(first: 9, buys: true) { nodes { code } }
        node(id: $id) { id ... on Product { code } }
        auditTrail(first: 9, filter: { subject: $subject }) { nodes { eventType changes } } }";
    let uuid = ann.query("{ auditTrail(first: 9) { nodes { eventType subject } } }", &json!({})).await;
    let entries = uuid["auditTrail"]["nodes"].as_array().unwrap();
    let subject =
        entries.iter().find(|entry| entry["eventType"] == "lotline.product.defined.v1").unwrap()["subject"].clone();
    let at = json!({ "at": farm["position"], "id": defined["productId"], "subject": subject });
    let seen = ann.query(query, &at).await;
    assert_eq!(seen["gtin"]["nodes"], json!([{ "code": "YOG-500" }]));
    assert_eq!((&seen["gone"]["nodes"], &seen["buyers"]["nodes"]), (&json!([]), &json!([])));
    assert_eq!(seen["sellers"]["nodes"], json!([{ "code": "FARM-7" }]));
    assert_eq!(seen["node"], json!({ "id": defined["productId"], "code": "YOG-500" }));
    let trail = seen["auditTrail"]["nodes"].as_array().unwrap();
    assert_eq!(trail.len(), 2, "{trail:?}");
    let renaming = json!({ "name": { "before": "Yoghurt 500 g", "after": "Yoghurt, half a kilogram" } });
    assert!(trail.iter().any(|entry| entry["changes"] == renaming), "{trail:#?}");
}

#[tokio::test]
async fn files_are_read_in_with_a_report_per_line() {
    let plant = Plant::new("import", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let file = "code,name,unit,gtin,conversions,shelf_life_days,active\n\
                MILK,Raw milk,LTR,,KGM=1.03,,\n\
                YOG-500,Yoghurt,C62,4012345678901,KGM=0.5;LTR=0.48,28,yes\n\
                CUP,Cup,C62,4012345678901,,,\n\
                LID,Lid,piece,,,,\n\
                BOX,Box,C62,,,soon,\n";
    let report = import(&ann, "PRODUCTS", file).await;
    // Which of two with one GTIN comes first is the order of the file.
    let expected = [
        "2 MILK CREATED",
        "3 YOG-500 CREATED",
        "4 CUP REFUSED DUPLICATE_GS1_KEY",
        "5 LID REFUSED UNKNOWN_UNIT",
        "6 BOX REFUSED INVALID_VALUE",
    ];
    assert_eq!(outcomes(&report), expected, "{report:#}");
    assert_eq!([&report["created"], &report["changed"], &report["unchanged"], &report["refused"]], [2, 0, 0, 3]);
    let mended = file
        .replace("CUP,Cup,C62,4012345678901", "CUP,Cup,C62,")
        .replace("Raw milk", "Milk")
        .replace("piece", "C62")
        .replace("soon", "");
    let report = import(&ann, "PRODUCTS", &mended).await;
    let expected = ["2 MILK CHANGED", "3 YOG-500 UNCHANGED", "4 CUP CREATED", "5 LID CREATED", "6 BOX CREATED"];
    assert_eq!(outcomes(&report), expected, "{report:#}");

    let partners = "code,name,supplies,buys\nFARM-7,Green Hill Farm Ltd,yes,no\nSHOP-1,Corner Shop,no,yes\n";
    assert_eq!(import(&ann, "PARTNERS", partners).await["created"], 2);
    let stock = "code,lot_type,product,quantity,unit,expires_on\nOLD-1,raw,MILK,1200.5,LTR,2027-01-31\nOLD-2,finished,YOG-500,-4,C62,\n";
    let again = json!({ "idempotencyKey": key(), "kind": "OPENING_STOCK", "site": SITE, "csv": stock });
    let mut position = Value::Null;
    for _ in 0..2 {
        let report = read_in(&ann, &again).await;
        let expected = ["2 OLD-1 CREATED", "3 OLD-2 REFUSED QUANTITY_NOT_POSITIVE"];
        assert_eq!(outcomes(&report), expected, "the same under the same key: {report:#}");
        position = report["position"].clone();
    }
    let query = "query($at: PositionToken) { lots(first: 9, consistentWith: $at) { nodes { code remaining { value unit } attributes { name value } } } }";
    let found = ann.query(query, &json!({ "at": position })).await["lots"]["nodes"].take();
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");

    for (code, kind, site, csv) in [
        ("COLUMNS", "PRODUCTS", Value::Null, "code,name,units\nA,B,C\n"),
        ("DUPLICATE_CODE", "PARTNERS", Value::Null, "code,name,buys\nA,B,yes\nA,C,yes\n"),
        ("EMPTY", "PARTNERS", Value::Null, "code,name\n"),
        ("REQUIRED", "OPENING_STOCK", Value::Null, stock),
        ("NOT_OF_A_SITE", "PARTNERS", json!(SITE), partners),
    ] {
        let refused = read_in(&ann, &json!({ "idempotencyKey": key(), "kind": kind, "site": site, "csv": csv })).await;
        assert_eq!((&refused["userErrors"][0]["code"], &refused["lines"]), (&json!(code), &json!([])), "{refused}");
    }
}
