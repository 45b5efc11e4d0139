//! The golden events about lots that were there.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use lotline_domain::event::Event;
use lotline_domain::id::{LotId, SampleId, TransformationId};
use lotline_domain::lot::event::{
    AdjustmentDirection, DocumentReference, LotAdjusted, LotEvent, LotExpired, LotMoved, LotSampled, LotScrapped,
    LotsTransformed, TransformationInput, TransformationKind, TransformationOutput,
};
use lotline_domain::lot::{LotInput, LotType};
use rust_decimal::Decimal;

use crate::{id, quantity};

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let pairs = [transformed(), adjusted(), scrapped(), moved(), sampled(), expired()];
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
