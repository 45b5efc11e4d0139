//! The AsyncAPI 3.0 document of both topics: channels, keys, headers, payloads, and what a reader has to know.
//!
//! Servers are not in it: which brokers there are, and how to log in, is the plant's. Payloads refer to the JSON Schemas beside the document;
//! they use no word that JSON Schema draft 07, which AsyncAPI's own dialect extends, would read otherwise.

use lotline_domain::event::Event;
use lotline_domain::sample::codec::{self, BATCH_TYPE};
use serde_json::{Map, Value, json};

use super::{EVENTS_FOLDER, headers};
use crate::config::Config;

const KAFKA_BINDING: &str = "0.5.0";

const ABOUT: &str = "Two Kafka topics per tenant. Lotline alone writes them; whoever may read them reads them with a stock Kafka client.

Each record is a CloudEvent 1.0 in the binary mode of the Kafka binding: attributes in headers, data in the value. \
The value is plain JSON or plain Protobuf: no schema id and no magic byte stands before it. `ce_type` names the schema.

Read with `isolation.level=read_committed`: the ledger is written in transactions, and what was aborted was never decided. \
Offsets therefore have gaps; `ce_sequence` has none. Pass over fields and types that you do not know.";

const LEDGER: &str = "Every decided event of the tenant, for good. Key: the stream. A stream is totally ordered, dense (`ce_sequence`) \
and chained (`ce_prevhash`, `ce_hash`). Never compacted, never deleted. \
The partition count is `log.partitions`, fixed when the topic is created; the number here is the default. Replicas are `kafka.replication`.";

const SIGNALS: &str = "Batches of machine samples in Protobuf columns. Key: the collector. Delivery is at least once: \
a batch is known by collector, epoch and sequence, and counts once. \
The partition count is `log.signal_partitions`, fixed when the topic is created; the number here is the default. Old batches may be deleted.";

/// The document.
pub fn document() -> Value {
    let defaults = Config::default().log;
    let schemas = Event::value_schemas();
    let mut messages: Map<String, Value> =
        schemas.iter().map(|(name, schema)| ((*name).to_owned(), event_message(name, schema))).collect();
    messages.insert(BATCH_TYPE.to_owned(), batch_message());
    let events: Vec<&str> = schemas.iter().map(|(name, _)| *name).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lotline's log", "version": "v1", "description": ABOUT,
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "ledger": channel("ledger", LEDGER, &events, &json!({
                "partitions": defaults.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["delete"], "retention.ms": -1, "retention.bytes": -1,
                    "unclean.leader.election.enable": false,
                },
            })),
            "signals": channel("signals", SIGNALS, &[BATCH_TYPE], &json!({
                "partitions": defaults.signal_partitions,
                "topicConfiguration": { "cleanup.policy": ["delete"], "unclean.leader.election.enable": false },
            })),
        },
        "operations": {
            "recordEvents": operation("ledger", &events, "Lotline appends what it has decided, all events of a batch of commands in one transaction."),
            "publishBatches": operation("signals", &[BATCH_TYPE], "A collector publishes what it has read from its machines."),
        },
        "components": {
            "messages": messages,
            "schemas": {
                "ledgerHeaders": headers::schema(&headers::LEDGER, "The headers of an event: these and no others, each once, in the order of `x-order`."),
                "signalHeaders": headers::schema(&headers::SIGNALS, "The headers of a batch."),
            },
        },
    })
}

fn channel(topic: &str, description: &str, messages: &[&str], kafka: &Value) -> Value {
    let messages: Map<String, Value> =
        messages.iter().map(|name| ((*name).to_owned(), reference("components/messages", name))).collect();
    let mut kafka = kafka.clone();
    kafka["bindingVersion"] = json!(KAFKA_BINDING);
    json!({
        "address": format!("lotline.{{tenant}}.{topic}.v1"),
        "description": description,
        "messages": messages,
        "parameters": { "tenant": {
            "description": "Id of the tenant: 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter or digit.",
            "examples": ["dairy"],
        } },
        "bindings": { "kafka": kafka },
    })
}

fn operation(channel: &str, messages: &[&str], summary: &str) -> Value {
    let path = format!("channels/{channel}/messages");
    json!({
        "action": "send",
        "channel": reference("channels", channel),
        "summary": summary,
        "description": "An integrator receives from this channel, with `isolation.level=read_committed`.",
        "messages": messages.iter().map(|name| reference(&path, name)).collect::<Vec<_>>(),
    })
}

fn event_message(name: &str, schema: &Value) -> Value {
    json!({
        "name": name,
        "title": name,
        "summary": schema["description"],
        "contentType": "application/json",
        "correlationId": { "location": "$message.header#/ce_correlationid", "description": "Ties together all that one request caused." },
        "headers": { "allOf": [
            reference("components/schemas", "ledgerHeaders"),
            { "type": "object", "properties": { "ce_type": { "type": "string", "const": name } } },
        ] },
        "payload": { "$ref": format!("./{EVENTS_FOLDER}/{name}.json") },
        "bindings": message_bindings(&headers::ledger_key()),
    })
}

fn batch_message() -> Value {
    json!({
        "name": BATCH_TYPE,
        "title": BATCH_TYPE,
        "summary": "Samples of one device, in columns: message `lotline.signals.v1.SignalBatch`.",
        "contentType": "application/protobuf",
        "headers": reference("components/schemas", "signalHeaders"),
        "payload": { "schemaFormat": "application/vnd.google.protobuf;version=3", "schema": codec::PROTO },
        "bindings": message_bindings(&headers::signals_key()),
    })
}

/// The key stands here in full: by AsyncAPI's published schema a reference is both of the two things of which it must be exactly one.
fn message_bindings(key: &Value) -> Value {
    json!({ "kafka": { "key": key, "bindingVersion": KAFKA_BINDING } })
}

fn reference(path: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/{path}/{name}") })
}
