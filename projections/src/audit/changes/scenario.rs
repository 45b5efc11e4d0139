//! What events about scenarios changed.

use lotline_domain::scenario::event::ScenarioEvent;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{Changes, State, States, wrong_kind};
use crate::failure::ApplyError;

/// A scenario as later events can change it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::audit) struct ScenarioState {
    name: String,
    definition: Box<RawValue>,
    published_version: Option<u32>,
    retired: bool,
}

/// Whether the event needs no earlier state.
pub(super) fn is_creation(event: &ScenarioEvent) -> bool {
    matches!(event, ScenarioEvent::ScenarioDrafted(_))
}

impl States {
    pub(super) fn change_scenario(
        &mut self,
        subject: &str,
        event: &ScenarioEvent,
        data: &RawValue,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        if let ScenarioEvent::ScenarioDrafted(drafted) = event {
            changes.creation(data)?;
            let (name, definition) = (drafted.name.clone(), to_raw_value(&drafted.definition)?);
            let state = ScenarioState { name, definition, published_version: None, retired: false };
            self.put(subject, State::Scenario(state));
            return Ok(());
        }
        let State::Scenario(state) = self.get(subject)? else { return Err(wrong_kind(subject)) };
        match event {
            ScenarioEvent::ScenarioDrafted(_) => {}
            ScenarioEvent::ScenarioRevised(revised) => {
                if state.name != revised.name {
                    changes.push("name", &state.name, &revised.name)?;
                    state.name.clone_from(&revised.name);
                }
                let after = to_raw_value(&revised.definition)?;
                if state.definition.get() != after.get() {
                    changes.push("definition", &state.definition, &after)?;
                    state.definition = after;
                }
            }
            ScenarioEvent::ScenarioPublished(published) => {
                changes.push("published_version", &state.published_version, &published.version)?;
                state.published_version = Some(published.version);
            }
            ScenarioEvent::ScenarioRetired(_) => {
                changes.push("retired", &state.retired, &true)?;
                state.retired = true;
            }
        }
        Ok(())
    }
}
