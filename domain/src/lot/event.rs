//! What happens to lots after, or besides, their registration.
//!
//! [`LotEvent::effects`] and [`LotsTransformed::lots`] say once, for the rules and for the read models, what an event does to lots that are there
//! and which lots it brings.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LotInput, LotRegistered, LotType};
use crate::flow::receipt::LotReceived;
use crate::flow::shipment::ShipmentShipped;
use crate::id::{LotId, SampleId, TransformationId};
use crate::quantity::Quantity;
use crate::schema;

/// Something that happened to lots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LotEvent {
    /// Amounts of lots became new lots.
    LotsTransformed(LotsTransformed),
    /// A count found more or less than the books had.
    LotAdjusted(LotAdjusted),
    /// An amount was thrown away.
    LotScrapped(LotScrapped),
    /// A lot was taken to another place.
    LotMoved(LotMoved),
    /// An amount was taken as a sample.
    LotSampled(LotSampled),
    /// A lot's last day of use is over.
    LotExpired(LotExpired),
    /// A lot came into being at the dock.
    LotReceived(LotReceived),
    /// Amounts of lots left the site.
    ShipmentShipped(ShipmentShipped),
}

/// How lots became others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransformationKind {
    /// One lot into several of the same product.
    Split,
    /// Several lots of one product into one.
    Merge,
    /// Lots into others, as a recipe or a process has it.
    Transform,
    /// Lots back into the process, as new lots.
    Rework,
}

impl TransformationKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Split, Self::Merge, Self::Transform, Self::Rework];

    /// The name used in events and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Transform => "transform",
            Self::Rework => "rework",
        }
    }

    /// Whether nothing but the lots' boundaries changes: the product stays, and so does every gram but what is stated as lost.
    pub const fn conserves(self) -> bool {
        matches!(self, Self::Split | Self::Merge)
    }

    /// Whether it may take of lots on hold: its outputs are parts of one lot, and on the same holds.
    pub const fn takes_held(self) -> bool {
        matches!(self, Self::Split)
    }
}

impl JsonSchema for TransformationKind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TransformationKind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let description = "How lots became others: split is one lot into several, merge several into one, both of one product; transform \
                           makes others by a recipe or a process (EPCIS 2.0 TransformationEvent, 21 CFR 1.1350); rework goes back into the process.";
        schema::open_words(description, &Self::ALL.map(Self::as_str))
    }
}

/// A paper or a record elsewhere, such as a batch record or a work order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentReference {
    /// What it is, such as `batch record`.
    pub document_type: String,
    /// Its number.
    pub number: String,
}

/// What went into a transformation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransformationInput {
    /// The lot.
    pub lot_id: LotId,
    /// How much of it was taken.
    pub quantity: Quantity,
    /// Its last day of use, where that was over when it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub expired_on: Option<NaiveDate>,
    /// Why it was taken nevertheless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

/// A lot that a transformation made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransformationOutput {
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
    /// Its stated share of every input, relative to those of the other outputs. Absent where the quantities give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub share: Option<Decimal>,
    /// How much of each input is attributed to it, in the order of the inputs. Over all outputs it adds up to exactly what was taken.
    pub parents: Vec<LotInput>,
    /// Degrees Celsius when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub temperature_c: Option<Decimal>,
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
}

/// `lotline.lot.transformed.v1`: amounts of lots became new lots, all at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotsTransformed {
    /// Joins inputs and outputs; EPCIS calls it the transformation's id.
    pub transformation_id: TransformationId,
    /// How.
    pub kind: TransformationKind,
    /// What went in, each lot once.
    pub inputs: Vec<TransformationInput>,
    /// What came out.
    pub outputs: Vec<TransformationOutput>,
    /// What went in and is in no output, such as trimmings or evaporated water.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Quantity>,
    /// What is in the outputs and in no input, such as absorbed water.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<Quantity>,
    /// The step of the process, such as `standardisation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Where in the plant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Records elsewhere that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<DocumentReference>,
}

/// Which way the books were wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentDirection {
    /// More was there.
    Increase,
    /// Less was there.
    Decrease,
}

/// `lotline.lot.adjusted.v1`: a count found more or less than the books had; the reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotAdjusted {
    /// The lot.
    pub lot_id: LotId,
    /// More or less.
    pub direction: AdjustmentDirection,
    /// By how much.
    pub quantity: Quantity,
}

/// `lotline.lot.scrapped.v1`: an amount was thrown away; the reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotScrapped {
    /// The lot.
    pub lot_id: LotId,
    /// How much of it.
    pub quantity: Quantity,
}

/// `lotline.lot.moved.v1`: a lot was taken to another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotMoved {
    /// The lot.
    pub lot_id: LotId,
    /// Where it lies from then on.
    pub location: String,
}

/// `lotline.lot.sampled.v1`: an amount was taken as a sample and is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotSampled {
    /// The sample.
    pub sample_id: SampleId,
    /// The lot.
    pub lot_id: LotId,
    /// How much was taken.
    pub quantity: Quantity,
    /// What stands on the sample, as the laboratory knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What for, such as `listeria`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// `lotline.lot.expired.v1`: a lot's last day of use is over, and somebody has seen to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LotExpired {
    /// The lot.
    pub lot_id: LotId,
    /// Its last day of use.
    #[schemars(schema_with = "schema::date")]
    pub expires_on: NaiveDate,
}

/// A lot as it comes into being, by whichever event.
#[derive(Debug, Clone, Copy)]
pub struct NewLot<'a> {
    /// The lot.
    pub lot_id: LotId,
    /// Unique in the site.
    pub code: &'a str,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN.
    pub product: &'a str,
    /// How much there is.
    pub quantity: Quantity,
    /// Degrees Celsius.
    pub temperature_c: Option<Decimal>,
    /// The supplier's own code for it.
    pub supplier_lot: Option<&'a str>,
    /// Last day of use.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<&'a str>,
    /// Anything else.
    pub attributes: &'a BTreeMap<String, String>,
    /// What it was made from.
    pub parents: &'a [LotInput],
    /// What made it, if that was a transformation.
    pub transformation_id: Option<TransformationId>,
}

/// What an event does to a lot that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LotEffect<'a> {
    /// The lot.
    pub lot_id: LotId,
    /// What is taken out of it, in the base unit of its dimension; below zero where it becomes more.
    pub taken: Decimal,
    /// Where it lies from then on.
    pub location: Option<&'a str>,
    /// Whether it has expired.
    pub expired: bool,
}

impl<'a> From<&'a LotRegistered> for NewLot<'a> {
    fn from(event: &'a LotRegistered) -> Self {
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
            parents: &event.parents,
            transformation_id: None,
        }
    }
}

impl LotsTransformed {
    /// The lots that it made.
    pub fn lots(&self) -> impl Iterator<Item = NewLot<'_>> {
        self.outputs.iter().map(|output| NewLot {
            lot_id: output.lot_id,
            code: &output.code,
            lot_type: output.lot_type,
            product: &output.product,
            quantity: output.quantity,
            temperature_c: output.temperature_c,
            supplier_lot: None,
            expires_on: output.expires_on,
            location: output.location.as_deref(),
            attributes: &output.attributes,
            parents: &output.parents,
            transformation_id: Some(self.transformation_id),
        })
    }
}

impl LotEvent {
    /// As `ce_subject` has it.
    pub fn subject(&self) -> String {
        match self {
            Self::LotsTransformed(data) => format!("transformation/{}", data.transformation_id),
            Self::ShipmentShipped(data) => format!("shipment/{}", data.shipment_id),
            Self::LotAdjusted(LotAdjusted { lot_id, .. })
            | Self::LotScrapped(LotScrapped { lot_id, .. })
            | Self::LotMoved(LotMoved { lot_id, .. })
            | Self::LotSampled(LotSampled { lot_id, .. })
            | Self::LotExpired(LotExpired { lot_id, .. })
            | Self::LotReceived(LotReceived { lot_id, .. }) => format!("lot/{lot_id}"),
        }
    }

    /// The lots that it makes.
    pub fn lots(&self) -> impl Iterator<Item = NewLot<'_>> {
        let (made, received) = match self {
            Self::LotsTransformed(data) => (Some(data), None),
            Self::LotReceived(data) => (None, Some(NewLot::from(data))),
            Self::LotAdjusted(_)
            | Self::LotScrapped(_)
            | Self::LotMoved(_)
            | Self::LotSampled(_)
            | Self::LotExpired(_)
            | Self::ShipmentShipped(_) => (None, None),
        };
        made.into_iter().flat_map(LotsTransformed::lots).chain(received)
    }

    /// What it does to lots that are there already, each once.
    pub fn effects(&self) -> Vec<LotEffect<'_>> {
        let plain = |lot_id, taken| LotEffect { lot_id, taken, location: None, expired: false };
        match self {
            Self::LotsTransformed(data) => {
                data.inputs.iter().map(|input| plain(input.lot_id, input.quantity.in_base())).collect()
            }
            Self::LotAdjusted(data) => {
                let by = data.quantity.in_base();
                vec![plain(data.lot_id, if data.direction == AdjustmentDirection::Increase { -by } else { by })]
            }
            Self::LotScrapped(data) => vec![plain(data.lot_id, data.quantity.in_base())],
            Self::LotSampled(data) => vec![plain(data.lot_id, data.quantity.in_base())],
            Self::LotMoved(data) => {
                vec![LotEffect { location: Some(&data.location), ..plain(data.lot_id, Decimal::ZERO) }]
            }
            Self::LotExpired(data) => vec![LotEffect { expired: true, ..plain(data.lot_id, Decimal::ZERO) }],
            Self::LotReceived(_) => Vec::new(),
            Self::ShipmentShipped(data) => {
                data.lots.iter().map(|lot| plain(lot.lot_id, lot.quantity.in_base())).collect()
            }
        }
    }
}
