//! Given/when/then: which decisions a lot takes, and what they must say.

use super::*;
use crate::command::{Command, MeasurementInput};
use crate::event::Event;
use crate::given::{Given, Then, judge, judged, lot, lot_id, site};
use crate::lot::LotRef;

fn judging(given: &Given, command: RecordQcDecision) -> Then {
    given.when(Command::RecordQcDecision(command))
}

fn measured(name: &str, value: &str, unit: &str) -> MeasurementInput {
    MeasurementInput { name: name.into(), value: value.into(), unit: unit.into() }
}

fn answered(item: &str, answer: &str) -> ChecklistAnswer {
    ChecklistAnswer { item: item.into(), answer: answer.into() }
}

#[test]
fn a_decision_carries_what_was_measured_and_answered() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let key = crate::personal::PersonalKey { id: uuid::Uuid::from_u128(3), secret: [7; 32] };
    let notes = key.seal("notes", "Ann saw foam");
    let command = RecordQcDecision {
        gate: " intake ".into(),
        measurements: vec![measured(" pH ", "6.70", " 1 ")],
        checklist: vec![answered(" Sealed? ", " yes ")],
        notes: Some(notes.clone()),
        ..judge("M1", QcOutcome::Pass)
    };
    let expected = QcDecisionRecorded {
        decision_id: QcDecisionId(given.fresh()),
        lot_id: lot_id("M1"),
        gate: "intake".into(),
        outcome: QcOutcome::Pass,
        measurements: vec![Measurement { name: "pH".into(), value: Decimal::new(67, 1), unit: "1".into() }],
        checklist: vec![answered("Sealed?", "yes")],
        notes: Some(notes),
    };
    let decision = judging(&given, command).accepted();
    assert_eq!(decision.events.last(), Some(&Event::QcDecisionRecorded(expected)));
}

#[test]
fn the_lot_exists() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let message = "lot 'M2' does not exist";
    judging(&given, judge("M2", QcOutcome::Pass)).refused("UNKNOWN_LOT", Some("lot"), message);
    let id = LotId(uuid::Uuid::from_u128(5));
    let command = RecordQcDecision { lot: LotRef::Id(id), ..judge("M1", QcOutcome::Pass) };
    judging(&given, command).refused("UNKNOWN_LOT", Some("lot"), &format!("lot {id} does not exist"));
    judging(&given, judge("M1 ", QcOutcome::Pass)).accepted();
}

#[test]
fn a_hold_is_lifted_by_a_pass() {
    let mut given = site(&[lot("M1", "100", "KGM")]);
    for outcome in [QcOutcome::Hold, QcOutcome::Hold, QcOutcome::Pass, QcOutcome::Hold, QcOutcome::Pass] {
        let decision = judging(&given, judge("M1", outcome)).accepted();
        for event in &decision.events {
            given.happened(event);
        }
        assert_eq!(given.state.lots.get(lot_id("M1")).unwrap().qc, Some(outcome));
    }
}

#[test]
fn a_fail_is_final() {
    let given = site(&[lot("M1", "100", "KGM"), judged("M1", QcOutcome::Fail)]);
    for outcome in [QcOutcome::Pass, QcOutcome::Hold, QcOutcome::Fail] {
        let message = "lot 'M1' has failed; a failed lot takes no further decision";
        judging(&given, judge("M1", outcome)).refused("LOT_FAILED", None, message);
    }
}

#[test]
fn measurements_are_numbers() {
    let given = site(&[lot("M1", "100", "KGM")]);
    for value in ["NaN", "inf", "", "1e3", "0x1", "1_000", &"9".repeat(40)] {
        let command =
            RecordQcDecision { measurements: vec![measured("pH", value, "1")], ..judge("M1", QcOutcome::Pass) };
        let message = "measurements must be a number with at most 28 digits, such as 72.4";
        judging(&given, command).refused("INVALID_NUMBER", Some("measurements"), message);
    }
    for value in ["-40.0", "0", "9999999999999999999999999999"] {
        let command =
            RecordQcDecision { measurements: vec![measured("T", value, "Cel")], ..judge("M1", QcOutcome::Pass) };
        judging(&given, command).accepted();
    }
}

#[test]
fn texts_and_lists_have_limits() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let plain = || judge("M1", QcOutcome::Pass);
    let texts = [
        ("gate", 64, RecordQcDecision { gate: " ".into(), ..plain() }),
        ("gate", 64, RecordQcDecision { gate: "x".repeat(65), ..plain() }),
        ("measurements", 64, RecordQcDecision { measurements: vec![measured("a\nb", "1", "1")], ..plain() }),
        ("measurements", 32, RecordQcDecision { measurements: vec![measured("a", "1", &"x".repeat(33))], ..plain() }),
        ("checklist", 200, RecordQcDecision { checklist: vec![answered(&"x".repeat(201), "y")], ..plain() }),
        ("checklist", 1_000, RecordQcDecision { checklist: vec![answered("x", "")], ..plain() }),
    ];
    for (field, max, command) in texts {
        let message = format!("{field} must have 1 to {max} characters and no control characters");
        judging(&given, command).refused("INVALID_TEXT", Some(field), &message);
    }
    let many = |count| (vec![measured("a", "1", "1"); count], vec![answered("a", "b"); count]);
    let (measurements, checklist) = many(201);
    let message = "measurements has 201 entries; at most 200 are accepted";
    judging(&given, RecordQcDecision { measurements, ..plain() }).refused("TOO_MANY", Some("measurements"), message);
    let message = "checklist has 201 entries; at most 200 are accepted";
    judging(&given, RecordQcDecision { checklist, ..plain() }).refused("TOO_MANY", Some("checklist"), message);
    let (measurements, checklist) = many(200);
    judging(&given, RecordQcDecision { measurements, checklist, ..plain() }).accepted();
}
