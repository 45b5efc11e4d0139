//! Section `[graph]`.

use serde::{Deserialize, Serialize};

/// The genealogy in the memory of a node that serves the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphSection {
    /// Whether there is one: about 50 bytes for each edge, and as much again for moments while it is merged. Without it traces are
    /// answered from the tables, with the same result.
    pub enabled: bool,
    /// What has come since the load is merged into the rest when it has so many lots and edges, and an eighth of what the rest has.
    pub merge_from: usize,
}

impl Default for GraphSection {
    fn default() -> Self {
        Self { enabled: true, merge_from: 100_000 }
    }
}
