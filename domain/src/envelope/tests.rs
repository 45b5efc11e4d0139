//! Envelopes: round trip, and every way in which a record can be something that Lotline did not write.

use super::*;
use crate::id::SiteId;

fn tenant() -> TenantId {
    TenantId::new("dairy").unwrap()
}

fn sample() -> Envelope {
    let attributes = Attributes {
        tenant: tenant(),
        stream: StreamKey::Site(SiteId::new("north").unwrap()),
        id: EventId(Uuid::from_u128(0x018f_2a6e_7c00_7abc_8def_0123_4567_89ab)),
        event_type: Cow::Borrowed("lotline.lot.registered.v1"),
        subject: "lot/018f2a6e-7c00-7000-8000-000000000001".into(),
        time: Timestamp::parse("2026-11-21T03:15:00Z").unwrap(),
        sequence: 7,
        actor: ActorId::new("ann").unwrap(),
        correlation_id: CorrelationId(Uuid::from_u128(1)),
        causation_id: CommandId(Uuid::from_u128(2)),
        command_hash: CommandHash([3; 16]),
        tenant_sequence: Some(4),
        traceparent: None,
    };
    Envelope::seal(attributes, Hash([9; 32]), Bytes::from_static(b"{\"x\":1}"))
}

#[test]
fn record_round_trip() {
    let envelope = sample();
    let record = envelope.to_record();
    assert_eq!(Envelope::from_record(&tenant(), &record).unwrap(), envelope);
    let (hash, same) = Envelope::seal_record(&envelope.attributes, envelope.prev_hash, envelope.value.clone());
    assert_eq!((hash, same), (envelope.hash, record));
}

#[test]
fn any_changed_byte_is_noticed() {
    let record = sample().to_record();
    for index in 0..record.headers.len() {
        let mut forged = record.clone();
        let mut value = forged.headers[index].value.to_vec();
        let last = value.len() - 1;
        value[last] = if value[last] == b'1' { b'2' } else { b'1' };
        forged.headers[index].value = value.into();
        assert!(Envelope::from_record(&tenant(), &forged).is_err(), "{}", record.headers[index].name);
    }
    let mut forged = record.clone();
    forged.value = Bytes::from_static(b"{\"x\":2}");
    assert_eq!(Envelope::from_record(&tenant(), &forged), Err(EnvelopeError::HashMismatch));
    let mut moved = record;
    moved.key = "south".into();
    assert!(matches!(Envelope::from_record(&tenant(), &moved), Err(EnvelopeError::WrongSource(_))));
}

#[test]
fn headers_are_a_closed_list_in_order() {
    let record = sample().to_record();
    let mut extra = record.clone();
    extra.headers.push(Header::new("x-note", "hello"));
    assert_eq!(Envelope::from_record(&tenant(), &extra), Err(EnvelopeError::UnexpectedHeader("x-note".into())));
    let mut twice = record.clone();
    twice.headers.insert(3, twice.headers[2].clone());
    assert_eq!(Envelope::from_record(&tenant(), &twice), Err(EnvelopeError::UnexpectedHeader("ce_id".into())));
    let mut swapped = record.clone();
    swapped.headers.swap(2, 3);
    assert!(matches!(Envelope::from_record(&tenant(), &swapped), Err(EnvelopeError::UnexpectedHeader(_))));
    let mut short = record;
    short.headers.retain(|header| header.name != "ce_actor");
    assert_eq!(Envelope::from_record(&tenant(), &short), Err(EnvelopeError::MissingHeader("ce_actor")));
}

#[test]
fn another_tenants_event_is_refused() {
    let other = TenantId::new("bakery").unwrap();
    assert!(matches!(Envelope::from_record(&other, &sample().to_record()), Err(EnvelopeError::WrongSource(_))));
}

#[test]
fn a_foreign_record_is_refused_without_panic() {
    let foreign = Record { key: "north".into(), headers: vec![], value: Bytes::from_static(b"hello") };
    assert_eq!(Envelope::from_record(&tenant(), &foreign), Err(EnvelopeError::MissingHeader("content-type")));
}

#[test]
fn optional_headers_are_part_of_the_hash_only_when_present() {
    let plain = sample();
    let mut attributes = plain.attributes.clone();
    attributes.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    let traced = Envelope::seal(attributes, plain.prev_hash, plain.value.clone());
    assert_ne!(traced.hash, plain.hash);
    assert_eq!(Envelope::from_record(&tenant(), &traced.to_record()).unwrap(), traced);
}
