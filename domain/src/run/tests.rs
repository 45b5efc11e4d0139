//! The rules about runs: given events, when a command, then events or a refusal.

mod deciding;
mod ending;
mod gates;
mod histories;
mod lots;

use uuid::Uuid;

use super::command::{DecideGate, RunCommand, RunRef};
use super::event::{RunEvent, RunGateDecided, RunLotLinked, RunPhaseAdvanced, RunStarted};
use crate::command::{Command, MeasurementInput, QuantityInput};
use crate::event::Event;
use crate::given::{Given, lot_id, now, site};
use crate::id::{QcDecisionId, RunId, ScenarioId};
use crate::lot::{LotRef, LotType};
use crate::qc::{ChecklistAnswer, QcOutcome};
use crate::scenario::command::{AutomaticLotInput, DefinitionInput, GateInput, LimitInput, PhaseInput};
use crate::scenario::event::{ScenarioDrafted, ScenarioEvent, ScenarioPublished, ScenarioRetired};
use crate::scenario::{AnswerType, ChecklistItem, Definition, Judged, Stream};
use crate::timestamp::Timestamp;

const SECOND: i64 = 1_000_000;

fn run(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn decision(number: u128) -> QcDecisionId {
    QcDecisionId(Uuid::from_u128(number))
}

fn scenario(number: u128) -> ScenarioId {
    ScenarioId(Uuid::from_u128(number))
}

fn phase(number: u32) -> PhaseInput {
    PhaseInput { number, name: format!("Step {number}"), stream: "milk".to_owned(), registers: None }
}

/// A blocking gate without a checklist or limits.
fn gate(key: &str, after_phase: u32, judges: Judged) -> GateInput {
    GateInput {
        key: key.to_owned(),
        after_phase,
        gate_type: "visual".to_owned(),
        judges,
        ccp: false,
        blocking: true,
        checklist: vec![],
        limits: vec![],
    }
}

fn item(key: &str, answer: AnswerType, required: bool) -> ChecklistItem {
    ChecklistItem { key: key.to_owned(), question: "?".to_owned(), answer, required }
}

fn limit(name: &str, low: Option<&str>, high: Option<&str>) -> LimitInput {
    let (name, unit) = (name.to_owned(), "Cel".to_owned());
    LimitInput { name, unit, low: low.map(str::to_owned), high: high.map(str::to_owned), signal: None }
}

/// Phases 0, 10 and 20, with these gates.
fn process(gates: Vec<GateInput>) -> Definition {
    let (key, name) = ("milk".to_owned(), "Milk".to_owned());
    let streams = vec![Stream { key, name, colour: "#1e90ff".to_owned(), sort_order: 1 }];
    DefinitionInput { streams, phases: vec![phase(20), phase(0), phase(10)], gates }.parse().unwrap()
}

/// The same, with a lot that phase 0 registers and one that phase 10 does.
fn registering() -> Definition {
    let lot = |value: &str| {
        let quantity = QuantityInput { value: value.to_owned(), unit: "KGM".to_owned() };
        Some(AutomaticLotInput { lot_type: LotType::Intermediate, product: "curd".to_owned(), quantity })
    };
    let phases =
        vec![PhaseInput { registers: lot("100"), ..phase(0) }, PhaseInput { registers: lot("40"), ..phase(10) }];
    let (key, name) = ("milk".to_owned(), "Milk".to_owned());
    let streams = vec![Stream { key, name, colour: "#1e90ff".to_owned(), sort_order: 1 }];
    DefinitionInput { streams, phases, gates: vec![] }.parse().unwrap()
}

/// Makes scenario 1 known, at a version.
fn publish(given: &mut Given, definition: &Definition, version: u32) {
    let (scenario_id, definition_hash) = (scenario(1), definition.hash());
    let drafted = ScenarioDrafted { scenario_id, name: "Yogurt".to_owned(), definition: definition.clone() };
    let published = ScenarioPublished { scenario_id, version, definition_hash };
    for event in [ScenarioEvent::ScenarioDrafted(drafted), ScenarioEvent::ScenarioPublished(published)] {
        given.state.scenarios.evolve(&Event::Scenario(event), 1);
    }
}

fn retire(given: &mut Given) {
    let retired = ScenarioEvent::ScenarioRetired(ScenarioRetired { scenario_id: scenario(1) });
    given.state.scenarios.evolve(&Event::Scenario(retired), 2);
}

fn started(number: u128, code: &str, definition: &Definition) -> Event {
    Event::Run(RunEvent::RunStarted(RunStarted {
        run_id: run(number),
        code: code.to_owned(),
        scenario_id: scenario(1),
        scenario_name: "Yogurt".to_owned(),
        scenario_version: 1,
        definition: definition.clone(),
        lots: vec![],
    }))
}

fn advanced(number: u128, from_phase: u32, to_phase: u32) -> Event {
    let run_id = run(number);
    Event::Run(RunEvent::RunPhaseAdvanced(RunPhaseAdvanced { run_id, from_phase, to_phase, lots: vec![] }))
}

fn linked(number: u128, code: &str, phase: u32) -> Event {
    let (run_id, lot_id) = (run(number), lot_id(code));
    Event::Run(RunEvent::RunLotLinked(RunLotLinked { run_id, lot_id, phase, quantity: None }))
}

/// A decision on run 1, or on one of its lots.
fn decided(number: u128, gate: &str, lot: Option<&str>, outcome: QcOutcome) -> Event {
    Event::Run(RunEvent::RunGateDecided(RunGateDecided {
        run_id: run(1),
        decision_id: decision(number),
        gate: gate.to_owned(),
        lot_id: lot.map(lot_id),
        outcome,
        replaces: None,
        measurements: vec![],
        checklist: vec![],
        notes: None,
    }))
}

/// A site in which run 1, `R1`, has started from such a definition.
fn running(definition: &Definition) -> Given {
    site(&[started(1, "R1", definition)])
}

/// One more event, so many seconds after [`now`].
fn later(given: &mut Given, seconds: i64, event: &Event) {
    let sequence = given.state.runs.get(run(1)).map_or(0, |run| run.version) + 1;
    given.state.evolve(event, sequence, now().plus_micros(seconds * SECOND));
}

fn named() -> RunRef {
    RunRef::Code("R1".to_owned())
}

fn start(code: Option<&str>, version: Option<u32>) -> Command {
    let code = code.map(str::to_owned);
    Command::Run(RunCommand::StartRun { scenario_id: scenario(1), version, code })
}

fn advance(from_phase: u32) -> Command {
    Command::Run(RunCommand::AdvancePhase { run: named(), from_phase })
}

fn complete() -> Command {
    Command::Run(RunCommand::CompleteRun { run: named() })
}

fn link(code: &str) -> Command {
    Command::Run(RunCommand::LinkLot { run: named(), lot: LotRef::Code(code.to_owned()) })
}

fn decide(gate: &str, outcome: QcOutcome) -> DecideGate {
    DecideGate {
        run: named(),
        gate: gate.to_owned(),
        lot: None,
        outcome,
        replaces: None,
        measurements: vec![],
        checklist: vec![],
        notes: None,
    }
}

fn gate_command(command: DecideGate) -> Command {
    Command::Run(RunCommand::DecideGate(command))
}

fn answer(item: &str, answer: &str) -> ChecklistAnswer {
    ChecklistAnswer { item: item.to_owned(), answer: answer.to_owned() }
}

fn measured(name: &str, value: &str, unit: &str) -> MeasurementInput {
    MeasurementInput { name: name.to_owned(), value: value.to_owned(), unit: unit.to_owned() }
}

/// The request of a command that gives a reason, at a time.
fn asked(given: &Given, command: Command, at: Option<Timestamp>) -> crate::command::CommandRequest {
    let mut request = given.request(command);
    (request.reason, request.occurred_at) = (Some("as planned".to_owned()), at);
    request
}
