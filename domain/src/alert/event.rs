//! Events about alerts, in the stream of their site.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AlertKind, Severity};
use crate::id::{ActorId, AlertId, LotId, QcDecisionId, RunId};
use crate::personal::Personal;
use crate::schema;
use crate::timestamp::Timestamp;

/// Something that happened to an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertEvent {
    /// Something needs attention.
    AlertRaised(AlertRaised),
    /// Somebody sees to it.
    AlertAcknowledged(AlertAcknowledged),
    /// It became worse, or nobody saw to it in time.
    AlertEscalated(AlertEscalated),
    /// It is over.
    AlertResolved(AlertResolved),
}

impl AlertEvent {
    /// Which alert.
    pub fn alert_id(&self) -> AlertId {
        match self {
            Self::AlertRaised(data) => data.alert_id,
            Self::AlertAcknowledged(data) => data.alert_id,
            Self::AlertEscalated(data) => data.alert_id,
            Self::AlertResolved(data) => data.alert_id,
        }
    }

    /// Whether another decision brought it, in the same batch: the answer to the command is then about that decision.
    pub fn is_consequence(&self) -> bool {
        match self {
            Self::AlertRaised(data) => data.decision_id.is_some(),
            Self::AlertEscalated(data) => data.decision_id.is_some(),
            Self::AlertResolved(data) => data.by_itself,
            Self::AlertAcknowledged(_) => false,
        }
    }
}

/// `lotline.alert.raised.v1`: something needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRaised {
    /// The new alert.
    pub alert_id: AlertId,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// To whom it speaks: 1 to those at hand, each higher level to those above them.
    #[schemars(range(min = 1))]
    pub level: u32,
    /// What is known, in a sentence.
    pub title: String,
    /// The lot that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot_id: Option<LotId>,
    /// The run that it is about, or at whose gate the lot was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The decision that gave rise to it, recorded just before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<QcDecisionId>,
    /// Last day of use of the lot, where that is what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date")]
    pub expires_on: Option<NaiveDate>,
    /// When it escalates, unless somebody has acknowledged it by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<Timestamp>,
}

/// `lotline.alert.acknowledged.v1`: somebody sees to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertAcknowledged {
    /// The alert.
    pub alert_id: AlertId,
    /// Who. The record says it too; whoever is refused later is told by this.
    pub by: ActorId,
    /// Free text about people and things, encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Personal>,
}

/// `lotline.alert.escalated.v1`: it became worse, or nobody saw to it in time. What was acknowledged is so no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertEscalated {
    /// The alert.
    pub alert_id: AlertId,
    /// The level before.
    pub from_level: u32,
    /// The level from now on; the same where there is none above.
    pub level: u32,
    /// How bad it is from now on, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What is known from now on, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The decision that made it worse, recorded just before; absent where it is the time that passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<QcDecisionId>,
    /// When it escalates again, unless somebody has acknowledged it by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<Timestamp>,
}

/// `lotline.alert.resolved.v1`: it is over; the reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertResolved {
    /// The alert.
    pub alert_id: AlertId,
    /// Who. The record says it too; whoever is refused later is told by this.
    pub by: ActorId,
    /// True where nobody said so, but what was wrong is so no more: a stuck run took a step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_itself: bool,
}
