//! Given/when/then: what products and partners may be, and that a definition holds until the next.

use uuid::Uuid;

use super::product::ConversionInput;
use super::*;
use crate::command::Command;
use crate::event::Event;
use crate::given::{Given, Then, tenant};
use crate::master::gs1::{Gln, Gtin};
use crate::master::product::Conversion;

fn yoghurt() -> DefineProduct {
    DefineProduct {
        code: "YOG-500".into(),
        name: "Yoghurt 500 g".into(),
        gtin: Some("4012345678901".into()),
        unit: "C62".into(),
        conversions: vec![factor("KGM", "2")],
        shelf_life_days: Some(28),
        active: true,
    }
}

fn factor(unit: &str, factor: &str) -> ConversionInput {
    ConversionInput { unit: unit.into(), factor: factor.into() }
}

fn farm() -> DefinePartner {
    DefinePartner {
        code: "FARM-7".into(),
        name: "Green Hill Farm Ltd".into(),
        gln: Some("9506000140445".into()),
        supplies: true,
        buys: false,
        active: true,
    }
}

fn product(given: &Given, command: DefineProduct) -> Then {
    given.when(Command::Master(MasterCommand::DefineProduct(command)))
}

fn partner(given: &Given, command: DefinePartner) -> Then {
    given.when(Command::Master(MasterCommand::DefinePartner(command)))
}

/// The stream after a definition.
fn after(then: Then) -> Given {
    tenant(&then.accepted().events)
}

#[test]
fn a_product_is_defined_with_all_that_was_given() {
    let given = tenant(&[]);
    let command = DefineProduct { code: " YOG-500 ".into(), name: "Yoghurt 500 g\n".into(), ..yoghurt() };
    product(&given, command).event(&Event::Master(MasterEvent::ProductDefined(ProductDefined {
        product_id: ProductId(given.fresh()),
        code: "YOG-500".into(),
        name: "Yoghurt 500 g".into(),
        gtin: Some(Gtin::parse("gtin", "4012345678901").unwrap()),
        unit: Unit::C62,
        conversions: vec![Conversion { unit: Unit::Kgm, factor: 2.into() }],
        shelf_life_days: Some(28),
        active: true,
    })));
}

#[test]
fn the_next_definition_is_of_the_same_thing() {
    let given = after(product(&tenant(&[]), yoghurt()));
    let first = given.state.master.products.get("YOG-500").unwrap().id;
    let changed = DefineProduct { name: "Yoghurt, 500 g".into(), gtin: None, active: false, ..yoghurt() };
    let decision = product(&given, changed).accepted();
    let Event::Master(MasterEvent::ProductDefined(event)) = &decision.events[0] else { panic!("another event") };
    assert_eq!((event.product_id, event.active, &event.gtin), (first, false, &None));
    product(&given, yoghurt()).refused("UNCHANGED", None, "product 'YOG-500' is already defined so");
    let reordered = DefineProduct { conversions: vec![factor("LTR", "1.9"), factor("GRM", "0.002")], ..yoghurt() };
    let given = after(product(&given, reordered));
    let again = DefineProduct { conversions: vec![factor("GRM", "0.0020"), factor("LTR", "1.9")], ..yoghurt() };
    product(&given, again).refused("UNCHANGED", None, "product 'YOG-500' is already defined so");
}

#[test]
fn the_unit_stays() {
    let given = after(product(&tenant(&[]), yoghurt()));
    let message = "product 'YOG-500' is kept in C62; define another product to keep it in KGM";
    let other = DefineProduct { unit: "KGM".into(), conversions: vec![], ..yoghurt() };
    product(&given, other).refused("CANONICAL_UNIT_FIXED", Some("unit"), message);
}

#[test]
fn a_gtin_is_one_products() {
    let mut given = after(product(&tenant(&[]), yoghurt()));
    let other = || DefineProduct { code: "YOG-501".into(), gtin: Some("04012345678901".into()), ..yoghurt() };
    let message = "GTIN 04012345678901 is already that of 'YOG-500'";
    product(&given, other()).refused("DUPLICATE_GS1_KEY", Some("gtin"), message);
    // Once the first has let go of it, it is free.
    let without = product(&given, DefineProduct { gtin: None, ..yoghurt() }).accepted();
    given.happened(&without.events[0]);
    product(&given, other()).accepted();
    let message = "'123' is no GTIN: it must have 8, 12, 13 or 14 digits and nothing else";
    let bad = DefineProduct { gtin: Some("123".into()), ..yoghurt() };
    product(&given, bad).refused("INVALID_GS1_KEY", Some("gtin"), message);
}

#[test]
fn conversions_lead_to_other_dimensions_and_one_to_each() {
    let given = tenant(&[]);
    let with = |conversions| product(&given, DefineProduct { unit: "KGM".into(), conversions, ..yoghurt() });
    let message = "GRM and KGM measure the same, so one converts to the other by definition";
    with(vec![factor("GRM", "0.001")]).refused("CONVERSION_WITHIN_DIMENSION", Some("conversions"), message);
    let message = "conversions from LTR and from MLT measure the same; give one of them";
    with(vec![factor("LTR", "1.03"), factor("MLT", "1")]).refused("DUPLICATE_CONVERSION", Some("conversions"), message);
    let message = "conversions must be a number greater than 0 with at most 9 digits before the point and 9 after it";
    for bad in ["0", "-1", "1e3", "1000000000", "0.0000000001", "NaN", ""] {
        with(vec![factor("LTR", bad)]).refused("INVALID_NUMBER", Some("conversions"), message);
    }
    for fine in ["0.000000001", "999999999.999999999", "1.0320000000000"] {
        with(vec![factor("LTR", fine)]).accepted();
    }
    let message = "'litre' is not a known unit; use a UNECE Rec 20 code such as KGM, LTR or C62";
    with(vec![factor("litre", "1")]).refused("UNKNOWN_UNIT", Some("conversions"), message);
}

#[test]
fn texts_and_shelf_lives_have_limits() {
    let given = tenant(&[]);
    for (field, max, command) in [
        ("code", 64, DefineProduct { code: " ".into(), ..yoghurt() }),
        ("code", 64, DefineProduct { code: "x".repeat(65), ..yoghurt() }),
        ("name", 128, DefineProduct { name: "a\u{0}b".into(), ..yoghurt() }),
    ] {
        let message = format!("{field} must have 1 to {max} characters and no control characters");
        product(&given, command).refused("INVALID_TEXT", Some(field), &message);
    }
    for days in [0, 36_526] {
        let message = "shelfLifeDays must be a number between 1 and 36525";
        let command = DefineProduct { shelf_life_days: Some(days), ..yoghurt() };
        product(&given, command).refused("INVALID_NUMBER", Some("shelfLifeDays"), message);
    }
    product(&given, DefineProduct { shelf_life_days: Some(36_525), gtin: Some("  ".into()), ..yoghurt() }).accepted();
}

#[test]
fn a_partner_is_defined_and_trades() {
    let given = tenant(&[]);
    partner(&given, farm()).event(&Event::Master(MasterEvent::PartnerDefined(PartnerDefined {
        partner_id: PartnerId(given.fresh()),
        code: "FARM-7".into(),
        name: "Green Hill Farm Ltd".into(),
        gln: Some(Gln::parse("gln", "9506000140445").unwrap()),
        supplies: true,
        buys: false,
        active: true,
    })));
    let message = "a partner supplies, buys, or both";
    partner(&given, DefinePartner { supplies: false, ..farm() }).refused("NO_TRADE", Some("supplies"), message);
    let given = after(partner(&given, farm()));
    partner(&given, farm()).refused("UNCHANGED", None, "partner 'FARM-7' is already defined so");
    let message = "GLN 9506000140445 is already that of 'FARM-7'";
    let other = DefinePartner { code: "FARM-8".into(), ..farm() };
    partner(&given, other).refused("DUPLICATE_GS1_KEY", Some("gln"), message);
    let gone = partner(&given, DefinePartner { active: false, ..farm() }).accepted();
    assert_eq!(gone.subject_id, Subject::Partner(given.state.master.partners.get("FARM-7").unwrap().id));
}

#[test]
fn a_definition_may_name_the_version_that_it_changes() {
    let given = after(product(&tenant(&[]), yoghurt()));
    let command = Command::Master(MasterCommand::DefineProduct(DefineProduct { active: false, ..yoghurt() }));
    let request = |expected| crate::command::CommandRequest {
        expected_version: Some(expected),
        ..given.request(command.clone())
    };
    given.when_asked(&request(1)).accepted();
    let message = "the expected version is 0 but the current one is 1";
    given.when_asked(&request(0)).refused("VERSION_CONFLICT", Some("expectedVersion"), message);
    assert_ne!(Uuid::nil(), given.state.master.products.get("YOG-500").unwrap().id.0);
}
