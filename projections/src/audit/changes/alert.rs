//! What events about alerts changed. Each says itself what was before.

use lotline_domain::alert::event::AlertEvent;
use serde_json::value::RawValue;

use super::Changes;
use crate::failure::ApplyError;

pub(super) fn change_alert(event: &AlertEvent, data: &RawValue, changes: &mut Changes) -> Result<(), ApplyError> {
    match event {
        AlertEvent::AlertRaised(_) => changes.creation(data),
        AlertEvent::AlertAcknowledged(data) => changes.push("acknowledged_by", &(), &data.by),
        AlertEvent::AlertEscalated(data) => {
            changes.push("level", &data.from_level, &data.level)?;
            data.severity.map_or(Ok(()), |severity| changes.push("severity", &(), &severity))
        }
        AlertEvent::AlertResolved(data) => changes.push("resolved_by", &(), &data.by),
    }
}
