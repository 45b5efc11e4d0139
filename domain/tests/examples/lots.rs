//! The golden events about lots that were there.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use lotline_domain::event::Event;
use lotline_domain::flow::receipt::LotReceived;
use lotline_domain::flow::shipment::{ShipmentShipped, ShippedLot};
use lotline_domain::id::{DeliveryId, LotId, PartnerId, ProductId, SampleId, ShipmentId, TransformationId};
use lotline_domain::lot::event::{
    AdjustmentDirection, DocumentReference, LotAdjusted, LotEvent, LotExpired, LotMoved, LotSampled, LotScrapped,
    LotsTransformed, TransformationInput, TransformationKind, TransformationOutput,
};
use lotline_domain::lot::{LotInput, LotType};
use rust_decimal::Decimal;

use crate::{id, quantity};

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let pairs = [transformed(), adjusted(), scrapped(), moved(), sampled(), expired(), received(), shipped()];
    pairs.into_iter().map(|pair| pair.map(Event::Lot)).collect()
}

fn transformed() -> [LotEvent; 2] {
    let input = |last, value, unit| TransformationInput {
        lot_id: LotId(id(last)),
        quantity: quantity(value, unit),
        expired_on: None,
        exception: None,
    };
    let output = |last, code: &str| TransformationOutput {
        lot_id: LotId(id(last)),
        code: code.into(),
        lot_type: LotType::Raw,
        product: "milk".into(),
        quantity: quantity("60", "LTR"),
        share: None,
        parents: vec![LotInput { lot_id: LotId(id(1)), quantity: quantity("60", "LTR") }],
        temperature_c: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
    };
    let minimal = LotsTransformed {
        transformation_id: TransformationId(id(9)),
        kind: TransformationKind::Split,
        inputs: vec![input(1, "60", "LTR")],
        outputs: vec![output(2, "M-1a")],
        loss: None,
        gain: None,
        step: None,
        location: None,
        documents: Vec::new(),
    };
    let exception = TransformationInput {
        expired_on: NaiveDate::from_ymd_opt(2026, 11, 20),
        exception: Some("for feed \"ü\"".into()),
        ..input(3, "0.000002", "KGM")
    };
    let shared = |last, code, share, first, second| TransformationOutput {
        lot_type: LotType::ByProduct,
        product: "04012345678901".into(),
        quantity: quantity("12", "C62"),
        share: Some(share),
        parents: vec![
            LotInput { lot_id: LotId(id(1)), quantity: quantity(first, "LTR") },
            LotInput { lot_id: LotId(id(3)), quantity: quantity(second, "KGM") },
        ],
        temperature_c: Some(Decimal::new(-45, 1)),
        expires_on: NaiveDate::from_ymd_opt(2026, 12, 24),
        location: Some("cold store 2".into()),
        attributes: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1 \"x\"".into())]),
        ..output(last, code)
    };
    let full = LotsTransformed {
        transformation_id: TransformationId(id(10)),
        kind: TransformationKind::Rework,
        inputs: vec![input(1, "60", "LTR"), exception],
        outputs: vec![
            shared(4, "R-1 ü", Decimal::new(25, 2), "15", "0.000001"),
            shared(5, "R-2", Decimal::new(75, 2), "45", "0.000001"),
        ],
        loss: Some(quantity("0.5", "KGM")),
        gain: Some(quantity("2", "LTR")),
        step: Some("standardisation".into()),
        location: Some("line 2".into()),
        documents: vec![DocumentReference { document_type: "batch record".into(), number: "B/7".into() }],
    };
    [minimal, full].map(LotEvent::LotsTransformed)
}

fn adjusted() -> [LotEvent; 2] {
    [(AdjustmentDirection::Increase, "1", "KGM"), (AdjustmentDirection::Decrease, "0.000001", "LBR")].map(
        |(direction, value, unit)| {
            let quantity = quantity(value, unit);
            LotEvent::LotAdjusted(LotAdjusted { lot_id: LotId(id(1)), direction, quantity })
        },
    )
}

fn scrapped() -> [LotEvent; 2] {
    [("1", "KGM"), ("999999999999.999999", "TNE")].map(|(value, unit)| {
        LotEvent::LotScrapped(LotScrapped { lot_id: LotId(id(1)), quantity: quantity(value, unit) })
    })
}

fn moved() -> [LotEvent; 2] {
    ["dock", "cold store 2, rack ü"]
        .map(|location| LotEvent::LotMoved(LotMoved { lot_id: LotId(id(1)), location: location.into() }))
}

fn sampled() -> [LotEvent; 2] {
    let minimal = LotSampled {
        sample_id: SampleId(id(5)),
        lot_id: LotId(id(1)),
        quantity: quantity("250", "GRM"),
        label: None,
        purpose: None,
    };
    let full = LotSampled { label: Some("P-1/ü".into()), purpose: Some("listeria".into()), ..minimal.clone() };
    [minimal, full].map(LotEvent::LotSampled)
}

fn expired() -> [LotEvent; 2] {
    [(2026, 11, 20), (2000, 1, 1)].map(|(year, month, day)| {
        let expires_on = NaiveDate::from_ymd_opt(year, month, day).expect("a valid day");
        LotEvent::LotExpired(LotExpired { lot_id: LotId(id(1)), expires_on })
    })
}

fn received() -> [LotEvent; 2] {
    let minimal = LotReceived {
        lot_id: LotId(id(1)),
        delivery_id: DeliveryId(id(20)),
        code: "M-1".into(),
        lot_type: LotType::Raw,
        product: "milk".into(),
        product_id: None,
        quantity: quantity("1000", "LTR"),
        supplier_id: PartnerId(id(21)),
        supplier_code: "FARM-7".into(),
        supplier_lot: None,
        traceability_lot_code_source: None,
        documents: Vec::new(),
        produced_on: None,
        expires_on: None,
        shelf_life_days: None,
        exception: None,
        temperature_c: None,
        location: None,
        attributes: BTreeMap::new(),
    };
    let full = LotReceived {
        code: "M-2 ü".into(),
        lot_type: LotType::Packaging,
        product: "CUP-500".into(),
        product_id: Some(ProductId(id(22))),
        quantity: quantity("0.000001", "TNE"),
        supplier_lot: Some("S/9 \"x\"".into()),
        traceability_lot_code_source: Some("https://example.com/tlc/9506000140445".into()),
        documents: vec![
            DocumentReference { document_type: "bill of lading".into(), number: "B/7".into() },
            DocumentReference { document_type: "certificate".into(), number: "C ü".into() },
        ],
        produced_on: NaiveDate::from_ymd_opt(2026, 10, 1),
        expires_on: NaiveDate::from_ymd_opt(2026, 10, 29),
        shelf_life_days: Some(28),
        exception: Some("for feed \"ü\"".into()),
        temperature_c: Some(Decimal::new(-45, 1)),
        location: Some("cold store 2".into()),
        attributes: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1 \"x\"".into())]),
        ..minimal.clone()
    };
    [minimal, full].map(LotEvent::LotReceived)
}

fn shipped() -> [LotEvent; 2] {
    let lot = |last, value, unit| ShippedLot { lot_id: LotId(id(last)), quantity: quantity(value, unit) };
    let minimal = ShipmentShipped {
        shipment_id: ShipmentId(id(23)),
        code: "S-20261121-01".into(),
        customer_id: None,
        customer_code: None,
        lots: vec![lot(1, "60", "LTR")],
        documents: Vec::new(),
        carrier_reference: None,
    };
    let full = ShipmentShipped {
        code: "market/ü".into(),
        customer_id: Some(PartnerId(id(24))),
        customer_code: Some("MARKET".into()),
        lots: vec![lot(1, "0.000001", "LBR"), lot(2, "999999999999.999999", "TNE")],
        documents: vec![DocumentReference { document_type: "bill of lading".into(), number: "B/8".into() }],
        carrier_reference: Some("CMR \"9\"".into()),
        ..minimal.clone()
    };
    [minimal, full].map(LotEvent::ShipmentShipped)
}
