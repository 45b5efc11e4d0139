//! What can be asked about holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::HoldId;
use crate::lot::LotRef;

/// How a command names a hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldRef {
    /// By id.
    Id(HoldId),
    /// By code, unique in the site.
    Code(String),
}

impl fmt::Display for HoldRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Code(code) => write!(f, "'{}'", code.chars().take(64).collect::<String>()),
        }
    }
}

/// Something asked about a hold. All of it takes a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldCommand {
    /// Put lots and all that was made from them on hold.
    Place {
        /// The roots.
        lots: Vec<LotRef>,
    },
    /// Release a hold as a whole.
    Release {
        /// The hold.
        hold: HoldRef,
    },
    /// Release some of its lots.
    ReleaseLots {
        /// The hold.
        hold: HoldRef,
        /// The lots, each on it.
        lots: Vec<LotRef>,
    },
}

impl HoldCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place_hold",
            Self::Release { .. } => "release_hold",
            Self::ReleaseLots { .. } => "release_hold_lots",
        }
    }

    /// The hold that it is about; nothing for a new one.
    pub fn hold(&self) -> Option<&HoldRef> {
        match self {
            Self::Place { .. } => None,
            Self::Release { hold } | Self::ReleaseLots { hold, .. } => Some(hold),
        }
    }
}
