//! Shipping: amounts of lots that leave the site to a customer, at the decision.
//!
//! Nothing on HOLD or FAIL goes out, nothing whose last day of use is over, and no more than is left.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refusal::FlowRefusal;
use super::trading;
use crate::command::{QuantityInput, optional_text, text};
use crate::daily_code;
use crate::id::{LotId, PartnerId, ShipmentId};
use crate::lot::event::DocumentReference;
use crate::lot::transform::{MAX_DOCUMENTS, documents, entry};
use crate::lot::{LotRef, Lots};
use crate::quantity::Quantity;
use crate::refusal::Refusal;
use crate::run::decide::Around;
use crate::timestamp::Timestamp;

/// Most lots of one shipment.
pub const MAX_LOTS: usize = 1_000;

/// How much of which lot goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipLot {
    /// The lot.
    pub lot: LotRef,
    /// How much of it; all that is left when absent.
    pub quantity: Option<QuantityInput>,
}

/// Send lots to a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipLots {
    /// Unique in the site; made up when absent.
    pub code: Option<String>,
    /// Code of the customer.
    pub customer: String,
    /// What goes out.
    pub lots: Vec<ShipLot>,
    /// Records elsewhere.
    pub documents: Vec<DocumentReference>,
    /// How the carrier knows it.
    pub carrier_reference: Option<String>,
}

/// How much of a lot went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShippedLot {
    /// The lot.
    pub lot_id: LotId,
    /// How much of it.
    pub quantity: Quantity,
}

/// `lotline.shipment.shipped.v1`: amounts of lots left the site. When they left is the `occurred_at` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShipmentShipped {
    /// The shipment.
    pub shipment_id: ShipmentId,
    /// Unique in the site.
    pub code: String,
    /// To whom it went: the immediate subsequent recipient. Absent where it went to no customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<PartnerId>,
    /// Code of the customer in the master data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_code: Option<String>,
    /// What went out, each lot once.
    pub lots: Vec<ShippedLot>,
    /// Records elsewhere, such as the bill of lading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<DocumentReference>,
    /// How the carrier knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier_reference: Option<String>,
}

/// Shipments of a site, as the rules need them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shipments {
    by_code: HashMap<String, ShipmentId>,
    /// Shipments with a code that was made up, by its day.
    generated: HashMap<String, u32>,
}

impl Shipments {
    /// Decides a shipment.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, command: &ShipLots, around: &Around<'_>) -> Result<ShipmentShipped, Refusal> {
        for (field, given, max) in
            [("lots", command.lots.len(), MAX_LOTS), ("documents", command.documents.len(), MAX_DOCUMENTS)]
        {
            if given > max {
                return Err(Refusal::TooMany { field, given, max });
            }
        }
        if command.lots.is_empty() {
            return Err(FlowRefusal::Empty { field: "lots" }.into());
        }
        let (customer_code, customer) = trading(&around.master.partners, "customer", &command.customer)?;
        if !customer.buys {
            return Err(FlowRefusal::NoCustomer { code: customer_code }.into());
        }
        let code = match command.code.as_deref().filter(|code| !code.trim().is_empty()) {
            Some(code) => text("code", code, 64)?,
            None => self.generated_code(around.occurred_at),
        };
        if let Some(by) = self.by_code.get(&code) {
            return Err(FlowRefusal::ShipmentCodeTaken { code, by: *by }.into());
        }
        Ok(ShipmentShipped {
            shipment_id: ShipmentId(around.fresh),
            code,
            customer_id: Some(customer.id),
            customer_code: Some(customer_code),
            lots: leaving(around.lots, &command.lots, around.day())?,
            documents: documents(&command.documents)?,
            carrier_reference: optional_text("carrierReference", command.carrier_reference.as_deref(), 64)?,
        })
    }

    /// Applies a shipment.
    pub fn evolve(&mut self, event: &ShipmentShipped) {
        if let Some(day) = daily_code::day('S', &event.code) {
            *self.generated.entry(day.to_owned()).or_default() += 1;
        }
        self.by_code.insert(event.code.clone(), event.shipment_id);
    }

    fn generated_code(&self, at: Timestamp) -> String {
        daily_code::next('S', at, &self.generated, |code| self.by_code.contains_key(code))
    }
}

/// What may leave on a day.
fn leaving(lots: &Lots, given: &[ShipLot], day: NaiveDate) -> Result<Vec<ShippedLot>, Refusal> {
    let mut seen = HashSet::with_capacity(given.len());
    let mut leaving = Vec::with_capacity(given.len());
    for (index, one) in given.iter().enumerate() {
        let (lot_id, lot) = lots.find("lots", &one.lot)?;
        if !seen.insert(lot_id) {
            return Err(Refusal::DuplicateParent { field: "lots", code: lot.code.clone() });
        }
        let quantity = match &one.quantity {
            Some(given) => entry("lots", index, given.parse("lots"))?,
            None => lot.all("lots")?,
        };
        lots.check_free("lots", lot, None)?;
        lot.has("lots", quantity)?;
        if let Some(expires_on) = lot.over(day) {
            return Err(FlowRefusal::ShipsExpired { code: lot.code.clone(), expires_on, day }.into());
        }
        leaving.push(ShippedLot { lot_id, quantity });
    }
    Ok(leaving)
}
