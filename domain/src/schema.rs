//! JSON Schemas of what stands in the log, for those who read it without Rust.
//!
//! They are derived from the types that write the log, in the shape in which these are written: a field that is left out when it is empty is
//! not required, and nothing is ever `null`. Descriptions are the doc comments. Only types that are texts with a rule of their own are
//! described by hand, here. Dialect: JSON Schema 2020-12.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::envelope::Hash;
use crate::id::{ActorId, DeviceId, SiteId};
use crate::quantity::Unit;
use crate::timestamp::Timestamp;

/// Ids of tenants, sites, collectors and devices: 1 to 63 of `a-z 0-9 -`, beginning with a letter or digit.
pub const SLUG: &str = "^[a-z0-9][a-z0-9-]{0,62}$";
/// A UUID in the only form that is written: lowercase, with hyphens.
pub const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
/// An actor: 1 to 64 visible ASCII characters.
pub const ACTOR: &str = "^[!-~]{1,64}$";
/// RFC 3339 in UTC with exactly six fractional digits.
pub const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$";
/// A SHA-256 in lowercase hex.
pub const DIGEST: &str = "^[0-9a-f]{64}$";
const DECIMAL: &str = "^-?[0-9]+(\\.[0-9]+)?$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
/// Greater than zero, at most 12 digits before the point and 6 after it, no trailing zeros.
const AMOUNT: &str = "^([1-9][0-9]{0,11}(\\.[0-9]{0,5}[1-9])?|0\\.[0-9]{0,5}[1-9])$";

/// The schema of a whole document of type `T`.
pub(crate) fn document<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(as_written));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(title));
    // The value's own description is that of its event.
    let name = schema.pointer("/properties/data/$ref").and_then(Value::as_str).map(|path| path[1..].to_owned());
    let description = name.and_then(|path| schema.pointer(&format!("{path}/description")).cloned());
    if let Some(description) = description {
        schema.insert("description".to_owned(), description);
    }
    schema.to_value()
}

/// A decimal number as text, for JSON numbers are doubles to most readers.
pub(crate) fn decimal(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": DECIMAL })
}

/// A positive decimal number as text.
pub(crate) fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": AMOUNT })
}

/// A day.
pub(crate) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date", "pattern": DATE })
}

/// A UUID.
pub(crate) fn uuid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "uuid", "pattern": UUID })
}

/// A word of a list to which later versions may add.
pub(crate) fn open_words(description: &str, known: &[&str]) -> Schema {
    let description = format!("{description} The examples are those written today; more may follow.");
    json_schema!({ "type": "string", "pattern": "^[a-z][a-z_]*$", "examples": known, "description": description })
}

/// Adds to a tagged union the alternative of every tag that is not in it yet: readers are told that others may come.
pub(crate) fn open_union(schema: &mut Schema) {
    let Some(Value::Array(alternatives)) = schema.get_mut("oneOf") else { return };
    let fields = alternatives.iter().filter_map(|alternative| alternative.get("properties")?.as_object());
    let tags: Vec<(String, Value)> =
        fields.flatten().filter_map(|(name, field)| Some((name.clone(), field.get("const")?.clone()))).collect();
    let Some((name, _)) = tags.first().cloned() else { return };
    let known: Vec<Value> = tags.into_iter().map(|(_, tag)| tag).collect();
    alternatives.push(json!({
        "type": "object", "required": [name], "properties": { name: { "type": "string", "not": { "enum": known } } },
        "description": "Of a kind that a later version adds.",
    }));
}

macro_rules! texts {
    ($($type:ident: $schema:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

texts! {
    ActorId: json_schema!({ "type": "string", "pattern": ACTOR, "description": "Who acted: an opaque id, never a name." });
    DeviceId: json_schema!({ "type": "string", "pattern": SLUG, "description": "A machine that a collector talks to." });
    SiteId: json_schema!({ "type": "string", "pattern": SLUG, "description": "A plant of a tenant; the key of its stream." });
    Hash: json_schema!({ "type": "string", "pattern": DIGEST, "description": "A SHA-256 digest, lowercase hex." });
    Timestamp: json_schema!({
        "type": "string", "format": "date-time", "pattern": TIME,
        "description": "RFC 3339 in UTC with exactly six fractional digits.",
    });
    // Open on purpose: a unit is one line in a table, and another code of a published list is no other format.
    Unit: json_schema!({
        "type": "string", "pattern": "^[A-Z0-9]{2,3}$",
        "examples": Unit::ALL.iter().map(|unit| unit.code()).collect::<Vec<_>>(),
        "description": "UNECE Rec 20 code. The examples are those written today; more codes of that list may follow.",
    });
}

/// Makes one (sub)schema say what is written: no `null`, closed lists as `enum`, the true ranges of integers.
fn as_written(schema: &mut Schema) {
    without_null(schema);
    closed_list(schema);
    let largest = match schema.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16") => schema.get("maximum").cloned(),
        Some("uint32") => Some(json!(u32::MAX)),
        Some("uint64") => Some(json!(u64::MAX)),
        _ => None,
    };
    if let Some(largest) = largest {
        schema.remove("format");
        schema.insert("maximum".to_owned(), largest);
    }
}

/// An option that is not written when empty is never `null`.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(ways)) = schema.get_mut("anyOf") else { return };
    ways.retain(|way| way != &json!({ "type": "null" }));
    if let [Value::Object(only)] = ways.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        schema.ensure_object().extend(only);
    }
}

/// `oneOf` constants becomes an `enum`, which more generators of code understand; the meanings go into the description.
fn closed_list(schema: &mut Schema) {
    let Some(Value::Array(ways)) = schema.get("oneOf") else { return };
    let entry =
        |way: &Value| Some((way.get("const")?.as_str()?.to_owned(), way.get("description")?.as_str()?.to_owned()));
    let Some(entries) = ways.iter().map(entry).collect::<Option<Vec<_>>>() else { return };
    let mut description = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    description.extend(entries.iter().map(|(name, meaning)| format!("\n- `{name}`: {meaning}")));
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.insert("enum".to_owned(), entries.iter().map(|(name, _)| json!(name)).collect());
    schema.insert("description".to_owned(), json!(description));
}
