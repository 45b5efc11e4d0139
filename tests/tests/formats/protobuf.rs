//! The hand-written codec against the `.proto` file, compiled here by a real compiler: descriptors, bytes from Lotline read by the
//! schema, bytes written by the schema read by Lotline.

use std::collections::BTreeMap;

use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use lotline_domain::sample::{Quality, SignalBatch, codec};
use lotline_domain::timestamp::Timestamp;
use lotline_infra::formats::protobuf::{self, Field};
use prost_reflect::prost::Message as _;
use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use uuid::Uuid;

use crate::root;

const NAME: &str = "lotline.signals.v1.SignalBatch";

fn compiled() -> MessageDescriptor {
    let folder = root("domain/proto");
    let set = protox::compile(["signal_batch.proto"], [folder]).expect("the schema compiles");
    let pool = DescriptorPool::from_file_descriptor_set(set).expect("the descriptors fit together");
    pool.get_message_by_name(NAME).expect("the message is there")
}

/// No field has its default, and no two of a kind the same value, so that an exchanged number shows.
fn batch() -> SignalBatch {
    SignalBatch {
        site: SiteId::new("north").unwrap(),
        collector: CollectorId::new("line-1").unwrap(),
        epoch: Uuid::from_u128(0x0102_0304),
        sequence: 300,
        device: DeviceId::new("pasteuriser").unwrap(),
        signals: vec![1, 200, 70_000],
        source_times: [999_000, 1_000_500, 1_000_400].map(Timestamp::from_micros).to_vec(),
        values: vec![72.5, -1e300, 0.1],
        qualities: vec![Quality::GOOD, Quality::BAD_DEVICE_FAILURE, Quality::GOOD],
        collected_at: Timestamp::from_micros(1_000_000),
    }
}

fn fields() -> Vec<(&'static str, Value)> {
    let list = |values: &[u32]| Value::List(values.iter().map(|value| Value::U32(*value)).collect());
    vec![
        ("site", Value::String("north".into())),
        ("collector", Value::String("line-1".into())),
        ("epoch", Value::Bytes(Uuid::from_u128(0x0102_0304).into_bytes().to_vec().into())),
        ("sequence", Value::U64(300)),
        ("device", Value::String("pasteuriser".into())),
        ("collected_at_us", Value::I64(1_000_000)),
        ("signals", list(&[1, 200, 70_000])),
        ("source_time_deltas_us", Value::List([-1_000, 1_500, -100].map(Value::I64).to_vec())),
        ("values", Value::List([72.5, -1e300, 0.1].map(Value::F64).to_vec())),
        ("qualities", list(&[0, Quality::BAD_DEVICE_FAILURE.0, 0])),
    ]
}

#[test]
fn what_lotline_writes_is_what_the_schema_reads() {
    let message = DynamicMessage::decode(compiled(), codec::encode(&batch())).unwrap();
    for (name, expected) in fields() {
        assert_eq!(message.get_field_by_name(name).unwrap().as_ref(), &expected, "{name}");
    }
    assert_eq!(message.unknown_fields().count(), 0);
    assert_eq!(compiled().fields().len(), fields().len(), "every field of the schema was looked at");
}

#[test]
fn what_the_schema_writes_is_what_lotline_reads() {
    let mut message = DynamicMessage::new(compiled());
    for (name, value) in fields() {
        message.set_field_by_name(name, value);
    }
    let bytes = message.encode_to_vec();
    assert_eq!(codec::decode(&bytes).unwrap(), batch());
    assert_eq!(codec::encode(&batch()), bytes, "both write the same bytes");
}

/// All qualities Good: the column is left out, which the schema says too.
#[test]
fn an_all_good_batch_has_no_qualities() {
    let mut good = batch();
    good.qualities = vec![Quality::GOOD; 3];
    let message = DynamicMessage::decode(compiled(), codec::encode(&good)).unwrap();
    assert!(!message.has_field_by_name("qualities"));
    assert_eq!(codec::decode(&message.encode_to_vec()).unwrap(), good);
}

/// The small reader that the compatibility check uses sees what the compiler sees.
#[test]
fn the_reader_of_fields_agrees_with_the_compiler() {
    let descriptor = compiled();
    let kind = |kind: Kind| format!("{kind:?}");
    let expected: BTreeMap<String, Field> = descriptor
        .fields()
        .map(|field| {
            let repeated = field.cardinality() == Cardinality::Repeated;
            let name = format!("{}.{}", descriptor.name(), field.name());
            (name, Field { number: field.number(), repeated, kind: kind(field.kind()) })
        })
        .collect();
    let (package, fields) = protobuf::read(codec::PROTO).unwrap();
    assert_eq!(package, descriptor.package_name());
    assert_eq!(fields, expected);
}
