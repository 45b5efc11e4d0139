//! Material over the dock: what comes in from suppliers, and what goes out to customers.
//!
//! Both are facts about lots and stand in [`crate::lot::event::LotEvent`], so that whatever takes from lots or brings lots is applied in one way.
//! Here are the commands and the rules: 21 CFR 1.1345 (receive) and 1.1340 (ship) say which key data elements a record of each has.

pub mod receipt;
pub mod refusal;
pub mod shipment;

use serde::{Deserialize, Serialize};

use self::receipt::ReceiveLots;
use self::refusal::FlowRefusal;
use self::shipment::ShipLots;
use crate::lot::LotRef;
use crate::master::partner::{Partner, Partners};
use crate::refusal::Refusal;

/// Something to come in or go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowCommand {
    /// Take in a delivery.
    Receive(ReceiveLots),
    /// Send lots to a customer.
    Ship(ShipLots),
}

impl FlowCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Receive(_) => "receive_lots",
            Self::Ship(_) => "ship_lots",
        }
    }

    /// The lots of the site that it is about; none where it brings them.
    pub fn lots(&self) -> Vec<&LotRef> {
        match self {
            Self::Receive(_) => Vec::new(),
            Self::Ship(command) => command.lots.iter().map(|one| &one.lot).collect(),
        }
    }
}

/// With whom there is trade: a partner by its code, not one of former times.
fn trading<'a>(partners: &'a Partners, field: &'static str, code: &str) -> Result<(String, &'a Partner), Refusal> {
    let code = crate::command::text(field, code, 64)?;
    let Some(partner) = partners.get(&code) else { return Err(FlowRefusal::UnknownPartner { field, code }.into()) };
    if partner.active { Ok((code, partner)) } else { Err(FlowRefusal::PartnerInactive { field, code }.into()) }
}

#[cfg(test)]
mod tests;
