//! Rules about scenarios that a command can break.

use rust_decimal::Decimal;
use thiserror::Error;

use crate::id::ScenarioId;

/// A command about a scenario broke a rule.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ScenarioRefusal {
    /// No such scenario.
    #[error("scenario {0} does not exist")]
    UnknownScenario(ScenarioId),
    /// The name is taken.
    #[error("scenario name '{name}' is already used by scenario {by}")]
    DuplicateName {
        /// The name.
        name: String,
        /// Its owner.
        by: ScenarioId,
    },
    /// The scenario is retired.
    #[error("scenario '{name}' is retired")]
    Retired {
        /// Its name.
        name: String,
    },
    /// Publishing what is already published.
    #[error("scenario '{name}' has no change since version {version}")]
    NothingToPublish {
        /// Its name.
        name: String,
        /// The published version.
        version: u32,
    },
    /// Nothing to begin with.
    #[error("a scenario needs phase 0, in which its runs start")]
    NoFirstPhase,
    /// Two streams have one key.
    #[error("stream key '{0}' stands twice")]
    DuplicateStream(String),
    /// A colour is no colour.
    #[error("stream '{stream}': the colour must be like #1e90ff")]
    InvalidColour {
        /// Key of the stream.
        stream: String,
    },
    /// Two phases have one number.
    #[error("phase number {0} stands twice")]
    DuplicatePhase(u32),
    /// A phase stands in a stream that is not there.
    #[error("phase {phase} is in stream '{stream}', which is not in the scenario")]
    UnknownStream {
        /// Number of the phase.
        phase: u32,
        /// The key that it names.
        stream: String,
    },
    /// Two gates have one key.
    #[error("gate key '{0}' stands twice")]
    DuplicateGate(String),
    /// A gate stands after a phase that is not there.
    #[error("gate '{gate}' is after phase {phase}, which is not in the scenario")]
    UnknownPhase {
        /// Key of the gate.
        gate: String,
        /// The number that it names.
        phase: u32,
    },
    /// Two items of a checklist have one key.
    #[error("gate '{gate}': checklist item '{item}' stands twice")]
    DuplicateItem {
        /// Key of the gate.
        gate: String,
        /// Key of the item.
        item: String,
    },
    /// Two limits have one name.
    #[error("gate '{gate}': limit '{limit}' stands twice")]
    DuplicateLimit {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
    },
    /// A limit that nothing breaks.
    #[error("gate '{gate}': limit '{limit}' needs a low or a high bound")]
    UnboundedLimit {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
    },
    /// A limit that nothing keeps.
    #[error("gate '{gate}': limit '{limit}' has its low bound {low} above its high bound {high}")]
    LimitInverted {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
        /// The low bound.
        low: Decimal,
        /// The high bound.
        high: Decimal,
    },
    /// Not a unit that limits can have.
    #[error(
        "gate '{gate}': limit '{limit}' has the unit '{unit}', which is not a known UCUM code such as Cel, bar or 1"
    )]
    UnknownUnit {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
        /// As given, shortened.
        unit: String,
    },
    /// Too much for one event.
    #[error("the scenario takes {size} bytes as JSON; the limit is {max}, since every run keeps a copy")]
    TooLarge {
        /// Of its JSON.
        size: usize,
        /// The limit.
        max: usize,
    },
}

impl ScenarioRefusal {
    /// Code of [`Self::UnknownScenario`].
    pub const UNKNOWN: &'static str = "UNKNOWN_SCENARIO";

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownScenario(_) => Self::UNKNOWN,
            Self::DuplicateName { .. } => "DUPLICATE_SCENARIO_NAME",
            Self::Retired { .. } => "SCENARIO_RETIRED",
            Self::NothingToPublish { .. } => "NOTHING_TO_PUBLISH",
            Self::NoFirstPhase => "NO_FIRST_PHASE",
            Self::DuplicateStream(_) => "DUPLICATE_STREAM",
            Self::InvalidColour { .. } => "INVALID_COLOUR",
            Self::DuplicatePhase(_) => "DUPLICATE_PHASE",
            Self::UnknownStream { .. } => "UNKNOWN_STREAM",
            Self::DuplicateGate(_) => "DUPLICATE_GATE",
            Self::UnknownPhase { .. } => "UNKNOWN_PHASE",
            Self::DuplicateItem { .. } => "DUPLICATE_CHECKLIST_ITEM",
            Self::DuplicateLimit { .. } => "DUPLICATE_LIMIT",
            Self::UnboundedLimit { .. } => "UNBOUNDED_LIMIT",
            Self::LimitInverted { .. } => "LIMIT_INVERTED",
            Self::UnknownUnit { .. } => "UNKNOWN_UNIT",
            Self::TooLarge { .. } => "TOO_LARGE",
        }
    }

    /// The input field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::UnknownScenario(_) => Some("scenarioId"),
            Self::DuplicateName { .. } => Some("name"),
            Self::DuplicateStream(_) | Self::InvalidColour { .. } => Some("streams"),
            Self::NoFirstPhase | Self::DuplicatePhase(_) | Self::UnknownStream { .. } => Some("phases"),
            Self::DuplicateGate(_)
            | Self::UnknownPhase { .. }
            | Self::DuplicateItem { .. }
            | Self::DuplicateLimit { .. }
            | Self::UnboundedLimit { .. }
            | Self::LimitInverted { .. }
            | Self::UnknownUnit { .. } => Some("gates"),
            Self::TooLarge { .. } => Some("definition"),
            Self::Retired { .. } | Self::NothingToPublish { .. } => None,
        }
    }
}
