//! The headers of both topics' records as schemas: CloudEvents 1.0 in the binary mode of its Kafka binding.
//!
//! Kafka's headers are an ordered list of names and bytes; AsyncAPI draws them as an object of texts. The order, which counts in the ledger,
//! is therefore told by `x-order`.

use lotline_domain::schema::{ACTOR, DIGEST, SLUG, TIME, UUID};
use serde_json::{Map, Value, json};

/// One header.
pub struct Header {
    /// Its name.
    pub name: &'static str,
    /// Whether every record has it.
    pub required: bool,
    /// Its value: a fixed text when it begins with `=`, else a pattern.
    pub rule: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

const fn always(name: &'static str, rule: &'static str, meaning: &'static str) -> Header {
    Header { name, required: true, rule, meaning }
}

const fn sometimes(name: &'static str, rule: &'static str, meaning: &'static str) -> Header {
    Header { name, required: false, rule, meaning }
}

const COUNT: &str = "^[1-9][0-9]{0,19}$";
const COUNT_OR_ZERO: &str = "^(0|[1-9][0-9]{0,19})$";

/// Headers of an event, in their order.
pub const LEDGER: [Header; 16] = [
    always("content-type", "=application/json", "Media type of the value."),
    always("ce_specversion", "=1.0", "Version of CloudEvents."),
    always("ce_id", UUID, "Id of the event, a UUIDv7; unique among all events."),
    always(
        "ce_type",
        "^lotline(\\.[a-z_]+)+\\.v[0-9]+$",
        "Type of the event with its version; names the schema of the value.",
    ),
    always(
        "ce_source",
        "^/lotline/[a-z0-9-]+/(_tenant|[a-z0-9-]+)$",
        "`/lotline/<tenant>/<stream>`; the stream is the record's key.",
    ),
    always("ce_subject", "^.+/.+$", "The thing that the event is about, as `kind/id`, such as `lot/<uuid>`."),
    always(
        "ce_time",
        TIME,
        "When it was decided; never before the event that precedes it in the stream. When it happened stands in the value.",
    ),
    always("ce_sequence", COUNT, "Position in the stream: 1, 2, 3, … without a gap."),
    always("ce_actor", ACTOR, "Who acted: an opaque id, never a name."),
    always("ce_correlationid", UUID, "Ties together all that one request caused."),
    always("ce_causationid", UUID, "Id of the command that was decided; the same for all events of one command."),
    always(
        "ce_commandhash",
        "^[0-9a-f]{32}$",
        "First 16 bytes of the SHA-256 of the command, hex: tells a retry from another command under one id.",
    ),
    sometimes(
        "ce_tenantsequence",
        COUNT_OR_ZERO,
        "Sequence of the last `_tenant` event that the decision knew; absent in the `_tenant` stream only.",
    ),
    sometimes("traceparent", "^.+$", "W3C Trace Context of the request, if it had one."),
    always("ce_prevhash", DIGEST, "`ce_hash` of the stream's previous event; zeros before the first."),
    always(
        "ce_hash",
        DIGEST,
        "SHA-256 over key, `ce_prevhash`, all headers before it and the value, in the frame that domain/src/envelope.rs draws.",
    ),
];

/// Headers of a batch of samples, in their order.
pub const SIGNALS: [Header; 7] = [
    always("content-type", "=application/protobuf", "Media type of the value."),
    always("ce_specversion", "=1.0", "Version of CloudEvents."),
    always(
        "ce_id",
        "^[0-9a-f-]{36}/[1-9][0-9]{0,19}$",
        "`<epoch>/<sequence>` of the batch: with the key the same for a batch that was sent twice.",
    ),
    always("ce_type", "=lotline.signal.batch.v1", "Type of the record; names the message of the value."),
    always(
        "ce_source",
        "^/lotline/[a-z0-9-]+/collectors/[a-z0-9-]+$",
        "`/lotline/<tenant>/collectors/<collector>`; the collector is the record's key.",
    ),
    always("ce_subject", "^device/[a-z0-9-]+$", "The machine, as `device/<id>`."),
    always("ce_time", TIME, "When the collector had read the batch."),
];

/// The schema of a list of headers.
pub fn schema(headers: &[Header], description: &str) -> Value {
    let mut properties = Map::new();
    for (place, header) in headers.iter().enumerate() {
        let mut property = json!({ "type": "string", "description": header.meaning, "x-order": place + 1 });
        match header.rule.strip_prefix('=') {
            Some(text) => property["const"] = json!(text),
            None => property["pattern"] = json!(header.rule),
        }
        properties.insert(header.name.to_owned(), property);
    }
    let required: Vec<_> = headers.iter().filter(|header| header.required).map(|header| header.name).collect();
    json!({
        "type": "object", "description": description, "required": required, "properties": properties,
        "additionalProperties": false,
    })
}

/// The schema of the ledger's key.
pub fn ledger_key() -> Value {
    let site = SLUG.trim_start_matches('^');
    json!({
        "type": "string", "pattern": format!("^(_tenant$|{site})"), "examples": ["north", "_tenant"],
        "description": "The stream: a site's id, or `_tenant` for what concerns no single site. One stream stays in one partition, by murmur2 as Kafka's own clients compute it.",
    })
}

/// The schema of the signals' key.
pub fn signals_key() -> Value {
    json!({ "type": "string", "pattern": SLUG, "examples": ["collector-1"], "description": "Id of the collector that read the batch." })
}
