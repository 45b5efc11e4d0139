//! What happened to lots that were there.

use lotline_domain::lot::event::{LotEvent, NewLot};
use serde_json::value::RawValue;

use super::{Changes, State, States, wrong_kind};
use crate::failure::ApplyError;

/// The lots whose earlier state an event refers to, as subjects.
pub(super) fn needed(event: &LotEvent) -> impl Iterator<Item = String> {
    event.effects().into_iter().map(|effect| format!("lot/{}", effect.lot_id))
}

/// The lots that it makes, as subjects.
pub(super) fn created(event: &LotEvent) -> impl Iterator<Item = String> {
    event.lots().map(|lot| format!("lot/{}", lot.lot_id))
}

impl State {
    /// A lot as it came into being.
    pub(in crate::audit) fn new_lot(lot: &NewLot<'_>) -> Self {
        Self::Lot {
            remaining_base: lot.quantity.in_base(),
            qc_status: None,
            location: lot.location.map(str::to_owned),
            expired: false,
        }
    }
}

impl States {
    pub(super) fn change_lots(
        &mut self,
        subject: &str,
        event: &LotEvent,
        data: &RawValue,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        if let LotEvent::LotsTransformed(_) | LotEvent::LotReceived(_) | LotEvent::ShipmentShipped(_) = event {
            changes.creation(data)?;
        }
        for effect in event.effects() {
            let lot = format!("lot/{}", effect.lot_id);
            let named = |field: &str| if lot == subject { field.to_owned() } else { format!("{lot}.{field}") };
            let State::Lot { remaining_base, location, expired, .. } = self.get(&lot)? else {
                return Err(wrong_kind(&lot));
            };
            if !effect.taken.is_zero() {
                let after = (*remaining_base - effect.taken).normalize();
                changes.push(&named("remaining_base"), &*remaining_base, &after)?;
                *remaining_base = after;
            }
            if let Some(after) = effect.location {
                changes.push(&named("location"), &*location, &after)?;
                *location = Some(after.to_owned());
            }
            if effect.expired {
                changes.push(&named("expired"), &*expired, &true)?;
                *expired = true;
            }
        }
        // Kept by itself: no registration has it.
        for lot in event.lots() {
            self.put(&format!("lot/{}", lot.lot_id), State::new_lot(&lot));
        }
        Ok(())
    }
}
