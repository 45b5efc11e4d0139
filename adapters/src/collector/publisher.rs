//! From the disk buffer to the log, at least once and in order.
//!
//! Invariant: the cursor moves past a batch only after the log has acknowledged it by its own rules. A call that failed or whose
//! outcome is unknown is made again with the same batches, so a batch may stand in the log twice with the same
//! (collector, epoch, sequence); consumers keep the set of those they have seen.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::id::TenantId;
use lotline_domain::port::{LogError, SignalLog};
use lotline_domain::record::Record;
use lotline_domain::sample::codec;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::buffer::{Buffer, BufferError, Entry};
use super::config::PublisherConfig;
use super::schedule::Backoff;

/// Reads one buffer and feeds one log.
pub struct Publisher {
    /// Whose topic it is.
    pub tenant: TenantId,
    /// Where batches come from. It must have no other reader.
    pub buffer: Buffer,
    /// Where they go.
    pub log: Arc<dyn SignalLog>,
    /// Sizes and waits.
    pub config: PublisherConfig,
}

const FIRST_BACKOFF: Duration = Duration::from_millis(100);

impl Publisher {
    /// Publishes until `stop`, then for at most [`PublisherConfig::drain_ms`] what is left.
    ///
    /// # Errors
    /// [`BufferError::Closed`] when the buffer's thread has ended.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BufferError> {
        let patience = async {
            stop.cancelled().await;
            sleep(Duration::from_millis(self.config.drain_ms)).await;
        };
        tokio::select! {
            ended = self.publish_all(&stop) => ended,
            () = patience => Ok(()),
        }
    }

    async fn publish_all(&self, stop: &CancellationToken) -> Result<(), BufferError> {
        let mut progress = self.buffer.progress();
        let mut backoff = self.backoff();
        loop {
            progress.borrow_and_update();
            // Looked at before reading: what was appended before the stop is then in what is read.
            let stopping = stop.is_cancelled();
            match self.buffer.read(self.config.max_batches, self.config.max_bytes).await {
                Ok(entries) if !entries.is_empty() => {
                    backoff.succeeded();
                    self.publish(&entries).await?;
                }
                Ok(_) if stopping => return Ok(()),
                Ok(_) => tokio::select! {
                    changed = progress.changed() => changed.map_err(|_| BufferError::Closed)?,
                    () = stop.cancelled() => {}
                },
                Err(BufferError::Closed) => return Err(BufferError::Closed),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the buffer can't be read; trying again");
                    sleep(backoff.failed()).await;
                }
            }
        }
    }

    /// Publishes the entries, however long that takes, and moves the cursor past them.
    async fn publish(&self, entries: &[Entry]) -> Result<(), BufferError> {
        let Some(last) = entries.last() else { return Ok(()) };
        let mut records = self.records(entries);
        let mut backoff = self.backoff();
        let mut failures = 0_u64;
        while !records.is_empty() {
            let began = Instant::now();
            match self.attempt(records.clone()).await {
                Ok(()) => {
                    metrics::histogram!("lotline_collector_publish_seconds").record(began.elapsed().as_secs_f64());
                    metrics::counter!("lotline_collector_published_batches_total").increment(records.len() as u64);
                    break;
                }
                Err(LogError::TooLarge { max, .. }) if records.iter().any(|record| record.size() > max) => {
                    drop_beyond(max, &mut records);
                }
                Err(error) => {
                    if failures == 0 {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "signal batches can't be published; they wait on disk");
                    }
                    failures += 1;
                    metrics::counter!("lotline_collector_publish_errors_total").increment(1);
                    sleep(backoff.failed()).await;
                }
            }
        }
        if failures > 0 {
            tracing::info!(failures, "signal batches are published again");
        }
        match self.buffer.acknowledge(last.sequence + 1).await {
            Err(BufferError::Closed) => Err(BufferError::Closed),
            Err(error) => {
                // The cursor in memory has moved; only a restart would publish these again.
                tracing::warn!(error = &error as &dyn std::error::Error, "the buffer's cursor could not be recorded");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn attempt(&self, records: Vec<Record>) -> Result<(), LogError> {
        let patience = Duration::from_millis(self.config.timeout_ms);
        let publishing = timeout(patience, self.log.publish(records));
        publishing.await.unwrap_or_else(|late| Err(LogError::broken("publish signal batches", late)))
    }

    fn records(&self, entries: &[Entry]) -> Vec<Record> {
        let mut oldest = None;
        let mut decode = |entry: &Entry| match codec::decode(&entry.payload) {
            Ok(batch) => {
                oldest.get_or_insert(batch.collected_at);
                Some(codec::to_record(&self.tenant, &batch))
            }
            Err(error) => {
                // Its checksum is right, so another version of Lotline wrote it.
                tracing::error!(%error, batch.sequence = entry.sequence, "a buffered batch can't be read and is dropped");
                dropped("unreadable", 1);
                None
            }
        };
        let records = entries.iter().filter_map(&mut decode).collect();
        if let Some(oldest) = oldest {
            let seconds = oldest.micros() as f64 / 1e6;
            metrics::gauge!("lotline_collector_publishing_batch_timestamp_seconds").set(seconds);
        }
        records
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(FIRST_BACKOFF, Duration::from_millis(self.config.max_backoff_ms))
    }
}

fn drop_beyond(max: usize, records: &mut Vec<Record>) {
    let before = records.len();
    records.retain(|record| record.size() <= max);
    let count = before - records.len();
    tracing::error!(batches = count, max, "batches larger than the log takes are dropped");
    dropped("too_large", count as u64);
}

fn dropped(reason: &'static str, count: u64) {
    metrics::counter!("lotline_collector_dropped_batches_total", "reason" => reason).increment(count);
}

#[cfg(test)]
mod tests;
