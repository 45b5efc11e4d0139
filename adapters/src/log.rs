//! Event logs: one port, several stores, so that the rest of Lotline does not know where its history lives.
//!
//! | module | for | atomic append by | fencing by |
//! |---|---|---|---|
//! | [`kafka`] | production | a transaction of the broker | `transactional.id` per partition |
//! | [`postgres`] | one machine without Kafka | one SQL statement | an epoch under a row lock |
//! | `eventstoredb` | nobody yet: behind a feature, not proved | one Append call | the expected revision, moved by a marker |
//! | [`memory`] | tests and simulation, with faults on demand | a mutex | an epoch |
//!
//! To add one: implement the ports of [`lotline_domain::port`] and run the contract suite (`tests/src/contract.rs`) against it.

use std::borrow::Cow;

use lotline_domain::envelope::HEADERS;
use lotline_domain::port::{AppendError, LogError};
use lotline_domain::record::{Offset, Record};

mod copy;
#[cfg(feature = "eventstoredb")]
pub mod eventstoredb;
pub mod kafka;
pub mod memory;
pub mod origin;
pub mod postgres;

pub use copy::{CopyError, CopyOptions, Progress, Report, copy};

/// Limit on [`Record::size`] where the configuration names no other.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Refuses a batch with a record beyond the limit, before anything is sent.
fn check_sizes(records: &[Record], max: usize) -> Result<(), AppendError> {
    match oversized(records, max) {
        Some((index, size)) => Err(AppendError::TooLarge { index, size, max }),
        None => Ok(()),
    }
}

/// The same for a log that many producers share.
fn check_published_sizes(records: &[Record], max: usize) -> Result<(), LogError> {
    match oversized(records, max) {
        Some((_, size)) => Err(LogError::TooLarge { size, max }),
        None => Ok(()),
    }
}

fn oversized(records: &[Record], max: usize) -> Option<(usize, usize)> {
    records.iter().map(Record::size).enumerate().find(|(_, size)| *size > max)
}

fn check_partition(topic: &str, partitions: u32, partition: u32) -> Result<(), LogError> {
    if partition < partitions { Ok(()) } else { Err(LogError::NoPartition { topic: topic.to_owned(), partition }) }
}

/// Refuses to read where the log has nothing: before its start, or beyond its end.
fn check_offset(topic: &str, partition: u32, offset: Offset, start: Offset, end: Offset) -> Result<(), LogError> {
    if (start..=end).contains(&offset) {
        Ok(())
    } else {
        Err(LogError::OffsetOutOfRange { topic: topic.to_owned(), partition, offset })
    }
}

/// A header's name without an allocation when it is one of the envelope's.
fn header_name(name: &str) -> Cow<'static, str> {
    HEADERS
        .iter()
        .find(|known| **known == name)
        .map_or_else(|| Cow::Owned(name.to_owned()), |known| Cow::Borrowed(*known))
}

/// A writer that is of no use any more: it was fenced, or an append of it ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("an earlier append of this writer has no known outcome; open a new writer and read the log")]
struct Spent;

fn spent() -> AppendError {
    AppendError::Unknown(Box::new(Spent))
}
