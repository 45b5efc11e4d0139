//! A record as a log stores it: key, headers and value, bytes exactly as written.
//!
//! The hash chain covers these bytes, so no layer between the domain and a log may re-encode them.

use std::borrow::Cow;

use bytes::Bytes;

/// What is handed to a log for appending, and what it hands back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The stream within the topic: a site id, `_tenant`, or a collector id.
    pub key: String,
    /// Names and values, in the order in which they were written.
    pub headers: Vec<Header>,
    /// The payload. JSON in the ledger, Protobuf in the signals topic.
    pub value: Bytes,
}

/// One header. Values are UTF-8 text in everything Lotline writes; a foreign producer may have written other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name, such as `ce_type`.
    pub name: Cow<'static, str>,
    /// Value, exactly as stored.
    pub value: Bytes,
}

impl Header {
    /// A header whose name is known at compile time.
    pub fn new(name: &'static str, value: impl Into<Bytes>) -> Self {
        Self { name: Cow::Borrowed(name), value: value.into() }
    }
}

impl Record {
    /// Bytes of key, headers and value together, as compared with a log's limit on the size of one record.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
        self.key.len() + headers + self.value.len()
    }
}

/// Where a record stands in its partition. Offsets grow but are not dense: a log may leave gaps.
pub type Offset = i64;

/// A record together with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Place in the partition.
    pub offset: Offset,
    /// The record.
    pub record: Record,
}

/// What one read of a partition gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBatch {
    /// Records in order of their offsets; empty when nothing arrived in time.
    pub records: Vec<StoredRecord>,
    /// Where the next read starts. Greater than the last record's offset plus one when the log skipped
    /// markers or aborted records, so progress is visible even without records.
    pub next: Offset,
}
