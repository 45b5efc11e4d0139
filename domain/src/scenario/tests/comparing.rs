//! How two versions differ.

use serde_json::json;

use super::*;
use crate::scenario::diff::{Difference, DifferenceKind, FieldChange, between};

fn diff(before: &DefinitionInput, after: &DefinitionInput) -> Vec<Difference> {
    between(&before.parse().unwrap(), &after.parse().unwrap())
}

#[test]
fn things_are_added_removed_and_changed_under_their_own_keys() {
    let mut after = small();
    after.streams[0].name = "Raw milk".to_owned();
    after.phases.push(phase(20));
    after.phases.remove(1);
    after.gates[0].blocking = false;
    after.gates[0].checklist.push(item("labelled"));
    after.gates[0].limits = vec![limit("core", Some("72"), None), limit("pH", Some("6"), None)];
    let changed = |path: &str, fields: Vec<(&str, Option<serde_json::Value>, Option<serde_json::Value>)>| Difference {
        path: path.to_owned(),
        kind: DifferenceKind::Changed(
            fields
                .into_iter()
                .map(|(field, before, after)| FieldChange { field: field.to_owned(), before, after })
                .collect(),
        ),
    };
    let added = |path: &str, value| Difference { path: path.to_owned(), kind: DifferenceKind::Added(value) };
    let removed = |path: &str, value| Difference { path: path.to_owned(), kind: DifferenceKind::Removed(value) };
    let new_phase = json!({ "number": 20, "name": "Step 20", "stream": "milk" });
    let old_phase = json!({ "number": 1, "name": "Step 1", "stream": "milk" });
    let labelled = json!({ "key": "labelled", "question": "Sealed?", "answer": "yes_no", "required": true });
    assert_eq!(
        diff(&small(), &after),
        [
            changed("gates/heat", vec![("blocking", Some(json!(true)), Some(json!(false)))]),
            added("gates/heat/checklist/labelled", labelled),
            changed("gates/heat/limits/core", vec![("high", Some(json!("75.5")), None)]),
            added("gates/heat/limits/pH", json!({ "name": "pH", "unit": "Cel", "low": "6" })),
            removed("phases/1", old_phase),
            added("phases/20", new_phase),
            changed("streams/milk", vec![("name", Some(json!("Milk")), Some(json!("Raw milk")))]),
        ]
    );
}

#[test]
fn the_order_does_not_count_and_the_same_is_no_difference() {
    let mut after = small();
    after.phases.reverse();
    assert_eq!(diff(&small(), &after), []);
    let back = DefinitionInput { gates: vec![], ..small() };
    let forth: Vec<_> = diff(&small(), &back).into_iter().map(|difference| difference.path).collect();
    assert_eq!(forth, ["gates/heat"], "what is gone is named once, with all that is in it");
}
