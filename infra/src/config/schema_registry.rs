//! Section `[schema_registry]`.

use serde::{Deserialize, Serialize};

/// A Confluent-compatible schema registry, where `lotline formats register` files the formats. Nothing else speaks to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaRegistrySection {
    /// Base of its REST API, such as `https://registry.plant.example` or `http://127.0.0.1:8080/apis/ccompat/v7`; none when empty.
    /// With https the certificate must lead to a root that the system trusts.
    pub url: String,
    /// For basic authentication; none when empty.
    pub user: String,
    /// For basic authentication.
    pub password: String,
    /// Seconds that one request may take.
    pub timeout_s: u64,
}

impl Default for SchemaRegistrySection {
    fn default() -> Self {
        Self { url: String::new(), user: String::new(), password: String::new(), timeout_s: 10 }
    }
}
