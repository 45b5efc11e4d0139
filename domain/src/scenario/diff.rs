//! How two definitions differ: what was added, removed and changed, by the keys under which people know things. Order does not count.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Definition;

/// One thing that is not in both, or not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which thing, such as `gates/intake/limits/pH`.
    pub path: String,
    /// How it differs.
    pub kind: DifferenceKind,
}

/// How a thing differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It is in the second only, like this.
    Added(Value),
    /// It is in the first only, like this.
    Removed(Value),
    /// It is in both, with other values in these fields.
    Changed(Vec<FieldChange>),
}

/// A field with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Name of the field.
    pub field: String,
    /// In the first; nothing when it is absent there.
    pub before: Option<Value>,
    /// In the second.
    pub after: Option<Value>,
}

/// Lists of things with a name of their own, and the field that has it. To add one: a line here.
const KEYED: &[(&str, &str)] =
    &[("streams", "key"), ("phases", "number"), ("gates", "key"), ("checklist", "key"), ("limits", "name")];

/// What is different in `after`, in the order of paths.
pub fn between(before: &Definition, after: &Definition) -> Vec<Difference> {
    let mut found = Vec::new();
    things("", &object(before), &object(after), &mut found);
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn object(definition: &Definition) -> Map<String, Value> {
    match serde_json::to_value(definition) {
        Ok(Value::Object(object)) => object,
        other => unreachable!("invariant: a definition is an object, not {other:?}"),
    }
}

/// Compares two forms of the thing at `path`.
fn things(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Difference>) {
    let mut changes = Vec::new();
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for field in fields {
        let (old, new) = (before.get(field), after.get(field));
        if let Some((_, key)) = KEYED.iter().find(|(list, _)| list == field) {
            lists(&join(path, field), &by_key(old, key), &by_key(new, key), found);
        } else if old != new {
            changes.push(FieldChange { field: field.clone(), before: old.cloned(), after: new.cloned() });
        }
    }
    if !changes.is_empty() {
        found.push(Difference { path: path.to_owned(), kind: DifferenceKind::Changed(changes) });
    }
}

fn lists(path: &str, before: &BTreeMap<String, &Value>, after: &BTreeMap<String, &Value>, found: &mut Vec<Difference>) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = join(path, key);
        match (before.get(key), after.get(key)) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => things(&path, old, new, found),
            (Some(old), None) => found.push(Difference { path, kind: DifferenceKind::Removed((*old).clone()) }),
            (None, Some(new)) => found.push(Difference { path, kind: DifferenceKind::Added((*new).clone()) }),
            _ => {}
        }
    }
}

fn by_key<'a>(list: Option<&'a Value>, key: &str) -> BTreeMap<String, &'a Value> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    let name = |item: &Value| match &item[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    items.map(|item| (name(item), item)).collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}
