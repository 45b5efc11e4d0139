//! Products: what lots are of.
//!
//! Amounts of a product are kept in its canonical unit. Units of the same dimension convert by definition; for another dimension the product says
//! how much of the canonical unit one of them makes, such as the weight of a piece or the density of a liquid.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MasterRefusal;
use super::gs1::Gtin;
use crate::command::{decimal, text};
use crate::id::ProductId;
use crate::quantity::{Dimension, InvalidQuantity, Unit};
use crate::refusal::Refusal;
use crate::schema;

/// How much of the canonical unit one of another unit makes, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionInput {
    /// UNECE Rec 20 code.
    pub unit: String,
    /// Canonical units in one of it, a decimal such as `1.032`.
    pub factor: String,
}

/// Say what a product is, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefineProduct {
    /// Unique in the tenant, for good.
    pub code: String,
    /// For people to read.
    pub name: String,
    /// As it stands on the item.
    pub gtin: Option<String>,
    /// UNECE Rec 20 code of the unit in which it is kept.
    pub unit: String,
    /// From units of other dimensions.
    pub conversions: Vec<ConversionInput>,
    /// Days from making it to the last day of use.
    pub shelf_life_days: Option<u32>,
    /// Whether it is still made or used.
    pub active: bool,
}

/// How much of the canonical unit one of another unit makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conversion {
    /// Of another dimension than the canonical unit.
    pub unit: Unit,
    /// Canonical units in one of it.
    #[schemars(schema_with = "schema::decimal")]
    pub factor: Decimal,
}

/// `lotline.product.defined.v1`: a product is from now on as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProductDefined {
    /// The product.
    pub product_id: ProductId,
    /// Unique in the tenant, for good.
    pub code: String,
    /// For people to read.
    pub name: String,
    /// As it stands on the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtin: Option<Gtin>,
    /// The unit in which it is kept, for good.
    pub unit: Unit,
    /// From units of other dimensions, in the order of their codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversions: Vec<Conversion>,
    /// Days from making it to the last day of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf_life_days: Option<u32>,
    /// Whether it is still made or used.
    pub active: bool,
}

/// A product as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// For people to read.
    pub name: String,
    /// As it stands on the item.
    pub gtin: Option<Gtin>,
    /// The unit in which it is kept.
    pub unit: Unit,
    /// From units of other dimensions.
    pub conversions: Vec<Conversion>,
    /// Days from making it to the last day of use.
    pub shelf_life_days: Option<u32>,
    /// Whether it is still made or used.
    pub active: bool,
    /// Sequence of the last definition.
    pub version: u64,
}

/// All products of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Products {
    by_code: HashMap<String, Product>,
    /// Codes by GTIN of 14 digits.
    by_gtin: HashMap<String, String>,
}

/// Longest shelf life: 100 years.
pub const MAX_SHELF_LIFE_DAYS: u32 = 36_525;

impl Product {
    fn of(event: &ProductDefined, version: u64) -> Self {
        let ProductDefined { product_id, code: _, name, gtin, unit, conversions, shelf_life_days, active } =
            event.clone();
        Self { id: product_id, name, gtin, unit, conversions, shelf_life_days, active, version }
    }
}

impl Products {
    /// A product by code.
    pub fn get(&self, code: &str) -> Option<&Product> {
        self.by_code.get(code.trim())
    }

    /// The code of the product that has a GTIN, however many zeros stand in front of it.
    pub fn with_gtin(&self, gtin: &Gtin) -> Option<&str> {
        self.by_gtin.get(&gtin.in_14_digits()).map(String::as_str)
    }

    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, fresh: ProductId, command: &DefineProduct) -> Result<ProductDefined, Refusal> {
        let code = text("code", &command.code, 64)?;
        let known = self.get(&code);
        let unit = unit("unit", &command.unit)?;
        if let Some(known) = known.filter(|known| known.unit != unit) {
            return Err(MasterRefusal::CanonicalUnitFixed { code, unit: known.unit, given: unit }.into());
        }
        let gtin = command.gtin.as_deref().filter(|given| !given.trim().is_empty());
        let gtin = gtin.map(|given| Gtin::parse("gtin", given)).transpose()?;
        if let Some(gtin) = &gtin
            && let Some(by) = self.with_gtin(gtin).filter(|by| *by != code)
        {
            let (given, by) = (gtin.to_string(), by.to_owned());
            return Err(MasterRefusal::DuplicateGs1Key { field: "gtin", key: "GTIN", given, by }.into());
        }
        if command.shelf_life_days.is_some_and(|days| !(1..=MAX_SHELF_LIFE_DAYS).contains(&days)) {
            return Err(Refusal::InvalidNumber { field: "shelfLifeDays", rule: "between 1 and 36525" });
        }
        let defined = ProductDefined {
            product_id: known.map_or(fresh, |known| known.id),
            name: text("name", &command.name, 128)?,
            gtin,
            unit,
            conversions: conversions(unit, &command.conversions)?,
            shelf_life_days: command.shelf_life_days,
            active: command.active,
            code,
        };
        if known.is_some_and(|known| *known == Product::of(&defined, known.version)) {
            return Err(MasterRefusal::Unchanged { kind: "product", code: defined.code }.into());
        }
        Ok(defined)
    }

    /// Applies a definition.
    pub fn evolve(&mut self, event: &ProductDefined, sequence: u64) {
        let before = self.by_code.insert(event.code.clone(), Product::of(event, sequence));
        if let Some(gtin) = before.and_then(|before| before.gtin) {
            self.by_gtin.remove(&gtin.in_14_digits());
        }
        if let Some(gtin) = &event.gtin {
            self.by_gtin.insert(gtin.in_14_digits(), event.code.clone());
        }
    }
}

fn unit(field: &'static str, given: &str) -> Result<Unit, Refusal> {
    let problem = || InvalidQuantity::UnknownUnit(given.chars().take(16).collect());
    Unit::parse(given.trim()).ok_or_else(|| Refusal::InvalidQuantity { field, problem: problem() })
}

/// In the order of their codes, so that the same conversions are the same event.
fn conversions(canonical: Unit, given: &[ConversionInput]) -> Result<Vec<Conversion>, Refusal> {
    let rule = Refusal::InvalidNumber {
        field: "conversions",
        rule: "greater than 0 with at most 9 digits before the point and 9 after it",
    };
    let mut found: BTreeMap<Dimension, Conversion> = BTreeMap::new();
    for one in given {
        let unit = unit("conversions", &one.unit)?;
        if unit.dimension() == canonical.dimension() {
            return Err(MasterRefusal::ConversionWithin { unit, canonical }.into());
        }
        let fits =
            |factor: &Decimal| *factor > Decimal::ZERO && factor.scale() <= 9 && *factor < Decimal::from(1_000_000_000);
        let factor = decimal(&one.factor).filter(fits).ok_or_else(|| rule.clone())?;
        if let Some(first) = found.insert(unit.dimension(), Conversion { unit, factor }) {
            return Err(MasterRefusal::ConversionTwice { first: first.unit, second: unit }.into());
        }
    }
    let mut conversions: Vec<Conversion> = found.into_values().collect();
    conversions.sort_by_key(|one| one.unit.code());
    Ok(conversions)
}
