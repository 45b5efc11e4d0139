//! What gates ask for, and what they let pass.

use super::*;
use crate::given::lot;
use crate::qc::Measurement;
use rust_decimal::Decimal;

/// A gate with one of everything.
fn strict() -> Definition {
    let checklist = vec![
        item("sealed", AnswerType::YesNo, true),
        item("weight", AnswerType::Number, false),
        item("made", AnswerType::Date, false),
        item("remark", AnswerType::Text, false),
    ];
    let limits = vec![limit("core", Some("72"), Some("75.5")), limit("room", None, Some("8"))];
    process(vec![GateInput { checklist, limits, ..gate("heat", 0, Judged::Run) }])
}

/// A decision that the strict gate takes as a PASS.
fn good() -> DecideGate {
    DecideGate {
        measurements: vec![measured("core", "72.0", "Cel"), measured("room", "8", "Cel")],
        checklist: vec![answer("sealed", "yes")],
        ..decide("heat", QcOutcome::Pass)
    }
}

#[test]
fn a_blocking_gate_without_a_pass_of_the_run_is_in_the_way() {
    let mut given = running(&process(vec![gate("intake", 0, Judged::Run)]));
    let lacks = |what: &str| format!("run 'R1' can't pass gate 'intake' after phase 0: {what}");
    given.when(advance(0)).refused("GATE_NOT_PASSED", None, &lacks("the run has no decision"));
    given.happened(&decided(7, "intake", None, QcOutcome::Hold));
    given.when(advance(0)).refused("GATE_NOT_PASSED", None, &lacks("the run has a HOLD"));
    given.happened(&decided(8, "intake", None, QcOutcome::Pass));
    given.when(advance(0)).event(&advanced(1, 0, 10));
    given.happened(&advanced(1, 0, 10));
    given.happened(&decided(9, "intake", None, QcOutcome::Fail));
    given.when(advance(10)).refused("GATE_NOT_PASSED", None, &lacks("the run has a FAIL"));
}

#[test]
fn a_blocking_gate_wants_a_pass_of_each_lot_in_the_phase_before_it() {
    let mut given = running(&process(vec![gate("ripe", 10, Judged::Lots)]));
    for event in [lot("M1", "1", "KGM"), lot("M2", "1", "KGM"), lot("M3", "1", "KGM"), linked(1, "M1", 0)] {
        given.happened(&event);
    }
    given.when(advance(0)).event(&advanced(1, 0, 10));
    given.happened(&advanced(1, 0, 10));
    let lacks = |what: &str| format!("run 'R1' can't pass gate 'ripe' after phase 10: {what}");
    let none = lacks("there is no lot in that phase to have a PASS");
    given.when(advance(10)).refused("GATE_NOT_PASSED", None, &none);
    given.happened(&linked(1, "M2", 10));
    given.happened(&linked(1, "M3", 10));
    given.happened(&decided(7, "ripe", Some("M2"), QcOutcome::Pass));
    given.when(advance(10)).refused("GATE_NOT_PASSED", None, &lacks("lot 'M3' has no decision"));
    given.happened(&decided(8, "ripe", Some("M3"), QcOutcome::Hold));
    given.when(advance(10)).refused("GATE_NOT_PASSED", None, &lacks("lot 'M3' has a HOLD"));
    given.happened(&decided(9, "ripe", Some("M3"), QcOutcome::Pass));
    given.when(advance(10)).event(&advanced(1, 10, 20));
}

#[test]
fn gates_that_do_not_block_or_are_still_to_come_are_not_in_the_way() {
    let open = GateInput { blocking: false, ..gate("look", 0, Judged::Run) };
    let given = running(&process(vec![open, gate("ripe", 10, Judged::Run)]));
    given.when(advance(0)).event(&advanced(1, 0, 10));
    let message = "gate 'ripe' is after phase 10, and run 'R1' is in phase 0";
    given.when(gate_command(decide("ripe", QcOutcome::Pass))).refused("GATE_NOT_DUE", Some("gate"), message);
    let message = "run 'R1' has no gate 'taste'";
    given.when(gate_command(decide("taste", QcOutcome::Pass))).refused("UNKNOWN_GATE", Some("gate"), message);
}

#[test]
fn a_decision_on_the_run_has_all_that_was_measured_and_answered() {
    let given = running(&strict());
    let value = |name: &str, value| Measurement { name: name.to_owned(), value, unit: "Cel".to_owned() };
    let expected = RunGateDecided {
        run_id: run(1),
        decision_id: QcDecisionId(given.fresh()),
        gate: "heat".to_owned(),
        lot_id: None,
        outcome: QcOutcome::Pass,
        replaces: None,
        measurements: vec![value("core", Decimal::from(72)), value("room", Decimal::from(8))],
        checklist: vec![answer("sealed", "yes")],
        notes: None,
    };
    given.when(gate_command(good())).event(&Event::Run(RunEvent::RunGateDecided(expected)));
}

#[test]
fn a_pass_needs_required_answers_and_values_within_the_limits() {
    let given = running(&strict());
    let core = |value: &str, unit: &str| DecideGate {
        measurements: vec![measured("core", value, unit), measured("room", "8", "Cel")],
        ..good()
    };
    let answers = |checklist| DecideGate { checklist, ..good() };
    let sealed = || answer("sealed", "yes");
    for (command, code, message) in [
        (answers(vec![]), "MISSING_ANSWER", "there is no PASS without an answer to 'sealed'"),
        (answers(vec![answer("sealed", "Yes")]), "INVALID_ANSWER", "the answer to 'sealed' must be yes or no"),
        (
            answers(vec![sealed(), answer("weight", "much")]),
            "INVALID_ANSWER",
            "the answer to 'weight' must be a decimal such as 12.5",
        ),
        (
            answers(vec![sealed(), answer("made", "2026-02-30")]),
            "INVALID_ANSWER",
            "the answer to 'made' must be a day such as 2026-11-21",
        ),
        (answers(vec![sealed(), sealed()]), "DUPLICATE_ANSWER", "item 'sealed' is answered twice"),
        (
            DecideGate { measurements: vec![measured("room", "8", "Cel")], ..good() },
            "MISSING_MEASUREMENT",
            "there is no PASS without a value of 'core'",
        ),
        (core("71.99", "Cel"), "OUTSIDE_LIMIT", "there is no PASS with core 71.99 Cel; the limit is 72 to 75.5"),
        (core("75.51", "Cel"), "OUTSIDE_LIMIT", "there is no PASS with core 75.51 Cel; the limit is 72 to 75.5"),
        (core("72", "K"), "WRONG_UNIT", "'core' is measured in Cel, not K"),
    ] {
        let field = if code.ends_with("ANSWER") { "checklist" } else { "measurements" };
        given.when(gate_command(command)).refused(code, Some(field), &format!("gate 'heat': {message}"));
    }
    let unknown = answers(vec![sealed(), answer("taste", "good")]);
    let message = "gate 'heat' has no checklist item 'taste'";
    given.when(gate_command(unknown)).refused("UNKNOWN_CHECKLIST_ITEM", Some("checklist"), message);
    let warm =
        DecideGate { measurements: vec![measured("core", "73", "Cel"), measured("room", "8.01", "Cel")], ..good() };
    let message = "gate 'heat': there is no PASS with room 8.01 Cel; the limit is 8 or less";
    given.when(gate_command(warm)).refused("OUTSIDE_LIMIT", Some("measurements"), message);
    let twice = DecideGate {
        measurements: vec![measured("core", "73", "Cel"), measured("core", "90", "Cel"), measured("room", "1", "Cel")],
        ..good()
    };
    assert_eq!(given.when(gate_command(twice)).refusal().code(), "OUTSIDE_LIMIT", "each value counts");
    let all = answers(vec![sealed(), answer("weight", "-1.5"), answer("made", "2026-02-28"), answer("remark", "fine")]);
    given.when(gate_command(all)).accepted();
}

#[test]
fn a_hold_or_fail_may_be_taken_with_what_is_known() {
    let given = running(&strict());
    for outcome in [QcOutcome::Hold, QcOutcome::Fail] {
        given.when(gate_command(decide("heat", outcome))).accepted();
        let measurements = vec![measured("core", "60", "Cel")];
        given.when(gate_command(DecideGate { measurements, ..decide("heat", outcome) })).accepted();
        let checklist = vec![answer("sealed", "maybe")];
        let refusal = given.when(gate_command(DecideGate { checklist, ..decide("heat", outcome) })).refusal();
        assert_eq!(refusal.code(), "INVALID_ANSWER");
    }
}

#[test]
fn a_decision_in_force_is_replaced_by_name_only() {
    let mut given = running(&process(vec![gate("intake", 0, Judged::Run)]));
    let replace = |number| DecideGate { replaces: Some(decision(number)), ..decide("intake", QcOutcome::Pass) };
    let message = "gate 'intake' has no decision to replace";
    given.when(gate_command(replace(7))).refused("NOTHING_TO_REPLACE", Some("replaces"), message);
    given.happened(&decided(7, "intake", None, QcOutcome::Hold));
    let message = format!("gate 'intake' has the decision {} (HOLD); name it to replace it", decision(7));
    for command in [decide("intake", QcOutcome::Pass), replace(8)] {
        given.when(gate_command(command)).refused("DECISION_STANDS", Some("replaces"), &message);
    }
    given.when(gate_command(replace(7))).accepted();
}

#[test]
fn a_lot_is_judged_by_the_rules_of_lots_and_of_the_gate() {
    let checked =
        GateInput { checklist: vec![item("sealed", AnswerType::YesNo, true)], ..gate("ripe", 0, Judged::Lots) };
    let mut given = running(&process(vec![checked, gate("intake", 0, Judged::Run)]));
    for event in [lot("M1", "1", "KGM"), lot("M2", "1", "KGM"), linked(1, "M1", 0)] {
        given.happened(&event);
    }
    let of = |code: &str| DecideGate {
        lot: Some(LotRef::Code(code.to_owned())),
        checklist: vec![answer("sealed", "yes")],
        ..decide("ripe", QcOutcome::Pass)
    };
    let message = "gate 'ripe' judges lots; say which";
    given.when(gate_command(DecideGate { lot: None, ..of("M1") })).refused("GATE_JUDGES_LOTS", Some("lot"), message);
    let on_run = DecideGate { gate: "intake".to_owned(), checklist: vec![], ..of("M1") };
    let message = "gate 'intake' judges the run, not a lot";
    given.when(gate_command(on_run)).refused("GATE_JUDGES_RUN", Some("lot"), message);
    let message = "lot 'M2' is not in phase 0 of run 'R1'";
    given.when(gate_command(of("M2"))).refused("LOT_NOT_IN_PHASE", Some("lot"), message);
    let unanswered = DecideGate { checklist: vec![], ..of("M1") };
    assert_eq!(given.when(gate_command(unanswered)).refusal().code(), "MISSING_ANSWER");

    let fresh = QcDecisionId(given.fresh());
    let decision = given.when(gate_command(of("M1"))).accepted();
    let [Event::QcDecisionRecorded(recorded), Event::Run(RunEvent::RunGateDecided(gate))] = decision.events.as_slice()
    else {
        panic!("{:?}", decision.events)
    };
    assert_eq!((recorded.decision_id, recorded.lot_id, recorded.gate.as_str()), (fresh, lot_id("M1"), "ripe"));
    assert_eq!((recorded.outcome, recorded.checklist.as_slice()), (QcOutcome::Pass, &[answer("sealed", "yes")][..]));
    assert_eq!((gate.decision_id, gate.lot_id, gate.checklist.len()), (fresh, Some(lot_id("M1")), 0));
    assert_eq!(decision.subject_id, crate::state::Subject::QcDecision(fresh));

    for event in [&crate::given::judged("M1", QcOutcome::Fail), &decided(7, "ripe", Some("M1"), QcOutcome::Fail)] {
        given.happened(event);
    }
    let again = DecideGate { replaces: Some(super::decision(7)), ..of("M1") };
    assert_eq!(given.when(gate_command(again)).refusal().code(), "LOT_FAILED");
}
