//! `lotline log`: what an operator or auditor looks at first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::log::CopyOptions;
use lotline_domain::chain::Chain;
use lotline_domain::id::TenantId;
use lotline_domain::port::{EventLog, LogRead};

use crate::output::say;

const AT_ONCE: usize = 4_096;
const WAIT: Duration = Duration::from_millis(500);

/// Verifies every partition and prints counts and heads.
///
/// # Errors
/// A log that can't be read, or whose chain is broken: then what was verified up to there has been printed.
pub async fn stats(log: Arc<dyn LogRead>, tenant: &TenantId) -> anyhow::Result<()> {
    say(&format!("topic {} with {} partitions", log.topic(), log.partitions()))?;
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
            say(&format!(
                "  partition {partition} stream {stream}: {} events, last at {}, head {}",
                head.sequence, head.time, head.hash
            ))?;
        }
    }
    say(&format!("{total} events, every chain verified"))?;
    for (event_type, count) in types {
        say(&format!("  {count:>10} {event_type}"))?;
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
    let (copied, topic, found) = (report.copied, to.topic(), report.found);
    Ok(say(&format!(
        "copied {copied} events to {topic}; {found} were there already; every hash verified on both sides"
    ))?)
}
