//! Events about holds, in the stream of their site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{HoldId, LotId, QcDecisionId};
use crate::schema;

/// Something that happened to a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldEvent {
    /// It was placed.
    HoldPlaced(HoldPlaced),
    /// It was released as a whole.
    HoldReleased(HoldReleased),
    /// Some of its lots were released.
    HoldLotReleased(HoldLotReleased),
}

impl HoldEvent {
    /// Which hold.
    pub fn hold_id(&self) -> HoldId {
        match self {
            Self::HoldPlaced(data) => data.hold_id,
            Self::HoldReleased(data) => data.hold_id,
            Self::HoldLotReleased(data) => data.hold_id,
        }
    }
}

/// What placed a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldCause {
    /// Somebody, for a reason.
    Person,
    /// A quality decision.
    Decision,
    /// A rule that watches the plant.
    Rule,
}

impl HoldCause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::Person, Self::Decision, Self::Rule];

    /// The name used in events and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Decision => "decision",
            Self::Rule => "rule",
        }
    }
}

impl JsonSchema for HoldCause {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HoldCause".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let description = "What placed a hold: a person, for the reason that stands beside; a quality decision, HOLD or FAIL; a rule that watches \
                           the plant.";
        schema::open_words(description, &Self::ALL.map(Self::as_str))
    }
}

/// `lotline.hold.placed.v1`: lots, and all that was made from them in the site until then, can't be used. The reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldPlaced {
    /// The new hold.
    pub hold_id: HoldId,
    /// Unique in the site, such as `H-12`.
    pub code: String,
    /// What placed it.
    pub cause: HoldCause,
    /// The decision that placed it, which the same command records after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<QcDecisionId>,
    /// The name of the rule that placed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Its roots. What descends from them is on hold too and does not stand here.
    pub lots: Vec<LotId>,
}

/// `lotline.hold.released.v1`: a hold is over. The reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldReleased {
    /// The hold.
    pub hold_id: HoldId,
    /// The decision that took the place of the one that had placed it, and which the same command records after it; absent when somebody
    /// released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<QcDecisionId>,
}

/// `lotline.hold.lot_released.v1`: a hold lets some lots go, with all that it reaches only through them. The reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldLotReleased {
    /// The hold.
    pub hold_id: HoldId,
    /// The lots that were named.
    pub lots: Vec<LotId>,
}
