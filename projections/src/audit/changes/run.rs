//! What events about runs changed.

use lotline_domain::run::event::RunEvent;
use lotline_domain::run::state::Stage;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Changes, State, States, wrong_kind};
use crate::failure::ApplyError;

/// A run as later events can change it: the rest of what was before is in the events themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::audit) struct RunState {
    stage: String,
}

/// Whether the event needs no earlier state.
pub(super) fn is_creation(event: &RunEvent) -> bool {
    matches!(event, RunEvent::RunStarted(_))
}

/// Whether the event changes where the run stands.
pub(super) fn has_state(event: &RunEvent) -> bool {
    stage_after(event).is_some()
}

fn stage_after(event: &RunEvent) -> Option<Stage> {
    match event {
        RunEvent::RunStarted(_) | RunEvent::RunResumed(_) => Some(Stage::Running),
        RunEvent::RunHeld(_) => Some(Stage::Held),
        RunEvent::RunCompleted(_) => Some(Stage::Completed),
        RunEvent::RunAborted(_) => Some(Stage::Aborted),
        RunEvent::RunPhaseAdvanced(_)
        | RunEvent::RunLotLinked(_)
        | RunEvent::RunLotUnlinked(_)
        | RunEvent::RunGateDecided(_) => None,
    }
}

impl States {
    pub(super) fn change_run(
        &mut self,
        subject: &str,
        event: &RunEvent,
        data: &RawValue,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        match event {
            RunEvent::RunStarted(_) => {
                changes.creation(data)?;
                self.put(subject, State::Run(RunState { stage: Stage::Running.as_str().to_owned() }));
                return Ok(());
            }
            RunEvent::RunPhaseAdvanced(data) => changes.push("phase", &data.from_phase, &data.to_phase)?,
            RunEvent::RunCompleted(data) => changes.push("summary", &(), &data.summary)?,
            RunEvent::RunLotLinked(data) => {
                changes.push(&format!("lots.{}.{}", data.lot_id, data.phase), &(), &data.quantity)?;
            }
            RunEvent::RunLotUnlinked(data) => changes.push("unlinked", &(), &data.lot_id)?,
            RunEvent::RunGateDecided(data) => {
                let lot = data.lot_id.map(|lot| format!(".{lot}")).unwrap_or_default();
                changes.push(&format!("gates.{}{lot}", data.gate), &data.replaces, &data.decision_id)?;
            }
            RunEvent::RunHeld(_) | RunEvent::RunResumed(_) | RunEvent::RunAborted(_) => {}
        }
        if let Some(stage) = stage_after(event) {
            let State::Run(state) = self.get(subject)? else { return Err(wrong_kind(subject)) };
            changes.push("stage", &state.stage, &stage.as_str())?;
            stage.as_str().clone_into(&mut state.stage);
        }
        Ok(())
    }
}
