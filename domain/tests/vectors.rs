//! `tests/vectors/envelope.json`: sealed events with their hashes, for readers in other languages.
//!
//! A released vector never changes. With `LOTLINE_WRITE_VECTORS=1` the file is written anew, to add one.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use lotline_domain::envelope::{Attributes, CommandHash, Envelope, Hash, frame};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, EventId, StreamKey, TenantId};
use lotline_domain::record::Record;
use lotline_domain::timestamp::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// What differs between the vectors.
struct Case {
    name: &'static str,
    stream: &'static str,
    sequence: u64,
    tenant_sequence: Option<u64>,
    traceparent: Option<&'static str>,
    prev_hash: Hash,
    value: &'static str,
}

fn cases() -> [Case; 5] {
    let site = Case {
        name: "the first event of a site",
        stream: "north",
        sequence: 1,
        tenant_sequence: Some(0),
        traceparent: None,
        prev_hash: Hash::default(),
        value: r#"{"occurred_at":"2026-11-21T03:15:00.000000Z","data":{"code":"L-1"}}"#,
    };
    [
        Case {
            name: "a later event, traced",
            sequence: 42,
            tenant_sequence: Some(7),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            prev_hash: Hash([0xA5; 32]),
            ..site
        },
        Case { name: "an event of the tenant's own stream", stream: "_tenant", tenant_sequence: None, ..site },
        Case { name: "letters beyond ASCII, hashed as UTF-8", value: r#"{"data":{"product":"Käse 🧀"}}"#, ..site },
        Case { name: "an empty value", value: "", sequence: u64::MAX, ..site },
        site,
    ]
}

fn seal(case: &Case) -> Envelope {
    let attributes = Attributes {
        tenant: TenantId::new("dairy").expect("an id"),
        stream: StreamKey::parse(case.stream).expect("a stream"),
        id: EventId(Uuid::from_u128(0x019a_4f2a_6e7c_7abc_8def_0123_4567_89ab)),
        event_type: Cow::Borrowed("lotline.lot.registered.v1"),
        subject: "lot/019a4f2a-6e7c-7000-8000-000000000001".into(),
        time: Timestamp::parse("2026-11-21T03:15:00.25Z").expect("a time"),
        sequence: case.sequence,
        actor: ActorId::new("ann").expect("an id"),
        correlation_id: CorrelationId(Uuid::from_u128(1)),
        causation_id: CommandId(Uuid::from_u128(0x019a_4f2a_6e7b_7abc_8def_0123_4567_89ab)),
        command_hash: CommandHash([3; 16]),
        tenant_sequence: case.tenant_sequence,
        traceparent: case.traceparent.map(str::to_owned),
    };
    Envelope::seal(attributes, case.prev_hash, Bytes::from_static(case.value.as_bytes()))
}

fn vector(case: &Case) -> Value {
    let envelope = seal(case);
    let record: Record = envelope.to_record();
    let covered = &record.headers[..record.headers.len() - 2];
    let frame = frame(&record.key, envelope.prev_hash, covered, &record.value);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("all parts are texts");
    let headers: Vec<Value> = record.headers.iter().map(|header| json!([header.name, text(&header.value)])).collect();
    json!({
        "name": case.name,
        "key": record.key,
        "headers": headers,
        "value": text(&record.value),
        "frame": hex::encode(frame),
        "hash": envelope.hash.to_string(),
    })
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/envelope.json")
}

#[test]
fn the_published_vectors_are_what_the_domain_computes() {
    let vectors: Vec<Value> = cases().iter().map(vector).collect();
    if std::env::var_os("LOTLINE_WRITE_VECTORS").is_some() {
        std::fs::write(path(), serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    }
    let published: Vec<Value> = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    assert_eq!(published, vectors);
}

#[test]
fn every_vector_is_read_back_as_an_event() {
    let tenant = TenantId::new("dairy").unwrap();
    for case in cases() {
        let envelope = seal(&case);
        assert_eq!(Envelope::from_record(&tenant, &envelope.to_record()).as_ref(), Ok(&envelope), "{}", case.name);
    }
}
