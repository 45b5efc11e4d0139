//! Whether formats may follow those that were released.
//!
//! The log keeps every event for good, and its readers are not replaced together with Lotline. So a change must do in both directions: what
//! was written under the released schema holds under the new one, and what is written under the new one surprises nobody who knows the
//! released one only. What remains is short: other descriptions, a new type, a new optional field, a new alternative where the released
//! schema said that others may come. Everything else is refused, a keyword that this comparison does not know included.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::protobuf::{self, UnknownStatement};

/// The schemas of all events by type, and the Protobuf schema of batches.
#[derive(Debug, Clone)]
pub struct Formats {
    /// JSON Schemas.
    pub events: BTreeMap<String, Value>,
    /// Text of the `.proto` file.
    pub proto: String,
}

/// The rule that a change breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A released type is gone.
    TypeRemoved,
    /// A released field is gone; a renamed one is too.
    FieldRemoved,
    /// A field has another JSON or Protobuf type.
    TypeChanged,
    /// Events without the field, which were written, are no longer valid.
    NewlyRequired,
    /// Readers rely on the field, but it may be left out now.
    NoLongerRequired,
    /// Values that were written are no longer listed.
    EnumNarrowed,
    /// Values come that readers were told could not.
    EnumWidened,
    /// Values that were written are out of range.
    RangeNarrowed,
    /// Values come that readers were told were out of range.
    RangeWidened,
    /// A text follows another pattern or format.
    PatternChanged,
    /// One of several shapes is gone.
    AlternativeRemoved,
    /// A shape comes where readers were told the list was closed.
    AlternativeAdded,
    /// A Protobuf field has another number.
    NumberChanged,
    /// Something else in the schema, which is not known to do no harm.
    KeywordChanged,
}

/// A change that readers of the released format could not live with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The event type, or the Protobuf package.
    pub format: String,
    /// Where in the value, such as `data.parents[].quantity`; empty for the whole.
    pub field: String,
    /// What it breaks.
    pub rule: Rule,
    /// From what to what.
    pub detail: String,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "the whole" } else { &self.field };
        write!(f, "{}: {field}: {} ({:?})", self.format, self.detail, self.rule)
    }
}

/// All changes from `released` to `current` that break a rule.
///
/// # Errors
/// A Protobuf schema that can't be read.
pub fn compare(released: &Formats, current: &Formats) -> Result<Vec<Break>, UnknownStatement> {
    let mut breaks = Vec::new();
    for (name, schema) in &released.events {
        match current.events.get(name) {
            None => breaks.push(Break {
                format: name.clone(),
                field: String::new(),
                rule: Rule::TypeRemoved,
                detail: "the type was released and is gone".to_owned(),
            }),
            Some(now) => breaks.extend(compare_event(name, schema, now)),
        }
    }
    breaks.extend(compare_proto(&released.proto, &current.proto)?);
    Ok(breaks)
}

/// Changes of the schema of one event type that break a rule.
pub fn compare_event(name: &str, released: &Value, current: &Value) -> Vec<Break> {
    let mut walk = Walk { format: name, released, current, breaks: Vec::new() };
    walk.schemas("", released, current);
    walk.breaks
}

fn compare_proto(released: &str, current: &str) -> Result<Vec<Break>, UnknownStatement> {
    let (package, before) = protobuf::read(released)?;
    let (package_now, now) = protobuf::read(current)?;
    let mut breaks = Vec::new();
    let mut add = |field: &str, rule, detail| {
        breaks.push(Break { format: package.clone(), field: field.to_owned(), rule, detail });
    };
    if package != package_now {
        add("", Rule::TypeRemoved, format!("the package is now '{package_now}'"));
    }
    for (name, field) in &before {
        let Some(field_now) = now.get(name) else {
            add(name, Rule::FieldRemoved, format!("field {} was released and is gone", field.number));
            continue;
        };
        if field.number != field_now.number {
            add(name, Rule::NumberChanged, format!("number {} became {}", field.number, field_now.number));
        }
        if (field.repeated, &field.kind) != (field_now.repeated, &field_now.kind) {
            let shown =
                |field: &protobuf::Field| format!("{}{}", if field.repeated { "repeated " } else { "" }, field.kind);
            add(name, Rule::TypeChanged, format!("type {} became {}", shown(field), shown(field_now)));
        }
    }
    Ok(breaks)
}

/// Keywords that say nothing about which values are valid. `x-…` are such too.
const SILENT: [&str; 7] = ["$schema", "$defs", "$comment", "title", "description", "examples", "default"];
/// Limits from below: a larger one narrows.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
/// Limits from above: a smaller one narrows.
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];

/// Deepest nesting that is followed; only a schema that contains itself goes further.
const DEEPEST: usize = 64;

struct Walk<'a> {
    format: &'a str,
    released: &'a Value,
    current: &'a Value,
    breaks: Vec<Break>,
}

impl Walk<'_> {
    fn add(&mut self, field: &str, rule: Rule, detail: String) {
        self.breaks.push(Break { format: self.format.to_owned(), field: field.to_owned(), rule, detail });
    }

    fn schemas(&mut self, field: &str, before: &Value, now: &Value) {
        if field.matches(['.', '[']).count() > DEEPEST {
            self.add(field, Rule::KeywordChanged, "the schema is nested too deep to be compared".to_owned());
            return;
        }
        let (before, now) = (resolve(self.released, before), resolve(self.current, now));
        self.types(field, &before, &now);
        self.lists(field, &before, &now);
        self.ranges(field, &before, &now);
        for keyword in ["pattern", "format"] {
            if before.get(keyword) != now.get(keyword) {
                let detail = format!("{keyword} {} became {}", shown(before.get(keyword)), shown(now.get(keyword)));
                self.add(field, Rule::PatternChanged, detail);
            }
        }
        self.fields(field, &before, &now);
        for (keyword, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
            match (before.get(keyword), now.get(keyword)) {
                (Some(before), Some(now)) => self.schemas(&format!("{field}{suffix}"), before, now),
                (None, None) => {}
                (before, now) => {
                    let detail = format!("{keyword} {} became {}", shown(before), shown(now));
                    self.add(field, Rule::TypeChanged, detail);
                }
            }
        }
        for keyword in ["oneOf", "anyOf"] {
            self.alternatives(field, keyword, &before, &now);
        }
        self.others(field, &before, &now);
    }

    fn types(&mut self, field: &str, before: &Map<String, Value>, now: &Map<String, Value>) {
        if before.get("type") != now.get("type") {
            let detail = format!("type {} became {}", shown(before.get("type")), shown(now.get("type")));
            self.add(field, Rule::TypeChanged, detail);
        }
    }

    /// `enum`, and `const` as an enum of one.
    fn lists(&mut self, field: &str, before: &Map<String, Value>, now: &Map<String, Value>) {
        let (before, now) = (listed(before), listed(now));
        match (before, now) {
            (None, None) => {}
            (None, Some(_)) => self.add(field, Rule::EnumNarrowed, "any value became a list of values".to_owned()),
            (Some(_), None) => self.add(field, Rule::EnumWidened, "a list of values became any value".to_owned()),
            (Some(before), Some(now)) => {
                for value in before.difference(&now) {
                    self.add(field, Rule::EnumNarrowed, format!("value {value} is gone"));
                }
                for value in now.difference(&before) {
                    self.add(
                        field,
                        Rule::EnumWidened,
                        format!("value {value} is new to readers of the released schema"),
                    );
                }
            }
        }
    }

    fn ranges(&mut self, field: &str, before: &Map<String, Value>, now: &Map<String, Value>) {
        for keyword in LOWER.into_iter().chain(UPPER) {
            let (before, now) = (before.get(keyword), now.get(keyword));
            if before == now {
                continue;
            }
            let number = |limit: Option<&Value>| limit.and_then(Value::as_f64);
            let narrowed = match (number(before), number(now)) {
                (Some(before), Some(now)) => (now > before) == LOWER.contains(&keyword),
                (before, _) => before.is_none(),
            };
            let rule = if narrowed { Rule::RangeNarrowed } else { Rule::RangeWidened };
            self.add(field, rule, format!("{keyword} {} became {}", shown(before), shown(now)));
        }
    }

    fn fields(&mut self, field: &str, before: &Map<String, Value>, now: &Map<String, Value>) {
        let (fields_before, fields_now) = (properties(before), properties(now));
        let (required_before, required_now) = (required(before), required(now));
        for (name, schema) in &fields_before {
            let path = join(field, name);
            match fields_now.get(name) {
                None => self.add(&path, Rule::FieldRemoved, "the field was released and is gone".to_owned()),
                Some(schema_now) => self.schemas(&path, schema, schema_now),
            }
        }
        for name in required_now.difference(&required_before) {
            self.add(&join(field, name), Rule::NewlyRequired, "the field is required and was not".to_owned());
        }
        for name in required_before.difference(&required_now).filter(|name| fields_now.contains_key(*name)) {
            self.add(&join(field, name), Rule::NoLongerRequired, "the field was required and is not".to_owned());
        }
    }

    fn alternatives(&mut self, field: &str, keyword: &str, before: &Map<String, Value>, now: &Map<String, Value>) {
        let (before, now) = (labelled(before.get(keyword)), labelled(now.get(keyword)));
        let open = before.contains_key(OPEN);
        for (label, schema) in &before {
            match now.get(label) {
                None => self.add(field, Rule::AlternativeRemoved, format!("the shape '{label}' is gone")),
                Some(_) if label == OPEN => {}
                Some(schema_now) => self.schemas(field, schema, schema_now),
            }
        }
        for label in now.keys().filter(|label| !before.contains_key(*label) && !open) {
            self.add(
                field,
                Rule::AlternativeAdded,
                format!("the shape '{label}' is new to readers of the released schema"),
            );
        }
    }

    fn others(&mut self, field: &str, before: &Map<String, Value>, now: &Map<String, Value>) {
        const COMPARED: [&str; 11] = [
            "type",
            "enum",
            "const",
            "pattern",
            "format",
            "properties",
            "required",
            "items",
            "additionalProperties",
            "oneOf",
            "anyOf",
        ];
        let keywords: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        for keyword in keywords {
            let name = keyword.as_str();
            let known = [&COMPARED[..], &SILENT, &LOWER, &UPPER].iter().any(|list| list.contains(&name))
                || name.starts_with("x-");
            if !known && before.get(keyword) != now.get(keyword) {
                let detail = format!("{keyword} {} became {}", shown(before.get(keyword)), shown(now.get(keyword)));
                self.add(field, Rule::KeywordChanged, detail);
            }
        }
    }
}

/// The schema with its reference followed; words beside `$ref` win over those behind it. `true` and `false` become their long forms.
fn resolve(root: &Value, schema: &Value) -> Map<String, Value> {
    let mut own = match schema {
        Value::Object(own) => own.clone(),
        Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
        _ => Map::new(),
    };
    let Some(Value::String(path)) = own.remove("$ref") else { return own };
    // A reference that leads nowhere stays, and so shows as a changed keyword.
    let Some(target) = path.strip_prefix('#').and_then(|path| root.pointer(path)) else {
        own.insert("$ref".to_owned(), Value::String(path));
        return own;
    };
    let mut merged = resolve(root, target);
    merged.extend(own);
    merged
}

/// The label of an alternative that stands for all that may come.
const OPEN: &str = "…";

/// Alternatives by what tells them apart: the first constant among their fields, else their place. One that excludes constants is open.
fn labelled(alternatives: Option<&Value>) -> BTreeMap<String, Value> {
    let Some(Value::Array(alternatives)) = alternatives else { return BTreeMap::new() };
    let label = |place: usize, schema: &Value| {
        let fields = schema.get("properties").and_then(Value::as_object);
        let constant =
            fields.into_iter().flatten().find_map(|(name, field)| Some(format!("{name}={}", field.get("const")?)));
        let open = fields.into_iter().flatten().any(|(_, field)| field.get("not").is_some());
        if open { OPEN.to_owned() } else { constant.unwrap_or_else(|| place.to_string()) }
    };
    alternatives.iter().enumerate().map(|(place, schema)| (label(place, schema), schema.clone())).collect()
}

fn listed(schema: &Map<String, Value>) -> Option<BTreeSet<String>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.iter().map(Value::to_string).collect()),
        (_, Some(value)) => Some(BTreeSet::from([value.to_string()])),
        _ => None,
    }
}

fn properties(schema: &Map<String, Value>) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn required(schema: &Map<String, Value>) -> BTreeSet<String> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn join(field: &str, name: &str) -> String {
    if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string().chars().take(120).collect())
}

#[cfg(test)]
mod tests;
