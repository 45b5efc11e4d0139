//! What reads bytes from outside, each as a function that must survive any of them and keeps its promises about those that it takes.
//!
//! `cargo fuzz` runs them with a coverage-guided fuzzer, `tests/tests/fuzzing.rs` on every change with a seeded one. To add one: its function,
//! its line in [`TARGETS`], a file under `tests/fuzz/fuzz_targets/` and its name in the manifest there, and seeds in `tests/tests/fuzzing/seeds.rs`.

use std::borrow::Cow;
use std::time::Duration;

use async_graphql::ID;
use async_graphql::connection::CursorType;
use bytes::Bytes;
use lotline_api::schema::connection;
use lotline_api::schema::global_id::NodeId;
use lotline_api::schema::{audit, signal};
use lotline_domain::envelope::{Envelope, HEADERS, Hash, frame};
use lotline_domain::event::Event;
use lotline_domain::gs1::Scan;
use lotline_domain::id::TenantId;
use lotline_domain::identity::api_key::ApiKeyText;
use lotline_domain::identity::secret::{OpaqueToken, SecretKind};
use lotline_domain::identity::token::{TokenPolicy, Unverified};
use lotline_domain::position::Position;
use lotline_domain::record::{Header, Record};
use lotline_domain::sample::codec;
use lotline_domain::timestamp::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Takes any bytes; panics when a promise is broken.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Target); 10] = [
    ("envelope", envelope),
    ("event", event),
    ("signal_batch", signal_batch),
    ("signal_record", signal_record),
    ("position", position),
    ("cursor", cursor),
    ("global_id", global_id),
    ("api_key", api_key),
    ("access_token", access_token),
    ("gs1_scan", gs1_scan),
];

/// The tenant of all records.
pub const TENANT: &str = "dairy";

/// A record as text that a fuzzer can take apart: the key, a line for each header, an empty line, the value.
pub fn record(data: &[u8]) -> Option<Record> {
    let mut rest = data;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        Some(line)
    };
    let key = String::from_utf8(line()?.to_vec()).ok()?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            return Some(Record { key, headers, value: Bytes::copy_from_slice(rest) });
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8(line[..colon].to_vec()).ok()?;
        let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
        headers.push(Header { name: Cow::Owned(name), value: Bytes::copy_from_slice(value) });
    }
}

/// The text that [`record`] reads.
pub fn record_text(record: &Record) -> Vec<u8> {
    let mut text = format!("{}\n", record.key).into_bytes();
    for header in &record.headers {
        text.extend_from_slice(header.name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(&header.value);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(&record.value);
    text
}

fn tenant() -> TenantId {
    TenantId::new(TENANT).expect("a valid tenant id")
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A record of the ledger, as it came and once more with a hash that fits, which is as far as somebody gets who may write into the topic.
pub fn envelope(data: &[u8]) {
    let Some(mut record) = record(data) else { return };
    read_envelope(&record);
    let hash = fitting_hash(&record);
    if let Some(last) = record.headers.last_mut() {
        last.value = hash.into();
    }
    read_envelope(&record);
}

/// What `ce_hash`, the last header, must say.
pub fn fitting_hash(record: &Record) -> String {
    let covered = record.headers.len().saturating_sub(2);
    let previous = record.headers.iter().find(|header| header.name == HEADERS[14]);
    let previous = previous.and_then(|header| text(&header.value)).and_then(Hash::parse).unwrap_or_default();
    Hash(Sha256::digest(frame(&record.key, previous, &record.headers[..covered], &record.value)).into()).to_string()
}

/// Promise: what is read is what would have been written, byte for byte.
fn read_envelope(record: &Record) {
    if let Ok(envelope) = Envelope::from_record(&tenant(), record) {
        assert_eq!(envelope.to_record(), *record, "there is one record for an event");
        read_event(&envelope.attributes.event_type, &envelope.value);
    }
}

/// The value of an event, behind a line that says its type.
pub fn event(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    if let Some(event_type) = text(&data[..end]) {
        read_event(event_type, &data[end + 1..]);
    }
}

/// Promise: an event that was read can be written, and is then read as the same.
fn read_event(event_type: &str, value: &[u8]) {
    if let Ok(fact) = Event::decode(event_type, value) {
        let written = fact.event.encode(fact.occurred_at, fact.reason.as_deref());
        let again = Event::decode(event_type, &written).expect("what was written can be read");
        assert_eq!(again.event.encode(again.occurred_at, again.reason.as_deref()), written);
    }
}

/// The value of a record of the signals topic.
/// Promise: what was read is written and read as the same, bit for bit, values that are no numbers too.
pub fn signal_batch(data: &[u8]) {
    if let Ok(batch) = codec::decode(data) {
        assert!(batch.len() <= codec::MAX_SAMPLES);
        let written = codec::encode(&batch);
        let again = codec::decode(&written).expect("what was written can be read");
        assert_eq!(codec::encode(&again), written);
    }
}

/// A whole record of the signals topic.
pub fn signal_record(data: &[u8]) {
    let Some(record) = record(data) else { return };
    if let Ok(batch) = codec::from_record(&tenant(), &record) {
        assert_eq!(record.key, batch.collector.as_str(), "a batch is filed under its collector");
    }
}

/// A position token. Promise: its text form is read as the same.
pub fn position(data: &[u8]) {
    let Some(Ok(position)) = text(data).map(str::parse::<Position>) else { return };
    assert_eq!(position.to_string().parse(), Ok(position.clone()));
    assert!(position.covers(&position));
}

/// The cursor of every list. Promise: a key that was read is written as a cursor that is read as the same, and can be asked for in PostgreSQL.
pub fn cursor(data: &[u8]) {
    let Some(text) = text(data) else { return };
    drop(connection::after(Some(text), |text| Uuid::try_parse(text).ok()));
    if let Ok(Some(key)) = connection::after(Some(text), audit::read_key) {
        let written = audit::write_key(key).encode_cursor();
        assert_eq!(connection::after(Some(&written), audit::read_key).ok().flatten(), Some(key));
    }
    if let Ok(Some(key)) = connection::after(Some(text), signal::read_key) {
        assert!(!key.site.contains('\0'), "PostgreSQL has no such text");
        let again = signal::read_key(&signal::write_key(&key.site, key.number));
        assert_eq!(again, Some(key));
    }
}

/// What `node` takes. Promise: an id that was read is written as one that is read as the same.
pub fn global_id(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Some(node) = NodeId::decode(&ID(text.to_owned())) {
        assert!(!matches!(&node, NodeId::Signal(key) if key.site.contains('\0')), "PostgreSQL has no such text");
        assert_eq!(NodeId::decode(&node.encode()), Some(node));
    }
}

/// What a scanner gives. Promise: written and read again it is the same.
pub fn gs1_scan(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(scan) = Scan::parse(text) {
        assert_eq!(Scan::parse(&scan.element_string()).as_ref(), Ok(&scan));
        if let Some(link) = scan.digital_link("https://id.gs1.org") {
            assert!(Scan::parse(&link).is_ok());
        }
    }
}

/// API keys, and the other secrets that people and programs present. Promise: one text for each, and only its prefix is shown.
pub fn api_key(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(key) = ApiKeyText::parse(text) {
        assert_eq!(key.expose(), text);
        assert!(!format!("{key:?}").contains(&text[text.len() - 46..]));
    }
    for kind in [SecretKind::Refresh, SecretKind::Link, SecretKind::Proof] {
        if let Some(token) = OpaqueToken::parse(kind, text) {
            assert_eq!(token.expose(), text);
            assert!(!format!("{token:?}").contains(&text[text.len() - 64..]));
        }
    }
}

/// An access token whose signature fits, which is as far as nobody gets but us. Promise: its claims are read as they were, and judged.
pub fn access_token(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(token) = Unverified::read(text) else { return };
    let key = token.key().clone();
    let Ok(claims) = token.verify(|_, _| true) else { return };
    let policy = TokenPolicy { leeway: Duration::from_secs(30), ..TokenPolicy::new("lotline", "lotline", tenant()) };
    claims.check(&policy, Timestamp::from_millis(1_790_000_000_000)).ok();
    let signed = claims.sign(&key, |_| [7; 64]);
    let again = Unverified::read(&signed).and_then(|token| token.verify(|_, _| true));
    assert_eq!(again.expect("what was signed can be read"), claims);
}
