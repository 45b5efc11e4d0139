//! What can be asked about alerts: by people, and by Lotline as time passes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::need::Need;
use crate::access::role::Permission;
use crate::id::{AlertId, CommandId, LotId, RunId, StreamKey, v7};
use crate::personal::Personal;
use crate::timestamp::Timestamp;

const HOUR_MICROS: i64 = 3_600_000_000;

/// Something asked about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertCommand {
    /// See to it.
    AcknowledgeAlert {
        /// The alert.
        alert_id: AlertId,
        /// Free text, already encrypted.
        note: Option<Personal>,
    },
    /// Say that it is over.
    ResolveAlert {
        /// The alert.
        alert_id: AlertId,
    },
    /// Tell those above, as nobody saw to it. Only Lotline asks for that.
    EscalateAlert {
        /// The alert.
        alert_id: AlertId,
        /// The level to which it goes.
        level: u32,
    },
    /// Warn of a lot whose last day of use comes. Only Lotline asks for that.
    WarnOfExpiry {
        /// The lot.
        lot_id: LotId,
    },
    /// Warn of a run that takes no step. Only Lotline asks for that.
    WarnOfStuckRun {
        /// The run.
        run_id: RunId,
    },
}

impl AlertCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AcknowledgeAlert { .. } => "acknowledge_alert",
            Self::ResolveAlert { .. } => "resolve_alert",
            Self::EscalateAlert { .. } => "escalate_alert",
            Self::WarnOfExpiry { .. } => "warn_of_expiry",
            Self::WarnOfStuckRun { .. } => "warn_of_stuck_run",
        }
    }

    /// The alert that it is about; nothing for a new one.
    pub fn alert_id(&self) -> Option<AlertId> {
        match self {
            Self::AcknowledgeAlert { alert_id, .. }
            | Self::ResolveAlert { alert_id }
            | Self::EscalateAlert { alert_id, .. } => Some(*alert_id),
            Self::WarnOfExpiry { .. } | Self::WarnOfStuckRun { .. } => None,
        }
    }

    /// What the actor must have.
    pub fn need(&self) -> Need {
        match self {
            Self::AcknowledgeAlert { .. } | Self::ResolveAlert { .. } => Need::Here(Permission::Decide),
            Self::EscalateAlert { .. } | Self::WarnOfExpiry { .. } | Self::WarnOfStuckRun { .. } => {
                Need::Record { user: None, lotline: true }
            }
        }
    }

    /// Whether the actor must say why.
    pub fn needs_reason(&self) -> bool {
        matches!(self, Self::ResolveAlert { .. })
    }

    /// The idempotency key under which Lotline asks for it: the same for all who find it due within the same hour.
    pub fn key(&self, stream: &StreamKey, now: Timestamp) -> CommandId {
        let json = serde_json::to_vec(self).expect("invariant: a command has string keys and finite numbers");
        let hour = Timestamp::from_micros(now.micros() - now.micros().rem_euclid(HOUR_MICROS));
        let digest = Sha256::new().chain_update(stream.as_str()).chain_update([0]).chain_update(json).finalize();
        CommandId(v7(hour, &digest))
    }
}
