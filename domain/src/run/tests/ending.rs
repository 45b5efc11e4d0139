//! How runs end, and what they came to.

use rust_decimal::Decimal;

use super::*;
use crate::given::lot;
use crate::quantity::Quantity;
use crate::run::event::{DecisionCounts, PhaseSummary, RunAborted, RunCompleted, RunHeld, RunResumed, RunSummary};

fn abort() -> Command {
    Command::Run(RunCommand::AbortRun { run: named() })
}

fn linked_with(code: &str, phase: u32, value: &str, unit: &str) -> Event {
    let quantity = Some(Quantity::parse(value, unit).unwrap());
    let (run_id, lot_id) = (run(1), lot_id(code));
    Event::Run(RunEvent::RunLotLinked(RunLotLinked { run_id, lot_id, phase, quantity }))
}

#[test]
fn a_run_is_completed_in_its_last_phase_past_its_gates() {
    let mut given = running(&process(vec![gate("release", 20, Judged::Run)]));
    let message = "run 'R1' is in phase 0, and phase 10 is still to come";
    given.when(complete()).refused("RUN_NOT_IN_LAST_PHASE", None, message);
    given.happened(&advanced(1, 0, 10));
    given.happened(&advanced(1, 10, 20));
    let message = "run 'R1' can't pass gate 'release' after phase 20: the run has no decision";
    given.when(complete()).refused("GATE_NOT_PASSED", None, message);
    given.happened(&decided(7, "release", None, QcOutcome::Pass));
    given.when(complete()).accepted();
}

#[test]
fn the_summary_has_durations_decisions_lots_and_yield() {
    let open = GateInput { blocking: false, ..gate("look", 10, Judged::Run) };
    let mut given = running(&process(vec![open, gate("intake", 0, Judged::Run)]));
    for code in ["M1", "M2", "M3"] {
        given.happened(&lot(code, "1", "KGM"));
    }
    let held = Event::Run(RunEvent::RunHeld(RunHeld { run_id: run(1) }));
    let resumed = Event::Run(RunEvent::RunResumed(RunResumed { run_id: run(1) }));
    for (seconds, event) in [
        (1, linked_with("M1", 0, "80", "KGM")),
        (2, linked_with("M2", 0, "0.02", "TNE")),
        (10, decided(7, "intake", None, QcOutcome::Hold)),
        (12, decided(8, "intake", None, QcOutcome::Pass)),
        (60, advanced(1, 0, 10)),
        (70, held),
        // Said to have happened before it was held: no time went by.
        (65, resumed.clone()),
        (68, Event::Run(RunEvent::RunHeld(RunHeld { run_id: run(1) }))),
        (100, resumed),
        (360, advanced(1, 10, 20)),
        (361, linked_with("M3", 20, "45000", "GRM")),
    ] {
        later(&mut given, seconds, &event);
    }
    let phase = |phase, duration_s, held_s, lots, amounts: &[&str]| {
        let amounts = amounts.iter().map(|value| Quantity::parse(value, "KGM").unwrap()).collect();
        PhaseSummary { phase, duration_s, held_s, lots, amounts }
    };
    let summary = RunSummary {
        duration_s: 660,
        held_s: 30,
        phases: vec![phase(0, 60, 0, 2, &["100"]), phase(10, 300, 30, 0, &[]), phase(20, 300, 0, 1, &["45"])],
        decisions: DecisionCounts { pass: 1, hold: 1, fail: 0 },
        open_gates: vec!["look".to_owned()],
        yield_ratio: Some(Decimal::new(45, 2)),
    };
    let expected = Event::Run(RunEvent::RunCompleted(RunCompleted { run_id: run(1), summary: summary.clone() }));
    let at = now().plus_micros(-3_600 * SECOND);
    let mut request = asked(&given, complete(), Some(at));
    let early = given.when_asked(&request).accepted();
    let Event::Run(RunEvent::RunCompleted(early)) = &early.events[0] else { panic!("{early:?}") };
    assert_eq!((early.summary.duration_s, early.summary.phases[2].duration_s), (361, 1), "time does not go back");
    // The clock of the decision is ten minutes and more later than the last step.
    request.occurred_at = Some(now().plus_micros(660 * SECOND));
    let later = given.state.decide(&request, now().plus_micros(700 * SECOND)).unwrap();
    assert_eq!(later.events, [expected]);
}

#[test]
fn there_is_no_yield_where_it_is_not_known() {
    for (first, last) in [("KGM", "LTR"), ("LTR", "C62")] {
        let mut given = running(&process(vec![]));
        for event in [
            lot("M1", "1", "KGM"),
            lot("M2", "1", "KGM"),
            linked_with("M1", 0, "80", first),
            advanced(1, 0, 10),
            advanced(1, 10, 20),
            linked_with("M2", 20, "80", last),
        ] {
            given.happened(&event);
        }
        let decision = given.when(complete()).accepted();
        let Event::Run(RunEvent::RunCompleted(data)) = &decision.events[0] else { panic!("{decision:?}") };
        assert_eq!(data.summary.yield_ratio, None);
    }
}

#[test]
fn what_is_over_does_not_change() {
    let mut given = running(&process(vec![gate("intake", 0, Judged::Run)]));
    given.happened(&lot("M1", "1", "KGM"));
    assert_eq!(given.when(abort()).refusal().code(), "REASON_REQUIRED");
    let aborted = Event::Run(RunEvent::RunAborted(RunAborted { run_id: run(1), phase: 0 }));
    given.when_asked(&asked(&given, abort(), None)).event(&aborted);
    given.happened(&aborted);
    let hold = Command::Run(RunCommand::HoldRun { run: named() });
    let resume = Command::Run(RunCommand::ResumeRun { run: named() });
    let judge = gate_command(decide("intake", QcOutcome::Pass));
    for command in [abort(), advance(0), complete(), hold, resume, link("M1"), judge] {
        let request = asked(&given, command, None);
        given.when_asked(&request).refused("RUN_OVER", None, "run 'R1' is aborted");
    }
    publish(&mut given, &process(vec![]), 1);
    assert_eq!(given.when(start(Some("R1"), None)).refusal().code(), "DUPLICATE_RUN_CODE", "its code stays taken");
}

#[test]
fn a_snapshot_of_the_state_reads_back() {
    let mut given = running(&process(vec![gate("intake", 0, Judged::Run)]));
    for event in [lot("M1", "1", "KGM"), linked_with("M1", 0, "1", "KGM"), decided(7, "intake", None, QcOutcome::Hold)]
    {
        given.happened(&event);
    }
    let json = serde_json::to_string(&given.state.runs).unwrap();
    let read: crate::run::state::Runs = serde_json::from_str(&json).unwrap();
    assert_eq!(read, given.state.runs);
}
