//! Keeps snapshots of a partition by folding its log a second time.
//!
//! It reads only what is committed and never touches the writer, so a slow or failing snapshot costs recovery time and nothing else.

use std::time::Duration;

use lotline_domain::id::TenantId;
use lotline_domain::port::LogError;
use lotline_domain::record::Offset;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::bus::Ports;
use crate::fold::{FoldError, PartitionFold};
use crate::writer::load_snapshot;

/// When to take a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// At most this often.
    pub interval: Duration,
    /// Only when at least so many offsets have passed since the last one.
    pub min_records: i64,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { interval: Duration::from_mins(1), min_records: 20_000 }
    }
}

/// Folds one partition.
pub struct Snapshotter {
    tenant: TenantId,
    partition: u32,
    ports: Ports,
    options: SnapshotOptions,
}

/// Why the fold ended.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The log failed.
    #[error("snapshots of partition {partition} stopped: the log failed")]
    Log {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: LogError,
    },
    /// What is in the log can't be folded.
    #[error("snapshots of partition {partition} stopped: the log can't be folded")]
    Fold {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: FoldError,
    },
}

impl Snapshotter {
    /// A snapshotter that starts from the newest snapshot.
    pub fn new(tenant: TenantId, partition: u32, ports: Ports, options: SnapshotOptions) -> Self {
        Self { tenant, partition, ports, options }
    }

    /// Runs until cancelled. A log that does not answer is tried again; a broken one ends it.
    ///
    /// # Errors
    /// [`SnapshotError::Fold`] and logs that are not as configured.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), SnapshotError> {
        loop {
            let failed = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                result = self.follow() => result,
            };
            match failed {
                Ok(never) => match never {},
                Err(SnapshotError::Log { source: source @ LogError::Broken { .. }, .. }) => {
                    self.report(&source);
                    tokio::select! {
                        biased;
                        () = cancel.cancelled() => return Ok(()),
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn report(&self, source: &LogError) {
        let error = source as &dyn std::error::Error;
        tracing::warn!(partition = self.partition, error, "the log failed under the snapshotter; trying again");
    }

    async fn follow(&self) -> Result<std::convert::Infallible, SnapshotError> {
        let log_failed = |source| SnapshotError::Log { partition: self.partition, source };
        let mut fold = load_snapshot(&self.ports, self.partition).await;
        let mut saved = fold.next;
        let mut saved_at = tokio::time::Instant::now();
        let mut reader = self.ports.log.reader(self.partition, fold.next).await.map_err(log_failed)?;
        loop {
            let read = reader.read(4_096, Duration::from_secs(1)).await.map_err(log_failed)?;
            for stored in &read.records {
                fold.apply(&self.tenant, stored)
                    .map_err(|source| SnapshotError::Fold { partition: self.partition, source })?;
            }
            fold.next = fold.next.max(read.next);
            let due = saved_at.elapsed() >= self.options.interval && fold.next - saved >= self.options.min_records;
            if due && self.save(&fold).await? {
                saved = fold.next;
                saved_at = tokio::time::Instant::now();
            }
        }
    }

    /// Whether the snapshot was kept. A store that fails is reported and tried again at the next turn.
    async fn save(&self, fold: &PartitionFold) -> Result<bool, SnapshotError> {
        let position: Offset = fold.next;
        let snapshot =
            fold.to_snapshot().map_err(|source| SnapshotError::Fold { partition: self.partition, source })?;
        match self.ports.snapshots.save(self.ports.log.topic(), self.partition, snapshot).await {
            Ok(()) => {
                tracing::debug!(partition = self.partition, position, "snapshot saved");
                Ok(true)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(partition = self.partition, error, "the snapshot was not saved");
                Ok(false)
            }
        }
    }
}
