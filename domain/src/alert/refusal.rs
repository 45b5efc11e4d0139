//! Rules about alerts that a command can break.

use thiserror::Error;

use crate::id::{ActorId, AlertId};
use crate::timestamp::Timestamp;

/// A command about an alert broke a rule.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum AlertRefusal {
    /// No such alert, or one that was resolved long ago.
    #[error("alert {0} is not known")]
    UnknownAlert(AlertId),
    /// Somebody sees to it already.
    #[error("alert {alert_id} was acknowledged by {by} at {at}")]
    AlreadyAcknowledged {
        /// The alert.
        alert_id: AlertId,
        /// Who.
        by: ActorId,
        /// When.
        at: Timestamp,
    },
    /// It is over.
    #[error("alert {alert_id} was resolved by {by} at {at}")]
    AlreadyResolved {
        /// The alert.
        alert_id: AlertId,
        /// Who.
        by: ActorId,
        /// When.
        at: Timestamp,
    },
    /// What raised it is still so.
    #[error("alert {alert_id} can't be resolved: {standing}")]
    CauseStands {
        /// The alert.
        alert_id: AlertId,
        /// What is still so.
        standing: String,
    },
    /// The time for it has not come, or it was done.
    #[error("there is nothing to warn of: {0}")]
    NotDue(String),
}

impl AlertRefusal {
    /// Code of [`Self::NotDue`].
    pub const NOT_DUE: &'static str = "ALERT_NOT_DUE";

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownAlert(_) => "UNKNOWN_ALERT",
            Self::AlreadyAcknowledged { .. } => "ALERT_ALREADY_ACKNOWLEDGED",
            Self::AlreadyResolved { .. } => "ALERT_ALREADY_RESOLVED",
            Self::CauseStands { .. } => "ALERT_CAUSE_STANDS",
            Self::NotDue(_) => Self::NOT_DUE,
        }
    }

    /// The input field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::UnknownAlert(_)
            | Self::AlreadyAcknowledged { .. }
            | Self::AlreadyResolved { .. }
            | Self::CauseStands { .. } => Some("alert"),
            Self::NotDue(_) => None,
        }
    }
}
