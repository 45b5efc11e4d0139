//! The hash chain of a stream, and the check that every reader makes.
//!
//! Invariant: in a stream, `ce_sequence` counts 1, 2, 3, … and each `ce_prevhash` is the `ce_hash` before it. A record that breaks this,
//! or that is no event of Lotline's at all, stops the reader of that partition: what follows can't be trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::envelope::{Envelope, EnvelopeError, Hash};
use crate::id::TenantId;
use crate::record::{Offset, StoredRecord};
use crate::timestamp::Timestamp;

/// The last event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChainHead {
    /// Its `ce_sequence`; 0 before the first event.
    pub sequence: u64,
    /// Its `ce_hash`; zeros before the first event.
    pub hash: Hash,
    /// Its `ce_time`, which no later event precedes.
    pub time: Timestamp,
}

/// Where a partition stopped making sense.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the ledger is broken at offset {offset}, stream '{stream}'")]
pub struct ChainBreak {
    /// Offset of the record.
    pub offset: Offset,
    /// Key of the record.
    pub stream: String,
    /// What is wrong.
    #[source]
    pub cause: BreakCause,
}

/// What is wrong with a record.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BreakCause {
    /// Not an event of Lotline's, or changed after it was sealed.
    #[error("the record is not an event that Lotline wrote: {0}")]
    Foreign(EnvelopeError),
    /// Lost, doubled or out of order.
    #[error("sequence {found} follows {previous}")]
    Sequence {
        /// Last good sequence.
        previous: u64,
        /// Sequence of this record.
        found: u64,
    },
    /// The record continues another history.
    #[error("the previous hash is {found} where {expected} was expected")]
    PrevHash {
        /// Hash of the last good event.
        expected: Hash,
        /// As the record says.
        found: Hash,
    },
    /// Decided before its predecessor.
    #[error("decided at {found}, before its predecessor at {previous}")]
    Time {
        /// Time of the last good event.
        previous: Timestamp,
        /// Time of this record.
        found: Timestamp,
    },
}

/// The heads of all streams in a partition, as one reader has followed them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    heads: BTreeMap<String, ChainHead>,
}

impl Chain {
    /// A chain that goes on from known heads, such as those of a snapshot.
    pub fn resume(heads: BTreeMap<String, ChainHead>) -> Self {
        Self { heads }
    }

    /// The head of each stream seen so far, by record key.
    pub fn heads(&self) -> &BTreeMap<String, ChainHead> {
        &self.heads
    }

    /// The head of one stream; the zero head when it has no event yet.
    pub fn head(&self, key: &str) -> ChainHead {
        self.heads.get(key).copied().unwrap_or_default()
    }

    /// Moves the head of a stream to an event that this process has just sealed itself.
    pub fn advance(&mut self, key: &str, head: ChainHead) {
        match self.heads.get_mut(key) {
            Some(current) => *current = head,
            None => {
                self.heads.insert(key.to_owned(), head);
            }
        }
    }

    /// Checks a record against its stream and moves the head.
    ///
    /// # Errors
    /// [`ChainBreak`]; the head then stays where it was.
    pub fn admit(&mut self, tenant: &TenantId, stored: &StoredRecord) -> Result<Envelope, ChainBreak> {
        let broken =
            |cause| ChainBreak { offset: stored.offset, stream: stored.record.key.chars().take(64).collect(), cause };
        let envelope =
            Envelope::from_record(tenant, &stored.record).map_err(|error| broken(BreakCause::Foreign(error)))?;
        let head = self.head(&stored.record.key);
        let found = envelope.attributes.sequence;
        if found != head.sequence + 1 {
            return Err(broken(BreakCause::Sequence { previous: head.sequence, found }));
        }
        if envelope.prev_hash != head.hash {
            return Err(broken(BreakCause::PrevHash { expected: head.hash, found: envelope.prev_hash }));
        }
        if envelope.attributes.time < head.time {
            return Err(broken(BreakCause::Time { previous: head.time, found: envelope.attributes.time }));
        }
        let next = ChainHead { sequence: found, hash: envelope.hash, time: envelope.attributes.time };
        self.advance(&stored.record.key, next);
        Ok(envelope)
    }
}
