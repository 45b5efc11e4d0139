//! Given/when/then: who is on hold, what that forbids, and how it ends.

mod histories;
mod releasing;

use crate::command::{Command, CommandRequest, RegisterLot};
use crate::event::Event;
use crate::given::{Given, Then, judge, judged, lot, lot_from, lot_id, parent, quantity, register, site};
use crate::hold::command::{HoldCommand, HoldRef};
use crate::hold::event::{HoldCause, HoldEvent, HoldLotReleased, HoldPlaced, HoldReleased};
use crate::id::{HoldId, QcDecisionId, beside};
use crate::lot::LotRef;
use crate::lot::command::{LotCommand, TransformInput, TransformLots, TransformOutput};
use crate::lot::event::{AdjustmentDirection, TransformationKind};
use crate::qc::QcOutcome;

fn code(code: &str) -> LotRef {
    LotRef::Code(code.into())
}

fn codes(lots: &[&str]) -> Vec<LotRef> {
    lots.iter().map(|lot| code(lot)).collect()
}

/// A request with a reason.
fn asked(given: &Given, command: Command) -> CommandRequest {
    CommandRequest { reason: Some("glass in the filler".into()), ..given.request(command) }
}

fn when(given: &Given, command: HoldCommand) -> Then {
    given.when_asked(&asked(given, Command::Hold(command)))
}

/// What a command leads to, happened.
fn then(given: &mut Given, command: Command) {
    let events = given.when_asked(&asked(given, command)).accepted().events;
    for event in &events {
        given.happened(event);
    }
}

fn place(lots: &[&str]) -> HoldCommand {
    HoldCommand::Place { lots: codes(lots) }
}

fn hold(name: &str) -> HoldRef {
    HoldRef::Code(name.into())
}

fn release(name: &str) -> HoldCommand {
    HoldCommand::Release { hold: hold(name) }
}

fn release_lots(name: &str, lots: &[&str]) -> HoldCommand {
    HoldCommand::ReleaseLots { hold: hold(name), lots: codes(lots) }
}

/// Take a kilogram of a lot for another.
fn using(given: &Given, lot: &str) -> Then {
    let command = RegisterLot { parents: vec![parent(lot, "1", "KGM")], ..register("NEW", "1", "KGM") };
    given.when(Command::RegisterLot(command))
}

fn output(code: &str, value: &str) -> TransformOutput {
    TransformOutput {
        code: code.into(),
        lot_type: Some(crate::lot::LotType::Raw),
        product: Some("milk".into()),
        quantity: quantity(value, "KGM"),
        share: None,
        temperature_c: None,
        expires_on: None,
        location: None,
        attributes: std::collections::BTreeMap::new(),
    }
}

/// One kilogram of each input, and as many outputs of equal size.
fn transform(kind: TransformationKind, inputs: &[&str], outputs: &[&str]) -> Command {
    let split = kind == TransformationKind::Split;
    let share = if split {
        "1".to_owned()
    } else {
        (rust_decimal::Decimal::from(inputs.len()) / rust_decimal::Decimal::from(outputs.len())).to_string()
    };
    let input = |lot: &&str| TransformInput {
        lot: code(lot),
        quantity: (!split).then(|| quantity("1", "KGM")),
        exception: None,
    };
    Command::Lot(LotCommand::Transform(TransformLots {
        kind,
        inputs: inputs.iter().map(input).collect(),
        outputs: outputs.iter().map(|code| output(code, &share)).collect(),
        loss: None,
        gain: None,
        step: None,
        location: None,
        documents: Vec::new(),
    }))
}

/// Codes of the lots on hold among these.
fn held(given: &Given, lots: &[&str]) -> Vec<String> {
    let on_hold = |code: &&&str| {
        let found = given.state.lots.find("lot", &LotRef::Code((**code).to_owned()));
        given.state.lots.is_held(found.unwrap().0)
    };
    lots.iter().filter(on_hold).map(|code| (*code).to_owned()).collect()
}

/// `M1` and `M2` of 100 KGM, `A` made from `M1`, `B` from `A`, and `C` from `B`.
fn chain() -> Given {
    site(&[
        lot("M1", "100", "KGM"),
        lot("M2", "100", "KGM"),
        lot_from("A", "M1", "50", "KGM"),
        lot_from("B", "A", "20", "KGM"),
        lot_from("C", "B", "10", "KGM"),
    ])
}

#[test]
fn a_hold_names_its_roots_and_reaches_all_that_was_made_from_them() {
    let mut given = chain();
    let placed = HoldPlaced {
        hold_id: HoldId(given.fresh()),
        code: "H-1".into(),
        cause: HoldCause::Person,
        decision_id: None,
        rule: None,
        lots: vec![lot_id("A")],
    };
    when(&given, place(&["A"])).event(&Event::Hold(HoldEvent::HoldPlaced(placed.clone())));
    given.happened(&Event::Hold(HoldEvent::HoldPlaced(placed)));
    assert_eq!(held(&given, &["M1", "M2", "A", "B", "C"]), ["A", "B", "C"]);
    using(&given, "M1").accepted();
    using(&given, "A").refused("LOT_ON_HOLD", Some("parents"), "lot 'A' is on hold H-1");
    using(&given, "C").refused("LOT_ON_HOLD", Some("parents"), "lot 'C' is on hold H-1 through lot 'A'");
}

#[test]
fn an_edge_of_the_moment_before_counts() {
    let mut given = chain();
    then(&mut given, transform(TransformationKind::Transform, &["C", "M2"], &["MIX"]));
    then(&mut given, Command::Hold(place(&["M1"])));
    let message = "lot 'MIX' is on hold H-1 through lot 'M1'";
    using(&given, "MIX").refused("LOT_ON_HOLD", Some("parents"), message);
    let mix = transform(TransformationKind::Merge, &["M2", "MIX"], &["MORE"]);
    given.when_asked(&asked(&given, mix)).refused("LOT_ON_HOLD", Some("inputs"), message);
    assert_eq!(held(&given, &["M2", "MIX"]), ["MIX"], "what is beside it is free");
}

#[test]
fn one_input_of_ten_on_hold_changes_nothing() {
    let names: Vec<String> = (0..10).map(|number| format!("L-{number}")).collect();
    let events: Vec<Event> = names.iter().map(|name| lot(name, "12.5", "KGM")).collect();
    let mut given = site(&events);
    then(&mut given, Command::Hold(place(&["L-7"])));
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let mix = transform(TransformationKind::Transform, &inputs, &["MIX"]);
    given.when_asked(&asked(&given, mix)).refused("LOT_ON_HOLD", Some("inputs"), "lot 'L-7' is on hold H-1");
}

#[test]
fn what_is_done_to_lots_on_hold() {
    let mut given = chain();
    then(&mut given, Command::Hold(place(&["M1"])));
    let lot = || code("C");
    let kilogram = || quantity("1", "KGM");
    for command in [
        LotCommand::Move { lot: lot(), location: "quarantine".into() },
        LotCommand::Sample { lot: lot(), quantity: kilogram(), label: None, purpose: None },
        LotCommand::Scrap { lot: lot(), quantity: Some(kilogram()) },
        LotCommand::Adjust { lot: lot(), direction: AdjustmentDirection::Decrease, quantity: kilogram() },
    ] {
        given.when_asked(&asked(&given, Command::Lot(command))).accepted();
    }
    for kind in [TransformationKind::Merge, TransformationKind::Transform, TransformationKind::Rework] {
        let refusal = given.when_asked(&asked(&given, transform(kind, &["C", "M2"], &["N"]))).refusal();
        assert_eq!(refusal.code(), "LOT_ON_HOLD", "{kind:?}");
    }
}

#[test]
fn a_split_of_a_lot_on_hold_gives_parts_on_the_same_holds() {
    let mut given = chain();
    then(&mut given, Command::Hold(place(&["M1"])));
    then(&mut given, Command::Hold(place(&["B"])));
    then(&mut given, transform(TransformationKind::Split, &["B"], &["P", "Q"]));
    let message = "lot 'P' is on hold H-1 through lot 'M1', H-2 through lot 'B'";
    using(&given, "P").refused("LOT_ON_HOLD", Some("parents"), message);
    then(&mut given, Command::Hold(release("H-1")));
    assert_eq!(held(&given, &["M1", "A", "B", "C", "P", "Q"]), ["B", "C", "P", "Q"]);
}

#[test]
fn a_lot_is_free_when_its_last_hold_is_released() {
    let mut given = chain();
    for root in ["M1", "B", "C"] {
        then(&mut given, Command::Hold(place(&[root])));
    }
    let message = "lot 'C' is on hold H-1 through lot 'M1', H-2 through lot 'B', H-3";
    using(&given, "C").refused("LOT_ON_HOLD", Some("parents"), message);
    then(&mut given, Command::Hold(release("H-2")));
    then(&mut given, Command::Hold(release("H-1")));
    assert_eq!(held(&given, &["M1", "A", "B", "C"]), ["C"]);
    then(&mut given, Command::Hold(release("H-3")));
    using(&given, "C").accepted();
}

#[test]
fn a_sentence_names_five_holds() {
    let mut given = chain();
    (0..7).for_each(|_| then(&mut given, Command::Hold(place(&["A"]))));
    let message = "lot 'A' is on hold H-1, H-2, H-3, H-4, H-5 and 2 more";
    using(&given, "A").refused("LOT_ON_HOLD", Some("parents"), message);
}

#[test]
fn of_several_roots_the_one_that_reaches_it_is_named() {
    let mut given = chain();
    then(&mut given, Command::Hold(place(&["M2", "B"])));
    using(&given, "C").refused("LOT_ON_HOLD", Some("parents"), "lot 'C' is on hold H-1 through lot 'B'");
}

#[test]
fn what_is_placed_is_named_well_and_has_a_reason() {
    let given = chain();
    let message = "this command needs a reason";
    given.when(Command::Hold(place(&["A"]))).refused("REASON_REQUIRED", Some("reason"), message);
    when(&given, place(&[])).refused("NO_LOTS", Some("lots"), "name at least one lot");
    when(&given, place(&["A", "X"])).refused("UNKNOWN_LOT", Some("lots"), "lot 'X' does not exist");
    let message = "lot 'A' stands twice among the lots";
    when(&given, place(&["A", "B", " A"])).refused("DUPLICATE_PARENT", Some("lots"), message);
    let many = vec!["A"; 1_001];
    let message = "lots has 1001 entries; at most 1000 are accepted";
    when(&given, place(&many)).refused("TOO_MANY", Some("lots"), message);
}

/// What a decision brings, but for alerts.
fn judging(given: &Given, lot: &str, outcome: QcOutcome) -> Vec<Event> {
    let mut events = given.when(Command::RecordQcDecision(judge(lot, outcome))).accepted().events;
    events.retain(|event| !matches!(event, Event::Alert(_)));
    events
}

#[test]
fn a_hold_decision_places_a_hold_and_the_next_decision_releases_it() {
    let mut given = chain();
    let fresh = given.fresh();
    let first = QcDecisionId(fresh);
    let events = judging(&given, "A", QcOutcome::Hold);
    let [Event::Hold(HoldEvent::HoldPlaced(placed)), Event::QcDecisionRecorded(decided)] = events.as_slice() else {
        panic!("{events:?}")
    };
    let expected = HoldPlaced {
        hold_id: HoldId(beside(fresh, "hold")),
        code: "H-1".into(),
        cause: HoldCause::Decision,
        decision_id: Some(first),
        rule: None,
        lots: vec![lot_id("A")],
    };
    assert_eq!((placed, decided.decision_id), (&expected, first));
    for event in &events {
        given.happened(event);
    }
    using(&given, "C").refused("LOT_ON_HOLD", Some("parents"), "lot 'C' is on hold H-1 through lot 'A'");

    let again = judging(&given, "A", QcOutcome::Hold);
    let [Event::Hold(HoldEvent::HoldReleased(released)), Event::Hold(HoldEvent::HoldPlaced(second)), decided] =
        again.as_slice()
    else {
        panic!("{again:?}")
    };
    let Event::QcDecisionRecorded(decided) = decided else { panic!("{again:?}") };
    assert_eq!((released.hold_id, released.decision_id), (placed.hold_id, Some(decided.decision_id)));
    assert_eq!(second.code, "H-2");
    for event in &again {
        given.happened(event);
    }

    let passed = judging(&given, "A", QcOutcome::Pass);
    assert_eq!(passed.len(), 2, "{passed:?}");
    for event in &passed {
        given.happened(event);
    }
    assert!(held(&given, &["A", "B", "C"]).is_empty());
    using(&given, "A").accepted();
    assert_eq!(judging(&given, "A", QcOutcome::Pass).len(), 1, "nothing is left to release");
}

#[test]
fn a_pass_releases_no_hold_but_its_own() {
    let mut given = chain();
    then(&mut given, Command::Hold(place(&["A"])));
    for outcome in [QcOutcome::Hold, QcOutcome::Pass] {
        then(&mut given, Command::RecordQcDecision(judge("A", outcome)));
    }
    using(&given, "A").refused("LOT_ON_HOLD", Some("parents"), "lot 'A' is on hold H-1");
}

#[test]
fn a_person_may_release_what_a_decision_holds() {
    let mut given = chain();
    then(&mut given, Command::RecordQcDecision(judge("A", QcOutcome::Hold)));
    then(&mut given, Command::Hold(release("H-1")));
    using(&given, "A").accepted();
    assert_eq!(judging(&given, "A", QcOutcome::Pass).len(), 1);
}

#[test]
fn a_fail_reaches_descendants_and_stays_a_fail_when_its_hold_is_released() {
    let mut given = chain();
    then(&mut given, Command::RecordQcDecision(judge("A", QcOutcome::Fail)));
    using(&given, "C").refused("LOT_ON_HOLD", Some("parents"), "lot 'C' is on hold H-1 through lot 'A'");
    let blocked = "lot 'A' is FAIL and can't be used";
    using(&given, "A").refused("LOT_BLOCKED", Some("parents"), blocked);
    let split = transform(TransformationKind::Split, &["A"], &["P", "Q"]);
    given.when_asked(&asked(&given, split)).refused("LOT_BLOCKED", Some("inputs"), blocked);
    let then_pass = given.when(Command::RecordQcDecision(judge("A", QcOutcome::Pass)));
    assert_eq!(then_pass.refusal().code(), "LOT_FAILED");
    then(&mut given, Command::Hold(release("H-1")));
    using(&given, "C").accepted();
    using(&given, "A").refused("LOT_BLOCKED", Some("parents"), blocked);
}

#[test]
fn decisions_from_before_there_were_holds_block_as_they_did() {
    let mut given = chain();
    given.happened(&judged("A", QcOutcome::Hold));
    let message = "lot 'A' is HOLD and can't be used";
    using(&given, "A").refused("LOT_BLOCKED", Some("parents"), message);
    let split = transform(TransformationKind::Split, &["A"], &["P", "Q"]);
    given.when_asked(&asked(&given, split)).refused("LOT_BLOCKED", Some("inputs"), message);
    using(&given, "C").accepted();
    let events = judging(&given, "A", QcOutcome::Pass);
    assert_eq!(events.len(), 1);
    given.happened(&events[0]);
    using(&given, "A").accepted();
}
