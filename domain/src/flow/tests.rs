//! Deliveries and shipments: given, when, then.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::FlowCommand;
use super::receipt::{LotReceived, ReceiveLot, ReceiveLots};
use super::shipment::{ShipLot, ShipLots, ShipmentShipped, ShippedLot};
use crate::command::{Command, CommandRequest, RegisterLot};
use crate::event::Event;
use crate::given::{Given, judge, judged, lot, lot_id, now, quantity, register, site};
use crate::id::{DeliveryId, LotId, PartnerId, ProductId, ShipmentId, nth};
use crate::lot::event::{DocumentReference, LotEvent};
use crate::lot::{LotRef, LotType};
use crate::master::MasterEvent;
use crate::master::gs1::Gtin;
use crate::master::partner::PartnerDefined;
use crate::master::product::{Conversion, ProductDefined};
use crate::qc::QcOutcome;
use crate::quantity::{Quantity, Unit};
use crate::timestamp::Timestamp;

fn partner(code: &str, supplies: bool, buys: bool, active: bool) -> Event {
    Event::Master(MasterEvent::PartnerDefined(PartnerDefined {
        partner_id: PartnerId(Uuid::from_u128(code.len() as u128)),
        code: code.into(),
        name: code.into(),
        gln: None,
        supplies,
        buys,
        active,
    }))
}

fn product(code: &str, gtin: Option<&str>, unit: Unit, days: Option<u32>, active: bool) -> Event {
    Event::Master(MasterEvent::ProductDefined(ProductDefined {
        product_id: ProductId(Uuid::from_u128(7)),
        code: code.into(),
        name: code.into(),
        gtin: gtin.map(|gtin| Gtin::parse("gtin", gtin).unwrap()),
        unit,
        conversions: vec![Conversion { unit: Unit::Ltr, factor: "1.03".parse().unwrap() }],
        shelf_life_days: days,
        active,
    }))
}

/// A dairy with a farm, a shop, one of former times, and milk that lasts a week.
fn dairy(more: &[Event]) -> Given {
    let mut events = vec![
        partner("farm", true, false, true),
        partner("market", false, true, true),
        partner("former", true, true, false),
        product("MILK", Some("4012345678901"), Unit::Kgm, Some(7), true),
        product("WHEY", None, Unit::Kgm, None, false),
    ];
    events.extend_from_slice(more);
    site(&events)
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn received(code: &str, product: &str) -> ReceiveLot {
    ReceiveLot {
        code: code.into(),
        lot_type: LotType::Raw,
        product: product.into(),
        quantity: quantity("100", "KGM"),
        temperature_c: None,
        supplier_lot: None,
        traceability_lot_code_source: None,
        produced_on: None,
        expires_on: None,
        exception: None,
        location: None,
        attributes: BTreeMap::new(),
    }
}

fn delivery(supplier: &str, lots: &[ReceiveLot]) -> Command {
    let documents = vec![DocumentReference { document_type: "bill of lading".into(), number: " B-7 ".into() }];
    Command::Flow(FlowCommand::Receive(ReceiveLots { supplier: supplier.into(), documents, lots: lots.to_vec() }))
}

fn shipment(code: Option<&str>, customer: &str, lots: &[(&str, Option<&str>)]) -> Command {
    let one = |(code, value): &(&str, Option<&str>)| ShipLot {
        lot: LotRef::Code((*code).into()),
        quantity: value.map(|value| quantity(value, "KGM")),
    };
    Command::Flow(FlowCommand::Ship(ShipLots {
        code: code.map(Into::into),
        customer: customer.into(),
        lots: lots.iter().map(one).collect(),
        documents: Vec::new(),
        carrier_reference: Some("CMR 9".into()),
    }))
}

#[test]
fn a_delivery_brings_all_its_lots() {
    let mut given = dairy(&[]);
    let full = ReceiveLot {
        temperature_c: Some("4.2".into()),
        supplier_lot: Some(" F-1 ".into()),
        traceability_lot_code_source: Some("9506000140445".into()),
        produced_on: Some(day("2026-11-20")),
        location: Some("tank 1".into()),
        quantity: quantity("50", "LTR"),
        ..received("M-1", "04012345678901")
    };
    let asked = delivery("farm", &[full, received("X-1", "something new")]);
    let decision = given.when(asked).accepted();
    let fresh = given.fresh();
    let plain = LotReceived {
        lot_id: LotId(nth(fresh, 1)),
        delivery_id: DeliveryId(fresh),
        code: "X-1".into(),
        lot_type: LotType::Raw,
        product: "something new".into(),
        product_id: None,
        quantity: Quantity::parse("100", "KGM").unwrap(),
        supplier_id: PartnerId(Uuid::from_u128(4)),
        supplier_code: "farm".into(),
        supplier_lot: None,
        traceability_lot_code_source: None,
        documents: vec![DocumentReference { document_type: "bill of lading".into(), number: "B-7".into() }],
        produced_on: None,
        expires_on: None,
        shelf_life_days: None,
        exception: None,
        temperature_c: None,
        location: None,
        attributes: BTreeMap::new(),
    };
    let known = LotReceived {
        lot_id: LotId(nth(fresh, 0)),
        code: "M-1".into(),
        product: "MILK".into(),
        product_id: Some(ProductId(Uuid::from_u128(7))),
        quantity: Quantity::parse("50", "LTR").unwrap(),
        supplier_lot: Some("F-1".into()),
        traceability_lot_code_source: Some("9506000140445".into()),
        produced_on: Some(day("2026-11-20")),
        expires_on: Some(day("2026-11-27")),
        shelf_life_days: Some(7),
        temperature_c: Some("4.2".parse().unwrap()),
        location: Some("tank 1".into()),
        ..plain.clone()
    };
    let expected = [known, plain].map(|lot| Event::Lot(LotEvent::LotReceived(lot)));
    assert_eq!(decision.events, expected);
    for event in &expected {
        given.happened(event);
    }
    let (_, milk) = given.state.lots.find("lot", &LotRef::Code("M-1".into())).unwrap();
    assert_eq!((given.state.lots.product(milk), milk.remaining), ("MILK", "50".parse().unwrap()));
    given.when(delivery("farm", &[received("X-2", "x"), received("X-1", "x")])).refused(
        "DUPLICATE_LOT_CODE",
        Some("lots"),
        &format!("lots, entry 2: lot code 'X-1' is already used by lot {}", nth(fresh, 1)),
    );
}

#[test]
fn one_bad_lot_refuses_the_delivery() {
    let given = dairy(&[]);
    let refused = |lot: ReceiveLot, code: &str, message: &str| {
        given.when(delivery("farm", &[received("X-1", "x"), lot])).refused(code, Some("lots"), message);
    };
    let milk = || received("M-1", "MILK");
    refused(
        received("X-1", "x"),
        "DUPLICATE_CODE_IN_DELIVERY",
        "lots, entry 2: lot code 'X-1' stands twice in the delivery",
    );
    refused(
        received(" ", "x"),
        "INVALID_TEXT",
        "lots, entry 2: code must have 1 to 64 characters and no control characters",
    );
    refused(received("W", "WHEY"), "PRODUCT_INACTIVE", "lots, entry 2: product 'WHEY' is inactive");
    refused(
        ReceiveLot { quantity: quantity("3", "C62"), ..milk() },
        "UNIT_NOT_OF_PRODUCT",
        "lots, entry 2: product 'MILK' is kept in KGM, and its definition has no conversion from C62",
    );
    refused(
        ReceiveLot { produced_on: Some(day("2026-11-22")), ..milk() },
        "PRODUCED_LATER",
        "lots, entry 2: lot 'M-1' can't have been made on 2026-11-22: it was received on 2026-11-21",
    );
    refused(
        ReceiveLot { expires_on: Some(day("2026-11-20")), ..milk() },
        "EXPIRED_ON_ARRIVAL",
        "lots, entry 2: lot 'M-1' has expired on arrival: its last day of use is 2026-11-20, and it was received on 2026-11-21; it is \
         taken in only by an exception with a reason",
    );
    refused(
        ReceiveLot { produced_on: Some(day("2026-11-13")), ..milk() },
        "EXPIRED_ON_ARRIVAL",
        "lots, entry 2: lot 'M-1' has expired on arrival: its last day of use is 2026-11-20, and it was received on 2026-11-21; it is \
         taken in only by an exception with a reason",
    );
    refused(
        ReceiveLot { quantity: quantity("0", "KGM"), ..milk() },
        "QUANTITY_NOT_POSITIVE",
        "lots, entry 2: the quantity 0 is not greater than zero",
    );
}

#[test]
fn what_has_expired_comes_in_by_an_exception_alone() {
    let given = dairy(&[]);
    let expires_on = Some(day("2026-11-20"));
    let late = ReceiveLot { expires_on, exception: Some(" for feed ".into()), ..received("M-1", "MILK") };
    let decision = given.when(delivery("farm", &[late])).accepted();
    let [Event::Lot(LotEvent::LotReceived(data))] = decision.events.as_slice() else { panic!("{decision:?}") };
    assert_eq!(
        (data.exception.as_deref(), data.expires_on, data.shelf_life_days),
        (Some("for feed"), expires_on, None)
    );
    let fresh = ReceiveLot { exception: Some("for feed".into()), ..received("M-1", "MILK") };
    let decision = given.when(delivery("farm", &[fresh])).accepted();
    let [Event::Lot(LotEvent::LotReceived(data))] = decision.events.as_slice() else { panic!("{decision:?}") };
    assert_eq!(
        (data.exception.as_deref(), data.expires_on),
        (None, Some(day("2026-11-28"))),
        "one that was not needed is none"
    );
}

#[test]
fn the_last_day_of_use_is_still_one() {
    let given = dairy(&[]);
    let asked = delivery("farm", &[ReceiveLot { expires_on: Some(day("2026-11-21")), ..received("M-1", "MILK") }]);
    given.when(asked.clone()).accepted();
    let yesterday = Timestamp::parse("2026-11-20T23:00:00Z").unwrap();
    let past = CommandRequest { occurred_at: Some(yesterday), ..given.request(asked) };
    given.when_asked(&past).accepted();
}

#[test]
fn who_supplies_and_who_buys_is_in_the_master_data() {
    let given = dairy(&[lot("L-1", "10", "KGM")]);
    let from = |supplier: &str| given.when(delivery(supplier, &[received("M-1", "MILK")]));
    let to = |customer: &str| given.when(shipment(None, customer, &[("L-1", None)]));
    from("nobody").refused("UNKNOWN_PARTNER", Some("supplier"), "partner 'nobody' is not in the master data");
    from("market").refused("NO_SUPPLIER", Some("supplier"), "partner 'market' is no supplier");
    from("former").refused("PARTNER_INACTIVE", Some("supplier"), "partner 'former' is inactive");
    to("nobody").refused("UNKNOWN_PARTNER", Some("customer"), "partner 'nobody' is not in the master data");
    to("farm").refused("NO_CUSTOMER", Some("customer"), "partner 'farm' is no customer");
    to("former").refused("PARTNER_INACTIVE", Some("customer"), "partner 'former' is inactive");
    given.when(delivery("farm", &[])).refused("EMPTY", Some("lots"), "lots needs at least one entry");
    given.when(shipment(None, "market", &[])).refused("EMPTY", Some("lots"), "lots needs at least one entry");
    let many = vec![received("M-1", "MILK"); 1_001];
    given.when(delivery("farm", &many)).refused(
        "TOO_MANY",
        Some("lots"),
        "lots has 1001 entries; at most 1000 are accepted",
    );
}

#[test]
fn a_shipment_takes_what_leaves() {
    let mut given = dairy(&[lot("L-1", "10", "KGM"), lot("L-2", "5", "TNE"), judged("L-2", QcOutcome::Pass)]);
    let decision = given.when(shipment(None, "market", &[("L-1", None), ("L-2", Some("0.5"))])).accepted();
    let event = ShipmentShipped {
        shipment_id: ShipmentId(given.fresh()),
        code: "S-20261121-01".into(),
        customer_id: Some(PartnerId(Uuid::from_u128(6))),
        customer_code: Some("market".into()),
        lots: vec![
            ShippedLot { lot_id: lot_id("L-1"), quantity: Quantity::parse("10", "KGM").unwrap() },
            ShippedLot { lot_id: lot_id("L-2"), quantity: Quantity::parse("0.5", "KGM").unwrap() },
        ],
        documents: Vec::new(),
        carrier_reference: Some("CMR 9".into()),
    };
    let event = Event::Lot(LotEvent::ShipmentShipped(event));
    assert_eq!(decision.events, std::slice::from_ref(&event));
    given.happened(&event);
    let left = |code: &str| given.state.lots.get(lot_id(code)).unwrap().remaining.to_string();
    assert_eq!((left("L-1").as_str(), left("L-2").as_str()), ("0", "4999.5"));
    given.when(shipment(None, "market", &[("L-2", Some("4999.6"))])).refused(
        "NOT_ENOUGH_LEFT",
        Some("lots"),
        "lot 'L-2' has 4999.5 KGM left, 4999.6 KGM asked",
    );
    given.when(shipment(None, "market", &[("L-1", None)])).refused(
        "NOTHING_LEFT",
        Some("lots"),
        "lot 'L-1' has nothing left",
    );
    let taken = format!("shipment code 'S-20261121-01' is already used by shipment {}", decision_id(&event));
    given.when(shipment(Some(" S-20261121-01 "), "market", &[("L-2", Some("1"))])).refused(
        "DUPLICATE_SHIPMENT_CODE",
        Some("code"),
        &taken,
    );
    let next = given.when(shipment(None, "market", &[("L-2", Some("1"))])).accepted();
    let [Event::Lot(LotEvent::ShipmentShipped(next))] = next.events.as_slice() else { panic!("{next:?}") };
    assert_eq!(next.code, "S-20261121-02");
}

fn decision_id(event: &Event) -> ShipmentId {
    let Event::Lot(LotEvent::ShipmentShipped(data)) = event else { panic!("{event:?}") };
    data.shipment_id
}

#[test]
fn what_is_held_or_failed_or_has_expired_stays() {
    let old = RegisterLot { expires_on: Some(day("2026-11-20")), ..register("OLD", "1", "KGM") };
    let given = dairy(&[]);
    let old = given.when(Command::RegisterLot(old)).accepted().events;
    let Event::LotRegistered(old) = &old[0] else { panic!("{old:?}") };
    let old = Event::LotRegistered(crate::lot::LotRegistered { lot_id: lot_id("OLD"), ..old.clone() });
    let given = dairy(&[
        lot("HELD", "1", "KGM"),
        judged("HELD", QcOutcome::Hold),
        lot("BAD", "1", "KGM"),
        judged("BAD", QcOutcome::Fail),
        old,
        lot("GOOD", "1", "KGM"),
    ]);
    let ship = |code: &str| given.when(shipment(None, "market", &[("GOOD", None), (code, None)]));
    ship("HELD").refused("LOT_BLOCKED", Some("lots"), "lot 'HELD' is HOLD and can't be used");
    ship("BAD").refused("LOT_BLOCKED", Some("lots"), "lot 'BAD' is FAIL and can't be used");
    ship("OLD").refused(
        "LOT_EXPIRED",
        Some("lots"),
        "lot 'OLD' has expired and can't be shipped: its last day of use is 2026-11-20, and 2026-11-21 is the day",
    );
    ship("GOOD").refused("DUPLICATE_PARENT", Some("lots"), "lot 'GOOD' stands twice among the lots");
    ship("NONE").refused("UNKNOWN_LOT", Some("lots"), "lot 'NONE' does not exist");
    // It stays whatever day is said to have been that of the deed.
    let yesterday = Timestamp::parse("2026-11-20T23:00:00Z").unwrap();
    let asked = given.request(shipment(None, "market", &[("OLD", None)]));
    let asked = CommandRequest { occurred_at: Some(yesterday), ..asked };
    assert_eq!(given.when_asked(&asked).refusal().code(), "LOT_EXPIRED");
}

#[test]
fn a_shipment_expects_the_version_of_its_lots() {
    let given = dairy(&[lot("L-1", "10", "KGM")]);
    let asked = given.request(shipment(None, "market", &[("L-1", Some("1"))]));
    given.when_asked(&CommandRequest { expected_version: Some(5), ..asked.clone() }).refused(
        "VERSION_CONFLICT",
        Some("expectedVersion"),
        "the expected version is 5 but the current one is 6",
    );
    given.when_asked(&CommandRequest { expected_version: Some(6), ..asked }).accepted();
}

/// Something to happen at the dock: a delivery of lots by number, or a shipment of some micrograms of lots.
#[derive(Debug, Clone)]
enum Step {
    Receive(Vec<(u8, u32)>),
    Ship(Vec<(u8, Option<u32>)>),
    Judge(u8, QcOutcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = proptest::collection::vec((0..12_u8, 1..2_000_000_u32), 0..4);
    let out = proptest::collection::vec((0..12_u8, proptest::option::of(1..1_000_000_u32)), 0..4);
    let outcome = prop_oneof![Just(QcOutcome::Pass), Just(QcOutcome::Hold)];
    let step = prop_oneof![
        some.prop_map(Step::Receive),
        out.prop_map(Step::Ship),
        (0..12_u8, outcome).prop_map(|(lot, outcome)| Step::Judge(lot, outcome)),
    ];
    proptest::collection::vec(step, 1..40)
}

fn step_command(step: &Step) -> Command {
    let micros = |micros: u32| Decimal::new(i64::from(micros), 6).to_string();
    match step {
        Step::Receive(lots) => {
            let one = |(number, amount): &(u8, u32)| ReceiveLot {
                quantity: quantity(&micros(*amount), "KGM"),
                ..received(&format!("L{number}"), "MILK")
            };
            delivery("farm", &lots.iter().map(one).collect::<Vec<_>>())
        }
        Step::Ship(lots) => {
            let lots: Vec<_> = lots.iter().map(|(number, amount)| (format!("L{number}"), amount.map(micros))).collect();
            let lots: Vec<_> = lots.iter().map(|(code, amount)| (code.as_str(), amount.as_deref())).collect();
            shipment(None, "market", &lots)
        }
        Step::Judge(number, outcome) => Command::RecordQcDecision(judge(&format!("L{number}"), *outcome)),
    }
}

proptest! {
    #[test]
    fn what_came_is_there_or_has_left(steps in steps()) {
        let (mut live, mut replayed) = (dairy(&[]), dairy(&[]));
        let mut came: BTreeMap<LotId, Decimal> = BTreeMap::new();
        let mut left: BTreeMap<LotId, Decimal> = BTreeMap::new();
        for step in &steps {
            let before = live.state.lots.clone();
            let Ok(decision) = live.state.decide(&live.request(step_command(step)), now()) else {
                prop_assert_eq!(&live.state.lots, &before);
                continue;
            };
            for event in &decision.events {
                live.happened(event);
                let fact = Event::decode(event.event_type(), &event.encode(decision.occurred_at, None)).unwrap();
                replayed.happened(&fact.event);
                if let Event::Lot(LotEvent::LotReceived(lot)) = event {
                    prop_assert!(came.insert(lot.lot_id, lot.quantity.in_base()).is_none());
                }
                if let Event::Lot(LotEvent::ShipmentShipped(data)) = event {
                    for lot in &data.lots {
                        prop_assert!(before.get(lot.lot_id).unwrap().qc != Some(QcOutcome::Hold));
                        *left.entry(lot.lot_id).or_default() += lot.quantity.in_base();
                    }
                }
            }
        }
        prop_assert_eq!(&live.state, &replayed.state);
        prop_assert_eq!(live.state.lots.len(), came.len());
        for (id, amount) in came {
            let rest = live.state.lots.get(id).unwrap().remaining;
            prop_assert!(rest >= Decimal::ZERO);
            prop_assert_eq!(rest + left.get(&id).copied().unwrap_or_default(), amount);
        }
    }
}
