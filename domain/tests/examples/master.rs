//! The golden events about master data.

use lotline_domain::event::Event;
use lotline_domain::id::{PartnerId, ProductId};
use lotline_domain::master::MasterEvent;
use lotline_domain::master::gs1::{Gln, Gtin};
use lotline_domain::master::partner::PartnerDefined;
use lotline_domain::master::product::{Conversion, ProductDefined};
use lotline_domain::quantity::Unit;
use rust_decimal::Decimal;

use crate::id;

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    [product_defined(), partner_defined()].into_iter().map(|pair| pair.map(Event::Master)).collect()
}

fn product_defined() -> [MasterEvent; 2] {
    let minimal = ProductDefined {
        product_id: ProductId(id(1)),
        code: "MILK".into(),
        name: "Raw milk".into(),
        gtin: None,
        unit: Unit::Ltr,
        conversions: Vec::new(),
        shelf_life_days: None,
        active: true,
    };
    let full = ProductDefined {
        product_id: ProductId(id(2)),
        code: "YOG-500 ü".into(),
        name: "Yoghurt \"500 g\"".into(),
        gtin: Some(Gtin::parse("gtin", "4012345678901").expect("a valid GTIN")),
        unit: Unit::C62,
        conversions: vec![
            Conversion { unit: Unit::Kgm, factor: Decimal::from(2) },
            Conversion { unit: Unit::Ltr, factor: Decimal::new(1_900_000_001, 9) },
        ],
        shelf_life_days: Some(28),
        active: false,
    };
    [minimal, full].map(MasterEvent::ProductDefined)
}

fn partner_defined() -> [MasterEvent; 2] {
    let minimal = PartnerDefined {
        partner_id: PartnerId(id(1)),
        code: "FARM-7".into(),
        name: "Green Hill Farm Ltd".into(),
        gln: None,
        supplies: true,
        buys: false,
        active: true,
    };
    let full = PartnerDefined {
        partner_id: PartnerId(id(2)),
        code: "SHOP-1".into(),
        name: "Møller & Søn A/S".into(),
        gln: Some(Gln::parse("gln", "9506000140445").expect("a valid GLN")),
        supplies: false,
        buys: true,
        active: false,
    };
    [minimal, full].map(MasterEvent::PartnerDefined)
}
