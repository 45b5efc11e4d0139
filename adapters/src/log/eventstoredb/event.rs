//! A record as an event, and back.
//!
//! | event | record |
//! |---|---|
//! | type | the header `ce_type`, so that it shows in EventStoreDB's own tools; it is not read back |
//! | data | the value, byte by byte, declared as binary so that nobody takes it apart |
//! | custom metadata | `{"key":"north","headers":[["ce_id","…"],…]}`, headers as in the embedded log |

use bytes::Bytes;
use eventstore::{EventData, RecordedEvent};
use lotline_domain::record::{Header, Record};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::postgres::headers;
use super::FENCE;

/// What an event takes beyond its record, roughly: id, type, names of the metadata, quotes.
pub(super) const RECORD_OVERHEAD: usize = 1_024;

/// For records without a usable `ce_type`. Types that begin with `$` are the server's.
const UNTYPED: &str = "lotline-record";

#[derive(Serialize, Deserialize)]
struct Metadata {
    key: String,
    headers: Box<RawValue>,
}

/// The event of a record. Its id is fresh.
pub(super) fn encode(record: &Record) -> EventData {
    let headers = RawValue::from_string(headers::encode(&record.headers)).expect("invariant: this is JSON");
    let metadata = Metadata { key: record.key.clone(), headers };
    let metadata = serde_json::to_vec(&metadata).expect("invariant: text and JSON have a JSON form");
    EventData::binary(type_of(record), record.value.clone()).metadata(metadata.into())
}

fn type_of(record: &Record) -> &str {
    let named = record.headers.iter().find(|header| header.name == "ce_type");
    let text = named.and_then(|header| std::str::from_utf8(&header.value).ok());
    text.filter(|text| !text.is_empty() && !text.starts_with('$') && *text != FENCE).unwrap_or(UNTYPED)
}

/// The record of an event. What a stranger wrote, without our metadata, becomes a record that no chain admits.
pub(super) fn decode(event: &RecordedEvent) -> Record {
    ours(&event.custom_metadata, &event.data).unwrap_or_else(|| Record {
        key: String::new(),
        headers: vec![Header::new("eventstoredb_type", event.event_type.clone().into_bytes())],
        value: event.data.clone(),
    })
}

fn ours(metadata: &[u8], data: &Bytes) -> Option<Record> {
    let metadata: Metadata = serde_json::from_slice(metadata).ok()?;
    let headers = headers::decode(metadata.headers.get()).ok()?;
    Some(Record { key: metadata.key, headers, value: data.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ce_type: &'static [u8]) -> Record {
        let headers = vec![Header::new("x", &b"\xff\x00"[..]), Header::new("ce_type", ce_type)];
        Record { key: "käse\"".to_owned(), headers, value: (0..=255).collect::<Vec<u8>>().into() }
    }

    #[test]
    fn the_stored_form_is_fixed_and_gives_the_record_back() {
        let record = record(b"lotline.lot.registered.v1");
        let headers = RawValue::from_string(headers::encode(&record.headers)).unwrap();
        let metadata = serde_json::to_string(&Metadata { key: record.key.clone(), headers }).unwrap();
        let fixed = r#"{"key":"käse\"","headers":[["x",{"hex":"ff00"}],["ce_type","lotline.lot.registered.v1"]]}"#;
        assert_eq!(metadata, fixed);
        assert_eq!(ours(metadata.as_bytes(), &record.value), Some(record));
    }

    #[test]
    fn a_type_is_never_the_servers_or_the_markers() {
        assert_eq!(type_of(&record(b"lotline.lot.registered.v1")), "lotline.lot.registered.v1");
        for bad in [&b""[..], b"$metadata", b"lotline-fence", b"\xff"] {
            assert_eq!(type_of(&record(bad)), UNTYPED);
        }
    }

    #[test]
    fn what_a_stranger_wrote_is_none_of_ours() {
        for metadata in ["", "{}", r#"{"key":"north"}"#, r#"{"key":"north","headers":[["a",1]]}"#] {
            assert_eq!(ours(metadata.as_bytes(), &Bytes::new()), None, "{metadata}");
        }
    }
}
