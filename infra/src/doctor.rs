//! `lotline doctor`: says in plain words what holds and what does not.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use lotline_domain::port::LogRead;
use lotline_projections::progress;

use crate::config::{Config, LogKind};
use crate::stores;

const DEADLINE: Duration = Duration::from_secs(15);

/// Examines what the configuration names and prints a line for each finding.
///
/// # Errors
/// When something is broken that keeps the server from working.
pub async fn examine(config: &Config) -> anyhow::Result<()> {
    say("configuration", "readable, no unknown key")?;
    let databases = within(stores::databases(config)).await.context("the database is not usable")?;
    let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&databases.owner).await?;
    say("database", &format!("PostgreSQL {version}; all schemas up to date"))?;
    let logs = within(stores::logs(config, &databases)).await.context("the log is not usable")?;
    for (name, log) in
        [("ledger", logs.ledger.clone() as std::sync::Arc<dyn LogRead>), ("signals", logs.signals.clone())]
    {
        let mut ends = Vec::new();
        for partition in 0..log.partitions() {
            ends.push(within(async { Ok(log.end(partition).await?) }).await?.to_string());
        }
        say(name, &format!("{}, {} partitions, ending at {}", log.topic(), log.partitions(), ends.join(", ")))?;
    }
    say("durability", durability(config))?;
    let mut degraded = Vec::new();
    for status in progress::status(&databases.owner, &config.tenant.id).await? {
        if status.is_degraded() {
            degraded.push(status.model.name());
        }
    }
    if degraded.is_empty() {
        say("read models", "none is halted")
    } else {
        say("read models", &format!("DEGRADED: {}", degraded.join(", ")))?;
        anyhow::bail!("read models are halted: {}", degraded.join(", "))
    }
}

fn durability(config: &Config) -> &'static str {
    match (config.log.kind, config.kafka.replication, config.kafka.flush_each_batch) {
        (LogKind::Postgres, _, _) => {
            "what is acknowledged is in PostgreSQL's log; with fsync=on it survives power loss"
        }
        (LogKind::Kafka, 1, false) => {
            "ONE replica, not flushed: what is acknowledged survives kill -9 of the broker, NOT power loss (kafka.flush_each_batch)"
        }
        (LogKind::Kafka, 1, true) => "one replica, each batch flushed: survives power loss, not the loss of the disk",
        (LogKind::Kafka, _, _) => {
            "several replicas: survives the loss of a broker if min.insync.replicas is 2 or more there"
        }
    }
}

fn say(what: &str, finding: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{what:<14} {finding}").context("standard output is closed")
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(DEADLINE, work).await.with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))?
}
