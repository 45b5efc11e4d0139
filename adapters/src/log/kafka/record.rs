//! Records to and from Kafka's messages, byte for byte.

use bytes::BytesMut;
use lotline_domain::record::{Header, Record, StoredRecord};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header as KafkaHeader, Headers, OwnedHeaders};

use crate::log::header_name;

pub(super) fn headers_of(record: &Record) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    record.headers.iter().fold(headers, |headers, header| {
        headers.insert(KafkaHeader { key: header.name.as_ref(), value: Some(header.value.as_ref()) })
    })
}

/// Copies a message. All of it shares one buffer.
///
/// A key that is no text, or none, can only be a stranger's: it comes back as what no stream is called.
pub(super) fn stored_record(message: &BorrowedMessage<'_>) -> StoredRecord {
    let value = message.payload().unwrap_or_default();
    let headers = || message.headers().into_iter().flat_map(Headers::iter);
    let size: usize = headers().map(|header| header.value.map_or(0, <[u8]>::len)).sum();
    let mut buffer = BytesMut::with_capacity(size + value.len());
    for header in headers() {
        buffer.extend_from_slice(header.value.unwrap_or_default());
    }
    buffer.extend_from_slice(value);
    let mut bytes = buffer.freeze();
    let copied = headers().map(|header| Header {
        name: header_name(header.key),
        value: bytes.split_to(header.value.map_or(0, <[u8]>::len)),
    });
    let headers: Vec<Header> = copied.collect();
    let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
    StoredRecord { offset: message.offset(), record: Record { key, headers, value: bytes } }
}
