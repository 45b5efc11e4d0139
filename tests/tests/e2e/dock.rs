//! The dock: deliveries that come in, lots that are looked up by what stands on them, and shipments that go out.

use std::time::Duration;

use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::{Log, Server};
use serde_json::{Value, json};

use crate::site::{self, Plant, SITE};

/// A delivery of one lot of milk.
pub(crate) fn delivery(supplier: &str, code: &str) -> Value {
    json!({
        "idempotencyKey": key(), "site": SITE, "supplier": supplier,
        "lots": [{ "code": code, "lotType": "RAW", "product": "MILK", "quantity": { "value": "100", "unit": "KGM" } }],
    })
}

/// A shipment of some kilograms of lots.
fn shipment(customer: &str, lots: &[(&str, Option<&str>)]) -> Value {
    let one = |(code, value): &(&str, Option<&str>)| {
        let quantity = value.map(|value| json!({ "value": value, "unit": "KGM" }));
        json!({ "lot": { "code": code }, "quantity": quantity })
    };
    let lots: Vec<Value> = lots.iter().map(one).collect();
    json!({ "idempotencyKey": key(), "site": SITE, "customer": customer, "lots": lots })
}

async fn master_data(ann: &Client) {
    let milk = json!({ "idempotencyKey": key(), "code": "MILK", "name": "Raw milk", "gtin": "4012345678901", "unit": "KGM",
        "conversions": [{ "unit": "LTR", "factor": "1.03" }], "shelfLifeDays": 3 });
    ann.mutate("defineProduct", "", &milk).await;
    for (code, supplies) in [("FARM-7", true), ("MARKET", false)] {
        let partner =
            json!({ "idempotencyKey": key(), "code": code, "name": code, "supplies": supplies, "buys": !supplies });
        let defined = ann.mutate("definePartner", "", &partner).await;
        let query = "query($at: PositionToken) { partners(first: 1, consistentWith: $at) { nodes { id } } }";
        ann.query(query, &json!({ "at": defined["position"] })).await;
    }
}

/// Codes of the lots that a lookup finds.
async fn found(ann: &Client, by: Value, at: &Value) -> Vec<String> {
    let query = "query($by: FindLotsInput!, $at: PositionToken) { findLots(by: $by, first: 10, consistentWith: $at) { more lots { code } } }";
    let data = ann.query(query, &json!({ "by": by, "at": at })).await;
    assert_eq!(data["findLots"]["more"], false);
    let lots = data["findLots"]["lots"].as_array().unwrap();
    lots.iter().map(|lot| lot["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_comes_in_is_found_and_goes_out_on_the_embedded_log() {
    works(Log::Postgres).await;
}

#[tokio::test]
async fn what_comes_in_is_found_and_goes_out_on_kafka() {
    works(Log::Kafka).await;
}

async fn works(log: Log) {
    let plant = Plant::new("dock", log).await;
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    master_data(&ann).await;
    comes_in(&ann).await;
    is_found(&ann).await;
    goes_out(&ann).await;
    plant.assert_tables_equal_the_log(&ann).await;
    assert!(server.stop(Duration::from_secs(30)).await, "the server stops cleanly:\n{}", server.printed());

    // The next writer knows what left, and to whom one may ship.
    let again = Server::start(&plant.settings, &["serve"]).await;
    let ann = Client::new(&again.url, "ann");
    let mut twice = shipment("MARKET", &[("M-1", Some("1"))]);
    twice["code"] = json!("S-1");
    assert_eq!(ann.refused("shipLots", &twice).await, "DUPLICATE_SHIPMENT_CODE");
    assert_eq!(ann.refused("shipLots", &shipment("MARKET", &[("X-2", Some("30"))])).await, "NOT_ENOUGH_LEFT");
    assert_eq!(ann.refused("receiveLots", &delivery("MARKET", "M-9")).await, "NO_SUPPLIER");
    ann.mutate("shipLots", "", &shipment("MARKET", &[("X-2", None)])).await;
    plant.assert_tables_equal_the_log(&ann).await;
}

async fn comes_in(ann: &Client) {
    let mut input = delivery("FARM-7", "M-1");
    input["occurredAt"] = json!("2025-11-12T22:00:00Z");
    input["documents"] = json!([{ "documentType": "bill of lading", "number": "B-7" }]);
    let first = &mut input["lots"][0];
    (first["supplierLot"], first["traceabilityLotCodeSource"]) = (json!("F/9"), json!("9506000140445"));
    (first["product"], first["producedOn"]) = (json!("04012345678901"), json!("2025-11-10"));
    let mut second = first.clone();
    (second["code"], second["expiresOn"], second["supplierLot"]) = (json!("M-2"), json!("2030-01-31"), json!("F/10"));
    (second["producedOn"], second["quantity"]) = (Value::Null, json!({ "value": "10", "unit": "LTR" }));
    input["lots"].as_array_mut().unwrap().push(second.clone());

    let mut bad = input.clone();
    (bad["idempotencyKey"], bad["lots"][1]["quantity"]["unit"]) = (json!(key()), json!("C62"));
    assert_eq!(ann.refused("receiveLots", &bad).await, "UNIT_NOT_OF_PRODUCT");
    let (code, nothing) = (json!({ "code": "M-1" }), Vec::<String>::new());
    assert_eq!(found(ann, code.clone(), &Value::Null).await, nothing, "all of it or nothing");

    let shown = "deliveryUuid lots { code product quantity { value unit } supplierLot expiresOn receipt {
        deliveryUuid supplierCode supplier { code name } traceabilityLotCodeSource documents { documentType number }
        producedOn shelfLifeDays exception receivedAt } }";
    let received = ann.mutate("receiveLots", shown, &input).await;
    let lots = received["lots"].as_array().unwrap();
    assert_eq!(lots.len(), 2);
    assert_eq!(
        lots[0],
        json!({
            "code": "M-1", "product": "MILK", "quantity": { "value": "100", "unit": "KGM" }, "supplierLot": "F/9",
            "expiresOn": "2025-11-13", "receipt": {
                "deliveryUuid": received["deliveryUuid"], "supplierCode": "FARM-7", "supplier": { "code": "FARM-7", "name": "FARM-7" },
                "traceabilityLotCodeSource": "9506000140445", "documents": [{ "documentType": "bill of lading", "number": "B-7" }],
                "producedOn": "2025-11-10", "shelfLifeDays": 3, "exception": null, "receivedAt": "2025-11-12T22:00:00+00:00",
            },
        })
    );
    assert_eq!((&lots[1]["code"], &lots[1]["expiresOn"]), (&json!("M-2"), &json!("2030-01-31")));
    assert_eq!(lots[1]["receipt"]["shelfLifeDays"], Value::Null);
    let again = ann.mutate("receiveLots", "deliveryUuid lots { code }", &input).await;
    assert_eq!((&again["deliveryUuid"], &again["replayed"]), (&received["deliveryUuid"], &json!(true)));

    // Of one lot, and late.
    let mut late = delivery("FARM-7", "M-3");
    let one = late["lots"][0].take();
    late.as_object_mut().unwrap().remove("lots");
    late.as_object_mut().unwrap().extend(one.as_object().unwrap().clone());
    late["expiresOn"] = json!("2020-01-01");
    assert_eq!(ann.refused("receiveLot", &late).await, "EXPIRED_ON_ARRIVAL");
    (late["idempotencyKey"], late["exception"]) = (json!(key()), json!("for feed"));
    let taken = ann.mutate("receiveLot", "lots { code receipt { exception } }", &late).await;
    assert_eq!(taken["lots"], json!([{ "code": "M-3", "receipt": { "exception": "for feed" } }]));
    assert_eq!(ann.refused("registerLot", &lot(SITE, "C-1", "1", &[("M-3", "1")])).await, "LOT_EXPIRED");
}

async fn is_found(ann: &Client) {
    let last = ann.mutate("registerLot", "", &lot(SITE, "X-1", "1", &[])).await;
    let at = &last["position"];
    assert_eq!(found(ann, json!({ "code": "M-2" }), at).await, ["M-2"]);
    assert_eq!(found(ann, json!({ "supplierLot": "F/9" }), at).await, ["M-1"]);
    let mut all = found(ann, json!({ "gtin": "4012345678901" }), at).await;
    all.sort();
    assert_eq!(all, ["M-1", "M-2", "M-3"]);
    for scan in [
        "]C101040123456789011725111310F/9",
        "0104012345678901\u{1d}10F/9\u{1d}17251113",
        "(01)04012345678901(10)F/9",
        "https://id.gs1.org/01/04012345678901/10/F%2F9?17=251113",
        "10M-1",
    ] {
        assert_eq!(found(ann, json!({ "scan": scan }), at).await, ["M-1"], "{scan:?}");
    }
    assert_eq!(found(ann, json!({ "scan": "4012345678901" }), at).await.len(), 3, "an item's own bar code");
    let other = json!({ "scan": "(01)09506000134352(10)F/9" });
    assert_eq!(found(ann, other, at).await, Vec::<String>::new(), "the batch of another product");
    let shown =
        "query($by: FindLotsInput!) { findLots(by: $by, first: 1) { more scanned { ai title value } lots { code } } }";
    let data = ann.query(shown, &json!({ "by": { "scan": "(01)04012345678901(17)251113" } })).await;
    assert_eq!(
        (data["findLots"]["more"].as_bool(), data["findLots"]["lots"].as_array().unwrap().len()),
        (Some(true), 1)
    );
    assert_eq!(data["findLots"]["scanned"][1], json!({ "ai": "17", "title": "USE BY", "value": "251113" }));
    let wrong = ann.send(shown, &json!({ "by": { "scan": "]C10104012345678902" } })).await.unwrap();
    let message = wrong["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("AI 01 at 5: the check digit of 04012345678902 should be 1"), "{message}");
}

async fn goes_out(ann: &Client) {
    let mut input = shipment("MARKET", &[("M-2", Some("0.5")), ("X-1", None)]);
    (input["code"], input["carrierReference"]) = (json!("S-1"), json!("CMR 9"));
    input["documents"] = json!([{ "documentType": "bill of lading", "number": "B-8" }]);
    assert_eq!(ann.refused("shipLots", &input).await, "UNIT_MISMATCH");
    input["idempotencyKey"] = json!(key());
    input["lots"][0]["quantity"] = json!({ "value": "500", "unit": "MLT" });
    let shown =
        "shipmentUuid shipment { uuid site code customerCode customer { code } carrierReference documents { number }
        lots { quantity { value unit } lot { code remaining { value unit } } } }";
    let shipped = ann.mutate("shipLots", shown, &input).await;
    let expected = json!({
        "uuid": shipped["shipmentUuid"], "site": SITE, "code": "S-1", "customerCode": "MARKET", "customer": { "code": "MARKET" },
        "carrierReference": "CMR 9", "documents": [{ "number": "B-8" }], "lots": [
            { "quantity": { "value": "500", "unit": "MLT" }, "lot": { "code": "M-2", "remaining": { "value": "9.5", "unit": "LTR" } } },
            { "quantity": { "value": "1", "unit": "KGM" }, "lot": { "code": "X-1", "remaining": { "value": "0", "unit": "KGM" } } },
        ],
    });
    assert_eq!(shipped["shipment"], expected);

    let mut past = shipment("MARKET", &[("M-1", Some("75"))]);
    assert_eq!(ann.refused("shipLots", &past).await, "LOT_EXPIRED", "its last day of use is over");
    (past["idempotencyKey"], past["occurredAt"]) = (json!(key()), json!("2025-11-13T10:00:00Z"));
    assert_eq!(
        ann.refused("shipLots", &past).await,
        "LOT_EXPIRED",
        "whatever day is said to have been that of the deed"
    );
    ann.mutate("registerLot", "", &lot(SITE, "X-2", "100", &[])).await;
    let mut late = shipment("MARKET", &[("X-2", Some("75"))]);
    late["occurredAt"] = json!("2025-11-13T10:00:00Z");
    let left = ann.mutate("shipLots", "shipment { code }", &late).await;
    assert_eq!(left["shipment"]["code"], "S-20251113-01");
    ann.mutate("recordQcDecision", "", &decision(SITE, "M-2", "HOLD")).await;
    assert_eq!(ann.refused("shipLots", &shipment("MARKET", &[("M-2", None)])).await, "LOT_ON_HOLD");

    let query = "query($at: PositionToken) { shipments(customer: \"MARKET\", first: 5, consistentWith: $at) { nodes { code } }
        one: shipment(site: \"north\", code: \"S-1\") { uuid } none: shipments(customer: \"FARM-7\", first: 5) { nodes { code } }
        lot(site: \"north\", code: \"X-2\") { shipments(first: 5) { quantity { value } shipment { code customerCode } } } }";
    let data = ann.query(query, &json!({ "at": left["position"] })).await;
    assert_eq!(data["shipments"]["nodes"], json!([{ "code": "S-20251113-01" }, { "code": "S-1" }]));
    assert_eq!((&data["one"]["uuid"], &data["none"]["nodes"]), (&shipped["shipmentUuid"], &json!([])));
    let of_lot =
        json!([{ "quantity": { "value": "75" }, "shipment": { "code": "S-20251113-01", "customerCode": "MARKET" } }]);
    assert_eq!(data["lot"]["shipments"], of_lot);
    assert_eq!(site::lot(ann, "X-2", &left["position"]).await["remaining"]["value"], "25");

    // The audit trail of a lot has its shipment among what changed it.
    let trail = "{ auditTrail(filter: { stream: \"north\" }, first: 100) { nodes { eventType changes } } }";
    let data = ann.query(trail, &json!({})).await;
    let entries = data["auditTrail"]["nodes"].as_array().unwrap();
    let shipped = entries.iter().filter(|entry| entry["eventType"] == "lotline.shipment.shipped.v1").count();
    assert_eq!(shipped, 2);
    assert!(data.to_string().contains(".remaining_base"), "what left is told of as a change of each lot");
}
