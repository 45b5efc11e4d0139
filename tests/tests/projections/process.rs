//! Scenarios and runs on the way into the read models.

use lotline_domain::command::{Command, MeasurementInput};
use lotline_domain::event::Event;
use lotline_domain::id::{QcDecisionId, RunId, ScenarioId};
use lotline_domain::lot::LotRef;
use lotline_domain::qc::{ChecklistAnswer, QcOutcome};
use lotline_domain::run::command::{DecideGate, RunCommand, RunRef};
use lotline_domain::run::event::RunEvent;
use lotline_domain::scenario::command::{DefinitionInput, GateInput, PhaseInput, ScenarioCommand};
use lotline_domain::scenario::{AnswerType, ChecklistItem, Judged, Stream};

use crate::fixture::Plant;

/// Three phases; gates after the first two.
pub(crate) fn definition(colour: &str) -> DefinitionInput {
    let stream = Stream { key: "milk".into(), name: "Milk".into(), colour: colour.into(), sort_order: 1 };
    let phase = |number| PhaseInput { number, name: format!("step {number}"), stream: "milk".into(), registers: None };
    let gate = |key: &str, after_phase, judges| GateInput {
        key: key.into(),
        after_phase,
        gate_type: "visual".into(),
        judges,
        ccp: false,
        blocking: true,
        checklist: vec![ChecklistItem {
            key: "clean".into(),
            question: "Clean?".into(),
            answer: AnswerType::YesNo,
            required: true,
        }],
        limits: vec![],
    };
    DefinitionInput {
        streams: vec![stream],
        phases: vec![phase(0), phase(1), phase(2)],
        gates: vec![gate("start", 0, Judged::Run), gate("each", 1, Judged::Lots)],
    }
}

fn scenario(plant: &mut Plant, command: ScenarioCommand) -> ScenarioId {
    match plant.decide("_tenant", Command::Scenario(command)).0 {
        Event::Scenario(event) => event.scenario_id(),
        other => panic!("{other:?} is not about a scenario"),
    }
}

/// A scenario through all its states, with two versions; refused commands among them. Even ones stay in use.
pub(crate) fn templates(plant: &mut Plant, round: usize) -> ScenarioId {
    let (name, definition) = (format!("process {round}"), self::definition);
    let first = ScenarioCommand::DraftScenario { name: name.clone(), definition: definition("#00ff00") };
    let scenario_id = scenario(plant, first);
    scenario(plant, ScenarioCommand::PublishScenario { scenario_id });
    let name = format!("{name} b");
    scenario(plant, ScenarioCommand::ReviseScenario { scenario_id, name, definition: definition("#0000ff") });
    scenario(plant, ScenarioCommand::PublishScenario { scenario_id });
    plant.decide("_tenant", Command::Scenario(ScenarioCommand::PublishScenario { scenario_id }));
    if round % 2 == 1 {
        scenario(plant, ScenarioCommand::RetireScenario { scenario_id });
    }
    scenario_id
}

fn run(plant: &mut Plant, site: &str, command: RunCommand) -> Option<RunId> {
    match plant.decide(site, Command::Run(command)).0 {
        Event::Run(event) => Some(event.run_id()),
        Event::LotRegistered(_) | Event::QcDecisionRecorded(_) | Event::CommandRefused(_) => None,
        other => panic!("{other:?} is not about a run"),
    }
}

fn judge(
    run: RunRef,
    gate: &str,
    lot: Option<LotRef>,
    outcome: QcOutcome,
    replaces: Option<QcDecisionId>,
) -> DecideGate {
    DecideGate {
        run,
        gate: gate.into(),
        lot,
        outcome,
        replaces,
        measurements: vec![MeasurementInput { name: "core".into(), value: "72.5".into(), unit: "Cel".into() }],
        checklist: vec![ChecklistAnswer { item: "clean".into(), answer: "yes".into() }],
        notes: None,
    }
}

/// A template and two runs of it: one through all its phases, with a refused step, a hold and a decision that is replaced; one given up.
pub(crate) fn day(plant: &mut Plant, round: usize) {
    let scenario_id = templates(plant, round);
    if round % 2 == 1 {
        return;
    }
    let site = "north";
    for whole in [true, false] {
        let name = format!("{round}-{whole}");
        let start = RunCommand::StartRun { scenario_id, version: None, code: whole.then(|| name.clone()) };
        let id = run(plant, site, start).expect("the run starts");
        let by_id = || RunRef::Id(id);
        let decide = |plant: &mut Plant, command| plant.decide(site, Command::Run(RunCommand::DecideGate(command))).0;
        let Event::Run(RunEvent::RunGateDecided(held)) =
            decide(plant, judge(by_id(), "start", None, QcOutcome::Hold, None))
        else {
            panic!("the gate is decided")
        };
        let advance = |from_phase| RunCommand::AdvancePhase { run: by_id(), from_phase };
        run(plant, site, advance(0));
        decide(plant, judge(by_id(), "start", None, QcOutcome::Pass, Some(held.decision_id)));
        run(plant, site, advance(0)).expect("the gate is passed");
        let lots: Vec<String> = (0..3).map(|number| format!("{name}-{number}")).collect();
        for code in &lots {
            plant.decide(site, crate::fixture::register(code, &[]));
            run(plant, site, RunCommand::LinkLot { run: by_id(), lot: LotRef::Code(code.clone()) });
        }
        for code in &lots[..2] {
            decide(plant, judge(by_id(), "each", Some(LotRef::Code(code.clone())), QcOutcome::Pass, None));
        }
        run(plant, site, RunCommand::UnlinkLot { run: by_id(), lot: LotRef::Code(lots[2].clone()) });
        run(plant, site, RunCommand::HoldRun { run: by_id() });
        if whole {
            run(plant, site, RunCommand::ResumeRun { run: by_id() });
            run(plant, site, advance(1)).expect("all lots are passed");
            run(plant, site, RunCommand::CompleteRun { run: by_id() }).expect("the run is done");
        } else {
            run(plant, site, RunCommand::AbortRun { run: by_id() }).expect("the run is given up");
        }
    }
}
