//! Given/when/then: what may be split, merged, transformed and reworked, and what then is whose child.

use chrono::NaiveDate;

use super::*;
use crate::command::Command;
use crate::event::Event;
use crate::given::{Given, Then, judged, lot, lot_data, lot_id, moved, now, quantity, site};
use crate::lot::command::LotCommand;
use crate::lot::event::LotEvent;
use crate::lot::{LotRef, LotRegistered, LotType};
use crate::qc::QcOutcome;

fn take(code: &str, value: &str, unit: &str) -> TransformInput {
    TransformInput { lot: LotRef::Code(code.into()), quantity: Some(quantity(value, unit)), exception: None }
}

fn all(code: &str) -> TransformInput {
    TransformInput { lot: LotRef::Code(code.into()), quantity: None, exception: None }
}

/// An output of a transform; for a split or merge, see [`portion`].
fn make(code: &str, value: &str, unit: &str) -> TransformOutput {
    let (product, lot_type) = (Some("cheese".into()), Some(LotType::Intermediate));
    TransformOutput { lot_type, product, ..portion(code, value, unit) }
}

fn portion(code: &str, value: &str, unit: &str) -> TransformOutput {
    TransformOutput {
        code: code.into(),
        lot_type: None,
        product: None,
        quantity: quantity(value, unit),
        share: None,
        temperature_c: None,
        expires_on: None,
        location: None,
        attributes: std::collections::BTreeMap::new(),
    }
}

fn doing(kind: TransformationKind, inputs: Vec<TransformInput>, outputs: Vec<TransformOutput>) -> TransformLots {
    TransformLots { kind, inputs, outputs, loss: None, gain: None, step: None, location: None, documents: Vec::new() }
}

fn split(outputs: Vec<TransformOutput>) -> TransformLots {
    doing(TransformationKind::Split, vec![all("M1")], outputs)
}

fn merge(inputs: Vec<TransformInput>, output: TransformOutput) -> TransformLots {
    doing(TransformationKind::Merge, inputs, vec![output])
}

fn transform(inputs: Vec<TransformInput>, outputs: Vec<TransformOutput>) -> TransformLots {
    doing(TransformationKind::Transform, inputs, outputs)
}

fn when(given: &Given, command: TransformLots) -> Then {
    given.when(Command::Lot(LotCommand::Transform(command)))
}

fn made(then: Then) -> LotsTransformed {
    let decision = then.accepted();
    let [Event::Lot(LotEvent::LotsTransformed(event))] = decision.events.as_slice() else { panic!("another event") };
    event.clone()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn lasting(code: &str, value: &str, until: &str) -> Event {
    Event::LotRegistered(LotRegistered { expires_on: Some(day(until)), ..lot_data(code, value, "KGM") })
}

fn of_product(code: &str, product: &str, until: Option<&str>) -> Event {
    let expires_on = until.map(day);
    Event::LotRegistered(LotRegistered { product: product.into(), expires_on, ..lot_data(code, "100", "KGM") })
}

/// Two lots of milk of 100 KGM.
fn milk() -> Given {
    site(&[lot("M1", "100", "KGM"), lot("M2", "100", "KGM")])
}

fn amounts(output: &TransformationOutput) -> Vec<String> {
    output.parents.iter().map(|parent| parent.quantity.to_string()).collect()
}

#[test]
fn a_split_is_one_event_with_all_that_was_given() {
    let mut given = milk();
    let mut command = split(vec![
        TransformOutput {
            temperature_c: Some("4.50".into()),
            location: Some(" cold store ".into()),
            lot_type: Some(LotType::Ingredient),
            attributes: [(" a ".into(), "1".into())].into(),
            ..portion(" S1\n", "40.0", "KGM")
        },
        portion("S2", "20500", "GRM"),
    ]);
    command.loss = Some(quantity("0.5", "KGM"));
    command.step = Some("portioning".into());
    command.location = Some("line 2".into());
    command.documents = vec![DocumentReference { document_type: " batch record".into(), number: "B-7 ".into() }];
    let fresh = given.fresh();
    let event = made(when(&given, command));
    assert_eq!(event.transformation_id, TransformationId(fresh));
    assert_eq!(event.inputs.len(), 1);
    assert_eq!((event.inputs[0].lot_id, event.inputs[0].quantity.to_string()), (lot_id("M1"), "61 KGM".into()));
    assert_eq!((event.step.as_deref(), event.location.as_deref()), (Some("portioning"), Some("line 2")));
    assert_eq!(event.documents, [DocumentReference { document_type: "batch record".into(), number: "B-7".into() }]);
    let [first, second] = event.outputs.as_slice() else { panic!("two outputs") };
    assert_eq!((first.code.as_str(), first.product.as_str(), first.lot_type), ("S1", "milk", LotType::Ingredient));
    assert_eq!((first.location.as_deref(), first.temperature_c), (Some("cold store"), Some(Decimal::new(45, 1))));
    assert_eq!(first.attributes, [("a".to_owned(), "1".to_owned())].into());
    assert_eq!((second.product.as_str(), second.lot_type), ("milk", LotType::Raw), "what the input is");
    assert_ne!(first.lot_id, second.lot_id);
    let ids = [fresh, first.lot_id.0, second.lot_id.0];
    assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.as_bytes()[..6] == fresh.as_bytes()[..6]));
    // 61 KGM in proportion 40 : 20.5; what was lost is attributed like what was kept.
    assert_eq!((amounts(first), amounts(second)), (vec!["40.330579 KGM".to_owned()], vec!["20.669421 KGM".to_owned()]));
    let (first, second) = (first.lot_id, second.lot_id);
    given.happened(&Event::Lot(LotEvent::LotsTransformed(event)));
    let left = |id| given.state.lots.get(id).unwrap().remaining.normalize().to_string();
    assert_eq!([left(lot_id("M1")), left(lot_id("M2")), left(first), left(second)], ["39", "100", "40", "20.5"]);
}

#[test]
fn without_loss_a_splits_edges_are_its_outputs() {
    let event = made(when(&milk(), split(vec![portion("S1", "33.333333", "KGM"), portion("S2", "66666.667", "GRM")])));
    assert_eq!(event.inputs[0].quantity.to_string(), "100 KGM");
    assert_eq!(amounts(&event.outputs[0]), ["33.333333 KGM"]);
    assert_eq!(amounts(&event.outputs[1]), ["66.666667 KGM"]);
}

#[test]
fn one_bad_input_of_ten_changes_nothing() {
    let events: Vec<Event> = (0..10).map(|number| lot(&format!("L-{number}"), "12.5", "KGM")).collect();
    let given = site(&events);
    let inputs = |last: &str| -> Vec<_> {
        (0..10).map(|number| take(&format!("L-{number}"), if number == 9 { last } else { "10" }, "KGM")).collect()
    };
    let message = "lot 'L-9' has 12.5 KGM left, 13 KGM asked";
    let mix = |last: &str, made: &str| transform(inputs(last), vec![make("MIX", made, "KGM")]);
    when(&given, mix("13", "103")).refused("NOT_ENOUGH_LEFT", Some("inputs"), message);
    when(&given, mix("12.5", "102.5")).accepted();
}

#[test]
fn inputs_exist_once_are_not_blocked_and_give_no_more_than_they_have() {
    let given =
        site(&[lot("M1", "100", "KGM"), lot("B", "1", "KGM"), judged("B", QcOutcome::Hold), lot("V", "9", "LTR")]);
    let with = |input| transform(vec![take("M1", "1", "KGM"), input], vec![make("C", "2", "KGM")]);
    let refused = |input, code, message: &str| when(&given, with(input)).refused(code, Some("inputs"), message);
    refused(take("X", "1", "KGM"), "UNKNOWN_LOT", "lot 'X' does not exist");
    let by_id = TransformInput { lot: LotRef::Id(lot_id("M1")), ..take("M1", "1", "KGM") };
    refused(by_id, "DUPLICATE_PARENT", "lot 'M1' stands twice among the inputs");
    refused(take("B", "1", "KGM"), "LOT_BLOCKED", "lot 'B' is HOLD and can't be used");
    refused(take("V", "1", "KGM"), "UNIT_MISMATCH", "lot 'V' is measured in LTR, which does not convert to KGM");
    refused(take("V", "9.000001", "LTR"), "NOT_ENOUGH_LEFT", "lot 'V' has 9 LTR left, 9.000001 LTR asked");
    let message = "inputs, entry 2: 'NaN' is not a decimal number; write it like 12.5";
    refused(take("V", "NaN", "LTR"), "QUANTITY_NOT_DECIMAL", message);
    let failed = site(&[lot("M1", "100", "KGM"), judged("M1", QcOutcome::Fail)]);
    let message = "lot 'M1' is FAIL and can't be used";
    when(&failed, split(vec![portion("S", "1", "KGM")])).refused("LOT_BLOCKED", Some("inputs"), message);
}

#[test]
fn rework_takes_a_reason_and_makes_new_lots() {
    let given = milk();
    let rework =
        |code: &str| doing(TransformationKind::Rework, vec![take("M1", "5", "KGM")], vec![make(code, "5", "KGM")]);
    when(&given, rework("R")).refused("REASON_REQUIRED", Some("reason"), "this command needs a reason");
    let mut request = given.request(Command::Lot(LotCommand::Transform(rework("R"))));
    request.reason = Some("torn bags".into());
    let event = made(given.when_asked(&request));
    assert_ne!(event.outputs[0].lot_id, lot_id("M1"));
    request.command = Command::Lot(LotCommand::Transform(rework("M1")));
    let message = format!("lot code 'M1' is already used by lot {}", lot_id("M1"));
    given.when_asked(&request).refused("DUPLICATE_LOT_CODE", Some("outputs"), &message);
}

#[test]
fn codes_are_fresh_in_the_site_and_among_the_outputs() {
    let given = milk();
    let message = format!("lot code 'M2' is already used by lot {}", lot_id("M2"));
    let outputs = |second: &str| split(vec![portion("S", "1", "KGM"), portion(second, "1", "KGM")]);
    when(&given, outputs(" M2 ")).refused("DUPLICATE_LOT_CODE", Some("outputs"), &message);
    let message = "lot code 'S' stands twice among the outputs";
    when(&given, outputs("S\t")).refused("DUPLICATE_OUTPUT_CODE", Some("outputs"), message);
    let message = "outputs, entry 2: code must have 1 to 64 characters and no control characters";
    when(&given, outputs(" ")).refused("INVALID_TEXT", Some("outputs"), message);
    when(&given, outputs("s")).accepted();
}

#[test]
fn split_takes_one_and_merge_makes_one() {
    let given = milk();
    let two = || vec![all("M1"), all("M2")];
    let refused = |command, field, message: &str| when(&given, command).refused("WRONG_COUNT", Some(field), message);
    let one = || vec![portion("S", "1", "KGM")];
    let kind = TransformationKind::Split;
    refused(doing(kind, two(), one()), "inputs", "a split takes one input; inputs has 2 entries");
    refused(doing(kind, vec![all("M1")], vec![]), "outputs", "a split takes one output or more; outputs has 0 entries");
    let kind = TransformationKind::Merge;
    refused(doing(kind, vec![all("M1")], one()), "inputs", "a merge takes two inputs or more; inputs has 1 entries");
    let outputs = vec![portion("S", "1", "KGM"), portion("T", "1", "KGM")];
    refused(doing(kind, two(), outputs), "outputs", "a merge takes one output; outputs has 2 entries");
    let message = "a transform takes one input or more; inputs has 0 entries";
    refused(transform(vec![], vec![make("C", "1", "KGM")]), "inputs", message);
    let event = made(when(&given, merge(two(), portion("S", "200", "KGM"))));
    assert_eq!(amounts(&event.outputs[0]), ["100 KGM", "100 KGM"]);
}

#[test]
fn split_and_merge_keep_the_product() {
    let given = site(&[lot("M1", "100", "KGM"), of_product("W", "whey", None)]);
    let message = "a merge keeps the product: lot 'W' is 'whey', not 'milk'";
    let inputs = vec![take("M1", "1", "KGM"), take("W", "1", "KGM")];
    when(&given, merge(inputs, portion("S", "2", "KGM"))).refused("OTHER_PRODUCT", Some("outputs"), message);
    let message = "outputs, entry 1: a split keeps the product: lot 'M1' is 'milk', not 'cheese'";
    when(&given, split(vec![make("S", "1", "KGM")])).refused("OTHER_PRODUCT", Some("outputs"), message);
    let same = TransformOutput { product: Some(" milk ".into()), ..portion("S", "1", "KGM") };
    when(&given, split(vec![same])).accepted();
}

#[test]
fn a_transform_says_what_its_outputs_are() {
    let given = milk();
    let message = "outputs, entry 1: the lot type is missing";
    let output = TransformOutput { lot_type: None, ..make("C", "1", "KGM") };
    let inputs = || vec![take("M1", "1", "KGM")];
    when(&given, transform(inputs(), vec![output])).refused("LOT_TYPE_MISSING", Some("outputs"), message);
    let message = "outputs, entry 1: product must have 1 to 128 characters and no control characters";
    let output = TransformOutput { product: None, ..make("C", "1", "KGM") };
    when(&given, transform(inputs(), vec![output])).refused("INVALID_TEXT", Some("outputs"), message);
}

#[test]
fn mass_is_conserved_to_the_last_digit() {
    let given = milk();
    let mut command = doing(TransformationKind::Split, vec![take("M1", "100", "KGM")], vec![portion("S", "60", "KGM")]);
    command.loss = Some(quantity("39999.999", "GRM"));
    let message = "100 KGM taken and 0 gained are not 60 made and 39.999999 lost: 0.000001 KGM are not accounted for";
    when(&given, command.clone()).refused("UNBALANCED", Some("loss"), message);
    command.loss = Some(quantity("40", "KGM"));
    when(&given, command.clone()).accepted();
    command.gain = Some(quantity("1", "KGM"));
    when(&given, command).refused("GAIN_NOT_ALLOWED", Some("gain"), "a split gains nothing; 1 KGM given");

    let water = |gain: Option<&str>, loss: Option<&str>| TransformLots {
        gain: gain.map(|value| quantity(value, "KGM")),
        loss: loss.map(|value| quantity(value, "KGM")),
        ..transform(vec![take("M1", "10", "KGM"), take("M2", "5", "KGM")], vec![make("C", "17", "KGM")])
    };
    let message = "15 KGM taken and 0 gained are not 17 made and 0 lost: 2 KGM are not accounted for";
    when(&given, water(None, None)).refused("UNBALANCED", Some("loss"), message);
    let event = made(when(&given, water(Some("3"), Some("1"))));
    assert_eq!((event.gain.unwrap().to_string(), event.loss.unwrap().to_string()), ("3 KGM".into(), "1 KGM".into()));
    let pounds =
        TransformLots { gain: None, ..transform(vec![take("M1", "1", "LBR")], vec![make("C", "0.45359237", "KGM")]) };
    let message =
        "outputs, entry 1: the quantity 0.45359237 has more than 12 digits before the point or more than 6 after it";
    when(&given, pounds).refused("QUANTITY_OUT_OF_RANGE", Some("outputs"), message);
}

#[test]
fn losses_and_outputs_are_measured_like_the_inputs() {
    let given = milk();
    let message = "lot 'M1' is measured in KGM, which does not convert to LTR";
    when(&given, split(vec![portion("S", "1", "LTR")])).refused("UNIT_MISMATCH", Some("outputs"), message);
    let explicit = doing(TransformationKind::Split, vec![take("M1", "1", "KGM")], vec![portion("S", "1", "LTR")]);
    when(&given, explicit).refused("UNIT_MISMATCH", Some("outputs"), message);
    let loss = Some(quantity("1", "LTR"));
    let command = TransformLots { loss, ..split(vec![portion("S", "1", "KGM")]) };
    when(&given, command).refused("UNIT_MISMATCH", Some("loss"), message);
    let gain = Some(quantity("1", "LTR"));
    let command = TransformLots { gain, ..transform(vec![take("M1", "1", "KGM")], vec![make("C", "1", "KGM")]) };
    when(&given, command).refused("UNIT_MISMATCH", Some("gain"), message);
    // Cups out of kilograms: nothing to be added up.
    let loss = Some(quantity("0.5", "KGM"));
    let command = TransformLots { loss, ..transform(vec![take("M1", "10", "KGM")], vec![make("C", "60", "C62")]) };
    let event = made(when(&given, command));
    assert_eq!(amounts(&event.outputs[0]), ["10 KGM"]);
}

#[test]
fn all_that_is_left_is_taken_where_no_quantity_is_given() {
    let mut given = milk();
    given.happened(&crate::given::lot_from("X", "M1", "0.5", "LBR"));
    let left = "99.773203815";
    let message = format!(
        "{left} KGM of lot 'M1' is no quantity of at most 12 digits before the point and 6 after it; say how much to take"
    );
    let cheese = |code: &str| transform(vec![all("M1")], vec![TransformOutput { ..make(code, "99", "KGM") }]);
    // 99.773203815 KGM are no six decimals of a kilogram.
    let command = TransformLots { loss: Some(quantity("773.203815", "GRM")), ..cheese("C") };
    let event = made(when(&given, command));
    assert_eq!(event.inputs[0].quantity.to_string(), "99773203.815 MGM");
    given.happened(&crate::given::lot_from("Y", "M1", "0.00001", "LBR"));
    let left = message.replace(left, "99.7731992790763");
    when(&given, cheese("C")).refused("NO_QUANTITY", Some("inputs"), &left);
    let empty = site(&[lot("M1", "1", "KGM"), crate::given::lot_from("X", "M1", "1", "KGM")]);
    when(&empty, cheese("C")).refused("NOTHING_LEFT", Some("inputs"), "lot 'M1' has nothing left");
}

#[test]
fn expired_inputs_go_in_by_an_exception_only() {
    let given = site(&[lasting("M1", "100", "2026-11-20"), lasting("M2", "100", "2026-11-21")]);
    let outputs = || vec![portion("S", "1", "KGM")];
    let message = "lot 'M1' has expired: its last day of use is 2026-11-20, and 2026-11-21 is the day; it goes in only by an exception with a reason";
    when(&given, split(outputs())).refused("LOT_EXPIRED", Some("inputs"), message);
    let excepted = |code: &str, why: &str| {
        let input = TransformInput { exception: Some(why.into()), ..all(code) };
        doing(TransformationKind::Split, vec![input], outputs())
    };
    when(&given, excepted("M1", "  ")).refused("LOT_EXPIRED", Some("inputs"), message);
    let event = made(when(&given, excepted("M1", " for the pigs ")));
    assert_eq!(event.inputs[0].expired_on, Some(day("2026-11-20")));
    assert_eq!(event.inputs[0].exception.as_deref(), Some("for the pigs"));
    assert_eq!(event.outputs[0].expires_on, Some(day("2026-11-20")), "it is born expired");
    let event = made(when(&given, excepted("M2", "not needed")));
    assert_eq!((event.inputs[0].expired_on, &event.inputs[0].exception), (None, &None), "its last day is today");
    // What counts is the day of the decision, whatever day is said to have been that of the deed.
    let mut request = given.request(Command::Lot(LotCommand::Transform(split(outputs()))));
    request.occurred_at = Some(now().plus_micros(-4 * 3_600 * 1_000_000));
    assert_eq!(given.when_asked(&request).refusal().code(), "LOT_EXPIRED");
    let message = "inputs, entry 1: exception must have 1 to 500 characters and no control characters";
    when(&given, excepted("M1", &"x".repeat(501))).refused("INVALID_TEXT", Some("inputs"), message);
}

#[test]
fn a_lot_marked_as_expired_stays_so() {
    let mut given = site(&[lasting("M1", "100", "2026-11-20")]);
    given.happened(&crate::given::expired("M1", "2026-11-20"));
    let mut request = given.request(Command::Lot(LotCommand::Transform(split(vec![portion("S", "1", "KGM")]))));
    request.occurred_at = Some(now().plus_micros(-40 * 3_600 * 1_000_000));
    assert_eq!(given.when_asked(&request).refusal().code(), "LOT_EXPIRED");
}

#[test]
fn outputs_last_as_long_as_the_input_that_lasts_shortest() {
    let given = site(&[
        of_product("M1", "milk", Some("2026-12-10")),
        of_product("M2", "milk", Some("2026-12-01")),
        of_product("S", "salt", None),
        of_product("R", "rennet", Some("2026-11-30")),
    ]);
    let until = |output: TransformOutput, text: &str| TransformOutput { expires_on: Some(day(text)), ..output };
    let two = || vec![take("M1", "1", "KGM"), take("M2", "1", "KGM")];
    let expiry = |command| made(when(&given, command)).outputs[0].expires_on;
    assert_eq!(expiry(merge(two(), portion("C", "2", "KGM"))), Some(day("2026-12-01")));
    assert_eq!(expiry(merge(two(), until(portion("C", "2", "KGM"), "2026-11-25"))), Some(day("2026-11-25")));
    let message = "outputs, entry 1: lot 'C' can't last until 2026-12-02: lot 'M2' lasts until 2026-12-01";
    let later = merge(two(), until(portion("C", "2", "KGM"), "2026-12-02"));
    when(&given, later).refused("EXPIRY_TOO_LATE", Some("outputs"), message);

    let three = || vec![take("M1", "1", "KGM"), take("S", "1", "KGM"), take("R", "1", "KGM")];
    assert_eq!(expiry(transform(three(), vec![make("C", "3", "KGM")])), Some(day("2026-11-30")));
    assert_eq!(expiry(transform(vec![take("S", "1", "KGM")], vec![make("C", "1", "KGM")])), None);
    let cheese = transform(three(), vec![until(make("C", "3", "KGM"), "2027-06-01")]);
    assert_eq!(expiry(cheese), Some(day("2027-06-01")), "cheese lasts longer than milk");
    let milk = TransformOutput { product: Some("milk".into()), ..make("C", "3", "KGM") };
    let message = "outputs, entry 1: lot 'C' can't last until 2026-12-11: lot 'M1' lasts until 2026-12-10";
    let again = transform(three(), vec![until(milk.clone(), "2026-12-11")]);
    when(&given, again).refused("EXPIRY_TOO_LATE", Some("outputs"), message);
    assert_eq!(expiry(transform(three(), vec![until(milk, "2026-12-10")])), Some(day("2026-12-10")));

    let rework = doing(TransformationKind::Rework, three(), vec![until(make("C", "3", "KGM"), "2026-12-01")]);
    let mut request = given.request(Command::Lot(LotCommand::Transform(rework)));
    request.reason = Some("torn".into());
    let message = "outputs, entry 1: lot 'C' can't last until 2026-12-01: lot 'R' lasts until 2026-11-30";
    given.when_asked(&request).refused("EXPIRY_TOO_LATE", Some("outputs"), message);
}

#[test]
fn several_inputs_are_attributed_to_several_outputs_by_their_quantities() {
    let given = milk();
    let inputs = || vec![take("M1", "10", "KGM"), take("M2", "0.000002", "KGM")];
    let outputs = vec![make("C", "6.000002", "KGM"), make("D", "4000", "GRM")];
    let event = made(when(&given, transform(inputs(), outputs)));
    assert_eq!(amounts(&event.outputs[0]), ["6.000001 KGM", "0.000001 KGM"]);
    assert_eq!(amounts(&event.outputs[1]), ["3.999999 KGM", "0.000001 KGM"]);
    assert_eq!(event.outputs[0].parents[1].lot_id, lot_id("M2"));
    let outputs = ["C", "D", "E"].map(|code| make(code, "1", "KGM")).into();
    let command = TransformLots { loss: Some(quantity("7.000002", "KGM")), ..transform(inputs(), outputs) };
    let message = "0.000002 KGM of lot 'M2' can't be attributed to 3 outputs: 0.000001 is the smallest part";
    when(&given, command).refused("TOO_SMALL_TO_SHARE", Some("inputs"), message);
}

#[test]
fn outputs_of_several_dimensions_need_shares() {
    let given = milk();
    let shared = |first: Option<&str>, second: Option<&str>| {
        let cups = TransformOutput { share: first.map(str::to_owned), ..make("C", "60", "C62") };
        let whey = TransformOutput { share: second.map(str::to_owned), ..make("W", "7", "LTR") };
        transform(vec![take("M1", "10", "KGM")], vec![cups, whey])
    };
    let message = "the outputs are not all measured in one dimension; give each its share";
    when(&given, shared(None, None)).refused("SHARES_NEEDED", Some("outputs"), message);
    let message = "1 of 2 outputs have a share; give it to all or to none";
    when(&given, shared(Some("1"), None)).refused("SHARES_INCOMPLETE", Some("outputs"), message);
    for bad in ["0", "-1", "1e3", "half", "0.0000001", "1000000000000"] {
        let message = "outputs, entry 2: share must be a number above zero, with at most 12 digits before the point and 6 after it";
        when(&given, shared(Some("1"), Some(bad))).refused("INVALID_NUMBER", Some("outputs"), message);
    }
    let event = made(when(&given, shared(Some("0.3"), Some("0.70"))));
    assert_eq!((amounts(&event.outputs[0]), amounts(&event.outputs[1])), (vec!["3 KGM".into()], vec!["7 KGM".into()]));
    assert_eq!(event.outputs[1].share, Some(Decimal::new(7, 1)));
}

#[test]
fn lists_have_limits() {
    let given = milk();
    let many =
        |count: usize| (0..count).map(|number| portion(&format!("S{number}"), "0.001", "KGM")).collect::<Vec<_>>();
    let message = "outputs has 1001 entries; at most 1000 are accepted";
    when(&given, split(many(1_001))).refused("TOO_MANY", Some("outputs"), message);
    assert_eq!(made(when(&given, split(many(1_000)))).outputs.len(), 1_000);
    let inputs = vec![all("M1"); 1_001];
    let message = "inputs has 1001 entries; at most 1000 are accepted";
    when(&given, transform(inputs, many(1))).refused("TOO_MANY", Some("inputs"), message);
    let message = "1000 inputs and 6 outputs make 6000 edges; at most 5000 are accepted";
    when(&given, transform(vec![all("M1"); 1_000], many(6))).refused("TOO_MANY_EDGES", Some("outputs"), message);
    let documents = vec![DocumentReference { document_type: "x".into(), number: "1".into() }; 17];
    let message = "documents has 17 entries; at most 16 are accepted";
    let command = TransformLots { documents, ..split(many(1)) };
    when(&given, command).refused("TOO_MANY", Some("documents"), message);
    let documents = vec![DocumentReference { document_type: "x".into(), number: " ".into() }];
    let message = "documents, entry 1: number must have 1 to 64 characters and no control characters";
    let command = TransformLots { documents, ..split(many(1)) };
    when(&given, command).refused("INVALID_TEXT", Some("documents"), message);
}

#[test]
fn the_expected_version_is_that_of_the_input_that_changed_last() {
    let mut given = milk();
    given.happened(&moved("M1", "dock"));
    let inputs = vec![take("M1", "1", "KGM"), take("M2", "1", "KGM")];
    let command = Command::Lot(LotCommand::Transform(merge(inputs, portion("S", "2", "KGM"))));
    let mut request = given.request(command);
    request.expected_version = Some(2);
    let message = "the expected version is 2 but the current one is 3";
    given.when_asked(&request).refused("VERSION_CONFLICT", Some("expectedVersion"), message);
    request.expected_version = Some(3);
    given.when_asked(&request).accepted();
}

#[test]
fn registered_lots_take_no_expired_parent_either() {
    let given = site(&[lasting("M1", "100", "2026-11-20")]);
    let parents = vec![crate::given::parent("M1", "1", "KGM")];
    let command = crate::command::RegisterLot { parents, ..crate::given::register("C", "1", "KGM") };
    let refusal = given.when(Command::RegisterLot(command)).refusal();
    assert_eq!((refusal.code(), refusal.field()), ("LOT_EXPIRED", Some("parents")));
}
