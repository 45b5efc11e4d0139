//! Section `[api]`.

use std::net::SocketAddr;

use lotline_api::config::Limits;
use serde::{Deserialize, Serialize};

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSection {
    /// Address and port. Only loopback in development mode. It speaks plain HTTP: beyond loopback put something in front that speaks TLS.
    pub bind: SocketAddr,
    /// What a client may ask for.
    pub limits: Limits,
}

impl Default for ApiSection {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 8080)), limits: Limits::default() }
    }
}
