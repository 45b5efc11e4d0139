//! The state of a partition as a fold over its records: what a writer decides against and what snapshots hold.
//!
//! Invariant: the fold up to an offset is a function of the records before it and of nothing else, so that a successor
//! decides exactly as its predecessor would have.

use std::collections::BTreeMap;

use lotline_domain::chain::{Chain, ChainBreak, ChainHead};
use lotline_domain::event::{DecodeError, Event};
use lotline_domain::id::{StreamKey, TenantId};
use lotline_domain::port::Snapshot;
use lotline_domain::record::{Offset, StoredRecord};
use lotline_domain::state::StreamState;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::answers::Answers;
use crate::tenant::TenantFacts;

/// Version of the snapshot encoding: postcard of `Image`, then SHA-256 over position and image. A change of any type in it needs a new number.
pub const SNAPSHOT_FORMAT: u32 = 7;

const CHUNK_BYTES: usize = 1 << 20;
const DIGEST_BYTES: usize = 32;

/// State and answers of one stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StreamFold {
    /// What the rules depend on.
    pub state: StreamState,
    /// What was answered.
    pub answers: Answers,
}

/// All streams of one partition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionFold {
    /// Heads of the hash chains.
    pub chain: Chain,
    /// Streams by record key.
    pub streams: BTreeMap<String, StreamFold>,
    /// Highest sequence of the tenant stream that a decision here was made on. A successor decides on nothing older.
    pub tenant_seen: u64,
    /// Offset of the next record.
    pub next: Offset,
}

#[derive(Serialize, Deserialize)]
struct Image {
    tenant_seen: u64,
    heads: BTreeMap<String, ChainHead>,
    streams: BTreeMap<String, StreamFold>,
}

/// Why a partition can't be folded.
#[derive(Debug, Error)]
pub enum FoldError {
    /// The hash chain is broken: records were lost, doubled, changed or forged.
    #[error("the partition can't be trusted")]
    Chain(#[from] ChainBreak),
    /// An event that this version can't read. Deciding without it could break a rule.
    #[error("event {sequence} of stream '{stream}' can't be read; was it written by a newer version?")]
    Event {
        /// Key of the record.
        stream: String,
        /// Its sequence.
        sequence: u64,
        /// What does not fit.
        #[source]
        source: DecodeError,
    },
    /// A snapshot that does not decode. It is ignored and the log replayed.
    #[error("the snapshot can't be read")]
    Snapshot(#[from] postcard::Error),
    /// A snapshot whose bytes are not those that were written. It is ignored likewise.
    #[error("the snapshot is spoiled: its digest does not match")]
    SpoiledSnapshot,
}

impl PartitionFold {
    /// Checks and applies one record.
    ///
    /// # Errors
    /// [`FoldError`]; the fold is then of no further use.
    pub fn apply(&mut self, tenant: &TenantId, stored: &StoredRecord) -> Result<(), FoldError> {
        let envelope = self.chain.admit(tenant, stored)?;
        let attributes = &envelope.attributes;
        let fact = Event::decode(&attributes.event_type, &envelope.value).map_err(|source| FoldError::Event {
            stream: stored.record.key.clone(),
            sequence: attributes.sequence,
            source,
        })?;
        self.tenant_seen = self.tenant_seen.max(attributes.tenant_sequence.unwrap_or(0));
        let stream = self.stream_mut(&stored.record.key);
        stream.state.evolve(&fact.event, attributes.sequence, fact.occurred_at);
        stream.answers.record(attributes, &fact.event);
        self.next = stored.offset + 1;
        Ok(())
    }

    /// A stream's fold, empty when it has no event yet.
    pub fn stream_mut(&mut self, key: &str) -> &mut StreamFold {
        if !self.streams.contains_key(key) {
            self.streams.insert(key.to_owned(), StreamFold::default());
        }
        self.streams.get_mut(key).expect("invariant: the stream was just inserted")
    }

    /// Sequence of the tenant stream's last event, when it lives in this partition.
    pub fn tenant_sequence(&self) -> u64 {
        self.chain.head(StreamKey::Tenant.as_str()).sequence
    }

    /// What sites decide on, by the tenant stream's last event, when it lives in this partition; nobody may anything before there is one.
    pub(crate) fn tenant_facts(&self) -> TenantFacts {
        let stream = self.streams.get(StreamKey::Tenant.as_str());
        stream.map(|stream| TenantFacts::of(&stream.state)).unwrap_or_default()
    }

    /// Encodes the fold in chunks.
    ///
    /// # Errors
    /// [`FoldError::Snapshot`].
    pub fn to_snapshot(&self) -> Result<Snapshot, FoldError> {
        let image = (self.tenant_seen, self.chain.heads(), &self.streams);
        let mut bytes = postcard::to_stdvec(&image)?;
        let digest = digest(self.next, &bytes);
        bytes.extend(digest);
        let chunks = bytes.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
        Ok(Snapshot { position: self.next, format: SNAPSHOT_FORMAT, chunks })
    }

    /// Reads a snapshot back.
    ///
    /// # Errors
    /// [`FoldError::Snapshot`] and [`FoldError::SpoiledSnapshot`].
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Self, FoldError> {
        let bytes = snapshot.chunks.concat();
        let (bytes, written) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(FoldError::SpoiledSnapshot)?;
        if digest(snapshot.position, bytes) != *written {
            return Err(FoldError::SpoiledSnapshot);
        }
        let image: Image = postcard::from_bytes(bytes)?;
        Ok(Self {
            chain: Chain::resume(image.heads),
            streams: image.streams,
            tenant_seen: image.tenant_seen,
            next: snapshot.position,
        })
    }
}

/// Covers the place too: a snapshot that is filed under another offset would replay from there.
fn digest(position: Offset, image: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::new().chain_update(position.to_be_bytes()).chain_update(image).finalize().into()
}
