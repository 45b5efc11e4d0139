//! How runs start and go on.

use super::*;
use crate::given::{lot, tenant};
use crate::id::LotId;
use crate::run::event::{RunHeld, RunLot, RunResumed};
use crate::state::Subject;

fn hold() -> Command {
    Command::Run(RunCommand::HoldRun { run: named() })
}

fn resume() -> Command {
    Command::Run(RunCommand::ResumeRun { run: named() })
}

fn held() -> Event {
    Event::Run(RunEvent::RunHeld(RunHeld { run_id: run(1) }))
}

fn resumed() -> Event {
    Event::Run(RunEvent::RunResumed(RunResumed { run_id: run(1) }))
}

#[test]
fn a_run_starts_in_phase_0_and_keeps_the_definition() {
    let mut given = site(&[]);
    let definition = process(vec![gate("intake", 0, Judged::Run)]);
    publish(&mut given, &definition, 3);
    let expected = RunStarted {
        run_id: RunId(given.fresh()),
        code: "R-20261121-01".to_owned(),
        scenario_id: scenario(1),
        scenario_name: "Yogurt".to_owned(),
        scenario_version: 3,
        definition,
        lots: vec![],
    };
    let event = Event::Run(RunEvent::RunStarted(expected));
    given.when(start(None, Some(3))).event(&event);
    let decision = given.when(start(None, None)).accepted();
    assert_eq!(decision.subject_id, Subject::Run(RunId(given.fresh())));
    given.happened(&event);
    let found = given.state.runs.get(RunId(decision_id(&event))).unwrap();
    assert_eq!((found.phase, found.scenario), (0, (scenario(1), 3)));
    // What is published meanwhile does not change it.
    publish(&mut given, &process(vec![]), 4);
    let named = RunRef::Code("R-20261121-01".to_owned());
    let command = RunCommand::AdvancePhase { run: named, from_phase: 0 };
    assert_eq!(given.when(Command::Run(command)).refusal().code(), "GATE_NOT_PASSED");
}

fn decision_id(event: &Event) -> Uuid {
    let Event::Run(event) = event else { panic!("{event:?}") };
    event.run_id().0
}

#[test]
fn a_run_starts_from_the_newest_version_of_a_scenario_in_use() {
    let mut given = site(&[]);
    let message = format!("scenario {} does not exist", scenario(1));
    given.when(start(None, None)).refused("UNKNOWN_SCENARIO", Some("scenarioId"), &message);
    let drafted = ScenarioDrafted { scenario_id: scenario(1), name: "Yogurt".to_owned(), definition: process(vec![]) };
    given.state.scenarios.evolve(&Event::Scenario(ScenarioEvent::ScenarioDrafted(drafted)), 1);
    let message = "scenario 'Yogurt' has no published version";
    given.when(start(None, None)).refused("SCENARIO_NOT_PUBLISHED", Some("scenarioId"), message);
    publish(&mut given, &process(vec![]), 2);
    let message = "scenario 'Yogurt' is at version 2, not 1";
    given.when(start(None, Some(1))).refused("SCENARIO_VERSION_SUPERSEDED", Some("version"), message);
    retire(&mut given);
    given.when(start(None, None)).refused("SCENARIO_RETIRED", None, "scenario 'Yogurt' is retired");
    assert_eq!(tenant(&[]).when(start(None, None)).refusal().code(), "WRONG_STREAM");
}

#[test]
fn codes_are_unique_and_generated_by_day_and_number() {
    let mut given = site(&[started(1, "R1", &process(vec![])), started(2, "R-20261121-01", &process(vec![]))]);
    publish(&mut given, &process(vec![]), 1);
    let message = format!("run code 'R1' is already used by run {}", run(1));
    given.when(start(Some(" R1 "), None)).refused("DUPLICATE_RUN_CODE", Some("code"), &message);
    assert_eq!(given.when(start(Some(&"x".repeat(49)), None)).refusal().code(), "INVALID_TEXT");
    let code = |given: &Given, at: Option<Timestamp>| {
        let decision = given.when_asked(&asked(given, start(Some(" "), None), at)).accepted();
        let Some(Event::Run(RunEvent::RunStarted(data))) = decision.events.into_iter().next_back() else {
            panic!("a run is started")
        };
        data.code
    };
    assert_eq!(code(&given, None), "R-20261121-02");
    assert_eq!(
        code(&given, Some(now().plus_micros(-24 * 3_600 * SECOND))),
        "R-20261120-01",
        "the day in the world counts"
    );
    // Somebody has taken the next ones by hand.
    for (number, code) in [(3, "R-20261121-03"), (4, "R-20261121-04")] {
        given.happened(&started(number, code, &process(vec![])));
    }
    assert_eq!(code(&given, None), "R-20261121-05", "the next that is free");
    given.happened(&started(5, "R-20261121-4000000000", &process(vec![])));
    assert_eq!(code(&given, None), "R-20261121-05");
}

#[test]
fn phases_follow_their_numbers_and_the_second_of_two_operators_is_told() {
    let mut given = running(&process(vec![]));
    given.when(advance(0)).event(&advanced(1, 0, 10));
    given.happened(&advanced(1, 0, 10));
    let message = "run 'R1' is in phase 10, not 0";
    given.when(advance(0)).refused("RUN_PHASE_MOVED", Some("fromPhase"), message);
    given.when(advance(10)).event(&advanced(1, 10, 20));
    given.happened(&advanced(1, 10, 20));
    given.when(advance(20)).refused("RUN_IN_LAST_PHASE", None, "run 'R1' is in its last phase 20; complete it");
    let mut request = given.request(complete());
    request.expected_version = Some(2);
    let message = "the expected version is 2 but the current one is 3";
    given.when_asked(&request).refused("VERSION_CONFLICT", Some("expectedVersion"), message);
    request.expected_version = Some(3);
    given.when_asked(&request).accepted();
    let nobody = Command::Run(RunCommand::CompleteRun { run: RunRef::Code("R9".to_owned()) });
    given.when(nobody).refused("UNKNOWN_RUN", Some("run"), "run 'R9' does not exist");
}

#[test]
fn nothing_goes_on_while_a_run_is_on_hold() {
    let mut given = running(&process(vec![gate("intake", 0, Judged::Run)]));
    given.happened(&lot("M1", "100", "KGM"));
    assert_eq!(given.when(hold()).refusal().code(), "REASON_REQUIRED");
    given.when(resume()).refused("RUN_NOT_HELD", None, "run 'R1' is not on hold");
    let request = asked(&given, hold(), None);
    given.when_asked(&request).event(&held());
    given.happened(&held());
    for command in [hold(), advance(0), complete(), link("M1")] {
        let request = asked(&given, command, None);
        given.when_asked(&request).refused("RUN_HELD", None, "run 'R1' is on hold");
    }
    given.when(gate_command(decide("intake", QcOutcome::Pass))).accepted();
    given.when(resume()).event(&resumed());
    given.happened(&resumed());
    given.happened(&decided(7, "intake", None, QcOutcome::Pass));
    given.when(advance(0)).event(&advanced(1, 0, 10));
}

#[test]
fn a_phase_registers_the_lot_that_its_rule_names() {
    let mut given = site(&[]);
    publish(&mut given, &registering(), 1);
    let decision = given.when(start(Some("R1"), None)).accepted();
    let [Event::LotRegistered(lot), Event::Run(RunEvent::RunStarted(run))] = decision.events.as_slice() else {
        panic!("{:?}", decision.events)
    };
    assert_eq!((lot.code.as_str(), lot.product.as_str(), lot.lot_type), ("R1-0", "curd", LotType::Intermediate));
    assert_eq!(run.lots, [RunLot { lot_id: lot.lot_id, quantity: lot.quantity }]);
    assert_ne!(lot.lot_id, LotId(run.run_id.0), "each has an id of its own");
    assert_eq!(decision.subject_id, Subject::Run(run.run_id));
    let again = given.when(start(Some("R1"), None)).accepted();
    assert_eq!(again.events, decision.events, "a retry names the same lot");
    for event in &decision.events {
        given.happened(event);
    }
    let next = given.when(advance(0)).accepted();
    let [Event::LotRegistered(lot), Event::Run(RunEvent::RunPhaseAdvanced(_))] = next.events.as_slice() else {
        panic!("{:?}", next.events)
    };
    assert_eq!(lot.code, "R1-10");

    let mut taken = site(&[crate::given::lot("R1-0", "1", "KGM")]);
    publish(&mut taken, &registering(), 1);
    assert_eq!(taken.when(start(Some("R1"), None)).refusal().code(), "DUPLICATE_LOT_CODE");
}
