//! The envelope of an event: CloudEvents 1.0 in Kafka binary mode, sealed by a hash.
//!
//! One event is one record. Its attributes are headers; its value is JSON. The headers, in the fixed order of [`HEADERS`]:
//!
//! | header | content |
//! |---|---|
//! | `content-type` | `application/json` |
//! | `ce_specversion` | `1.0` |
//! | `ce_id` | UUIDv7 |
//! | `ce_type` | `lotline.lot.registered.v1` |
//! | `ce_source` | `/lotline/<tenant>/<stream>` |
//! | `ce_subject` | the thing it is about, `lot/<uuid>` |
//! | `ce_time` | when it was decided, see [`crate::timestamp`] |
//! | `ce_sequence` | position in the stream, dense, from 1 |
//! | `ce_actor` | opaque id of who acted |
//! | `ce_correlationid` | UUID that ties together all that one request caused |
//! | `ce_causationid` | id of the command |
//! | `ce_commandhash` | first 16 bytes of SHA-256 of the command, hex: tells a retry from another command under the same id |
//! | `ce_tenantsequence` | last `_tenant` event known to the decision; absent in the `_tenant` stream |
//! | `traceparent` | W3C Trace Context; optional |
//! | `ce_prevhash` | `ce_hash` of the stream's previous event, hex; zeros before the first |
//! | `ce_hash` | SHA-256 of the frame below, hex |
//!
//! Any other header is refused, and so are duplicates and any other order.
//!
//! # The frame
//! Every part is preceded by its length as a big-endian u32, so no two different records give the same bytes:
//!
//! ```text
//! len key  len prevhash(32 bytes)  count(u32, not length-prefixed)
//!   count × ( len name  len value )    all headers present except ce_prevhash and ce_hash, in order
//! len value
//! ```
//!
//! `ce_source` names tenant and stream, so an event can't be moved to another tenant. An optional header that a later version
//! adds does not change the frame of events that lack it. `tests/vectors/envelope.json` has examples that a Python test
//! recomputes without sharing code.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::id::{ActorId, CommandId, CorrelationId, EventId, StreamKey, TenantId};
use crate::record::{Header, Record};
use crate::timestamp::Timestamp;

/// Every header that an event may carry, in the order in which they are written.
pub const HEADERS: [&str; 16] = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_sequence",
    "ce_actor",
    "ce_correlationid",
    "ce_causationid",
    "ce_commandhash",
    "ce_tenantsequence",
    "traceparent",
    "ce_prevhash",
    "ce_hash",
];

const OPTIONAL: [&str; 2] = ["ce_tenantsequence", "traceparent"];

/// A SHA-256 digest; shown as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// Tells commands with the same id apart: the first 16 bytes of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CommandHash(pub [u8; 16]);

macro_rules! hex_text {
    ($name:ident, $size:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0_u8; $size * 2];
                hex::encode_to_slice(self.0, &mut text).expect("invariant: the buffer is twice the digest");
                f.write_str(std::str::from_utf8(&text).expect("invariant: hex is ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl $name {
            /// Reads lowercase hex of exactly the right length.
            pub fn parse(text: &str) -> Option<Self> {
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return None;
                }
                let mut bytes = [0_u8; $size];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a digest in lowercase hex"))
            }
        }
    };
}

hex_text!(Hash, 32);
hex_text!(CommandHash, 16);

/// Everything about an event but its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Owner of the stream.
    pub tenant: TenantId,
    /// The stream.
    pub stream: StreamKey,
    /// `ce_id`.
    pub id: EventId,
    /// `ce_type`, with its version.
    pub event_type: Cow<'static, str>,
    /// `ce_subject`.
    pub subject: String,
    /// `ce_time`.
    pub time: Timestamp,
    /// `ce_sequence`.
    pub sequence: u64,
    /// `ce_actor`.
    pub actor: ActorId,
    /// `ce_correlationid`.
    pub correlation_id: CorrelationId,
    /// `ce_causationid`.
    pub causation_id: CommandId,
    /// `ce_commandhash`.
    pub command_hash: CommandHash,
    /// `ce_tenantsequence`.
    pub tenant_sequence: Option<u64>,
    /// `traceparent`.
    pub traceparent: Option<String>,
}

/// An event with its place in the chain, its value still in the bytes that were hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who, what, when.
    pub attributes: Attributes,
    /// `ce_prevhash`.
    pub prev_hash: Hash,
    /// `ce_hash`.
    pub hash: Hash,
    /// The JSON payload.
    pub value: Bytes,
}

/// Why a record is not an event of Lotline's.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// A header that is not in the list, stands twice or out of order.
    #[error("header '{0}' is unknown, repeated or out of order")]
    UnexpectedHeader(String),
    /// A header that every event has.
    #[error("header '{0}' is missing")]
    MissingHeader(&'static str),
    /// A header whose value can't be read.
    #[error("header '{0}' has an unreadable value")]
    InvalidHeader(&'static str),
    /// The record's key and its `ce_source` disagree, or the source names another tenant.
    #[error("the source '{0}' is not the stream that the record is filed under")]
    WrongSource(String),
    /// The bytes do not match `ce_hash`.
    #[error("the hash does not match the record's bytes")]
    HashMismatch,
}

impl Envelope {
    /// Seals an event: computes its hash over the frame.
    pub fn seal(attributes: Attributes, prev_hash: Hash, value: Bytes) -> Self {
        let headers = attribute_headers(&attributes);
        let hash = frame_hash(attributes.stream.as_str(), prev_hash, &headers, &value);
        Self { attributes, prev_hash, hash, value }
    }

    /// The record to append.
    pub fn to_record(&self) -> Record {
        let mut headers = attribute_headers(&self.attributes);
        headers.push(Header::new("ce_prevhash", self.prev_hash.to_string()));
        headers.push(Header::new("ce_hash", self.hash.to_string()));
        Record { key: self.attributes.stream.as_str().to_owned(), headers, value: self.value.clone() }
    }

    /// Seals and gives both forms, building the headers once.
    pub fn seal_record(attributes: &Attributes, prev_hash: Hash, value: Bytes) -> (Hash, Record) {
        let mut headers = attribute_headers(attributes);
        let key = attributes.stream.as_str().to_owned();
        let hash = frame_hash(&key, prev_hash, &headers, &value);
        headers.push(Header::new("ce_prevhash", prev_hash.to_string()));
        headers.push(Header::new("ce_hash", hash.to_string()));
        (hash, Record { key, headers, value })
    }

    /// Reads a record back and checks its hash. The chain is checked by [`crate::chain::Chain`].
    ///
    /// # Errors
    /// [`EnvelopeError`] for anything that Lotline would not have written.
    pub fn from_record(tenant: &TenantId, record: &Record) -> Result<Self, EnvelopeError> {
        let fields = Fields::collect(record)?;
        let stream = StreamKey::parse(&record.key).map_err(|_| EnvelopeError::WrongSource(record.key.clone()))?;
        let source = fields.text(4)?;
        if source != source_of(tenant, &stream) {
            return Err(EnvelopeError::WrongSource(source.chars().take(128).collect()));
        }
        if fields.text(0)? != "application/json" {
            return Err(EnvelopeError::InvalidHeader("content-type"));
        }
        if fields.text(1)? != "1.0" {
            return Err(EnvelopeError::InvalidHeader("ce_specversion"));
        }
        let prev_hash = fields.parse(14, Hash::parse)?;
        let hash = fields.parse(15, Hash::parse)?;
        let covered = &record.headers[..record.headers.len() - 2];
        if frame_hash(&record.key, prev_hash, covered, &record.value) != hash {
            return Err(EnvelopeError::HashMismatch);
        }
        let tenant_sequence = fields.optional(12, sequence)?;
        if tenant_sequence.is_some() == (stream == StreamKey::Tenant) {
            return Err(EnvelopeError::InvalidHeader("ce_tenantsequence"));
        }
        let attributes = Attributes {
            tenant: tenant.clone(),
            stream,
            id: EventId(fields.parse(2, uuid)?),
            event_type: known_type(fields.text(3)?),
            subject: fields.text(5)?.to_owned(),
            time: fields.parse(6, time)?,
            sequence: fields.parse(7, sequence)?,
            actor: fields.parse(8, |text| ActorId::new(text).ok())?,
            correlation_id: CorrelationId(fields.parse(9, uuid)?),
            causation_id: CommandId(fields.parse(10, uuid)?),
            command_hash: fields.parse(11, CommandHash::parse)?,
            tenant_sequence,
            traceparent: fields.optional(13, |text| Some(text.to_owned()))?,
        };
        Ok(Self { attributes, prev_hash, hash, value: record.value.clone() })
    }
}

/// Header values by their place in [`HEADERS`].
struct Fields<'a>([Option<&'a [u8]>; HEADERS.len()]);

impl<'a> Fields<'a> {
    fn collect(record: &'a Record) -> Result<Self, EnvelopeError> {
        let mut values = [None; HEADERS.len()];
        let mut next = 0;
        for header in &record.headers {
            let place = HEADERS[next..].iter().position(|name| *name == header.name);
            let Some(place) = place else {
                return Err(EnvelopeError::UnexpectedHeader(header.name.chars().take(64).collect()));
            };
            values[next + place] = Some(header.value.as_ref());
            next += place + 1;
        }
        for (place, name) in HEADERS.iter().enumerate() {
            if values[place].is_none() && !OPTIONAL.contains(name) {
                return Err(EnvelopeError::MissingHeader(name));
            }
        }
        Ok(Self(values))
    }

    fn text(&self, place: usize) -> Result<&'a str, EnvelopeError> {
        let bytes = self.0[place].ok_or(EnvelopeError::MissingHeader(HEADERS[place]))?;
        std::str::from_utf8(bytes).map_err(|_| EnvelopeError::InvalidHeader(HEADERS[place]))
    }

    fn parse<T>(&self, place: usize, read: impl FnOnce(&str) -> Option<T>) -> Result<T, EnvelopeError> {
        read(self.text(place)?).ok_or(EnvelopeError::InvalidHeader(HEADERS[place]))
    }

    fn optional<T>(&self, place: usize, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, EnvelopeError> {
        if self.0[place].is_none() { Ok(None) } else { self.parse(place, read).map(Some) }
    }
}

/// The `ce_source` of a stream.
pub fn source_of(tenant: &TenantId, stream: &StreamKey) -> String {
    format!("/lotline/{tenant}/{stream}")
}

fn known_type(text: &str) -> Cow<'static, str> {
    crate::event::EVENT_TYPES
        .iter()
        .find(|known| **known == text)
        .map_or_else(|| Cow::Owned(text.to_owned()), |known| Cow::Borrowed(*known))
}

fn uuid(text: &str) -> Option<Uuid> {
    // Only the hyphenated lowercase form has been written; accepting others would allow two texts for one id.
    Uuid::parse_str(text).ok().filter(|id| id.as_hyphenated().to_string() == text)
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).ok().filter(|time| time.to_string() == text)
}

fn sequence(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

fn attribute_headers(attributes: &Attributes) -> Vec<Header> {
    let mut headers = Vec::with_capacity(HEADERS.len());
    headers.push(Header::new(HEADERS[0], Bytes::from_static(b"application/json")));
    headers.push(Header::new(HEADERS[1], Bytes::from_static(b"1.0")));
    headers.push(Header::new(HEADERS[2], attributes.id.to_string()));
    headers.push(Header::new(
        HEADERS[3],
        match &attributes.event_type {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text.clone()),
        },
    ));
    headers.push(Header::new(HEADERS[4], source_of(&attributes.tenant, &attributes.stream)));
    headers.push(Header::new(HEADERS[5], attributes.subject.clone()));
    headers.push(Header::new(HEADERS[6], attributes.time.to_string()));
    headers.push(Header::new(HEADERS[7], attributes.sequence.to_string()));
    headers.push(Header::new(HEADERS[8], attributes.actor.as_str().to_owned()));
    headers.push(Header::new(HEADERS[9], attributes.correlation_id.to_string()));
    headers.push(Header::new(HEADERS[10], attributes.causation_id.to_string()));
    headers.push(Header::new(HEADERS[11], attributes.command_hash.to_string()));
    if let Some(sequence) = attributes.tenant_sequence {
        headers.push(Header::new(HEADERS[12], sequence.to_string()));
    }
    if let Some(traceparent) = &attributes.traceparent {
        headers.push(Header::new(HEADERS[13], traceparent.clone()));
    }
    headers
}

/// The bytes that `ce_hash` covers; also the leaf of the proof tree.
pub fn frame(key: &str, prev_hash: Hash, headers: &[Header], value: &[u8]) -> Bytes {
    let size: usize = headers.iter().map(|header| 8 + header.name.len() + header.value.len()).sum();
    let mut frame = BytesMut::with_capacity(size + key.len() + value.len() + 48);
    let mut part = |bytes: &[u8]| {
        frame.put_u32(bytes.len() as u32);
        frame.put_slice(bytes);
    };
    part(key.as_bytes());
    part(&prev_hash.0);
    frame.put_u32(headers.len() as u32);
    for header in headers {
        frame.put_u32(header.name.len() as u32);
        frame.put_slice(header.name.as_bytes());
        frame.put_u32(header.value.len() as u32);
        frame.put_slice(&header.value);
    }
    frame.put_u32(value.len() as u32);
    frame.put_slice(value);
    frame.freeze()
}

fn frame_hash(key: &str, prev_hash: Hash, headers: &[Header], value: &[u8]) -> Hash {
    Hash(Sha256::digest(frame(key, prev_hash, headers, value)).into())
}

#[cfg(test)]
mod tests;
