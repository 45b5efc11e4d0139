//! Scenarios on the way into the read models.

use lotline_domain::command::Command;
use lotline_domain::event::Event;
use lotline_domain::id::ScenarioId;
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
