//! The JSON Schemas against the golden fixtures, which are what stands in the log, byte for byte.

use std::collections::BTreeMap;

use jsonschema::{Draft, Validator};
use lotline_domain::event::Event;
use serde_json::{Value, json};

use crate::root;

/// Both dialects that the schemas are read in: the one they declare, and the one of AsyncAPI and of registries. Nothing is fetched:
/// a reference that leads out of the schema is an error.
pub(crate) fn validators(schema: &Value) -> [Validator; 2] {
    [Draft::Draft202012, Draft::Draft7].map(|draft| {
        let mut schema = schema.clone();
        schema.as_object_mut().unwrap().remove("$schema");
        jsonschema::options().with_draft(draft).should_validate_formats(true).build(&schema).expect("a schema")
    })
}

fn all() -> BTreeMap<&'static str, [Validator; 2]> {
    Event::value_schemas().into_iter().map(|(name, schema)| (name, validators(&schema))).collect()
}

/// Each fixture with its type.
fn fixtures() -> Vec<(String, String, Value)> {
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(root("domain/tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let name = file.rsplitn(3, '.').nth(2).unwrap().to_owned();
        fixtures.push((file, name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()));
    }
    assert!(fixtures.len() >= 18, "the fixtures were found");
    fixtures
}

/// Whether both dialects agree that the value is valid.
fn valid(validators: &[Validator; 2], value: &Value) -> bool {
    let [one, other] = validators.each_ref().map(|validator| validator.is_valid(value));
    assert_eq!(one, other, "the dialects disagree on {value}");
    one
}

/// JSON pointers of everything below a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), field)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(place, item)| (place.to_string(), item)).collect(),
        _ => return,
    };
    for (name, value) in below {
        let path = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(value, &path, found);
        found.push(path);
    }
}

/// A task's settings are whatever its kind makes of them.
fn free(path: &str) -> bool {
    path.contains("/config")
}

#[test]
fn every_fixture_is_valid() {
    let validators = all();
    for (file, name, value) in fixtures() {
        for validator in &validators[name.as_str()] {
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{file}: {errors:?}");
        }
    }
}

#[test]
fn a_fixture_without_a_required_field_is_not() {
    let validators = all();
    let mut tried = 0;
    for (file, name, value) in fixtures().into_iter().filter(|(file, ..)| file.contains(".minimal.")) {
        let mut paths = Vec::new();
        places(&value, "", &mut paths);
        for path in paths.iter().filter(|path| !free(path)) {
            let (parent, field) = path.rsplit_once('/').unwrap();
            let mut without = value.clone();
            let Some(fields) = without.pointer_mut(parent).and_then(Value::as_object_mut) else { continue };
            fields.remove(field);
            assert!(!valid(&validators[name.as_str()], &without), "{file} without {path}");
            tried += 1;
        }
    }
    assert!(tried > 60, "only {tried} fields were tried");
}

#[test]
fn a_fixture_with_a_value_of_another_type_is_not() {
    let validators = all();
    let mut tried = 0;
    for (file, name, value) in fixtures() {
        let mut paths = Vec::new();
        places(&value, "", &mut paths);
        for path in paths.iter().filter(|path| !free(path)) {
            for other in [json!("?"), json!(-7.5), json!(true), json!([[]]), json!({ "?": null }), Value::Null] {
                let mut changed = value.clone();
                let place = changed.pointer_mut(path).unwrap();
                if std::mem::discriminant(place) == std::mem::discriminant(&other) {
                    continue;
                }
                *place = other.clone();
                assert!(!valid(&validators[name.as_str()], &changed), "{file} with {other} at {path}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "only {tried} changes were tried");
}

/// A full fixture with one value replaced.
fn with(name: &str, path: &str, value: &str) -> bool {
    let (_, _, mut fixture) = fixtures().into_iter().find(|(file, ..)| *file == format!("{name}.full.json")).unwrap();
    *fixture.pointer_mut(path).unwrap_or_else(|| panic!("{name} has {path}")) = json!(value);
    valid(&all()[name], &fixture)
}

#[test]
fn values_that_are_never_written_are_not_valid() {
    let lot = "lotline.lot.registered.v1";
    let signal = "lotline.signal.declared.v1";
    for (name, path, good, bad) in [
        (lot, "/data/lot_type", "waste", "Waste"),
        ("lotline.qc_decision.recorded.v1", "/data/outcome", "FAIL", "MAYBE"),
        (signal, "/data/data_type", "bool", "f16"),
        (signal, "/data/address/table", "coils", "coil"),
        (signal, "/data/address/word_order", "DCBA", "abcd"),
        (lot, "/data/lot_id", "018f2a6e-7c00-7000-8000-00000000000a", "018F2A6E-7C00-7000-8000-00000000000A"),
        (lot, "/data/temperature_c", "-0.5", "5e-1"),
        (lot, "/data/quantity/value", "0.5", "-0.5"),
        (lot, "/data/quantity/value", "10", "0"),
        (lot, "/data/quantity/value", "12.5", "12.50"),
        (lot, "/data/quantity/value", "999999999999", "1000000000000"),
        (lot, "/data/quantity/unit", "KGM", "kg"),
        (lot, "/data/expires_on", "2026-02-28", "2026-02-31"),
        (lot, "/occurred_at", "2026-11-21T03:15:00.000000Z", "2026-11-21T03:15:00Z"),
        (lot, "/occurred_at", "2026-11-21T03:15:00.000000Z", "2026-13-21T03:15:00.000000Z"),
        ("lotline.refusals.suppressed.v1", "/data/actor", "ann", "ann b"),
        (signal, "/data/device", "press-1", "-press"),
        ("lotline.access.attempts_refused.v1", "/data/attempts/0/kind", "locked", "Locked"),
        ("lotline.access.trail_read.v1", "/data/operation", "query", "mutation"),
        ("lotline.pipeline.published.v1", "/data/definition_hash", &"0a".repeat(32), &"0A".repeat(32)),
    ] {
        assert!(with(name, path, good), "{name}: {good} at {path}");
        assert!(!with(name, path, bad), "{name}: {bad} at {path}");
    }
}

/// What a later version may bring passes under the schema of today.
#[test]
fn readers_of_today_can_live_with_what_may_come() {
    let validators = all();
    for (file, name, mut value) in fixtures() {
        value["data"]["added_later"] = json!({ "x": [1] });
        value["added_later"] = json!(true);
        assert!(valid(&validators[name.as_str()], &value), "{file}");
    }
    assert!(with("lotline.lot.registered.v1", "/data/quantity/unit", "CMT"));
    assert!(with("lotline.signal.declared.v1", "/data/address/protocol", "opc_ua"));
    assert!(with("lotline.access.signed_in.v1", "/data/method", "passkey"));
    assert!(with("lotline.access.attempts_refused.v1", "/data/attempts/0/kind", "rate_limited"));
}

/// The words used mean the same in both dialects, and a reference has nothing but a description beside it, which draft 07 passes over.
#[test]
fn no_keyword_divides_the_dialects() {
    const COMMON: [&str; 19] = [
        "$ref",
        "$schema",
        "additionalProperties",
        "const",
        "default",
        "description",
        "enum",
        "examples",
        "format",
        "items",
        "maximum",
        "minimum",
        "not",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];
    fn keywords(schema: &Value, at: &str) {
        let Some(words) = schema.as_object() else { return };
        for (word, value) in words {
            match word.as_str() {
                "properties" | "$defs" => {
                    value.as_object().unwrap().iter().for_each(|(name, schema)| keywords(schema, name));
                }
                "items" | "additionalProperties" | "not" => keywords(value, at),
                "oneOf" => value.as_array().unwrap().iter().for_each(|schema| keywords(schema, at)),
                _ => assert!(COMMON.contains(&word.as_str()), "{at}: {word}"),
            }
        }
        let alone = words.keys().all(|word| word == "$ref" || word == "description");
        assert!(!words.contains_key("$ref") || alone, "{at}: {schema}");
    }
    for (name, schema) in Event::value_schemas() {
        keywords(&schema, name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["title"], name);
    }
}
