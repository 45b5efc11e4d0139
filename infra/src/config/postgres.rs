//! Section `[postgres]`.

use serde::{Deserialize, Serialize};

/// The database of read models, and of the embedded log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresSection {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Connections for read models, queries and projections, which use up to seven for each partition of the ledger. The log takes about
    /// a dozen more.
    pub max_connections: u32,
}

impl Default for PostgresSection {
    fn default() -> Self {
        Self { url: "postgres://lotline@127.0.0.1:5432/lotline".into(), max_connections: 48 }
    }
}
