//! `lotline log`: what an operator or auditor looks at first.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::log::CopyOptions;
use lotline_domain::chain::Chain;
use lotline_domain::envelope::Envelope;
use lotline_domain::id::TenantId;
use lotline_domain::port::{EventLog, LogRead};
use tokio_util::sync::CancellationToken;

const AT_ONCE: usize = 4_096;
const WAIT: Duration = Duration::from_millis(500);

/// How `tail` prints.
pub struct Tail {
    /// Only this stream.
    pub stream: Option<String>,
    /// Go on as new events arrive.
    pub follow: bool,
    /// Print whole values.
    pub json: bool,
}

/// Prints the events of all partitions, one line each.
///
/// # Errors
/// A log that can't be read, or whose chain is broken.
pub async fn tail(
    log: Arc<dyn LogRead>,
    tenant: &TenantId,
    options: &Tail,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let mut cursors = Vec::new();
    for partition in 0..log.partitions() {
        let end = log.end(partition).await?;
        cursors.push((log.reader(partition, 0).await?, Chain::default(), 0, end));
    }
    while !cursors.is_empty() && !cancel.is_cancelled() {
        for (reader, chain, next, _) in &mut cursors {
            let wait = if options.follow { Duration::from_millis(50) } else { WAIT };
            let batch = reader.read(AT_ONCE, wait).await?;
            for stored in &batch.records {
                let envelope = chain.admit(tenant, stored)?;
                if options.stream.as_deref().is_none_or(|wanted| wanted == stored.record.key) {
                    print(&envelope, options.json)?;
                }
            }
            *next = batch.next;
        }
        if !options.follow {
            cursors.retain(|(_, _, next, end)| next < end);
        }
    }
    Ok(())
}

fn print(envelope: &Envelope, json: bool) -> anyhow::Result<()> {
    let attributes = &envelope.attributes;
    let mut out = std::io::stdout().lock();
    let value = if json { String::from_utf8_lossy(&envelope.value) } else { "".into() };
    writeln!(
        out,
        "{} {:<12} {:>8} {:<34} {:<44} {} {value}",
        attributes.time,
        attributes.stream.as_str(),
        attributes.sequence,
        attributes.event_type,
        attributes.subject,
        attributes.actor,
    )
    .context("standard output is closed")
}

/// Verifies every partition and prints counts and heads.
///
/// # Errors
/// A log that can't be read, or whose chain is broken: then what was verified up to there has been printed.
pub async fn stats(log: Arc<dyn LogRead>, tenant: &TenantId) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "topic {} with {} partitions", log.topic(), log.partitions())?;
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = 0_u64;
    for partition in 0..log.partitions() {
        let end = log.end(partition).await?;
        let mut reader = log.reader(partition, 0).await?;
        let mut chain = Chain::default();
        let mut next = 0;
        while next < end {
            let batch = reader.read(AT_ONCE, WAIT).await?;
            for stored in &batch.records {
                let envelope = chain.admit(tenant, stored).with_context(|| format!("partition {partition}"))?;
                *types.entry(envelope.attributes.event_type.into_owned()).or_default() += 1;
                total += 1;
            }
            next = batch.next;
        }
        for (stream, head) in chain.heads() {
            writeln!(
                out,
                "  partition {partition} stream {stream}: {} events, last at {}, head {}",
                head.sequence, head.time, head.hash
            )?;
        }
    }
    writeln!(out, "{total} events, every chain verified")?;
    for (event_type, count) in types {
        writeln!(out, "  {count:>10} {event_type}")?;
    }
    Ok(())
}

/// Copies a ledger into another log, with progress, and verifies both.
///
/// # Errors
/// A target that holds anything but the beginning of the source, a broken chain, or a log that fails; starting again goes on where it stopped.
pub async fn copy(from: Arc<dyn EventLog>, to: Arc<dyn EventLog>, tenant: &TenantId) -> anyhow::Result<()> {
    let options = CopyOptions { verify: Some(tenant.clone()), ..CopyOptions::default() };
    let mut shown = tokio::time::Instant::now();
    let report = lotline_adapters::log::copy(from.as_ref(), to.as_ref(), &options, &mut |progress| {
        if shown.elapsed() > Duration::from_secs(2) {
            shown = tokio::time::Instant::now();
            tracing::info!(
                partition = progress.partition,
                copied = progress.copied,
                next = progress.next,
                end = progress.end,
                "copying"
            );
        }
    })
    .await?;
    writeln!(
        std::io::stdout(),
        "copied {} events to {}; {} were there already; every hash verified on both sides",
        report.copied,
        to.topic(),
        report.found
    )
    .context("standard output is closed")
}
