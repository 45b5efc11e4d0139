//! Master data of the tenant: what is made and used, and who it comes from and goes to.
//!
//! A definition says all that holds from then on, so the newest event of a thing is the thing. A code names one thing for good: what is not used
//! any more is defined as inactive, never taken out, because lots go on to tell of it. A definition that changes nothing is refused, so that
//! the audit trail of a thing has its changes and nothing else.

pub mod gs1;
pub mod partner;
pub mod product;

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use self::partner::{DefinePartner, PartnerDefined, Partners};
use self::product::{DefineProduct, ProductDefined, Products};
use crate::event::Event;
use crate::id::{PartnerId, ProductId};
use crate::quantity::Unit;
use crate::refusal::Refusal;
use crate::state::Subject;

/// Something that happened to master data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterEvent {
    /// A product is from now on as it says.
    ProductDefined(ProductDefined),
    /// A supplier or customer is from now on as it says.
    PartnerDefined(PartnerDefined),
}

/// A change of master data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterCommand {
    /// Say what a product is.
    DefineProduct(DefineProduct),
    /// Say who a supplier or customer is.
    DefinePartner(DefinePartner),
}

/// All master data of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MasterData {
    /// What is made and used.
    pub products: Products,
    /// Who it comes from and goes to.
    pub partners: Partners,
}

/// [`MasterData`] that is copied only when it changes while somebody else looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedMaster(Arc<MasterData>);

/// A rule about master data that was broken.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum MasterRefusal {
    /// Nothing would change.
    #[error("{kind} '{code}' is already defined so")]
    Unchanged {
        /// Such as `product`.
        kind: &'static str,
        /// Its code.
        code: String,
    },
    /// Lots are counted in it.
    #[error("product '{code}' is kept in {unit}; define another product to keep it in {given}")]
    CanonicalUnitFixed {
        /// Its code.
        code: String,
        /// Since it was first defined.
        unit: Unit,
        /// In the command.
        given: Unit,
    },
    /// A GTIN or GLN with the wrong length, other characters than digits, or a wrong check digit.
    #[error("'{given}' is no {key}: {problem}")]
    InvalidGs1Key {
        /// Input field.
        field: &'static str,
        /// Such as `GTIN`.
        key: &'static str,
        /// As given, cut short.
        given: String,
        /// What is wrong with it.
        problem: gs1::InvalidKey,
    },
    /// Another thing has it.
    #[error("{key} {given} is already that of '{by}'")]
    DuplicateGs1Key {
        /// Input field.
        field: &'static str,
        /// Such as `GTIN`.
        key: &'static str,
        /// As given.
        given: String,
        /// Code of the one that has it.
        by: String,
    },
    /// A unit of the canonical unit's own dimension converts by itself.
    #[error("{unit} and {canonical} measure the same, so one converts to the other by definition")]
    ConversionWithin {
        /// In the conversion.
        unit: Unit,
        /// Of the product.
        canonical: Unit,
    },
    /// Two conversions between the same dimensions could contradict each other.
    #[error("conversions from {first} and from {second} measure the same; give one of them")]
    ConversionTwice {
        /// In one conversion.
        first: Unit,
        /// In another.
        second: Unit,
    },
    /// Neither supplier nor customer.
    #[error("a partner supplies, buys, or both")]
    NoTrade,
}

impl MasterRefusal {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unchanged { .. } => "UNCHANGED",
            Self::CanonicalUnitFixed { .. } => "CANONICAL_UNIT_FIXED",
            Self::InvalidGs1Key { .. } => "INVALID_GS1_KEY",
            Self::DuplicateGs1Key { .. } => "DUPLICATE_GS1_KEY",
            Self::ConversionWithin { .. } => "CONVERSION_WITHIN_DIMENSION",
            Self::ConversionTwice { .. } => "DUPLICATE_CONVERSION",
            Self::NoTrade => "NO_TRADE",
        }
    }

    /// The input field at fault.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Unchanged { .. } => None,
            Self::CanonicalUnitFixed { .. } => Some("unit"),
            Self::InvalidGs1Key { field, .. } | Self::DuplicateGs1Key { field, .. } => Some(field),
            Self::ConversionWithin { .. } | Self::ConversionTwice { .. } => Some("conversions"),
            Self::NoTrade => Some("supplies"),
        }
    }
}

impl MasterCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DefineProduct(_) => "define_product",
            Self::DefinePartner(_) => "define_partner",
        }
    }
}

impl MasterEvent {
    /// The `ce_subject`.
    pub fn subject(&self) -> String {
        match self {
            Self::ProductDefined(data) => format!("product/{}", data.product_id),
            Self::PartnerDefined(data) => format!("partner/{}", data.partner_id),
        }
    }

    /// The thing that was defined.
    pub fn thing(&self) -> Subject {
        match self {
            Self::ProductDefined(data) => Subject::Product(data.product_id),
            Self::PartnerDefined(data) => Subject::Partner(data.partner_id),
        }
    }
}

impl MasterData {
    /// Decides a change. `fresh` is the id of a thing that is new.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, command: &MasterCommand, fresh: uuid::Uuid) -> Result<MasterEvent, Refusal> {
        match command {
            MasterCommand::DefineProduct(command) => {
                self.products.decide(ProductId(fresh), command).map(MasterEvent::ProductDefined)
            }
            MasterCommand::DefinePartner(command) => {
                self.partners.decide(PartnerId(fresh), command).map(MasterEvent::PartnerDefined)
            }
        }
    }

    /// Applies an event.
    pub fn evolve(&mut self, event: &MasterEvent, sequence: u64) {
        match event {
            MasterEvent::ProductDefined(event) => self.products.evolve(event, sequence),
            MasterEvent::PartnerDefined(event) => self.partners.evolve(event, sequence),
        }
    }

    /// Sequence of the last event that touched the thing a command is about.
    pub fn version(&self, command: &MasterCommand) -> Option<u64> {
        match command {
            MasterCommand::DefineProduct(command) => self.products.get(&command.code).map(|known| known.version),
            MasterCommand::DefinePartner(command) => self.partners.get(&command.code).map(|known| known.version),
        }
    }
}

impl SharedMaster {
    /// Applies an event that stands at `sequence` in the tenant's stream.
    pub fn evolve(&mut self, event: &Event, sequence: u64) {
        if let Event::Master(event) = event {
            Arc::make_mut(&mut self.0).evolve(event, sequence);
        }
    }
}

impl Deref for SharedMaster {
    type Target = MasterData;

    fn deref(&self) -> &MasterData {
        &self.0
    }
}

impl Serialize for SharedMaster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMaster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        MasterData::deserialize(deserializer).map(|master| Self(Arc::new(master)))
    }
}

#[cfg(test)]
mod tests;
