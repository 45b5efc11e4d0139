//! Opens the database and the logs that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_adapters::log::origin::{self, OriginError};
use lotline_adapters::log::postgres::{self, PostgresLog};
use lotline_adapters::tenancy;
use lotline_domain::port::{EventLog, SignalLog};
use lotline_domain::position::TopicKind;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::config::{Config, LogKind};
use crate::reach::{place, reach};
use crate::schemas;

/// Connections for the embedded log's readers, snapshots and keys. Each writer has one of its own.
const APP_CONNECTIONS: u32 = 12;

/// How long `serve` and `migrate` wait for a PostgreSQL that is not there yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tenant's two logs.
#[derive(Clone)]
pub struct Logs {
    /// Decided events.
    pub ledger: Arc<dyn EventLog>,
    /// Signal batches.
    pub signals: Arc<dyn SignalLog>,
    /// The ledger again, when it is in Kafka, whose group shares its writers among nodes.
    pub kafka: Option<Arc<KafkaLog>>,
}

/// A topic that was there.
pub struct Existing {
    /// To read it, or to copy it.
    pub log: Arc<dyn EventLog>,
    /// The same, when it is in Kafka.
    pub kafka: Option<Arc<KafkaLog>>,
}

/// The database, connected as its owner and in the role of the tenant. Whatever somebody has asked for goes through the latter, where
/// PostgreSQL shows and takes rows of the tenant only.
#[derive(Clone)]
pub struct Databases {
    /// Migrations, and the projections' writing.
    pub owner: PgPool,
    /// The embedded log, snapshots, credentials and personal keys; in the tenant's role.
    pub app: PgPool,
    /// Queries over read models; in the tenant's role.
    pub queries: PgPool,
}

/// Connects and brings all schemas to this version. A PostgreSQL that is just starting is waited for.
///
/// # Errors
/// When PostgreSQL can't be reached or a migration fails; the message says which.
pub async fn databases(config: &Config) -> anyhow::Result<Databases> {
    bound(config, migrate(config).await?).await
}

/// The first part of [`databases`]: schemas and roles, before anybody can sign in as one of them. Gives the owner's connections.
///
/// # Errors
/// As [`databases`].
pub async fn migrate(config: &Config) -> anyhow::Result<PgPool> {
    let options = options(config)?;
    reach(&options, PATIENCE).await?;
    let owner = owner(config, &options).await?;
    postgres::migrate(&owner).await.context("the schema of the embedded log can't be brought to this version")?;
    lotline_projections::migrate(&owner)
        .await
        .context("the schema of the read models can't be brought to this version")?;
    let tenant = &config.tenant.id;
    tenancy::admit(&owner, tenant).await.with_context(|| {
        format!(
            "the roles of the tenant '{tenant}' can't be made: let the user of postgres.url create roles (CREATEROLE), or make them as decision 14 says"
        )
    })?;
    Ok(owner)
}

/// Connects to a database that is as this version needs it, and changes nothing.
///
/// # Errors
/// When PostgreSQL can't be reached, or `lotline migrate` has to run first; in one line that says what to do.
pub async fn existing_databases(config: &Config) -> anyhow::Result<Databases> {
    let options = options(config)?;
    reach(&options, Duration::ZERO).await?;
    let owner = owner(config, &options).await?;
    schemas::check(&owner, &place(&options)).await?;
    let tenant = &config.tenant.id;
    let admitted = tenancy::is_admitted(&owner, tenant).await.context("the roles of the database can't be read")?;
    anyhow::ensure!(admitted, "the tenant '{tenant}' has no role at {} yet: run `lotline migrate`", place(&options));
    bound(config, owner).await
}

/// Adds the pools that work for the tenant.
async fn bound(config: &Config, owner: PgPool) -> anyhow::Result<Databases> {
    let (options, tenant) = (serving(config)?, &config.tenant.id);
    // The log asks in the same way, and says less about why it can't.
    reach(&tenancy::bound(options.clone(), tenant), Duration::ZERO).await?;
    let app = postgres::connect(options.clone(), tenant, APP_CONNECTIONS).await?;
    let queries = connect(&tenancy::bound(options, tenant), config.postgres.query_connections).await?;
    Ok(Databases { owner, app, queries })
}

fn options(config: &Config) -> anyhow::Result<PgConnectOptions> {
    config.postgres.url.parse().context("postgres.url is no PostgreSQL URL (postgres://user@host:port/database)")
}

/// As whom everything is asked that is not the owner's business.
fn serving(config: &Config) -> anyhow::Result<PgConnectOptions> {
    let url = config.postgres.serve_url.as_ref().unwrap_or(&config.postgres.url);
    url.parse().context("postgres.serve_url is no PostgreSQL URL (postgres://user@host:port/database)")
}

async fn owner(config: &Config, options: &PgConnectOptions) -> anyhow::Result<PgPool> {
    connect(options, config.postgres.max_connections).await
}

async fn connect(options: &PgConnectOptions, max_connections: u32) -> anyhow::Result<PgPool> {
    // A process that is paused within a transaction would hold its locks against the projections of other nodes.
    let options = options.clone().options([("idle_in_transaction_session_timeout", "10s")]);
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options.clone())
        .await
        .with_context(|| format!("PostgreSQL at {} can't be reached", place(&options)))
}

/// Opens the configured logs, creating topics that are missing.
///
/// # Errors
/// When the log can't be reached or was created with other partition counts.
pub async fn logs(config: &Config, databases: &Databases) -> anyhow::Result<Logs> {
    origin::claim(&databases.owner, &config.ledger_topic(), config.log.kind.name()).await?;
    open(config, config.log.kind, databases).await
}

/// The configured ledger, which must be there: nothing is created or written down.
///
/// # Errors
/// When it can't be reached, is not there, or is not the one that the database follows.
pub async fn existing_ledger(config: &Config, databases: &Databases) -> anyhow::Result<Existing> {
    match origin::hold(&databases.owner, &config.ledger_topic(), config.log.kind.name()).await {
        // It can still be looked at, and the copy goes on from it.
        Err(OriginError::Moving { from, .. }) if from == config.log.kind.name() => {}
        held => held?,
    }
    find(config, databases, config.ledger_topic(), config.log.partitions).await
}

/// The same for the signals topic.
///
/// # Errors
/// As [`existing_ledger`].
pub async fn existing_signals(config: &Config, databases: &Databases) -> anyhow::Result<Existing> {
    find(config, databases, config.signals_topic(), config.log.signal_partitions).await
}

async fn find(config: &Config, databases: &Databases, topic: String, partitions: u32) -> anyhow::Result<Existing> {
    let creates = "`lotline serve` creates it (log.kind and tenant.id say which)";
    match config.log.kind {
        LogKind::Postgres => {
            let found = PostgresLog::find(&databases.app, &topic, partitions).await?;
            let log = found.with_context(|| format!("there is no topic {topic} in PostgreSQL yet: {creates}"))?;
            Ok(Existing { log: Arc::new(log), kafka: None })
        }
        LogKind::Kafka => {
            let brokers = &config.kafka.brokers;
            let found = KafkaLog::find(kafka_options(config, topic.clone(), partitions)).await;
            let found = found.with_context(|| format!("the log in Kafka at {brokers} can't be opened"))?;
            let log = Arc::new(found.with_context(|| {
                format!("there is no topic {topic} in Kafka at {brokers} yet, or no broker leads it: {creates}")
            })?);
            Ok(Existing { log: log.clone(), kafka: Some(log) })
        }
    }
}

/// Makes the database follow the ledger in another log: read models and snapshots of the old one are forgotten.
///
/// # Errors
/// When PostgreSQL fails; doing it again finishes it.
pub async fn follow(config: &Config, kind: LogKind, databases: &Databases) -> anyhow::Result<()> {
    let topic = config.ledger_topic();
    lotline_projections::reset::ledger_models(&databases.owner, &config.tenant.id)
        .await
        .context("the read models can't be emptied")?;
    origin::switch(&databases.owner, &topic, kind.name()).await?;
    Ok(())
}

/// Opens the logs of a kind, whatever is configured.
///
/// # Errors
/// As [`logs`].
pub async fn open(config: &Config, kind: LogKind, databases: &Databases) -> anyhow::Result<Logs> {
    let (ledger, signals) = (config.ledger_topic(), config.signals_topic());
    Ok(match kind {
        LogKind::Postgres => Logs {
            ledger: Arc::new(PostgresLog::open(&databases.app, &ledger, config.log.partitions).await?),
            signals: Arc::new(PostgresLog::open(&databases.app, &signals, config.log.signal_partitions).await?),
            kafka: None,
        },
        LogKind::Kafka => {
            let ledger = kafka(config, ledger, config.log.partitions, TopicKind::Ledger).await?;
            let signals = kafka(config, signals, config.log.signal_partitions, TopicKind::Signals).await?;
            Logs { ledger: ledger.clone(), signals, kafka: Some(ledger) }
        }
    })
}

async fn kafka(config: &Config, topic: String, partitions: u32, kind: TopicKind) -> anyhow::Result<Arc<KafkaLog>> {
    let log = KafkaLog::open(kafka_options(config, topic, partitions), kind).await;
    log.map(Arc::new).with_context(|| format!("the log in Kafka at {} can't be opened", config.kafka.brokers))
}

fn kafka_options(config: &Config, topic: String, partitions: u32) -> KafkaOptions {
    KafkaOptions {
        replication: config.kafka.replication,
        flush_each_batch: config.kafka.flush_each_batch,
        client: config.kafka.client.clone(),
        ..KafkaOptions::new(config.kafka.brokers.clone(), topic, partitions)
    }
}
