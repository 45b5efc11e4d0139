//! Section `[cluster]`.

use serde::{Deserialize, Serialize};

/// This node among those that share a ledger and a database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// Name of this node, unique among them. By default its host's name and the port that it listens on.
    pub node: Option<String>,
    /// Where the others reach it, such as `http://10.0.0.7:8080`. By default the address that it listens on.
    pub address: Option<String>,
}
