//! Lots: identified amounts of material, and the quantified parents they were made from.
//!
//! Invariants, each checked at the moment of the decision against the whole site:
//! a code names one lot · parents exist, so the graph has no cycle · nothing on hold or failed becomes a parent, but of its own parts, which
//! are on hold too ([`crate::hold`]) ·
//! no more is taken out of a lot than is in it · nothing whose last day of use is over becomes a parent without an exception.
//!
//! [`transform`] makes lots out of lots, [`operation`] has what is done to one lot.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{RegisterLot, decimal, optional_text, text};
use crate::hold::state::Holds;
use crate::id::LotId;
use crate::qc::QcOutcome;
use crate::quantity::{Dimension, Quantity, Unit};
use crate::refusal::Refusal;
use crate::schema;
use event::TransformationKind;
use graph::Graph;
use index::Index;
use refusal::LotRefusal;

mod attribution;
pub mod command;
pub mod event;
mod evolve;
pub(crate) mod graph;
mod index;
pub mod operation;
pub mod refusal;
pub mod transform;

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
    /// Its id.
    pub id: LotId,
    /// Its code.
    pub code: String,
    /// The unit in which it was registered.
    pub unit: Unit,
    /// What is left, in the base unit of its dimension.
    pub remaining: Decimal,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Number of its product, see [`Lots::product`].
    pub product: u32,
    /// Last day of use.
    pub expires_on: Option<NaiveDate>,
    /// Whether it was marked as expired.
    pub expired: bool,
    /// The decision in force, if any was taken.
    pub qc: Option<QcOutcome>,
    /// Whether that decision by itself keeps it from being used: a FAIL, or a HOLD that placed no hold because there were none then.
    pub blocked: bool,
    /// Sequence of the last event that touched it.
    pub version: u64,
}

/// All lots of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Image")]
pub struct Lots {
    /// In the order in which they came into being: the place of a lot is its number.
    all: Vec<Lot>,
    /// Products are few and lots are many: a lot has the number of its product.
    products: Vec<String>,
    by_product: HashMap<String, u32>,
    graph: Graph,
    holds: Holds,
    #[serde(skip)]
    index: Index,
}

/// Lots as a snapshot has them.
#[derive(Deserialize)]
struct Image {
    all: Vec<Lot>,
    products: Vec<String>,
    by_product: HashMap<String, u32>,
    graph: Graph,
    holds: Holds,
}

impl From<Image> for Lots {
    fn from(image: Image) -> Self {
        let Image { all, products, by_product, graph, holds } = image;
        let index = Index::of(&all);
        Self { all, products, by_product, graph, holds, index }
    }
}

/// Most parents of one lot.
pub const MAX_PARENTS: usize = 1_000;
/// Most custom attributes of one lot.
pub const MAX_ATTRIBUTES: usize = 64;

impl Lots {
    /// A lot by id.
    pub fn get(&self, id: LotId) -> Option<&Lot> {
        self.number(id).map(|number| &self.all[number as usize])
    }

    /// Its place among all lots.
    pub(crate) fn number(&self, id: LotId) -> Option<u32> {
        self.index.by_id(&self.all, id)
    }

    /// What keeps lots from being used.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// What was made from what.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether a lot is on a hold.
    pub fn is_held(&self, id: LotId) -> bool {
        self.number(id).is_some_and(|number| self.holds.is_held(number))
    }

    /// The lot of a number.
    pub(crate) fn at(&self, number: u32) -> &Lot {
        &self.all[number as usize]
    }

    /// Who has a code.
    fn by_code(&self, code: &str) -> Option<LotId> {
        self.index.by_code(&self.all, code).map(|number| self.at(number).id)
    }

    /// Number of lots.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Finds the lot that a command names.
    ///
    /// # Errors
    /// [`Refusal::UnknownLot`] naming the input field.
    pub fn find(&self, field: &'static str, reference: &LotRef) -> Result<(LotId, &Lot), Refusal> {
        let unknown = || Refusal::UnknownLot { field, reference: reference.to_string() };
        let number = match reference {
            LotRef::Id(id) => self.number(*id),
            LotRef::Code(code) => self.index.by_code(&self.all, code.trim()),
        };
        let lot = self.at(number.ok_or_else(unknown)?);
        Ok((lot.id, lot))
    }

    /// Product name or GTIN of a lot.
    pub fn product(&self, lot: &Lot) -> &str {
        self.products.get(lot.product as usize).map(String::as_str).unwrap_or_default()
    }

    /// Decides the registration of a lot on a day.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide_register(&self, id: LotId, command: &RegisterLot, day: NaiveDate) -> Result<LotRegistered, Refusal> {
        let code = text("code", &command.code, 64)?;
        if let Some(by) = self.by_code(&code) {
            return Err(Refusal::DuplicateLotCode { field: "code", code, by });
        }
        let quantity = command.quantity.parse("quantity")?;
        let temperature_c = command.temperature_c.as_deref().map(temperature).transpose()?;
        Ok(LotRegistered {
            lot_id: id,
            lot_type: command.lot_type,
            product: text("product", &command.product, 128)?,
            quantity,
            temperature_c,
            supplier_lot: optional_text("supplierLot", command.supplier_lot.as_deref(), 64)?,
            expires_on: command.expires_on.map(expiry).transpose()?,
            location: optional_text("location", command.location.as_deref(), 128)?,
            attributes: attributes(&command.attributes)?,
            parents: self.decide_parents(id, &code, command, day)?,
            code,
        })
    }

    fn decide_parents(
        &self,
        id: LotId,
        code: &str,
        command: &RegisterLot,
        day: NaiveDate,
    ) -> Result<Vec<LotInput>, Refusal> {
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
                return Err(Refusal::DuplicateParent { field: "parents", code: parent.code.clone() });
            }
            let quantity = input.quantity.parse("parents")?;
            self.check_free("parents", parent, None)?;
            parent.has("parents", quantity)?;
            if let Some(expires_on) = parent.over(day) {
                let code = parent.code.clone();
                return Err(LotRefusal::LotExpired { field: "parents", code, expires_on, day }.into());
            }
            parents.push(LotInput { lot_id, quantity });
        }
        Ok(parents)
    }

    /// Whether nothing keeps a lot from going into another; a split may take of what is on hold.
    pub(crate) fn check_free(
        &self,
        field: &'static str,
        lot: &Lot,
        kind: Option<TransformationKind>,
    ) -> Result<(), Refusal> {
        if let Some(outcome) = lot.qc.filter(|_| lot.blocked) {
            return Err(Refusal::LotBlocked { field, code: lot.code.clone(), outcome });
        }
        if kind.is_some_and(TransformationKind::takes_held) { Ok(()) } else { self.check_not_held(field, lot) }
    }
}

impl Lot {
    /// Whether so much of it is left.
    pub(crate) fn has(&self, field: &'static str, asked: Quantity) -> Result<(), Refusal> {
        self.measured_in(field, asked.unit())?;
        if asked.in_base() > self.remaining {
            return Err(Refusal::NotEnoughLeft {
                field,
                code: self.code.clone(),
                left: self.in_base(self.remaining),
                asked,
            });
        }
        Ok(())
    }

    fn measured_in(&self, field: &'static str, asked: Unit) -> Result<(), Refusal> {
        if asked.dimension() == self.unit.dimension() {
            return Ok(());
        }
        Err(Refusal::UnitMismatch { field, code: self.code.clone(), held: self.unit, asked })
    }

    /// All that is left.
    pub(crate) fn all(&self, field: &'static str) -> Result<Quantity, Refusal> {
        if self.remaining.is_zero() {
            return Err(LotRefusal::NothingLeft { field, code: self.code.clone() }.into());
        }
        self.quantity(field, self.remaining)
    }

    /// An amount in base units as a quantity: in the unit of the lot, else in the first unit that has it with six decimals.
    fn quantity(&self, field: &'static str, base: Decimal) -> Result<Quantity, Refusal> {
        let dimension = self.unit.dimension();
        let others = Unit::ALL.iter().copied().filter(|unit| unit.dimension() == dimension);
        let found = std::iter::once(self.unit).chain(others).find_map(|unit| {
            let value = base.checked_div(unit.factor())?;
            Quantity::new(value, unit).ok().filter(|quantity| quantity.in_base() == base)
        });
        let refusal = || LotRefusal::NoQuantity { field, code: self.code.clone(), amount: self.in_base(base) }.into();
        found.ok_or_else(refusal)
    }

    /// The last day of use where that is over.
    pub(crate) fn over(&self, day: NaiveDate) -> Option<NaiveDate> {
        self.expires_on.filter(|last| day > *last || self.expired)
    }

    /// What is left, in the base unit of its dimension.
    pub(crate) fn left(&self) -> String {
        self.in_base(self.remaining)
    }

    fn in_base(&self, amount: Decimal) -> String {
        format!("{} {}", amount.normalize(), base_unit(self.unit.dimension()))
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

pub(crate) fn expiry(given: NaiveDate) -> Result<NaiveDate, Refusal> {
    if (2000..2200).contains(&given.year()) {
        Ok(given)
    } else {
        Err(Refusal::DateOutOfRange { field: "expiresOn", given })
    }
}

/// Custom attributes with trimmed names.
pub(crate) fn attributes(given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    if given.len() > MAX_ATTRIBUTES {
        return Err(Refusal::TooMany { field: "attributes", given: given.len(), max: MAX_ATTRIBUTES });
    }
    let mut attributes = BTreeMap::new();
    for (name, value) in given {
        let (name, value) = (text("attributes", name, 64)?, text("attributes", value, 1_000)?);
        if attributes.contains_key(&name) {
            return Err(Refusal::DuplicateAttribute(name));
        }
        attributes.insert(name, value);
    }
    Ok(attributes)
}

pub(crate) fn temperature(given: &str) -> Result<Decimal, Refusal> {
    let refusal =
        Refusal::InvalidNumber { field: "temperatureC", rule: "between -273.15 and 5000 with at most 6 decimals" };
    let Some(value) = decimal(given) else { return Err(refusal) };
    let in_range = value >= Decimal::new(-27_315, 2) && value <= Decimal::from(5_000) && value.scale() <= 6;
    if in_range { Ok(value) } else { Err(refusal) }
}

#[cfg(test)]
mod tests;
