//! What can be asked about lots that are there.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::event::{AdjustmentDirection, DocumentReference, TransformationKind};
use super::{LotRef, LotType};
use crate::command::QuantityInput;

/// How much of which lot goes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformInput {
    /// The lot.
    pub lot: LotRef,
    /// How much of it. Absent, it is all that is left; of a split, what its outputs and its loss add up to.
    pub quantity: Option<QuantityInput>,
    /// Why it may go in though its last day of use is over.
    pub exception: Option<String>,
}

/// A lot that comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformOutput {
    /// Unique in the site.
    pub code: String,
    /// What it is to the process; of a split or merge, what the first input is when absent.
    pub lot_type: Option<LotType>,
    /// Product name or GTIN; of a split or merge, that of the inputs.
    pub product: Option<String>,
    /// How much there is.
    pub quantity: QuantityInput,
    /// Its share of every input relative to those of the others: a decimal. Needed where outputs are measured in different dimensions.
    pub share: Option<String>,
    /// Degrees Celsius.
    pub temperature_c: Option<String>,
    /// Last day of use; the earliest of the inputs when absent.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<String>,
    /// Anything else.
    pub attributes: BTreeMap<String, String>,
}

/// Make lots out of lots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformLots {
    /// How.
    pub kind: TransformationKind,
    /// What goes in.
    pub inputs: Vec<TransformInput>,
    /// What comes out.
    pub outputs: Vec<TransformOutput>,
    /// What goes in and comes out nowhere.
    pub loss: Option<QuantityInput>,
    /// What comes out and went in nowhere.
    pub gain: Option<QuantityInput>,
    /// The step of the process.
    pub step: Option<String>,
    /// Where in the plant.
    pub location: Option<String>,
    /// Records elsewhere.
    pub documents: Vec<DocumentReference>,
}

/// Something asked about lots that are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotCommand {
    /// Make lots out of lots.
    Transform(TransformLots),
    /// Correct what the books say is left.
    Adjust {
        /// The lot.
        lot: LotRef,
        /// More or less.
        direction: AdjustmentDirection,
        /// By how much.
        quantity: QuantityInput,
    },
    /// Throw an amount away.
    Scrap {
        /// The lot.
        lot: LotRef,
        /// How much; all that is left when absent.
        quantity: Option<QuantityInput>,
    },
    /// Take a lot to another place.
    Move {
        /// The lot.
        lot: LotRef,
        /// Where to.
        location: String,
    },
    /// Take a sample.
    Sample {
        /// The lot.
        lot: LotRef,
        /// How much.
        quantity: QuantityInput,
        /// What stands on the sample.
        label: Option<String>,
        /// What for.
        purpose: Option<String>,
    },
    /// Say that a lot's last day of use is over.
    Expire {
        /// The lot.
        lot: LotRef,
    },
}

impl LotCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Transform(command) => match command.kind {
                TransformationKind::Split => "split_lot",
                TransformationKind::Merge => "merge_lots",
                TransformationKind::Transform => "transform_lots",
                TransformationKind::Rework => "rework_lots",
            },
            Self::Adjust { .. } => "adjust_lot",
            Self::Scrap { .. } => "scrap_lot",
            Self::Move { .. } => "move_lot",
            Self::Sample { .. } => "sample_lot",
            Self::Expire { .. } => "expire_lot",
        }
    }

    /// Whether the actor must say why.
    pub fn needs_reason(&self) -> bool {
        match self {
            Self::Transform(command) => command.kind == TransformationKind::Rework,
            Self::Adjust { .. } | Self::Scrap { .. } => true,
            Self::Move { .. } | Self::Sample { .. } | Self::Expire { .. } => false,
        }
    }

    /// The lots that it is about.
    pub fn lots(&self) -> Vec<&LotRef> {
        match self {
            Self::Transform(command) => command.inputs.iter().map(|input| &input.lot).collect(),
            Self::Adjust { lot, .. }
            | Self::Scrap { lot, .. }
            | Self::Move { lot, .. }
            | Self::Sample { lot, .. }
            | Self::Expire { lot } => vec![lot],
        }
    }
}
