//! Section `[alerts]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a node does about alerts of the sites that it writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsSection {
    /// How often to look for alerts that nobody acknowledged, lots whose last day of use comes and runs that take no step, in seconds; 0 for
    /// never.
    pub check_interval_s: u64,
}

impl AlertsSection {
    pub(crate) fn check_interval(&self) -> Option<Duration> {
        (self.check_interval_s > 0).then(|| Duration::from_secs(self.check_interval_s))
    }
}

impl Default for AlertsSection {
    fn default() -> Self {
        Self { check_interval_s: 30 }
    }
}
