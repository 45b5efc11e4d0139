//! Lots: identified amounts of material, and the quantified parents they were made from.
//!
//! Invariants, each checked at the moment of the decision against the whole site:
//! a code names one lot · parents exist, so the graph has no cycle · nothing on hold or failed becomes a parent ·
//! no more is taken out of a lot than is in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{RegisterLot, decimal, optional_text, text};
use crate::id::LotId;
use crate::qc::QcOutcome;
use crate::quantity::{Dimension, Quantity, Unit};
use crate::refusal::Refusal;
use crate::schema;

/// What a lot is to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LotType {
    /// As delivered.
    Raw,
    /// Prepared for use.
    Ingredient,
    /// Between two steps.
    Intermediate,
    /// Ready to ship.
    Finished,
    /// What it is packed in.
    Packaging,
    /// Made along the way, of value.
    ByProduct,
    /// Made along the way, of none.
    Waste,
}

impl LotType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Raw,
        Self::Ingredient,
        Self::Intermediate,
        Self::Finished,
        Self::Packaging,
        Self::ByProduct,
        Self::Waste,
    ];

    /// The name used in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Ingredient => "ingredient",
            Self::Intermediate => "intermediate",
            Self::Finished => "finished",
            Self::Packaging => "packaging",
            Self::ByProduct => "by_product",
            Self::Waste => "waste",
        }
    }
}

/// How a command names a lot: an operator scans a code, a program keeps an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotRef {
    /// By id.
    Id(LotId),
    /// By code, unique in the site.
    Code(String),
}

impl fmt::Display for LotRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Code(code) => write!(f, "'{}'", code.chars().take(64).collect::<String>()),
        }
    }
}

/// An amount taken out of a lot to make another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotInput {
    /// The parent.
    pub lot_id: LotId,
    /// How much of it went in.
    pub quantity: Quantity,
}

/// `lotline.lot.registered.v1`: a lot came into being.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotRegistered {
    /// The new lot.
    pub lot_id: LotId,
    /// Unique in the site.
    pub code: String,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN.
    pub product: String,
    /// How much there is.
    pub quantity: Quantity,
    /// Degrees Celsius when it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub temperature_c: Option<Decimal>,
    /// The supplier's own code for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier_lot: Option<String>,
    /// Last day of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Anything else that the plant records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// What it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<LotInput>,
}

/// A lot as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Its code.
    pub code: String,
    /// The unit in which it was registered.
    pub unit: Unit,
    /// What is left, in the base unit of its dimension.
    pub remaining: Decimal,
    /// The decision in force, if any was taken.
    pub qc: Option<QcOutcome>,
    /// Sequence of the last event that touched it.
    pub version: u64,
}

/// All lots of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lots {
    by_id: HashMap<LotId, Lot>,
    by_code: HashMap<String, LotId>,
}

/// Most parents of one lot.
pub const MAX_PARENTS: usize = 1_000;
/// Most custom attributes of one lot.
pub const MAX_ATTRIBUTES: usize = 64;

impl Lots {
    /// A lot by id.
    pub fn get(&self, id: LotId) -> Option<&Lot> {
        self.by_id.get(&id)
    }

    /// Number of lots.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Finds the lot that a command names.
    ///
    /// # Errors
    /// [`Refusal::UnknownLot`] naming the input field.
    pub fn find(&self, field: &'static str, reference: &LotRef) -> Result<(LotId, &Lot), Refusal> {
        let unknown = || Refusal::UnknownLot { field, reference: reference.to_string() };
        let id = match reference {
            LotRef::Id(id) => *id,
            LotRef::Code(code) => *self.by_code.get(code.trim()).ok_or_else(unknown)?,
        };
        self.by_id.get(&id).map(|lot| (id, lot)).ok_or_else(unknown)
    }

    /// Decides the registration of a lot.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide_register(&self, id: LotId, command: &RegisterLot) -> Result<LotRegistered, Refusal> {
        let code = text("code", &command.code, 64)?;
        if let Some(by) = self.by_code.get(&code) {
            return Err(Refusal::DuplicateLotCode { code, by: *by });
        }
        let quantity = command.quantity.parse("quantity")?;
        let temperature_c = command.temperature_c.as_deref().map(temperature).transpose()?;
        if command.attributes.len() > MAX_ATTRIBUTES {
            let given = command.attributes.len();
            return Err(Refusal::TooMany { field: "attributes", given, max: MAX_ATTRIBUTES });
        }
        let mut attributes = BTreeMap::new();
        for (name, value) in &command.attributes {
            let (name, value) = (text("attributes", name, 64)?, text("attributes", value, 1_000)?);
            if attributes.contains_key(&name) {
                return Err(Refusal::DuplicateAttribute(name));
            }
            attributes.insert(name, value);
        }
        Ok(LotRegistered {
            lot_id: id,
            lot_type: command.lot_type,
            product: text("product", &command.product, 128)?,
            quantity,
            temperature_c,
            supplier_lot: optional_text("supplierLot", command.supplier_lot.as_deref(), 64)?,
            expires_on: command.expires_on.map(expiry).transpose()?,
            location: optional_text("location", command.location.as_deref(), 128)?,
            attributes,
            parents: self.decide_parents(id, &code, command)?,
            code,
        })
    }

    fn decide_parents(&self, id: LotId, code: &str, command: &RegisterLot) -> Result<Vec<LotInput>, Refusal> {
        if command.parents.len() > MAX_PARENTS {
            return Err(Refusal::TooMany { field: "parents", given: command.parents.len(), max: MAX_PARENTS });
        }
        let mut parents: Vec<LotInput> = Vec::with_capacity(command.parents.len());
        let mut seen = std::collections::HashSet::with_capacity(command.parents.len());
        for input in &command.parents {
            let itself = match &input.lot {
                LotRef::Id(parent) => *parent == id,
                LotRef::Code(parent) => parent.trim() == code,
            };
            if itself {
                return Err(Refusal::GenealogyCycle { code: code.to_owned() });
            }
            let (lot_id, parent) = self.find("parents", &input.lot)?;
            if !seen.insert(lot_id) {
                return Err(Refusal::DuplicateParent { code: parent.code.clone() });
            }
            let quantity = input.quantity.parse("parents")?;
            parent.can_give(quantity)?;
            parents.push(LotInput { lot_id, quantity });
        }
        Ok(parents)
    }

    /// Applies a registration.
    pub fn evolve_registered(&mut self, event: &LotRegistered, sequence: u64) {
        for input in &event.parents {
            if let Some(parent) = self.by_id.get_mut(&input.lot_id) {
                parent.remaining -= input.quantity.in_base();
                parent.version = sequence;
            }
        }
        self.by_code.insert(event.code.clone(), event.lot_id);
        self.by_id.insert(
            event.lot_id,
            Lot {
                code: event.code.clone(),
                unit: event.quantity.unit(),
                remaining: event.quantity.in_base(),
                qc: None,
                version: sequence,
            },
        );
    }

    /// Applies a decision on a lot.
    pub fn evolve_decided(&mut self, id: LotId, outcome: QcOutcome, sequence: u64) {
        if let Some(lot) = self.by_id.get_mut(&id) {
            lot.qc = Some(outcome);
            lot.version = sequence;
        }
    }
}

impl Lot {
    fn can_give(&self, asked: Quantity) -> Result<(), Refusal> {
        if let Some(outcome @ (QcOutcome::Hold | QcOutcome::Fail)) = self.qc {
            return Err(Refusal::LotBlocked { code: self.code.clone(), outcome });
        }
        if asked.unit().dimension() != self.unit.dimension() {
            return Err(Refusal::UnitMismatch { code: self.code.clone(), held: self.unit, asked: asked.unit() });
        }
        if asked.in_base() > self.remaining {
            let left = format!("{} {}", self.remaining.normalize(), base_unit(self.unit.dimension()));
            return Err(Refusal::NotEnoughLeft { code: self.code.clone(), left, asked });
        }
        Ok(())
    }
}

pub(crate) fn base_unit(dimension: Dimension) -> Unit {
    match dimension {
        Dimension::Mass => Unit::Kgm,
        Dimension::Volume => Unit::Ltr,
        Dimension::Count => Unit::C62,
        Dimension::Length => Unit::Mtr,
    }
}

fn expiry(given: NaiveDate) -> Result<NaiveDate, Refusal> {
    if (2000..2200).contains(&given.year()) {
        Ok(given)
    } else {
        Err(Refusal::DateOutOfRange { field: "expiresOn", given })
    }
}

fn temperature(given: &str) -> Result<Decimal, Refusal> {
    let refusal =
        Refusal::InvalidNumber { field: "temperatureC", rule: "between -273.15 and 5000 with at most 6 decimals" };
    let Some(value) = decimal(given) else { return Err(refusal) };
    let in_range = value >= Decimal::new(-27_315, 2) && value <= Decimal::from(5_000) && value.scale() <= 6;
    if in_range { Ok(value) } else { Err(refusal) }
}

#[cfg(test)]
mod tests;
