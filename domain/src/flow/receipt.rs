//! Receiving: lots that come into being at the dock, one delivery of one supplier at a time, all of it or nothing.
//!
//! A product that master data knows, by code or GTIN, is recorded by its code; its unit must convert to the product's, and its shelf life gives
//! the last day of use where none is stated: from the day of making, where that is known, else from the day of arrival. A product that
//! master data does not know is taken as it is named.

use std::collections::{BTreeMap, HashSet};

use chrono::{Datelike, Days, NaiveDate};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refusal::FlowRefusal;
use super::trading;
use crate::command::{QuantityInput, optional_text, text};
use crate::id::{DeliveryId, LotId, PartnerId, ProductId, nth};
use crate::lot::event::{DocumentReference, LotEvent, NewLot};
use crate::lot::transform::{MAX_DOCUMENTS, documents, entry};
use crate::lot::{LotRef, LotType, attributes, expiry, temperature};
use crate::master::gs1::Gtin;
use crate::master::product::{Product, Products};
use crate::quantity::{Quantity, Unit};
use crate::refusal::Refusal;
use crate::run::decide::Around;
use crate::schema;

/// Most lots of one delivery.
pub const MAX_LOTS: usize = 1_000;

/// A lot of a delivery, as it was typed or scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveLot {
    /// Unique in the site.
    pub code: String,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Code or GTIN of a product, or a name that master data does not know.
    pub product: String,
    /// How much came.
    pub quantity: QuantityInput,
    /// Degrees Celsius.
    pub temperature_c: Option<String>,
    /// The supplier's own code.
    pub supplier_lot: Option<String>,
    /// Who assigned the traceability lot code.
    pub traceability_lot_code_source: Option<String>,
    /// Day of making.
    pub produced_on: Option<NaiveDate>,
    /// Last day of use.
    pub expires_on: Option<NaiveDate>,
    /// Why it is taken in though its last day of use is over.
    pub exception: Option<String>,
    /// Where it lies.
    pub location: Option<String>,
    /// Anything else.
    pub attributes: BTreeMap<String, String>,
}

/// Take in a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveLots {
    /// Code of the supplier.
    pub supplier: String,
    /// Records elsewhere.
    pub documents: Vec<DocumentReference>,
    /// What came.
    pub lots: Vec<ReceiveLot>,
}

/// `lotline.lot.received.v1`: a lot came into being at the dock. When it came is the `occurred_at` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotReceived {
    /// The new lot.
    pub lot_id: LotId,
    /// Joins the lots that came at once.
    pub delivery_id: DeliveryId,
    /// Unique in the site.
    pub code: String,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Code of the product in the master data, or a name that it does not know.
    pub product: String,
    /// The product in the master data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_id: Option<ProductId>,
    /// How much came.
    pub quantity: Quantity,
    /// From whom it came: the immediate previous source.
    pub supplier_id: PartnerId,
    /// Code of the supplier in the master data.
    pub supplier_code: String,
    /// The supplier's own code for it: the traceability lot code, where one was assigned before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier_lot: Option<String>,
    /// Who assigned the traceability lot code: a GLN, an address, a registration number or a web address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceability_lot_code_source: Option<String>,
    /// Records elsewhere, such as the bill of lading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<DocumentReference>,
    /// Day of making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub produced_on: Option<NaiveDate>,
    /// Last day of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub expires_on: Option<NaiveDate>,
    /// The product's shelf life from which the last day of use was reckoned, where none was stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf_life_days: Option<u32>,
    /// Why it was taken in though its last day of use was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// Degrees Celsius when it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub temperature_c: Option<Decimal>,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Anything else that the plant records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl<'a> From<&'a LotReceived> for NewLot<'a> {
    fn from(event: &'a LotReceived) -> Self {
        Self {
            lot_id: event.lot_id,
            code: &event.code,
            lot_type: event.lot_type,
            product: &event.product,
            quantity: event.quantity,
            temperature_c: event.temperature_c,
            supplier_lot: event.supplier_lot.as_deref(),
            expires_on: event.expires_on,
            location: event.location.as_deref(),
            attributes: &event.attributes,
            parents: &[],
            transformation_id: None,
        }
    }
}

/// Decides a delivery: one event for each lot.
///
/// # Errors
/// The first rule that is broken; of a rule about one lot, with its number.
pub fn decide(command: &ReceiveLots, around: &Around<'_>) -> Result<Vec<LotEvent>, Refusal> {
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
    let (supplier_code, supplier) = trading(&around.master.partners, "supplier", &command.supplier)?;
    if !supplier.supplies {
        return Err(FlowRefusal::NoSupplier { code: supplier_code }.into());
    }
    let documents = documents(&command.documents)?;
    let mut codes = HashSet::with_capacity(command.lots.len());
    let mut events = Vec::with_capacity(command.lots.len());
    for (index, given) in command.lots.iter().enumerate() {
        let lot = lot(given, around).and_then(|lot| {
            let new = codes.insert(lot.code.clone());
            if new { Ok(lot) } else { Err(FlowRefusal::CodeTwice { code: lot.code }.into()) }
        });
        events.push(LotEvent::LotReceived(LotReceived {
            lot_id: LotId(nth(around.fresh, index)),
            delivery_id: DeliveryId(around.fresh),
            supplier_id: supplier.id,
            supplier_code: supplier_code.clone(),
            documents: documents.clone(),
            ..entry("lots", index, lot)?
        }));
    }
    Ok(events)
}

/// A lot but for its ids and what it shares with the delivery.
fn lot(given: &ReceiveLot, around: &Around<'_>) -> Result<LotReceived, Refusal> {
    let code = text("code", &given.code, 64)?;
    if let Ok((by, _)) = around.lots.find("code", &LotRef::Code(code.clone())) {
        return Err(Refusal::DuplicateLotCode { field: "code", code, by });
    }
    let quantity = given.quantity.parse("quantity")?;
    let (product, known) = product(&around.master.products, &given.product, quantity.unit())?;
    let day = around.day_in_the_world();
    let produced_on = given.produced_on.map(|day| in_range("producedOn", day)).transpose()?;
    if let Some(produced_on) = produced_on.filter(|made| *made > day) {
        return Err(FlowRefusal::MadeLater { code, produced_on, day }.into());
    }
    let shelf_life_days = known.and_then(|known| known.shelf_life_days).filter(|_| given.expires_on.is_none());
    let expires_on = match shelf_life_days {
        Some(days) => produced_on.unwrap_or(day).checked_add_days(Days::new(u64::from(days))),
        None => given.expires_on.map(expiry).transpose()?,
    };
    let exception = optional_text("exception", given.exception.as_deref(), 500)?;
    let over = expires_on.filter(|last| day > *last);
    if let Some(expires_on) = over
        && exception.is_none()
    {
        return Err(FlowRefusal::ExpiredOnArrival { code, expires_on, day }.into());
    }
    let source = given.traceability_lot_code_source.as_deref();
    Ok(LotReceived {
        lot_id: LotId(around.fresh),
        delivery_id: DeliveryId(around.fresh),
        code,
        lot_type: given.lot_type,
        product,
        product_id: known.map(|known| known.id),
        quantity,
        supplier_id: PartnerId(around.fresh),
        supplier_code: String::new(),
        supplier_lot: optional_text("supplierLot", given.supplier_lot.as_deref(), 64)?,
        traceability_lot_code_source: optional_text("traceabilityLotCodeSource", source, 128)?,
        documents: Vec::new(),
        produced_on,
        expires_on,
        shelf_life_days,
        // An exception that was not needed is none.
        exception: exception.filter(|_| over.is_some()),
        temperature_c: given.temperature_c.as_deref().map(temperature).transpose()?,
        location: optional_text("location", given.location.as_deref(), 128)?,
        attributes: attributes(&given.attributes)?,
    })
}

/// The name to record, and the product if master data knows it.
fn product<'a>(products: &'a Products, given: &str, unit: Unit) -> Result<(String, Option<&'a Product>), Refusal> {
    let given = text("product", given, 128)?;
    let by_gtin = || products.with_gtin(&Gtin::parse("product", &given).ok()?).map(str::to_owned);
    let code = if products.get(&given).is_some() { Some(given.clone()) } else { by_gtin() };
    let Some((code, known)) = code.and_then(|code| products.get(&code).map(|known| (code, known))) else {
        return Ok((given, None));
    };
    if !known.active {
        return Err(FlowRefusal::ProductInactive { product: code }.into());
    }
    let dimension = unit.dimension();
    let converts = |other: Unit| other.dimension() == dimension;
    if !converts(known.unit) && !known.conversions.iter().any(|one| converts(one.unit)) {
        return Err(FlowRefusal::UnitOfProduct { product: code, canonical: known.unit, given: unit }.into());
    }
    Ok((code, Some(known)))
}

fn in_range(field: &'static str, given: NaiveDate) -> Result<NaiveDate, Refusal> {
    if (2000..2200).contains(&given.year()) { Ok(given) } else { Err(Refusal::DateOutOfRange { field, given }) }
}
