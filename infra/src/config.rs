//! Configuration in layers: defaults, then a TOML file, then the environment. One struct per section; unknown keys are refused.
//!
//! Environment variables are `LOTLINE_<SECTION>__<KEY>`, such as `LOTLINE_POSTGRES__URL`. Below `LOTLINE_KAFKA__CLIENT__` stand options of
//! librdkafka, with underscores for the dots in their names. `lotline config` prints the result. Some variables of OpenTelemetry are heard too, below the
//! file, see `otlp`.

mod access;
mod alerts;
mod api;
mod cluster;
mod collector;
mod graph;
mod kafka;
mod ledger;
mod oidc;
mod otlp;
mod postgres;
mod schema_registry;
mod telemetry;
mod tenant;

use std::path::Path;

use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::UncasedStr;
use lotline_projections::model::Model;
use serde::{Deserialize, Serialize};

pub use access::AccessSection;
pub use alerts::AlertsSection;
pub use api::{ApiSection, TlsSection};
pub use cluster::ClusterSection;
pub use collector::CollectorSection;
pub use graph::GraphSection;
pub use kafka::KafkaSection;
pub use ledger::{LedgerSection, LogKind};
pub use oidc::{OidcSection, RoleEntry};
pub use otlp::OtlpSection;
pub use postgres::PostgresSection;
pub use schema_registry::SchemaRegistrySection;
pub use telemetry::{LogFormat, TelemetrySection};
pub use tenant::TenantSection;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whose plants these are.
    pub tenant: TenantSection,
    /// The event log.
    pub log: LedgerSection,
    /// The database of read models, and of the embedded log.
    pub postgres: PostgresSection,
    /// Apache Kafka, when `log.kind = "kafka"`.
    pub kafka: KafkaSection,
    /// Who is let in.
    pub access: AccessSection,
    /// The HTTP server.
    pub api: ApiSection,
    /// This node among others.
    pub cluster: ClusterSection,
    /// Machines to read.
    pub collector: CollectorSection,
    /// Alerts of the sites.
    pub alerts: AlertsSection,
    /// The genealogy in memory.
    pub graph: GraphSection,
    /// Where the formats are registered.
    pub schema_registry: SchemaRegistrySection,
    /// Logs and traces.
    pub telemetry: TelemetrySection,
}

/// Of the command line: who decides, see [`crate::cli::DecisionArgs`].
const NO_SETTINGS: [&str; 2] = ["ACTOR", "TOKEN"];

/// Maps whose names and values in the environment are read by rules of their own.
const LETTER_BY_LETTER: [&str; 2] = ["KAFKA__CLIENT__", "TELEMETRY__OTLP__HEADERS__"];

impl Config {
    /// Reads all layers. Without `file`, `lotline.toml` in the working directory is used when it is there.
    ///
    /// # Errors
    /// A file that can't be read, a key that is not known, a value that does not fit; the message names the key and its layer.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut layers = Figment::from(Serialized::defaults(Self::default())).merge(otlp::standard());
        layers = match file {
            Some(path) => {
                anyhow::ensure!(path.is_file(), "the configuration file {} does not exist", path.display());
                layers.merge(Toml::file_exact(path))
            }
            None => layers.merge(Toml::file("lotline.toml")),
        };
        let client = Env::prefixed("LOTLINE_KAFKA__CLIENT__");
        let client = kafka::from_environment(client.iter().map(|(name, value)| (name.to_string(), value)));
        let is_setting = |name: &UncasedStr| {
            !LETTER_BY_LETTER.iter().any(|place| name.starts_with(place)) && !NO_SETTINGS.iter().any(|no| name == no)
        };
        let others = Env::prefixed("LOTLINE_").filter(is_setting).split("__");
        let config: Self = layers
            .merge(others)
            .merge(Serialized::default("kafka.client", client))
            .merge(otlp::own_headers())
            .extract()
            .context("the configuration can't be used")?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.tenant.sites.is_empty(), "tenant.sites is empty: name at least one plant");
        anyhow::ensure!((1..=256).contains(&self.log.partitions), "log.partitions must be between 1 and 256");
        // A worker for each read model and partition, of more than eight partitions usually on several nodes.
        let workers = self.log.partitions.min(8) * Model::LEDGER.len() as u32;
        let wanted = workers + 4;
        anyhow::ensure!(
            self.postgres.max_connections >= wanted,
            "postgres.max_connections must be at least {wanted} for {} partitions",
            self.log.partitions
        );
        self.api.check()?;
        anyhow::ensure!(self.postgres.query_connections > 0, "postgres.query_connections must be at least 1");
        let longest = lotline_adapters::tenancy::MAX_TENANT_BYTES;
        anyhow::ensure!(
            self.tenant.id.as_str().len() <= longest,
            "tenant.id must have at most {longest} letters: it is part of the names of PostgreSQL's roles"
        );
        self.telemetry.otlp.check()?;
        self.access.check()
    }

    /// Name of the tenant's ledger topic.
    pub fn ledger_topic(&self) -> String {
        format!("lotline.{}.ledger.v1", self.tenant.id)
    }

    /// Name of the tenant's signals topic.
    pub fn signals_topic(&self) -> String {
        format!("lotline.{}.signals.v1", self.tenant.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Box<figment::Error>> {
        Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(text)).extract().map_err(Box::new)
    }

    #[test]
    fn defaults_fit_together() {
        let config = load("").unwrap();
        config.check().unwrap();
        assert_eq!(config.log.kind, LogKind::Postgres);
        assert_eq!(config.ledger_topic(), "lotline.dairy.ledger.v1");
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = load("[postgres]\nurll = \"x\"\n").unwrap_err().to_string();
        assert!(error.contains("urll"), "{error}");
    }

    #[test]
    fn security_options_pass_through() {
        let config = load("[kafka.client]\n\"security.protocol\" = \"SASL_SSL\"\n").unwrap();
        assert_eq!(config.kafka.client["security.protocol"], "SASL_SSL");
    }
}
