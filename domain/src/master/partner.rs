//! Partners: suppliers and customers.
//!
//! What stands here is the company's. A person's name does not belong in it: it could not be erased.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MasterRefusal;
use super::gs1::Gln;
use crate::command::text;
use crate::id::PartnerId;
use crate::refusal::Refusal;

/// Say who a supplier or customer is, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinePartner {
    /// Unique in the tenant, for good.
    pub code: String,
    /// Of the company.
    pub name: String,
    /// Its Global Location Number.
    pub gln: Option<String>,
    /// Whether things come from it.
    pub supplies: bool,
    /// Whether things go to it.
    pub buys: bool,
    /// Whether there is still trade with it.
    pub active: bool,
}

/// `lotline.partner.defined.v1`: a supplier or customer is from now on as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartnerDefined {
    /// The partner.
    pub partner_id: PartnerId,
    /// Unique in the tenant, for good.
    pub code: String,
    /// Of the company.
    pub name: String,
    /// Its Global Location Number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gln: Option<Gln>,
    /// Whether things come from it.
    pub supplies: bool,
    /// Whether things go to it.
    pub buys: bool,
    /// Whether there is still trade with it.
    pub active: bool,
}

/// A partner as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partner {
    /// Its id.
    pub id: PartnerId,
    /// Of the company.
    pub name: String,
    /// Its Global Location Number.
    pub gln: Option<Gln>,
    /// Whether things come from it.
    pub supplies: bool,
    /// Whether things go to it.
    pub buys: bool,
    /// Whether there is still trade with it.
    pub active: bool,
    /// Sequence of the last definition.
    pub version: u64,
}

/// All partners of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Partners {
    by_code: HashMap<String, Partner>,
    /// Codes by GLN.
    by_gln: HashMap<String, String>,
}

impl Partner {
    fn of(event: &PartnerDefined, version: u64) -> Self {
        let PartnerDefined { partner_id, code: _, name, gln, supplies, buys, active } = event.clone();
        Self { id: partner_id, name, gln, supplies, buys, active, version }
    }
}

impl Partners {
    /// A partner by code.
    pub fn get(&self, code: &str) -> Option<&Partner> {
        self.by_code.get(code.trim())
    }

    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, fresh: PartnerId, command: &DefinePartner) -> Result<PartnerDefined, Refusal> {
        let code = text("code", &command.code, 64)?;
        let known = self.get(&code);
        let gln = command.gln.as_deref().filter(|given| !given.trim().is_empty());
        let gln = gln.map(|given| Gln::parse("gln", given)).transpose()?;
        if let Some(gln) = &gln
            && let Some(by) = self.by_gln.get(gln.as_str()).filter(|by| **by != code)
        {
            let (given, by) = (gln.to_string(), by.clone());
            return Err(MasterRefusal::DuplicateGs1Key { field: "gln", key: "GLN", given, by }.into());
        }
        if !command.supplies && !command.buys {
            return Err(MasterRefusal::NoTrade.into());
        }
        let defined = PartnerDefined {
            partner_id: known.map_or(fresh, |known| known.id),
            name: text("name", &command.name, 128)?,
            gln,
            supplies: command.supplies,
            buys: command.buys,
            active: command.active,
            code,
        };
        if known.is_some_and(|known| *known == Partner::of(&defined, known.version)) {
            return Err(MasterRefusal::Unchanged { kind: "partner", code: defined.code }.into());
        }
        Ok(defined)
    }

    /// Applies a definition.
    pub fn evolve(&mut self, event: &PartnerDefined, sequence: u64) {
        let before = self.by_code.insert(event.code.clone(), Partner::of(event, sequence));
        if let Some(gln) = before.and_then(|before| before.gln) {
            self.by_gln.remove(gln.as_str());
        }
        if let Some(gln) = &event.gln {
            self.by_gln.insert(gln.as_str().to_owned(), event.code.clone());
        }
    }
}
