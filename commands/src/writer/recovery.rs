//! Taking a partition over: fence, then read all that is there, then decide.

use std::time::Duration;

use lotline_domain::ownership::Directory;
use lotline_domain::port::{LogError, LogWriter};

use super::{FIRST_BACKOFF, PartitionWriter, WriterError};
use crate::bus::Ports;
use crate::fold::{FoldError, PartitionFold, SNAPSHOT_FORMAT};

/// How long the directory of writers may take to answer.
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(2);
const READ_AT_ONCE: usize = 4_096;
const READ_WAIT: Duration = Duration::from_millis(200);

/// The right to write, and the state that goes with it.
pub(super) struct Taken {
    pub(super) writer: Box<dyn LogWriter>,
    pub(super) fold: PartitionFold,
}

enum Failed {
    /// The log did not answer: worth another try.
    Again(LogError),
    /// Another try would fail the same way.
    ForGood(WriterError),
}

impl PartitionWriter {
    /// Becomes the writer, trying until the log answers.
    pub(super) async fn take_over(&self) -> Result<Taken, WriterError> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            match self.try_take_over().await {
                Ok(taken) => return Ok(taken),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::Again(error)) => {
                    tracing::warn!(
                        partition = self.partition,
                        error = &error as &dyn std::error::Error,
                        "the partition can't be taken over yet; trying again"
                    );
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(self.options.max_backoff);
                }
            }
        }
    }

    /// Whether the ledger is still written in this log, asked until the directory answers.
    pub(super) async fn check_place(&self, directory: Option<&dyn Directory>) -> Result<(), WriterError> {
        let Some(directory) = directory else { return Ok(()) };
        let mut backoff = FIRST_BACKOFF;
        loop {
            match tokio::time::timeout(DIRECTORY_TIMEOUT, directory.may_write()).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => return Err(WriterError::Moved { partition: self.partition }),
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        partition = self.partition,
                        error,
                        "not taking over yet: the directory of writers fails"
                    );
                }
                Err(_) => {
                    tracing::warn!(partition = self.partition, "not taking over yet: the directory does not answer");
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(self.options.max_backoff);
        }
    }

    async fn try_take_over(&self) -> Result<Taken, Failed> {
        let writer = self.ports.log.writer(self.partition).await.map_err(|error| self.classify(error))?;
        let end = self.ports.log.end(self.partition).await.map_err(|error| self.classify(error))?;
        let started = tokio::time::Instant::now();
        let mut fold = load_snapshot(&self.ports, self.partition).await;
        let from = fold.next;
        let mut reader = self.ports.log.reader(self.partition, from).await.map_err(|error| self.classify(error))?;
        while fold.next < end {
            let read = reader.read(READ_AT_ONCE, READ_WAIT).await.map_err(|error| self.classify(error))?;
            for stored in &read.records {
                fold.apply(&self.tenant, stored)
                    .map_err(|source| Failed::ForGood(WriterError::Fold { partition: self.partition, source }))?;
            }
            fold.next = fold.next.max(read.next);
        }
        let duration_ms = started.elapsed().as_millis() as u64;
        tracing::info!(partition = self.partition, from, to = fold.next, duration_ms, "partition recovered");
        metrics::histogram!("lotline_writer_recovery_seconds").record(started.elapsed().as_secs_f64());
        Ok(Taken { writer, fold })
    }

    fn classify(&self, source: LogError) -> Failed {
        match source {
            LogError::Broken { .. } => Failed::Again(source),
            LogError::PartitionCount { .. }
            | LogError::NoPartition { .. }
            | LogError::OffsetOutOfRange { .. }
            | LogError::TooLarge { .. } => Failed::ForGood(WriterError::Log { partition: self.partition, source }),
        }
    }
}

/// The newest usable snapshot, or an empty fold: a snapshot only ever saves time.
pub(crate) async fn load_snapshot(ports: &Ports, partition: u32) -> PartitionFold {
    let loaded = match ports.snapshots.load(ports.log.topic(), partition, SNAPSHOT_FORMAT).await {
        Ok(None) => return PartitionFold::default(),
        Ok(Some(snapshot)) => PartitionFold::from_snapshot(&snapshot),
        Err(error) => {
            tracing::warn!(partition, error = &error as &dyn std::error::Error, "the snapshot can't be loaded");
            return PartitionFold::default();
        }
    };
    loaded.unwrap_or_else(|error: FoldError| {
        tracing::warn!(partition, error = &error as &dyn std::error::Error, "the snapshot is ignored");
        PartitionFold::default()
    })
}
