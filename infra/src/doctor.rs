//! `lotline doctor`: says in plain words what holds and what does not. It looks, and changes nothing.

pub(crate) mod clock;
mod durability;
mod tenancy;

use std::time::Duration;

use anyhow::Context;
use lotline_adapters::log::origin;
use lotline_domain::port::LogRead;
use lotline_projections::progress;

use crate::config::Config;
use crate::output;
use crate::stores::{self, Existing};

const DEADLINE: Duration = Duration::from_secs(15);
/// The end of a partition is told later while a transaction is open in it; after 25 s it is said that one is, and up to where it can be read.
const END_DEADLINE: Duration = Duration::from_secs(35);

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good(String),
    /// Works, but somebody should know.
    Warning(String),
    /// Keeps the server from doing what it promises.
    Failure(String),
}

/// Examines what the configuration names and prints a line for each finding.
///
/// # Errors
/// When something is broken that keeps the server from working.
pub async fn examine(config: &Config) -> anyhow::Result<()> {
    let mut report = Report::default();
    report.say("configuration", Finding::Good("readable, no unknown key".into()))?;
    let databases = within(stores::existing_databases(config)).await?;
    let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&databases.owner).await?;
    report.say("database", Finding::Good(format!("PostgreSQL {version}; all schemas up to date")))?;
    report.say("rows", within(tenancy::examine(&databases)).await?)?;
    let topic = config.ledger_topic();
    within(async { Ok(origin::hold(&databases.owner, &topic, config.log.kind.name()).await?) }).await?;
    let ledger = within(stores::existing_ledger(config, &databases)).await?;
    let signals = within(stores::existing_signals(config, &databases)).await?;
    if let Some(kafka) = &ledger.kafka {
        within(async { Ok(kafka.check_terms().await?) }).await.context("the ledger is not usable")?;
    }
    for (name, topic) in [("ledger", &ledger), ("signals", &signals)] {
        report.say(name, Finding::Good(ends(topic).await?))?;
    }
    for finding in within(durability::examine(&ledger, &databases.owner)).await.context("durability can't be told")? {
        report.say("durability", finding)?;
    }
    report.say("clock", within(clock::against_database(&databases.owner)).await?)?;
    for finding in within(clock::against_ledger(ledger.log.as_ref(), &config.tenant.id)).await? {
        report.say("clock", finding)?;
    }
    let mut degraded = Vec::new();
    for status in progress::status(&databases.owner, &config.tenant.id).await? {
        if status.is_degraded() {
            degraded.push(status.model.name());
        }
    }
    degraded.dedup();
    let finding = match degraded.as_slice() {
        [] => Finding::Good("none is halted".into()),
        halted => Finding::Failure(format!("halted: {}", halted.join(", "))),
    };
    report.say("read models", finding)?;
    report.end()
}

async fn ends(topic: &Existing) -> anyhow::Result<String> {
    let log: &dyn LogRead = topic.log.as_ref();
    let mut ends = Vec::new();
    for partition in 0..log.partitions() {
        let end = tokio::time::timeout(END_DEADLINE, log.end(partition)).await;
        let end = end.with_context(|| format!("no answer within {} s", END_DEADLINE.as_secs()))?;
        ends.push(end.with_context(|| format!("{} partition {partition}", log.topic()))?.to_string());
    }
    Ok(format!("{}, {} partitions, ending at {}", log.topic(), log.partitions(), ends.join(", ")))
}

/// What has been printed, as far as it decides the exit code.
#[derive(Default)]
struct Report {
    failures: Vec<String>,
}

impl Report {
    fn say(&mut self, what: &'static str, finding: Finding) -> anyhow::Result<()> {
        let line = match finding {
            Finding::Good(text) => text,
            Finding::Warning(text) => format!("WARNING: {text}"),
            Finding::Failure(text) => {
                self.failures.push(format!("{what}: {text}"));
                format!("FAILURE: {text}")
            }
        };
        Ok(output::say(&format!("{what:<14} {line}"))?)
    }

    fn end(self) -> anyhow::Result<()> {
        anyhow::ensure!(self.failures.is_empty(), "not everything holds: {}", self.failures.join("; "));
        Ok(())
    }
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(DEADLINE, work).await.with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))?
}
