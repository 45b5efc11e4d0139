//! Adjust, scrap, move, sample, expire: what is done to one lot.
//!
//! A lot on HOLD or FAIL may be counted, moved, sampled, thrown away and marked as expired: that is what is done to such lots. No more is taken than
//! is left; an adjustment is relative, so that what others took meanwhile stays taken.

use chrono::NaiveDate;
use uuid::Uuid;

use super::Lots;
use super::command::LotCommand;
use super::event::{AdjustmentDirection, LotAdjusted, LotEvent, LotExpired, LotMoved, LotSampled, LotScrapped};
use super::refusal::LotRefusal;
use crate::command::{optional_text, text};
use crate::id::SampleId;
use crate::refusal::Refusal;

impl Lots {
    /// Decides what is asked about lots that are there, on a day.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, fresh: Uuid, command: &LotCommand, day: NaiveDate) -> Result<LotEvent, Refusal> {
        match command {
            LotCommand::Transform(command) => self.decide_transform(fresh, command, day).map(LotEvent::LotsTransformed),
            LotCommand::Adjust { lot, direction, quantity } => {
                let (lot_id, lot) = self.find("lot", lot)?;
                let quantity = quantity.parse("quantity")?;
                match direction {
                    AdjustmentDirection::Increase => lot.measured_in("quantity", quantity.unit())?,
                    AdjustmentDirection::Decrease => lot.has("quantity", quantity)?,
                }
                Ok(LotEvent::LotAdjusted(LotAdjusted { lot_id, direction: *direction, quantity }))
            }
            LotCommand::Scrap { lot, quantity } => {
                let (lot_id, lot) = self.find("lot", lot)?;
                let quantity = match quantity {
                    Some(given) => given.parse("quantity")?,
                    None => lot.all("quantity")?,
                };
                lot.has("quantity", quantity)?;
                Ok(LotEvent::LotScrapped(LotScrapped { lot_id, quantity }))
            }
            LotCommand::Move { lot, location } => {
                let (lot_id, _) = self.find("lot", lot)?;
                Ok(LotEvent::LotMoved(LotMoved { lot_id, location: text("location", location, 128)? }))
            }
            LotCommand::Sample { lot, quantity, label, purpose } => {
                let (lot_id, lot) = self.find("lot", lot)?;
                let quantity = quantity.parse("quantity")?;
                lot.has("quantity", quantity)?;
                Ok(LotEvent::LotSampled(LotSampled {
                    sample_id: SampleId(fresh),
                    lot_id,
                    quantity,
                    label: optional_text("label", label.as_deref(), 64)?,
                    purpose: optional_text("purpose", purpose.as_deref(), 128)?,
                }))
            }
            LotCommand::Expire { lot } => {
                let (lot_id, lot) = self.find("lot", lot)?;
                let code = || lot.code.clone();
                let Some(expires_on) = lot.expires_on else { return Err(LotRefusal::NoExpiry { code: code() }.into()) };
                if lot.expired {
                    return Err(LotRefusal::AlreadyExpired { code: code() }.into());
                }
                if day <= expires_on {
                    return Err(LotRefusal::NotExpired { code: code(), expires_on, day }.into());
                }
                Ok(LotEvent::LotExpired(LotExpired { lot_id, expires_on }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
