//! Section `[graph]`.

use serde::{Deserialize, Serialize};

/// The genealogy in the memory of a node that serves the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphSection {
    /// Whether there is one: about 50 bytes for each edge, and as much again for moments while it is merged. Without it traces are
    /// answered from the tables, with the same result.
    pub enabled: bool,
}

impl Default for GraphSection {
    fn default() -> Self {
        Self { enabled: true }
    }
}
