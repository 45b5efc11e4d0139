//! What events about holds changed. What was before is in the events themselves: a hold is open until it is released, and a lot is on it.

use lotline_domain::hold::event::HoldEvent;
use serde_json::value::RawValue;

use super::Changes;
use crate::failure::ApplyError;

pub(super) fn changed(event: &HoldEvent, data: &RawValue, changes: &mut Changes) -> Result<(), ApplyError> {
    match event {
        HoldEvent::HoldPlaced(_) => changes.creation(data),
        HoldEvent::HoldReleased(_) => changes.push("open", &true, &false),
        HoldEvent::HoldLotReleased(data) => {
            data.lots.iter().try_for_each(|lot| changes.push(&format!("lots.{lot}.held"), &true, &false))
        }
    }
}
