//! What comes in and goes out, written a second time.

use serde_json::Value;
use uuid::Uuid;

use super::lots::{all_of, recorded};
use super::{Lot, Stream, measure, same};
use crate::ask::{Amount, LotName};
use crate::dock::{Dock, Partner};

impl Stream {
    pub(super) fn may_at_the_dock(&self, asked: &Dock) -> Option<&'static str> {
        match asked {
            Dock::Define { code, supplies, buys } => {
                let known = self.partners.iter().find(|known| known.code == *code)?;
                (known.supplies == *supplies && known.buys == *buys).then_some("UNCHANGED")
            }
            Dock::Receive { supplier, code, amount } => match self.partners.iter().find(|one| one.code == *supplier) {
                None => Some("UNKNOWN_PARTNER"),
                Some(partner) if !partner.supplies => Some("NO_SUPPLIER"),
                Some(_) if code.trim().is_empty() => Some("INVALID_TEXT"),
                Some(_) if self.lots.iter().any(|lot| lot.code == *code) => Some("DUPLICATE_LOT_CODE"),
                Some(_) => measure(amount.value, amount.unit).err(),
            },
            Dock::Ship { customer, code, lots } => self.leaving(customer, code, lots).err(),
        }
    }

    /// How much of which lots leaves.
    fn leaving(
        &self,
        customer: &str,
        code: &str,
        lots: &[(LotName, Option<Amount>)],
    ) -> Result<Vec<(Uuid, i128)>, &'static str> {
        if lots.is_empty() {
            return Err("EMPTY");
        }
        let partner = self.partners.iter().find(|one| one.code == customer).ok_or("UNKNOWN_PARTNER")?;
        if !partner.buys {
            return Err("NO_CUSTOMER");
        }
        if self.shipments.iter().any(|known| known == code) {
            return Err("DUPLICATE_SHIPMENT_CODE");
        }
        let mut leaving: Vec<(Uuid, i128)> = Vec::new();
        for (name, amount) in lots {
            let lot = self.lot(name).ok_or("UNKNOWN_LOT")?;
            if leaving.iter().any(|(id, _)| *id == lot.id) {
                return Err("DUPLICATE_PARENT");
            }
            leaving.push((lot.id, self.parts_leaving(lot, amount.as_ref())?));
        }
        Ok(leaving)
    }

    pub(super) fn version_at_the_dock(&self, asked: &Dock) -> u64 {
        match asked {
            Dock::Define { code, .. } => {
                self.partners.iter().find(|known| known.code == *code).map_or(0, |known| known.version)
            }
            Dock::Receive { .. } => 0,
            Dock::Ship { lots, .. } => {
                lots.iter().filter_map(|(name, _)| self.lot(name)).map(|lot| lot.version).max().unwrap_or(0)
            }
        }
    }

    pub(super) fn apply_at_the_dock(
        &mut self,
        asked: &Dock,
        kind: &str,
        data: &Value,
        version: u64,
    ) -> Result<String, String> {
        let id = |name: &str| data[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name} in {data}"));
        match (asked, kind) {
            (Dock::Define { code, supplies, buys }, "partner.defined") => {
                same(&data["code"], code)?;
                if (data["supplies"].as_bool(), data["buys"].as_bool()) != (Some(*supplies), Some(*buys)) {
                    return Err(format!("{data} stands where {asked:?} was due"));
                }
                self.partners.retain(|known| known.code != *code);
                let (code, supplies, buys) = (code.clone(), *supplies, *buys);
                self.partners.push(Partner { code, supplies, buys, version });
                id("partner_id")
            }
            (Dock::Receive { supplier, code, amount }, "lot.received") => {
                same(&data["supplier_code"], supplier)?;
                same(&data["code"], code)?;
                same(&data["quantity"]["value"], amount.value)?;
                same(&data["quantity"]["unit"], amount.unit)?;
                let lot = id("lot_id")?.parse().map_err(|error| format!("lot_id: {error}"))?;
                self.register(lot, code, ("milk", Vec::new()), amount, version)?;
                id("delivery_id")
            }
            (Dock::Ship { customer, code, lots }, "shipment.shipped") => {
                same(&data["customer_code"], customer)?;
                same(&data["code"], code)?;
                let leaving = self.leaving(customer, code, lots)?;
                let left = data["lots"].as_array().cloned().unwrap_or_default();
                if left.len() != leaving.len() {
                    return Err(format!("{} lots left, {} were due", left.len(), leaving.len()));
                }
                for (found, (lot_id, parts)) in left.iter().zip(leaving) {
                    same(&found["lot_id"], &lot_id.to_string())?;
                    if recorded(&found["quantity"])? != parts {
                        return Err(format!("{parts} parts were due in {found}"));
                    }
                    let lot = self.lots.iter_mut().find(|lot| lot.id == lot_id).ok_or("a lot is gone")?;
                    lot.left -= parts;
                    lot.version = version;
                }
                self.shipments.push(code.clone());
                id("shipment_id")
            }
            (asked, kind) => Err(format!("{asked:?} led to {kind}")),
        }
    }

    fn parts_leaving(&self, lot: &Lot, amount: Option<&Amount>) -> Result<i128, &'static str> {
        let (dimension, parts) = match amount {
            Some(amount) => measure(amount.value, amount.unit)?,
            None => (lot.dimension, all_of(lot)?),
        };
        if let Some(code) = self.blocked(lot, false) {
            return Err(code);
        }
        if lot.dimension != dimension {
            return Err("UNIT_MISMATCH");
        }
        if parts > lot.left { Err("NOT_ENOUGH_LEFT") } else { Ok(parts) }
    }
}
