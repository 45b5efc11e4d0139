//! One case per rule, and one per change that is fine.

use serde_json::{Value, json};

use super::*;

/// A released schema with one of everything.
fn released() -> Value {
    json!({
        "$defs": {
            "Size": { "type": "object", "required": ["value"], "properties": { "value": { "type": "string", "pattern": "^[0-9]+$" } } },
        },
        "type": "object", "required": ["code", "kind"],
        "properties": {
            "code": { "type": "string", "description": "Its code." },
            "kind": { "type": "string", "enum": ["raw", "waste"] },
            "count": { "type": "integer", "minimum": 1, "maximum": 9 },
            "sizes": { "type": "array", "items": { "$ref": "#/$defs/Size" } },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "closed": { "oneOf": [tagged("modbus")] },
            "open": { "oneOf": [tagged("modbus"), other(&["modbus"])] },
        },
    })
}

fn tagged(tag: &str) -> Value {
    json!({ "type": "object", "required": ["protocol"], "properties": { "protocol": { "type": "string", "const": tag } } })
}

fn other(known: &[&str]) -> Value {
    json!({ "type": "object", "properties": { "protocol": { "type": "string", "not": { "enum": known } } } })
}

/// What is found when the value at `pointer` becomes `value`.
fn changed(pointer: &str, value: Value) -> Vec<(String, Rule)> {
    let mut current = released();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer into the schema");
    let parent = current.pointer_mut(parent).and_then(Value::as_object_mut).expect("a place in the schema");
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    compare_event("a.b.v1", &released(), &current).into_iter().map(|change| (change.field, change.rule)).collect()
}

fn only(field: &str, rule: Rule) -> Vec<(String, Rule)> {
    vec![(field.to_owned(), rule)]
}

#[test]
fn a_removed_field_is_refused() {
    assert_eq!(changed("/properties/count", Value::Null), only("count", Rule::FieldRemoved));
}

#[test]
fn a_renamed_field_is_a_removed_one() {
    let mut current = released();
    let fields = current["properties"].as_object_mut().unwrap();
    let count = fields.remove("count").unwrap();
    fields.insert("number".into(), count);
    let breaks = compare_event("a.b.v1", &released(), &current);
    assert_eq!(breaks.len(), 1);
    assert_eq!(breaks[0].to_string(), "a.b.v1: count: the field was released and is gone (FieldRemoved)");
}

#[test]
fn a_changed_type_is_refused_at_any_depth() {
    assert_eq!(changed("/properties/code/type", json!("integer")), only("code", Rule::TypeChanged));
    assert_eq!(
        changed("/properties/labels/additionalProperties/type", json!("number")),
        only("labels.*", Rule::TypeChanged)
    );
    assert_eq!(changed("/$defs/Size/properties/value/type", json!("number")), only("sizes[].value", Rule::TypeChanged));
    assert_eq!(changed("/properties/labels/additionalProperties", Value::Null), only("labels", Rule::TypeChanged));
}

#[test]
fn a_newly_required_field_is_refused_whether_old_or_new() {
    assert_eq!(changed("/required", json!(["code", "kind", "count"])), only("count", Rule::NewlyRequired));
    let mut current = released();
    current["properties"]["fresh"] = json!({ "type": "string" });
    current["required"] = json!(["code", "kind", "fresh"]);
    let breaks = compare_event("a.b.v1", &released(), &current);
    assert_eq!(breaks.iter().map(|change| change.rule).collect::<Vec<_>>(), [Rule::NewlyRequired]);
}

#[test]
fn a_field_that_may_now_be_missing_is_refused() {
    assert_eq!(changed("/required", json!(["code"])), only("kind", Rule::NoLongerRequired));
}

#[test]
fn a_list_of_values_neither_shrinks_nor_grows() {
    assert_eq!(changed("/properties/kind/enum", json!(["raw"])), only("kind", Rule::EnumNarrowed));
    assert_eq!(changed("/properties/kind/enum", json!(["raw", "waste", "lost"])), only("kind", Rule::EnumWidened));
    assert_eq!(changed("/properties/code/enum", json!(["x"])), only("code", Rule::EnumNarrowed));
    assert_eq!(changed("/properties/kind/enum", Value::Null), only("kind", Rule::EnumWidened));
    assert_eq!(changed("/properties/kind/enum", json!(["waste", "raw"])), []);
}

#[test]
fn a_range_neither_shrinks_nor_grows() {
    assert_eq!(changed("/properties/count/minimum", json!(2)), only("count", Rule::RangeNarrowed));
    assert_eq!(changed("/properties/count/maximum", json!(8)), only("count", Rule::RangeNarrowed));
    assert_eq!(changed("/properties/code/maxLength", json!(64)), only("code", Rule::RangeNarrowed));
    assert_eq!(changed("/properties/count/minimum", json!(0)), only("count", Rule::RangeWidened));
    assert_eq!(changed("/properties/count/maximum", Value::Null), only("count", Rule::RangeWidened));
}

#[test]
fn another_pattern_or_format_is_refused() {
    assert_eq!(
        changed("/$defs/Size/properties/value/pattern", json!("^[0-9]$")),
        only("sizes[].value", Rule::PatternChanged)
    );
    assert_eq!(changed("/properties/code/format", json!("uuid")), only("code", Rule::PatternChanged));
}

#[test]
fn shapes_stay_and_come_only_where_the_released_list_was_open() {
    assert_eq!(
        changed("/properties/closed/oneOf", json!([tagged("opc_ua")])),
        [("closed".to_owned(), Rule::AlternativeRemoved), ("closed".to_owned(), Rule::AlternativeAdded),]
    );
    let more = json!([tagged("modbus"), tagged("opc_ua"), other(&["modbus", "opc_ua"])]);
    assert_eq!(changed("/properties/open/oneOf", more), []);
    let closed = json!([tagged("modbus"), tagged("opc_ua")]);
    assert_eq!(changed("/properties/open/oneOf", closed), only("open", Rule::AlternativeRemoved));
}

#[test]
fn a_keyword_that_is_not_known_is_refused() {
    assert_eq!(changed("/properties/code/contentEncoding", json!("base64")), only("code", Rule::KeywordChanged));
    assert_eq!(
        changed("/properties/sizes/items/$ref", json!("#/$defs/Nothing")).last(),
        only("sizes[]", Rule::KeywordChanged).last()
    );
}

#[test]
fn descriptions_names_of_definitions_and_optional_fields_may_change() {
    assert_eq!(changed("/properties/code/description", json!("The code.")), []);
    assert_eq!(changed("/properties/code/x-note", json!(1)), []);
    assert_eq!(changed("/properties/fresh", json!({ "type": "string" })), []);
    let text = released().to_string().replace("Size", "Extent");
    assert_eq!(compare_event("a.b.v1", &released(), &serde_json::from_str(&text).unwrap()), []);
}

#[test]
fn a_schema_that_contains_itself_ends() {
    let endless = json!({ "type": "object", "properties": { "a": { "$ref": "#" } } });
    assert_eq!(compare_event("a.b.v1", &endless, &endless).last().unwrap().rule, Rule::KeywordChanged);
}

fn formats(proto: &str) -> Formats {
    let proto = format!("syntax = \"proto3\";\npackage a.v1;\nmessage M {{ {proto} }}\n");
    Formats { events: BTreeMap::from([("a.b.v1".to_owned(), released())]), proto }
}

#[test]
fn a_removed_type_is_refused_and_a_new_one_is_fine() {
    let (mut before, now) = (formats(""), formats(""));
    before.events.insert("a.c.v1".to_owned(), released());
    let breaks = compare(&before, &now).unwrap();
    assert_eq!(breaks[0].to_string(), "a.c.v1: the whole: the type was released and is gone (TypeRemoved)");
    assert_eq!(compare(&now, &before).unwrap(), []);
}

#[test]
fn protobuf_fields_keep_name_number_and_type() {
    let found = |before: &str, now: &str| -> Vec<(String, Rule)> {
        let breaks = compare(&formats(before), &formats(now)).unwrap();
        breaks.into_iter().map(|change| (change.field, change.rule)).collect()
    };
    assert_eq!(found("string s = 1;", "string s = 1; uint32 n = 2;"), []);
    assert_eq!(found("string s = 1;", ""), only("M.s", Rule::FieldRemoved));
    assert_eq!(found("string s = 1;", "string t = 1;"), only("M.s", Rule::FieldRemoved));
    assert_eq!(found("string s = 1;", "string s = 2;"), only("M.s", Rule::NumberChanged));
    assert_eq!(found("sint64 n = 1;", "int64 n = 1;"), only("M.n", Rule::TypeChanged));
    assert_eq!(found("uint32 n = 1;", "repeated uint32 n = 1;"), only("M.n", Rule::TypeChanged));
    let mut other = formats("");
    other.proto = other.proto.replace("a.v1", "b.v1");
    assert_eq!(compare(&formats(""), &other).unwrap()[0].rule, Rule::TypeRemoved);
}
