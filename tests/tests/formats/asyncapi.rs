//! The AsyncAPI document against the records, the files beside it, and the topics as they are made on a real Kafka.

use std::collections::BTreeSet;

use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_domain::envelope::{Envelope, EnvelopeError, HEADERS};
use lotline_domain::event::EVENT_TYPES;
use lotline_domain::id::{CollectorId, DeviceId, SiteId, TenantId};
use lotline_domain::position::TopicKind;
use lotline_domain::record::{Header, Record};
use lotline_domain::sample::codec::{self, BATCH_TYPE};
use lotline_domain::sample::{Quality, SignalBatch};
use lotline_domain::timestamp::Timestamp;
use lotline_infra::config::Config;
use lotline_infra::formats::{self, asyncapi, headers};
use lotline_tests::stack;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::root;
use crate::schemas::validators;

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let (document, files) = (asyncapi::document(), formats::files());
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 40, "{}", found.len());
    for reference in found {
        let there = match reference.strip_prefix('#') {
            Some(pointer) => document.pointer(pointer).is_some(),
            None => files.contains_key(reference.trim_start_matches("./")),
        };
        assert!(there, "{reference}");
    }
}

#[test]
fn every_event_is_a_message_of_the_ledger() {
    let document = asyncapi::document();
    let names = |pointer: &str| -> BTreeSet<String> {
        document.pointer(pointer).and_then(Value::as_object).unwrap().keys().cloned().collect()
    };
    let events: BTreeSet<String> = EVENT_TYPES.iter().map(|name| (*name).to_owned()).collect();
    let batch = BTreeSet::from([BATCH_TYPE.to_owned()]);
    assert_eq!(names("/channels/ledger/messages"), events);
    assert_eq!(names("/channels/signals/messages"), batch);
    assert_eq!(names("/components/messages"), events.union(&batch).cloned().collect());
    assert_eq!(document["operations"]["recordEvents"]["messages"].as_array().unwrap().len(), events.len());
    for name in &events {
        let message = &document["components"]["messages"][name];
        assert_eq!(message["payload"]["$ref"], format!("./events/{name}.json"));
        assert_eq!(message["headers"]["allOf"][1]["properties"]["ce_type"]["const"], name.as_str());
    }
    assert_eq!(document["components"]["messages"][BATCH_TYPE]["payload"]["schema"], codec::PROTO);
    let topics = Config::default();
    for (channel, topic) in [("ledger", topics.ledger_topic()), ("signals", topics.signals_topic())] {
        let address = document["channels"][channel]["address"].as_str().unwrap();
        assert_eq!(address.replace("{tenant}", topics.tenant.id.as_str()), topic);
    }
}

/// The records that the published vectors describe.
fn events() -> Vec<Record> {
    let text = std::fs::read(root("tests/vectors/envelope.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let header = |pair: &Value| Header::new(HEADERS[place(&text(&pair[0]))], text(&pair[1]));
    let record = |vector: &Value| Record {
        key: text(&vector["key"]),
        headers: vector["headers"].as_array().unwrap().iter().map(header).collect(),
        value: text(&vector["value"]).into(),
    };
    vectors.iter().map(record).collect()
}

fn place(name: &str) -> usize {
    HEADERS.iter().position(|known| *known == name).expect("a header of the envelope")
}

fn batch() -> (TenantId, Record) {
    let tenant = TenantId::new("dairy").unwrap();
    let batch = SignalBatch {
        site: SiteId::new("north").unwrap(),
        collector: CollectorId::new("line-1").unwrap(),
        epoch: Uuid::from_u128(7),
        sequence: 3,
        device: DeviceId::new("press").unwrap(),
        signals: vec![1],
        source_times: vec![Timestamp::from_millis(5)],
        values: vec![1.5],
        qualities: vec![Quality::GOOD],
        collected_at: Timestamp::from_millis(1_700_000_000_000),
    };
    let record = codec::to_record(&tenant, &batch);
    (tenant, record)
}

fn as_object(record: &Record) -> Value {
    let text = |header: &Header| String::from_utf8(header.value.to_vec()).unwrap();
    record
        .headers
        .iter()
        .map(|header| (header.name.to_string(), json!(text(header))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn headers_and_keys_are_those_of_real_records() {
    let document = asyncapi::document();
    let schemas = &document["components"]["schemas"];
    let (_, batch) = batch();
    let cases = [
        (&schemas["ledgerHeaders"], &headers::LEDGER[..], headers::ledger_key(), events()),
        (&schemas["signalHeaders"], &headers::SIGNALS[..], headers::signals_key(), vec![batch]),
    ];
    for (schema, list, key, records) in cases {
        let ([headers, _], [key, _]) = (validators(schema), validators(&key));
        for record in &records {
            let object = as_object(record);
            let errors: Vec<String> = headers.iter_errors(&object).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", record.key);
            assert!(
                key.is_valid(&json!(record.key)) && !key.is_valid(&json!("North")) && !key.is_valid(&json!("_other"))
            );
            let orders: Vec<_> =
                record.headers.iter().map(|header| schema["properties"][&*header.name]["x-order"].as_u64()).collect();
            assert!(orders.is_sorted() && !orders.contains(&None), "{orders:?}");
            for header in list {
                let mut changed = object.clone();
                changed.as_object_mut().unwrap().remove(header.name);
                assert_eq!(headers.is_valid(&changed), !header.required, "without {}", header.name);
                changed[header.name] = json!("");
                assert!(!headers.is_valid(&changed), "with an empty {}", header.name);
            }
            let mut more = object.clone();
            more["x-note"] = json!("hello");
            assert!(!headers.is_valid(&more));
        }
    }
}

/// Name, order and necessity of each header are the envelope's own.
#[test]
fn the_list_of_headers_is_the_envelopes() {
    assert_eq!(headers::LEDGER.each_ref().map(|header| header.name), HEADERS);
    let tenant = TenantId::new("dairy").unwrap();
    for record in events() {
        assert!(Envelope::from_record(&tenant, &record).is_ok());
        for header in &headers::LEDGER {
            let mut without = record.clone();
            without.headers.retain(|kept| kept.name != header.name);
            let missing = Envelope::from_record(&tenant, &without) == Err(EnvelopeError::MissingHeader(header.name));
            assert_eq!(missing, header.required, "{}", header.name);
        }
    }
    let (_, batch) = batch();
    let names: Vec<String> = batch.headers.iter().map(|header| header.name.to_string()).collect();
    assert_eq!(names, headers::SIGNALS.each_ref().map(|header| header.name));
}

/// What the document says of a topic's configuration is what Lotline sets when it makes one.
#[tokio::test]
async fn topics_on_kafka_are_as_the_document_says() {
    let document = asyncapi::document();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack::kafka_brokers()).create().unwrap();
    for (channel, kind) in [("ledger", TopicKind::Ledger), ("signals", TopicKind::Signals)] {
        let topic = stack::unique(channel);
        let log = KafkaLog::open(KafkaOptions::new(stack::kafka_brokers(), &topic, 1), kind).await.unwrap();
        let resource = ResourceSpecifier::Topic(&topic);
        let found = admin.describe_configs([&resource], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        let said = document["channels"][channel]["bindings"]["kafka"]["topicConfiguration"].as_object().unwrap();
        for (name, value) in said {
            let value = value.get(0).unwrap_or(value);
            let expected = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(found.get(name).and_then(|entry| entry.value.clone()), Some(expected), "{topic}: {name}");
        }
        drop(log);
    }
}
