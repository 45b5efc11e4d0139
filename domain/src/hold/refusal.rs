//! Why something can't be done because of a hold, or with one.

use std::fmt;

use thiserror::Error;

/// A hold that a lot is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// Code of the hold.
    pub hold: String,
    /// Code of the root through which it reaches the lot; nothing when the lot is a root itself.
    pub root: Option<String>,
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Some(root) => write!(f, "{} through lot '{root}'", self.hold),
            None => f.write_str(&self.hold),
        }
    }
}

/// A rule about holds was broken.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum HoldRefusal {
    /// A lot on hold can't be used.
    #[error("lot '{code}' is on hold {}", shown(holds, *more))]
    OnHold {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
        /// The holds, the oldest first; no more than a sentence takes.
        holds: Vec<HeldBy>,
        /// How many others there are.
        more: usize,
    },
    /// No such hold.
    #[error("hold {0} does not exist")]
    UnknownHold(String),
    /// It is over.
    #[error("hold {code} is released already")]
    Released {
        /// Code of the hold.
        code: String,
    },
    /// A lot is not on the hold from which it is to be released.
    #[error("lot '{lot}' is not on hold {hold}")]
    NotHeld {
        /// Code of the lot.
        lot: String,
        /// Code of the hold.
        hold: String,
    },
    /// Nothing was named.
    #[error("name at least one lot")]
    NoLots,
}

fn shown(holds: &[HeldBy], more: usize) -> String {
    let named = holds.iter().map(HeldBy::to_string).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

impl HoldRefusal {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OnHold { .. } => "LOT_ON_HOLD",
            Self::UnknownHold(_) => "UNKNOWN_HOLD",
            Self::Released { .. } => "HOLD_RELEASED",
            Self::NotHeld { .. } => "LOT_NOT_HELD",
            Self::NoLots => "NO_LOTS",
        }
    }

    /// The input field at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::OnHold { field, .. } => field,
            Self::UnknownHold(_) | Self::Released { .. } => "hold",
            Self::NotHeld { .. } | Self::NoLots => "lots",
        }
    }
}
