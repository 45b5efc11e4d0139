//! `lotline projections`: how far the read models are, and rebuilding them beside a running server.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use lotline_adapters::clock::SystemClock;
use lotline_domain::port::{Clock, LogRead};
use lotline_domain::position::TopicKind;
use lotline_domain::record::Offset;
use lotline_domain::trace::Traces;
use lotline_projections::decisions;
use lotline_projections::generations::{self, Idle};
use lotline_projections::model::Model;
use lotline_projections::progress::{self, Halt, ModelStatus};
use lotline_projections::rebuild::{self, Rebuild, RebuildProgress, Rebuilt};
use lotline_projections::worker::WorkerContext;
use tokio::time::{Duration, Instant};

use crate::cli::ProjectionsCommand;
use crate::config::Config;
use crate::projection_decisions::{self, Decision};
use crate::stores::{self, Databases, Logs};

const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps it from being done.
pub async fn run(config: Config, command: ProjectionsCommand) -> anyhow::Result<()> {
    match command {
        ProjectionsCommand::List => list(),
        ProjectionsCommand::Status => {
            let (databases, logs) = open(&config).await?;
            status(&config, &databases, &logs).await
        }
        ProjectionsCommand::Rebuild { models, all, restart, lanes } => {
            let models = if all { Model::ALL.to_vec() } else { models };
            rebuild(config, &models, restart, lanes).await
        }
        ProjectionsCommand::Retry { model, decision } => {
            projection_decisions::decide(&config, Decision::Retry { model }, &decision).await
        }
        ProjectionsCommand::Skip { model, sequence, decision } => {
            projection_decisions::decide(&config, Decision::Skip { model, sequence }, &decision).await
        }
        ProjectionsCommand::Discard { models } => {
            let databases = stores::databases(&config).await?;
            for model in models {
                let rows = rebuild::discard(&databases.owner, &config.tenant.id, model).await?;
                say(&format!("{model}: {rows} rows of unfinished or replaced generations deleted"))?;
            }
            Ok(())
        }
    }
}

async fn open(config: &Config) -> anyhow::Result<(Databases, Logs)> {
    let databases = stores::databases(config).await?;
    let logs = stores::logs(config, &databases).await?;
    Ok((databases, logs))
}

fn list() -> anyhow::Result<()> {
    for model in Model::ALL {
        let from = match model.topic() {
            TopicKind::Ledger => "the ledger",
            TopicKind::Signals => "signal batches",
        };
        say(&format!("{:<14} made from {from}", model.name()))?;
    }
    Ok(())
}

async fn status(config: &Config, databases: &Databases, logs: &Logs) -> anyhow::Result<()> {
    let all = progress::status(&databases.owner, &config.tenant.id).await?;
    let now = SystemClock.now().to_utc();
    say(&format!(
        "{:<14} {:>9} {:>12} {:>12} {:>10} {:>10}  state",
        "read model", "partition", "offset", "end", "lag", "seconds"
    ))?;
    for status in &all {
        let end = match status.model.topic() {
            TopicKind::Ledger => logs.ledger.end(status.partition).await?,
            TopicKind::Signals => logs.signals.end(status.partition).await?,
        };
        say(&line(status, end, now))?;
        for halt in &status.halts {
            say(&halted(halt))?;
        }
    }
    for skip in decisions::skips(&databases.owner, &config.tenant.id).await? {
        let (model, stream, sequence) = (skip.model, &skip.stream, skip.sequence);
        let at = skip.decided_at.format("%Y-%m-%d %H:%M:%S");
        say(&format!(
            "{model}: leaves out event {sequence} of stream {stream}, decided by {} at {at} UTC: {}",
            skip.actor, skip.reason
        ))?;
    }
    for idle in generations::idle(&databases.owner, &config.tenant.id).await? {
        say(&unfinished(&idle))?;
    }
    Ok(())
}

fn line(status: &ModelStatus, end: Offset, now: DateTime<Utc>) -> String {
    let lag = (end - status.next_offset).max(0);
    let seconds = match status.decided_until {
        _ if lag == 0 => "0".to_owned(),
        Some(until) => (now - until).num_seconds().max(0).to_string(),
        None => "-".to_owned(),
    };
    let state = match (&status.rebuild, status.is_degraded()) {
        (Some(idle), false) if idle.attended => "rebuilding",
        (Some(idle), true) if idle.attended => "DEGRADED, rebuilding",
        (_, true) => "DEGRADED",
        (_, false) => "live",
    };
    let (model, partition, next) = (status.model.name(), status.partition, status.next_offset);
    format!("{model:<14} {partition:>9} {next:>12} {end:>12} {lag:>10} {seconds:>10}  {state}")
}

fn halted(halt: &Halt) -> String {
    let event = halt.sequence.map_or_else(|| "an event".to_owned(), |sequence| format!("event {sequence}"));
    let since = halt.halted_at.format("%Y-%m-%d %H:%M:%S");
    format!("    halted: stream {} at {event} (offset {}) since {since} UTC: {}", halt.stream, halt.offset, halt.error)
}

fn unfinished(idle: &Idle) -> String {
    let since = idle.started_at.format("%Y-%m-%d %H:%M:%S");
    let (model, generation) = (idle.model, idle.generation);
    let what = match (idle.building, idle.attended) {
        (true, true) => "is being built".to_owned(),
        (true, false) => format!(
            "was ABANDONED unfinished: `lotline projections rebuild {model}` goes on with it, `discard {model}` deletes it"
        ),
        (false, true) => "is being deleted".to_owned(),
        (false, false) => format!("is of no use any more: the next rebuild, or `discard {model}`, deletes it"),
    };
    format!("{model}: generation {generation}, begun {since} UTC, {what}")
}

async fn rebuild(mut config: Config, models: &[Model], restart: bool, lanes: u32) -> anyhow::Result<()> {
    // Connections of its own, and few of them: the server goes on beside.
    config.postgres.max_connections = lanes + Rebuild::CONNECTIONS;
    let (databases, logs) = open(&config).await?;
    for topic in [TopicKind::Ledger, TopicKind::Signals] {
        let models: Vec<Model> = models.iter().copied().filter(|model| model.topic() == topic).collect();
        if models.is_empty() {
            continue;
        }
        let log: Arc<dyn LogRead> = match topic {
            TopicKind::Ledger => logs.ledger.clone(),
            TopicKind::Signals => logs.signals.clone(),
        };
        let (pool, tenant) = (databases.owner.clone(), config.tenant.id.clone());
        let context = WorkerContext { pool, log, clock: Arc::new(SystemClock), tenant, traces: Traces::default() };
        let names = models.iter().map(|model| model.name()).collect::<Vec<_>>().join(", ");
        let started = Instant::now();
        let (rebuild, mut show) = (Rebuild { context, models, restart, lanes }, shown());
        let done = tokio::select! {
            done = rebuild.run(&mut show) => done.with_context(|| format!("{names} can't be rebuilt; what is in use stays in use"))?,
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted; `lotline projections rebuild` goes on from here"),
        };
        report(&names, &done, started.elapsed())?;
    }
    Ok(())
}

/// Prints progress on standard error, now and then.
fn shown() -> impl FnMut(RebuildProgress) + Send {
    let mut last: Option<(Instant, i64)> = None;
    move |progress| {
        let now = Instant::now();
        let Some((then, done)) = last else {
            last = Some((now, progress.done));
            return;
        };
        if now - then < SHOW_EVERY {
            return;
        }
        let rate = (progress.done - done) as f64 / (now - then).as_secs_f64();
        let left = (progress.total - progress.done) as f64 / rate.max(1.0);
        let percent = progress.done * 100 / progress.total.max(1);
        eprintln!("{} of {} events ({percent} %), {rate:.0}/s, {left:.0} s left", progress.done, progress.total);
        last = Some((now, progress.done));
    }
}

fn report(names: &str, done: &Rebuilt, took: Duration) -> anyhow::Result<()> {
    let resumed = if done.resumed.is_empty() { "" } else { " (went on where an earlier rebuild had stopped)" };
    say(&format!(
        "{names}: rebuilt and in use{resumed}; live updates were held up for {} ms; {:.1} s with the deletion of {} old rows",
        done.held.as_millis(),
        took.as_secs_f64(),
        done.deleted
    ))?;
    for halt in &done.healed {
        say(&format!(
            "{}: follows stream {} again; the event at offset {} is applied",
            halt.model, halt.stream, halt.offset
        ))?;
    }
    for skip in &done.unskipped {
        let (model, stream, sequence) = (skip.model, &skip.stream, skip.sequence);
        say(&format!(
            "{model}: event {sequence} of stream {stream}, which {} had left out, is applied now",
            skip.actor
        ))?;
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")
}
