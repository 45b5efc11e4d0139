//! The rules about scenarios: given events, when a command, then events or a refusal.

mod comparing;
mod deciding;

use uuid::Uuid;

use super::command::{AutomaticLotInput, DefinitionInput, GateInput, LimitInput, PhaseInput, ScenarioCommand};
use super::event::{ScenarioDrafted, ScenarioEvent, ScenarioPublished, ScenarioRetired, ScenarioRevised};
use super::{AnswerType, ChecklistItem, Judged, Stream};
use crate::command::Command;
use crate::event::Event;
use crate::given;
use crate::id::ScenarioId;
use crate::lot::LotType;

fn scenario(number: u128) -> ScenarioId {
    ScenarioId(Uuid::from_u128(number))
}

fn stream(key: &str) -> Stream {
    Stream { key: key.to_owned(), name: "Milk".to_owned(), colour: "#1E90FF".to_owned(), sort_order: 1 }
}

fn phase(number: u32) -> PhaseInput {
    PhaseInput { number, name: format!("Step {number}"), stream: "milk".to_owned(), registers: None }
}

fn item(key: &str) -> ChecklistItem {
    ChecklistItem { key: key.to_owned(), question: "Sealed?".to_owned(), answer: AnswerType::YesNo, required: true }
}

fn limit(name: &str, low: Option<&str>, high: Option<&str>) -> LimitInput {
    let (name, unit) = (name.to_owned(), "Cel".to_owned());
    LimitInput { name, unit, low: low.map(str::to_owned), high: high.map(str::to_owned), signal: None }
}

fn gate(key: &str, after_phase: u32) -> GateInput {
    GateInput {
        key: key.to_owned(),
        after_phase,
        gate_type: "temperature".to_owned(),
        judges: Judged::Run,
        ccp: true,
        blocking: true,
        checklist: vec![item("sealed")],
        limits: vec![limit("core", Some("72"), Some("75.5"))],
    }
}

/// Two phases and a gate between them.
fn small() -> DefinitionInput {
    DefinitionInput { streams: vec![stream("milk")], phases: vec![phase(0), phase(1)], gates: vec![gate("heat", 0)] }
}

fn registering(value: &str) -> PhaseInput {
    let quantity = given::quantity(value, "LTR");
    let registers = AutomaticLotInput { lot_type: LotType::Intermediate, product: "milk".to_owned(), quantity };
    PhaseInput { registers: Some(registers), ..phase(0) }
}

fn drafted(number: u128, name: &str, definition: &DefinitionInput) -> Event {
    let (scenario_id, name, definition) = (scenario(number), name.to_owned(), definition.parse().unwrap());
    Event::Scenario(ScenarioEvent::ScenarioDrafted(ScenarioDrafted { scenario_id, name, definition }))
}

fn published(number: u128, version: u32, definition: &DefinitionInput) -> Event {
    let (scenario_id, definition_hash) = (scenario(number), definition.parse().unwrap().hash());
    Event::Scenario(ScenarioEvent::ScenarioPublished(ScenarioPublished { scenario_id, version, definition_hash }))
}

fn retired(number: u128) -> Event {
    Event::Scenario(ScenarioEvent::ScenarioRetired(ScenarioRetired { scenario_id: scenario(number) }))
}

fn revised(number: u128, name: &str, definition: &DefinitionInput) -> Event {
    let (scenario_id, name, definition) = (scenario(number), name.to_owned(), definition.parse().unwrap());
    Event::Scenario(ScenarioEvent::ScenarioRevised(ScenarioRevised { scenario_id, name, definition }))
}

fn draft(name: &str, definition: DefinitionInput) -> Command {
    Command::Scenario(ScenarioCommand::DraftScenario { name: name.to_owned(), definition })
}

fn revise(number: u128, name: &str, definition: DefinitionInput) -> Command {
    let (scenario_id, name) = (scenario(number), name.to_owned());
    Command::Scenario(ScenarioCommand::ReviseScenario { scenario_id, name, definition })
}

fn publish(number: u128) -> Command {
    Command::Scenario(ScenarioCommand::PublishScenario { scenario_id: scenario(number) })
}

fn retire(number: u128) -> Command {
    Command::Scenario(ScenarioCommand::RetireScenario { scenario_id: scenario(number) })
}
