//! Scenarios as the rules need them, and what is decided about them.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Definition;
use super::command::ScenarioCommand;
use super::event::{ScenarioDrafted, ScenarioEvent, ScenarioPublished, ScenarioRetired, ScenarioRevised};
use super::refusal::ScenarioRefusal as Broken;
use crate::command::text;
use crate::event::Event;
use crate::id::ScenarioId;
use crate::refusal::Refusal;

/// A definition that many share. A snapshot has its JSON: events leave out what is absent, which a snapshot's encoding can't read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned(Arc<Definition>);

/// A scenario as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// Its draft.
    pub draft: Pinned,
    /// Number and content of the newest version.
    pub published: Option<(u32, Pinned)>,
    /// Whether it is retired.
    pub retired: bool,
    /// Sequence of the last event that touched it.
    pub version: u64,
}

/// All scenarios of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scenarios {
    by_id: HashMap<ScenarioId, Scenario>,
    by_name: HashMap<String, ScenarioId>,
}

/// [`Scenarios`] that are copied only when they change while somebody else looks at them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedScenarios(Arc<Scenarios>);

impl Scenarios {
    /// A scenario by id.
    pub fn get(&self, id: ScenarioId) -> Option<&Scenario> {
        self.by_id.get(&id)
    }

    /// A scenario that is not retired.
    ///
    /// # Errors
    /// Unknown or retired.
    pub fn active(&self, id: ScenarioId) -> Result<&Scenario, Broken> {
        let scenario = self.by_id.get(&id).ok_or(Broken::UnknownScenario(id))?;
        if scenario.retired { Err(Broken::Retired { name: scenario.name.clone() }) } else { Ok(scenario) }
    }

    /// Decides a command. `fresh` is the id of a scenario that it creates.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, command: &ScenarioCommand, fresh: ScenarioId) -> Result<ScenarioEvent, Refusal> {
        Ok(match command {
            ScenarioCommand::DraftScenario { name, definition } => {
                let name = self.free_name(fresh, name)?;
                let definition = definition.parse()?;
                ScenarioEvent::ScenarioDrafted(ScenarioDrafted { scenario_id: fresh, name, definition })
            }
            ScenarioCommand::ReviseScenario { scenario_id, name, definition } => {
                self.active(*scenario_id)?;
                let name = self.free_name(*scenario_id, name)?;
                let definition = definition.parse()?;
                ScenarioEvent::ScenarioRevised(ScenarioRevised { scenario_id: *scenario_id, name, definition })
            }
            ScenarioCommand::PublishScenario { scenario_id } => {
                let scenario = self.active(*scenario_id)?;
                let version = match &scenario.published {
                    Some((version, published)) if *published == scenario.draft => {
                        let (name, version) = (scenario.name.clone(), *version);
                        return Err(Broken::NothingToPublish { name, version }.into());
                    }
                    Some((version, _)) => version + 1,
                    None => 1,
                };
                let definition_hash = scenario.draft.hash();
                let scenario_id = *scenario_id;
                ScenarioEvent::ScenarioPublished(ScenarioPublished { scenario_id, version, definition_hash })
            }
            ScenarioCommand::RetireScenario { scenario_id } => {
                self.active(*scenario_id)?;
                ScenarioEvent::ScenarioRetired(ScenarioRetired { scenario_id: *scenario_id })
            }
        })
    }

    /// Applies an event that stands at `sequence` in the tenant's stream.
    pub fn evolve(&mut self, event: &ScenarioEvent, sequence: u64) {
        if let ScenarioEvent::ScenarioDrafted(data) = event {
            self.by_name.insert(data.name.clone(), data.scenario_id);
            let (name, draft) = (data.name.clone(), Pinned::new(data.definition.clone()));
            let scenario = Scenario { name, draft, published: None, retired: false, version: sequence };
            self.by_id.insert(data.scenario_id, scenario);
            return;
        }
        let Some(scenario) = self.by_id.get_mut(&event.scenario_id()) else { return };
        scenario.version = sequence;
        match event {
            ScenarioEvent::ScenarioDrafted(_) => {}
            ScenarioEvent::ScenarioRevised(data) => {
                self.by_name.remove(&scenario.name);
                self.by_name.insert(data.name.clone(), data.scenario_id);
                scenario.name.clone_from(&data.name);
                scenario.draft = Pinned::new(data.definition.clone());
            }
            ScenarioEvent::ScenarioPublished(data) => {
                scenario.published = Some((data.version, scenario.draft.clone()));
            }
            ScenarioEvent::ScenarioRetired(_) => {
                self.by_name.remove(&scenario.name);
                scenario.retired = true;
            }
        }
    }

    fn free_name(&self, id: ScenarioId, name: &str) -> Result<String, Refusal> {
        let name = text("name", name, 128)?;
        match self.by_name.get(&name) {
            Some(by) if *by != id => Err(Broken::DuplicateName { name, by: *by }.into()),
            Some(_) | None => Ok(name),
        }
    }
}

impl Pinned {
    /// Keeps a definition.
    pub fn new(definition: Definition) -> Self {
        Self(Arc::new(definition))
    }
}

impl Deref for Pinned {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.0
    }
}

impl Serialize for Pinned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(self.0.as_ref()).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Pinned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = String::deserialize(deserializer)?;
        serde_json::from_str(&json).map(Self::new).map_err(D::Error::custom)
    }
}

impl SharedScenarios {
    /// Applies an event that stands at `sequence` in the tenant's stream.
    pub fn evolve(&mut self, event: &Event, sequence: u64) {
        if let Event::Scenario(event) = event {
            Arc::make_mut(&mut self.0).evolve(event, sequence);
        }
    }
}

impl Deref for SharedScenarios {
    type Target = Scenarios;

    fn deref(&self) -> &Scenarios {
        &self.0
    }
}

impl Serialize for SharedScenarios {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedScenarios {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scenarios::deserialize(deserializer).map(|scenarios| Self(Arc::new(scenarios)))
    }
}
