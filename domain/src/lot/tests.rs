//! Given/when/then: what may be registered as a lot, from which parents, and how much of them is then left.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::command::{Command, ParentInput};
use crate::event::Event;
use crate::given::{Given, Then, judged, lot, lot_data, lot_from, lot_id, parent, quantity, register, site};
use crate::id::LotId;

fn registering(given: &Given, command: RegisterLot) -> Then {
    given.when(Command::RegisterLot(command))
}

/// Registers 1 KGM of `C` from these parents.
fn making(given: &Given, parents: Vec<ParentInput>) -> Then {
    registering(given, RegisterLot { parents, ..register("C", "1", "KGM") })
}

fn left(given: &Given, code: &str) -> String {
    given.state.lots.get(lot_id(code)).unwrap().remaining.normalize().to_string()
}

#[test]
fn a_lot_is_registered_with_all_that_was_given() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let command = RegisterLot {
        code: " Y1 ".into(),
        lot_type: LotType::Intermediate,
        product: " yoghurt\t".into(),
        temperature_c: Some("4.50".into()),
        supplier_lot: Some("S-9".into()),
        expires_on: NaiveDate::from_ymd_opt(2026, 12, 24),
        location: Some("  ".into()),
        attributes: BTreeMap::from([(" colour ".into(), " white ".into())]),
        parents: vec![parent("M1", "2.500", "KGM")],
        ..register("Y1", "10.00", "LTR")
    };
    let expected = LotRegistered {
        lot_id: LotId(given.fresh()),
        lot_type: LotType::Intermediate,
        product: "yoghurt".into(),
        temperature_c: Some(Decimal::new(45, 1)),
        supplier_lot: Some("S-9".into()),
        expires_on: NaiveDate::from_ymd_opt(2026, 12, 24),
        attributes: BTreeMap::from([("colour".into(), "white".into())]),
        parents: vec![LotInput { lot_id: lot_id("M1"), quantity: Quantity::parse("2.5", "KGM").unwrap() }],
        ..lot_data("Y1", "10", "LTR")
    };
    registering(&given, command).event(&Event::LotRegistered(expected));
}

#[test]
fn a_code_names_one_lot() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let message = format!("lot code 'M1' is already used by lot {}", lot_id("M1"));
    registering(&given, register("M1", "1", "KGM")).refused("DUPLICATE_LOT_CODE", Some("code"), &message);
    registering(&given, register(" M1\n", "1", "KGM")).refused("DUPLICATE_LOT_CODE", Some("code"), &message);
    registering(&given, register("m1", "1", "KGM")).accepted();
}

#[test]
fn parents_exist() {
    let given = site(&[lot("M1", "100", "KGM")]);
    making(&given, vec![parent("M2", "1", "KGM")]).refused("UNKNOWN_LOT", Some("parents"), "lot 'M2' does not exist");
    let id = LotId(Uuid::from_u128(5));
    let by_id = ParentInput { lot: LotRef::Id(id), quantity: quantity("1", "KGM") };
    making(&given, vec![by_id]).refused("UNKNOWN_LOT", Some("parents"), &format!("lot {id} does not exist"));
    let long = "x".repeat(10_000);
    let shown = format!("lot '{}' does not exist", "x".repeat(64));
    making(&given, vec![parent(&long, "1", "KGM")]).refused("UNKNOWN_LOT", Some("parents"), &shown);
}

#[test]
fn a_parent_is_found_by_id_and_by_a_scanned_code() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let by_id = ParentInput { lot: LotRef::Id(lot_id("M1")), quantity: quantity("1", "KGM") };
    for input in [by_id, parent("M1", "1", "KGM"), parent(" M1\r\n", "1", "KGM")] {
        let decision = making(&given, vec![input]).accepted();
        let Event::LotRegistered(event) = &decision.events[0] else { panic!("another event") };
        assert_eq!(event.parents[0].lot_id, lot_id("M1"));
    }
}

#[test]
fn a_lot_is_not_its_own_parent() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let itself = ParentInput { lot: LotRef::Id(LotId(given.fresh())), quantity: quantity("1", "KGM") };
    for input in [parent("C", "1", "KGM"), parent(" C\t", "1", "KGM"), itself] {
        let message = "lot 'C' can't be its own parent";
        making(&given, vec![parent("M1", "1", "KGM"), input]).refused("GENEALOGY_CYCLE", Some("parents"), message);
    }
}

#[test]
fn a_parent_stands_once() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let by_id = ParentInput { lot: LotRef::Id(lot_id("M1")), quantity: quantity("1", "KGM") };
    let message = "lot 'M1' stands twice among the parents";
    making(&given, vec![parent("M1", "1", "KGM"), by_id]).refused("DUPLICATE_PARENT", Some("parents"), message);
}

#[test]
fn quantities_are_positive_decimals_with_known_units() {
    let given = site(&[]);
    let nines = "9".repeat(300);
    let cut = format!(
        "the quantity {} has more than 12 digits before the point or more than 6 after it",
        nines.chars().take(40).collect::<String>()
    );
    let range = "has more than 12 digits before the point or more than 6 after it";
    let cases: [(&str, &str, &str, &str); 11] = [
        ("-1", "KGM", "QUANTITY_NOT_POSITIVE", "the quantity -1 is not greater than zero"),
        ("0", "KGM", "QUANTITY_NOT_POSITIVE", "the quantity 0 is not greater than zero"),
        ("0.000", "KGM", "QUANTITY_NOT_POSITIVE", "the quantity 0.000 is not greater than zero"),
        ("NaN", "KGM", "QUANTITY_NOT_DECIMAL", "'NaN' is not a decimal number; write it like 12.5"),
        ("inf", "KGM", "QUANTITY_NOT_DECIMAL", "'inf' is not a decimal number; write it like 12.5"),
        ("1e300", "KGM", "QUANTITY_NOT_DECIMAL", "'1e300' is not a decimal number; write it like 12.5"),
        ("12,5", "KGM", "QUANTITY_NOT_DECIMAL", "'12,5' is not a decimal number; write it like 12.5"),
        ("1000000000000", "KGM", "QUANTITY_OUT_OF_RANGE", &format!("the quantity 1000000000000 {range}")),
        ("0.0000001", "KGM", "QUANTITY_OUT_OF_RANGE", &format!("the quantity 0.0000001 {range}")),
        (&nines, "KGM", "QUANTITY_OUT_OF_RANGE", &cut),
        ("1", "kg", "UNKNOWN_UNIT", "'kg' is not a known unit; use a UNECE Rec 20 code such as KGM, LTR or C62"),
    ];
    for (value, unit, code, message) in cases {
        registering(&given, register("C", value, unit)).refused(code, Some("quantity"), message);
        let held = site(&[lot("M1", "100", "KGM")]);
        making(&held, vec![parent("M1", value, unit)]).refused(code, Some("parents"), message);
    }
    for value in ["999999999999.999999", "0.000001", "1.0000000000"] {
        registering(&given, register("C", value, "TNE")).accepted();
    }
}

#[test]
fn dimensions_do_not_convert() {
    let given = site(&[lot("M1", "100", "LTR")]);
    let message = "lot 'M1' is measured in LTR, which does not convert to KGM";
    making(&given, vec![parent("M1", "1", "KGM")]).refused("UNIT_MISMATCH", Some("parents"), message);
    making(&given, vec![parent("M1", "1", "HLT")]).accepted();
}

#[test]
fn grams_are_taken_from_kilograms_exactly() {
    let mut given = site(&[lot("M1", "1", "KGM")]);
    given.happened(&lot_from("C1", "M1", "0.001", "GRM"));
    assert_eq!(left(&given, "M1"), "0.999999");
    given.happened(&lot_from("C2", "M1", "999.999", "GRM"));
    assert_eq!(left(&given, "M1"), "0");
    let message = "lot 'M1' has 0 KGM left, 0.000001 MGM asked";
    making(&given, vec![parent("M1", "0.000001", "MGM")]).refused("NOT_ENOUGH_LEFT", Some("parents"), message);
}

#[test]
fn no_more_is_taken_out_than_is_in() {
    let given = site(&[lot("M1", "100", "KGM"), lot_from("C1", "M1", "87.5", "KGM")]);
    making(&given, vec![parent("M1", "12.5", "KGM")]).accepted();
    let message = "lot 'M1' has 12.5 KGM left, 12500.001 GRM asked";
    making(&given, vec![parent("M1", "12500.001", "GRM")]).refused("NOT_ENOUGH_LEFT", Some("parents"), message);
    let message = "lot 'M1' has 12.5 KGM left, 999999999999 TNE asked";
    making(&given, vec![parent("M1", "999999999999", "TNE")]).refused("NOT_ENOUGH_LEFT", Some("parents"), message);
}

#[test]
fn a_blocked_lot_is_no_parent() {
    for outcome in [QcOutcome::Hold, QcOutcome::Fail] {
        let given = site(&[lot("M1", "100", "KGM"), judged("M1", outcome)]);
        let message = format!("lot 'M1' is {outcome} and can't be used");
        making(&given, vec![parent("M1", "1", "KGM")]).refused("LOT_BLOCKED", Some("parents"), &message);
    }
    let lifted = [lot("M1", "100", "KGM"), judged("M1", QcOutcome::Hold), judged("M1", QcOutcome::Pass)];
    making(&site(&lifted), vec![parent("M1", "1", "KGM")]).accepted();
}

#[test]
fn texts_have_limits_and_no_control_characters() {
    let given = site(&[]);
    let plain = || register("C", "1", "KGM");
    let named = |name: String, value: String| RegisterLot { attributes: BTreeMap::from([(name, value)]), ..plain() };
    let cases = [
        ("code", 64, RegisterLot { code: " \n".into(), ..plain() }),
        ("code", 64, RegisterLot { code: "x".repeat(65), ..plain() }),
        ("code", 64, RegisterLot { code: "a\u{7}b".into(), ..plain() }),
        ("product", 128, RegisterLot { product: String::new(), ..plain() }),
        ("product", 128, RegisterLot { product: "ü".repeat(129), ..plain() }),
        ("supplierLot", 64, RegisterLot { supplier_lot: Some("x".repeat(65)), ..plain() }),
        ("location", 128, RegisterLot { location: Some("a\0b".into()), ..plain() }),
        ("attributes", 64, named("x".repeat(65), "y".into())),
        ("attributes", 1_000, named("x".into(), "y".repeat(1_001))),
        ("attributes", 1_000, named("x".into(), " ".into())),
    ];
    for (field, max, command) in cases {
        let message = format!("{field} must have 1 to {max} characters and no control characters");
        registering(&given, command).refused("INVALID_TEXT", Some(field), &message);
    }
    registering(&given, RegisterLot { code: "ü".repeat(64), product: "ü".repeat(128), ..plain() }).accepted();
}

#[test]
fn two_attributes_do_not_become_one() {
    let attributes = BTreeMap::from([("a".into(), "1".into()), (" a".into(), "2".into())]);
    let command = RegisterLot { attributes, ..register("C", "1", "KGM") };
    let message = "attribute 'a' stands twice";
    registering(&site(&[]), command).refused("DUPLICATE_ATTRIBUTE", Some("attributes"), message);
}

#[test]
fn lists_have_limits() {
    let given = site(&[]);
    let attributes = |count: usize| (0..count).map(|i| (format!("a{i}"), "1".to_owned())).collect();
    registering(&given, RegisterLot { attributes: attributes(64), ..register("C", "1", "KGM") }).accepted();
    let message = "attributes has 65 entries; at most 64 are accepted";
    registering(&given, RegisterLot { attributes: attributes(65), ..register("C", "1", "KGM") }).refused(
        "TOO_MANY",
        Some("attributes"),
        message,
    );
    let parents: Vec<_> = (0..1_001).map(|i| parent(&format!("P{i}"), "1", "KGM")).collect();
    let message = "parents has 1001 entries; at most 1000 are accepted";
    making(&given, parents.clone()).refused("TOO_MANY", Some("parents"), message);
    let held: Vec<_> = (0..1_000).map(|i| lot(&format!("P{i}"), "1", "KGM")).collect();
    making(&site(&held), parents[..1_000].to_vec()).accepted();
}

#[test]
fn temperatures_are_physical() {
    let given = site(&[]);
    let at = |text: &str| RegisterLot { temperature_c: Some(text.into()), ..register("C", "1", "KGM") };
    for text in ["-273.16", "5000.1", "NaN", "", "warm", "4.0000001", "1_0", "1e1"] {
        let message = "temperatureC must be a number between -273.15 and 5000 with at most 6 decimals";
        registering(&given, at(text)).refused("INVALID_NUMBER", Some("temperatureC"), message);
    }
    for text in ["-273.15", "5000", "-0", "4.000000"] {
        registering(&given, at(text)).accepted();
    }
}

#[test]
fn absurd_dates_are_refused() {
    let given = site(&[]);
    let on = |year| RegisterLot { expires_on: NaiveDate::from_ymd_opt(year, 1, 1), ..register("C", "1", "KGM") };
    for (year, shown) in [(1, "0001-01-01"), (1999, "1999-01-01"), (2200, "2200-01-01"), (99_999, "+99999-01-01")] {
        let message = format!("expiresOn {shown} is not between 2000-01-01 and 2199-12-31");
        registering(&given, on(year)).refused("DATE_OUT_OF_RANGE", Some("expiresOn"), &message);
    }
    for year in [2000, 2199] {
        registering(&given, on(year)).accepted();
    }
}

#[test]
fn every_refusal_of_operations_is_in_a_test() {
    let source = include_str!("refusal.rs");
    let codes: Vec<&str> = source.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() > 15, "the codes can be found in the source");
    let tests = [include_str!("transform/tests.rs"), include_str!("operation/tests.rs")].concat();
    let untested: Vec<&str> = codes.into_iter().filter(|code| !tests.contains(&format!("\"{code}\""))).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn every_type_has_its_name() {
    for lot_type in LotType::ALL {
        assert_eq!(serde_json::to_value(lot_type).unwrap(), lot_type.as_str());
    }
}
