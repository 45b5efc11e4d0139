//! Section `[telemetry]`.

use serde::{Deserialize, Serialize};

use super::otlp::OtlpSection;

/// How the server talks about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySection {
    /// `pretty` for people, `json` for machines.
    pub format: LogFormat,
    /// Filter in the syntax of `RUST_LOG`, such as `info,lotline_commands=debug`.
    pub level: String,
    /// Traces for an OpenTelemetry collector.
    pub otlp: OtlpSection,
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            level: "info,sqlx::postgres::notice=warn".into(),
            otlp: OtlpSection::default(),
        }
    }
}
