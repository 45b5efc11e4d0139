//! What the domain needs from outside, as traits: logs, a clock, fresh ids, a place for snapshots.
//!
//! Adapters implement these; one contract suite (`tests/src/contract.rs`) runs against every event log.
//! Futures are boxed so that the traits stay object-safe: one allocation for a whole batch costs nothing next to the I/O.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use crate::id::{ActorId, TenantId};
use crate::personal::PersonalKey;
use crate::record::{Offset, ReadBatch, Record};
use crate::timestamp::Timestamp;

/// A future that can be held behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The one source of time. Only implementations of this trait read a clock.
pub trait Clock: Send + Sync + 'static {
    /// Now, UTC.
    fn now(&self) -> Timestamp;
}

/// The one source of fresh identifiers.
pub trait Ids: Send + Sync + 'static {
    /// A new UUIDv7 (RFC 9562 section 5.7) for the given time.
    fn uuid_v7(&self, now: Timestamp) -> Uuid;
}

/// Reading side of a log: one topic of one tenant, split into partitions.
pub trait LogRead: Send + Sync + 'static {
    /// Topic name, such as `lotline.dairy.ledger.v1`.
    fn topic(&self) -> &str;
    /// Number of partitions, fixed at creation.
    fn partitions(&self) -> u32;
    /// The offset after the last committed record of a partition; reading up to it sees all that was acknowledged before the call.
    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>>;
    /// Opens a reader that sees committed records only, from `from` on.
    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>>;
}

/// The ledger: a log with one writer at a time per partition.
pub trait EventLog: LogRead {
    /// Largest [`Record::size`] that is accepted.
    fn max_record_bytes(&self) -> usize;
    /// Becomes the writer of a partition and fences every earlier one. When this returns, whatever an earlier
    /// writer had in flight is either committed, and seen by a reader up to [`LogRead::end`], or will never be.
    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>>;
}

/// A log that many producers share, for signal batches: at least once, order per producer, no fencing.
pub trait SignalLog: LogRead {
    /// Appends records and returns when all of them are on disk by the log's own rules (`acks=all`).
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>>;
}

/// The exclusive right to append to one partition.
pub trait LogWriter: Send {
    /// Appends all records or none, in order, and gives the offset of the last one.
    ///
    /// # Errors
    /// After [`AppendError::Fenced`] or [`AppendError::Unknown`] the writer is of no use any more: drop it, open a
    /// new one if still entitled to, and read the log to learn what became of the records.
    fn append(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Offset, AppendError>>;
}

/// A position in one partition that moves forward.
pub trait LogReader: Send {
    /// Waits up to `wait` for records and gives at most `max` of them.
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>>;
}

/// Why a log could not be opened or read.
#[derive(Debug, Error)]
pub enum LogError {
    /// The topic was created with another number of partitions; keys would land elsewhere.
    #[error("topic {topic} has {actual} partitions but {expected} are configured; the count is fixed at creation")]
    PartitionCount {
        /// Topic name.
        topic: String,
        /// From configuration.
        expected: u32,
        /// What the log has.
        actual: u32,
    },
    /// A partition that the topic does not have.
    #[error("topic {topic} has no partition {partition}")]
    NoPartition {
        /// Topic name.
        topic: String,
        /// As asked.
        partition: u32,
    },
    /// The reader asked for records that the log no longer has.
    #[error("offset {offset} of {topic}/{partition} is not in the log")]
    OffsetOutOfRange {
        /// Topic name.
        topic: String,
        /// Partition.
        partition: u32,
        /// As asked.
        offset: Offset,
    },
    /// A record beyond the size limit, refused before it is sent.
    #[error("record of {size} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Size of the record.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The log can't be reached or answered with a failure.
    #[error("the log failed while trying to {action}")]
    Broken {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LogError {
    /// Wraps an infrastructure failure.
    pub fn broken(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken { action, source: source.into() }
    }
}

/// Why an append did not return an offset.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Another writer has taken the partition; nothing was appended.
    #[error("another writer has taken over the partition")]
    Fenced,
    /// A record beyond the size limit; nothing was sent and the writer is still good.
    #[error("record {index} of {size} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Place in the batch.
        index: usize,
        /// Size of the record.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// It is not known whether the records were appended. Only the log can tell.
    #[error("the outcome of the append is unknown")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where snapshots of a partition's state are kept. They can be rebuilt from the log at any time.
pub trait SnapshotStore: Send + Sync + 'static {
    /// Replaces the snapshot of a partition. `position` is the offset at which replay continues.
    fn save<'a>(&'a self, topic: &'a str, partition: u32, snapshot: Snapshot) -> BoxFuture<'a, Result<(), LogError>>;
    /// The newest complete snapshot with this format, if there is one.
    fn load<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
        format: u32,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>>;
}

/// Keeps the keys of personal data. They are not in the log and not rebuilt from it: backed up by themselves.
pub trait PersonalKeys: Send + Sync + 'static {
    /// The key of an actor, made when there is none yet.
    fn key_of<'a>(&'a self, tenant: &'a TenantId, actor: &'a ActorId) -> BoxFuture<'a, Result<PersonalKey, LogError>>;
    /// A key by its id; nothing once it has been destroyed.
    fn key<'a>(&'a self, tenant: &'a TenantId, id: Uuid) -> BoxFuture<'a, Result<Option<PersonalKey>, LogError>>;
    /// Those of the keys that are there, in no order: in one round trip where that is possible.
    fn keys<'a>(&'a self, tenant: &'a TenantId, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<PersonalKey>, LogError>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(self.key(tenant, *id).await?);
            }
            Ok(found)
        })
    }
}

/// The folded state of a partition up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Replay continues at this offset.
    pub position: Offset,
    /// Version of the encoding; a reader ignores snapshots of any other.
    pub format: u32,
    /// The encoded state, in chunks of bounded size.
    pub chunks: Vec<Vec<u8>>,
}
