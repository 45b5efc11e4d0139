//! Section `[postgres]`.

use serde::{Deserialize, Serialize};

/// The database of read models, and of the embedded log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresSection {
    /// `postgres://user:password@host:port/database`. This user owns the tables, migrates them, and writes read models.
    pub url: String,
    /// The same place for a user who owns nothing and works for the tenant only; everything else is asked as that one. Without it
    /// it is asked as the user of `url`, in the tenant's role.
    pub serve_url: Option<String>,
    /// Connections of the owner: for projections, which use up to ten for each partition of the ledger.
    pub max_connections: u32,
    /// Connections for queries. The log takes about a dozen more.
    pub query_connections: u32,
}

impl Default for PostgresSection {
    fn default() -> Self {
        Self {
            url: "postgres://lotline@127.0.0.1:5432/lotline".into(),
            serve_url: None,
            max_connections: 48,
            query_connections: 20,
        }
    }
}
