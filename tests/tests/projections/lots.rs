//! Lots out of lots, and what is done to them, in the tables: rows, edges, and what the audit trail says has changed.

use std::collections::BTreeMap;

use lotline_domain::command::{Command, QuantityInput, RegisterLot};
use lotline_domain::event::Event;
use lotline_domain::flow::FlowCommand;
use lotline_domain::flow::receipt::{ReceiveLot, ReceiveLots};
use lotline_domain::flow::shipment::{ShipLot, ShipLots};
use lotline_domain::lot::command::{LotCommand, TransformInput, TransformLots, TransformOutput};
use lotline_domain::lot::event::{AdjustmentDirection, DocumentReference, TransformationKind};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::master::MasterCommand;
use lotline_domain::master::partner::DefinePartner;
use lotline_domain::master::product::DefineProduct;
use serde_json::{Value, json};

use crate::fixture::{FakeLog, Plant, quantity, register};
use crate::rig::Rig;

fn named(code: &str) -> LotRef {
    LotRef::Code(code.into())
}

fn transform(kind: TransformationKind, inputs: &[(&str, Option<&str>)], outputs: &[(&str, &str)]) -> Command {
    let input = |(code, amount): &(&str, Option<&str>)| TransformInput {
        lot: named(code),
        quantity: amount.map(quantity),
        exception: Some("for feed".into()),
    };
    let output = |(code, amount): &(&str, &str)| TransformOutput {
        code: (*code).into(),
        lot_type: Some(LotType::Intermediate),
        product: Some("yoghurt, natural".into()),
        quantity: quantity(amount),
        share: (kind == TransformationKind::Rework).then(|| "0.5".into()),
        temperature_c: None,
        expires_on: None,
        location: Some("rack 1".into()),
        attributes: BTreeMap::from([("fat".into(), "3.5 %".into())]),
    };
    let document = DocumentReference { document_type: "batch record".into(), number: "B-1".into() };
    Command::Lot(LotCommand::Transform(TransformLots {
        kind,
        inputs: inputs.iter().map(input).collect(),
        outputs: outputs.iter().map(output).collect(),
        loss: (kind == TransformationKind::Split).then(|| quantity("1")),
        gain: None,
        step: Some("mixing".into()),
        location: None,
        documents: vec![document],
    }))
}

/// Everything that can be done to lots, some of it to lots of the same batch.
pub(crate) fn day(plant: &mut Plant, site: &str, round: usize) {
    let code = |name: &str| format!("{name}-{round}");
    let (a, b, c, d, old) = (code("a"), code("b"), code("c"), code("d"), code("old"));
    let mut done = |command| {
        let (event, _) = plant.decide(site, command);
        assert!(!matches!(event, Event::CommandRefused(_)), "{event:?}");
    };
    done(register(&a, &[]));
    let Command::RegisterLot(lot) = register(&old, &[]) else { unreachable!("a registration is one") };
    let expires_on = chrono::NaiveDate::from_ymd_opt(2026, 11, 1);
    done(Command::RegisterLot(RegisterLot { expires_on, location: None, ..lot }));
    done(transform(TransformationKind::Split, &[(&a, None)], &[(&b, "30"), (&c, "19")]));
    done(transform(TransformationKind::Merge, &[(&b, None), (&old, Some("5"))], &[(&d, "35")]));
    let outputs = [(code("e"), "20"), (code("f"), "10")];
    let outputs: Vec<_> = outputs.iter().map(|(code, amount)| (code.as_str(), *amount)).collect();
    done(transform(TransformationKind::Rework, &[(&d, Some("30"))], &outputs));
    let (direction, lot) = (AdjustmentDirection::Increase, named(&c));
    done(Command::Lot(LotCommand::Adjust { lot, direction, quantity: quantity("0.5") }));
    let grams = QuantityInput { value: "250".into(), unit: "GRM".into() };
    let (label, purpose) = (Some("P-1".into()), None);
    done(Command::Lot(LotCommand::Sample { lot: named(&c), quantity: grams, label, purpose }));
    for location in ["dock", "cold store"] {
        done(Command::Lot(LotCommand::Move { lot: named(&c), location: location.into() }));
    }
    done(Command::Lot(LotCommand::Expire { lot: named(&old) }));
    done(Command::Lot(LotCommand::Scrap { lot: named(&old), quantity: None }));
    at_the_dock(plant, site, round);
}

/// What comes in, some of it of a product that master data knows, and what of it leaves at once or later.
fn at_the_dock(plant: &mut Plant, site: &str, round: usize) {
    let code = |name: &str| format!("{name}-{round}");
    let partner = DefinePartner {
        code: code("dock"),
        name: "market".into(),
        gln: None,
        supplies: true,
        buys: true,
        active: true,
    };
    plant.decide("_tenant", Command::Master(MasterCommand::DefinePartner(partner)));
    let product = DefineProduct {
        code: code("milk"),
        name: "milk".into(),
        gtin: None,
        unit: "KGM".into(),
        conversions: Vec::new(),
        shelf_life_days: Some(7),
        active: true,
    };
    plant.decide("_tenant", Command::Master(MasterCommand::DefineProduct(product)));
    let document = DocumentReference { document_type: "bill of lading".into(), number: "B-7".into() };
    let one = |name: &str, product: String, rich: bool| ReceiveLot {
        code: code(name),
        lot_type: LotType::Raw,
        product,
        quantity: quantity("10"),
        temperature_c: rich.then(|| "4.5".into()),
        supplier_lot: rich.then(|| "S/9".into()),
        traceability_lot_code_source: rich.then(|| "9506000140445".into()),
        produced_on: chrono::NaiveDate::from_ymd_opt(2026, 11, 20).filter(|_| rich),
        expires_on: chrono::NaiveDate::from_ymd_opt(2026, 11, 1).filter(|_| !rich),
        exception: Some("for feed".into()),
        location: rich.then(|| "dock".into()),
        attributes: BTreeMap::new(),
    };
    let receive = |documents: Vec<DocumentReference>, lots: Vec<ReceiveLot>| {
        Command::Flow(FlowCommand::Receive(ReceiveLots { supplier: code("dock"), documents, lots }))
    };
    let ship = |own: Option<String>, lots: &[(&str, Option<&str>)]| {
        let one =
            |(name, amount): &(&str, Option<&str>)| ShipLot { lot: named(&code(name)), quantity: amount.map(quantity) };
        Command::Flow(FlowCommand::Ship(ShipLots {
            carrier_reference: own.clone(),
            code: own,
            customer: code("dock"),
            lots: lots.iter().map(one).collect(),
            documents: vec![document.clone()],
        }))
    };
    for command in [
        receive(vec![document.clone()], vec![one("r", code("milk"), true), one("late", "feed".into(), false)]),
        ship(None, &[("r", Some("2.5")), ("c", Some("0.5"))]),
        receive(Vec::new(), vec![one("r2", code("milk"), true)]),
        ship(Some(code("to market")), &[("r2", None), ("r", Some("1"))]),
    ] {
        let (event, _) = plant.decide(site, command);
        assert!(!matches!(event, Event::CommandRefused(_)), "{event:?}");
    }
}

async fn one(rig: &Rig, sql: &'static str) -> Value {
    let text: String = sqlx::query_scalar(sql).fetch_one(rig.pool()).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_say_what_was_done_to_lots() {
    let rig = Rig::new("operations").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 3));
    day(&mut plant, "north", 0);
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    let lots = one(
        &rig,
        "SELECT json_object_agg(code, json_build_array(remaining_base, location, expired, transformation_id IS NOT NULL))::TEXT FROM read.lots",
    )
    .await;
    let expected = json!({
        "a-0": [50, "tank 3", false, false], "old-0": [0, null, true, false], "b-0": [0, "rack 1", false, true],
        "c-0": [18.75, "cold store", false, true], "d-0": [5, "rack 1", false, true], "e-0": [20, "rack 1", false, true],
        "f-0": [10, "rack 1", false, true], "r-0": [6.5, "dock", false, false], "late-0": [10, null, false, false],
        "r2-0": [0, "dock", false, false],
    });
    assert_eq!(lots, expected);
    let edges = one(
        &rig,
        "SELECT json_object_agg(child.code || ' of ' || parent.code, edge.quantity)::TEXT FROM read.genealogy AS edge
         JOIN read.lots AS child ON child.id = edge.child_id JOIN read.lots AS parent ON parent.id = edge.parent_id",
    )
    .await;
    let expected = json!({ "b-0 of a-0": 30.612_245, "c-0 of a-0": 19.387_755, "d-0 of b-0": 30, "d-0 of old-0": 5, "e-0 of d-0": 15, "f-0 of d-0": 15 });
    assert_eq!(edges, expected);
    let exception = one(&rig, "SELECT (inputs->1)::TEXT FROM read.transformations WHERE kind = 'merge'").await;
    assert_eq!((&exception["exception"], &exception["expired_on"]), (&json!("for feed"), &json!("2026-11-01")));
    let changes = one(
        &rig,
        "SELECT json_agg(changes ORDER BY sequence)::TEXT FROM read.audit WHERE subject = (SELECT 'lot/' || id FROM read.lots WHERE code = 'c-0')",
    )
    .await;
    let changed = |field: &str, before: Value, after: Value| json!({ field: { "before": before, "after": after } });
    let expected = json!([
        changed("remaining_base", json!("19"), json!("19.5")),
        changed("remaining_base", json!("19.5"), json!("19.25")),
        changed("location", json!("rack 1"), json!("dock")),
        changed("location", json!("dock"), json!("cold store")),
    ]);
    assert_eq!(changes, expected);
    let split = one(&rig, "SELECT changes::TEXT FROM read.audit WHERE event_type = 'lotline.lot.transformed.v1' ORDER BY sequence LIMIT 1").await;
    let (lot, change) = split.as_object().unwrap().iter().find(|(name, _)| name.starts_with("lot/")).unwrap();
    assert!(lot.ends_with(".remaining_base"));
    assert_eq!(change, &json!({ "before": "100", "after": "50" }));
    assert_eq!(split["kind"], json!({ "before": null, "after": "split" }));
    worker.stop().await;
}
