//! Alerts: something at a site needs somebody's attention, until somebody has seen to it.
//!
//! Invariants: what a decision gives rise to stands in the same batch of events as the decision · there is one open alert of a kind for a thing and
//! gate; what happens again raises no second one, and what is worse escalates the first · nobody acknowledges or resolves one twice · an alert is not
//! resolved while the HOLD stands that raised it · of an alert that is resolved only its end stays.
//!
//! `follow` finds what a decision means for alerts, [`watch`] what the time does: Lotline then asks for it by ordinary commands, whose rules look again.

pub mod command;
mod decide;
pub mod event;
mod follow;
pub mod refusal;
pub mod state;
pub mod watch;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A HOLD or FAIL.
    Decision,
    /// A measured value outside its limit.
    Limit,
    /// Something is left of a lot whose last day of use comes or is over.
    Expiry,
    /// A run takes no step.
    StuckRun,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be seen to.
    Warning,
    /// To be seen to at once.
    Critical,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Decision, Self::Limit, Self::Expiry, Self::StuckRun];

    /// The name used in events and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Limit => "limit",
            Self::Expiry => "expiry",
            Self::StuckRun => "stuck_run",
        }
    }
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The name used in events and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl JsonSchema for AlertKind {
    fn schema_name() -> Cow<'static, str> {
        "AlertKind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schema::open_words("What an alert is about.", &Self::ALL.map(Self::as_str))
    }
}

impl JsonSchema for Severity {
    fn schema_name() -> Cow<'static, str> {
        "Severity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schema::open_words("How bad it is, the least first.", &Self::ALL.map(Self::as_str))
    }
}

#[cfg(test)]
mod tests;
