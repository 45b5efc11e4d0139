//! Measures a parsed document with its fragments put in place: depth, number of fields, cycles, and nested introspection lists.
//!
//! Each fragment is measured once and remembered, so the work is linear in the document however often fragments spread each other.
//! Later stages walk fragments in place; the count made here bounds what they do.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{Pos, Positioned};

use super::Rejected;
use crate::config::Limits;

/// Lists of introspection that lead back to types. One within another gives the whole schema per type; three give its cube.
const INTROSPECTION_LISTS: [&str; 4] = ["fields", "inputFields", "interfaces", "possibleTypes"];
/// How often such lists may nest. Tools need one level.
const MAX_INTROSPECTION_NESTING: usize = 2;

/// Deepest nesting of selection sets and fragments within each other, introspection included: later stages recurse on it.
pub const MAX_LEVELS: usize = 48;

/// What a selection set comes to.
#[derive(Debug, Clone, Copy, Default)]
struct Measure {
    /// Fields, with fragments in place.
    fields: usize,
    /// Levels of fields, without introspection.
    depth: usize,
    /// Levels of introspection lists within each other.
    lists: usize,
    /// Levels of anything.
    levels: usize,
}

struct Walk<'a> {
    document: &'a ExecutableDocument,
    /// Measured fragments; `None` while being measured.
    fragments: HashMap<&'a str, Option<Measure>>,
    /// Whether introspection is accepted.
    introspection: bool,
    /// How deep the walk itself is.
    level: usize,
}

/// Checks a parsed document.
///
/// # Errors
/// The first limit that is broken.
pub fn check(document: &ExecutableDocument, limits: &Limits) -> Result<(), Rejected> {
    let mut walk = Walk { document, fragments: HashMap::new(), introspection: limits.introspection, level: 0 };
    for (name, fragment) in &document.fragments {
        walk.fragment(name, fragment.pos)?;
    }
    for (_, operation) in document.operations.iter() {
        let measure = walk.selections(&operation.node.selection_set)?;
        let counts = [
            (measure.depth, limits.depth, "NESTED_TOO_DEEP", "levels of fields"),
            (measure.fields, limits.selections, "TOO_MANY_FIELDS", "fields, counting fragments where they are spread"),
            (measure.lists, MAX_INTROSPECTION_NESTING, "INTROSPECTION_TOO_DEEP", "levels of introspection lists"),
            (measure.levels, MAX_LEVELS, "NESTED_TOO_DEEP", "levels of fields and fragments"),
        ];
        for (count, most, code, what) in counts {
            if count > most {
                let message = format!("the operation has {count} {what}; at most {most} are accepted");
                return Err(Rejected { code, message, position: Some(operation.pos) });
            }
        }
    }
    Ok(())
}

impl<'a> Walk<'a> {
    fn selections(&mut self, set: &'a Positioned<SelectionSet>) -> Result<Measure, Rejected> {
        if self.level >= MAX_LEVELS {
            let message = format!("the document has more than {MAX_LEVELS} levels of fields and fragments");
            return Err(Rejected { code: "NESTED_TOO_DEEP", message, position: Some(set.pos) });
        }
        self.level += 1;
        let total = self.sum(set);
        self.level -= 1;
        total
    }

    fn sum(&mut self, set: &'a Positioned<SelectionSet>) -> Result<Measure, Rejected> {
        let mut total = Measure::default();
        for selection in &set.node.items {
            let part = match &selection.node {
                Selection::Field(field) => {
                    let inner = self.selections(&field.node.selection_set)?;
                    let name = field.node.name.node.as_str();
                    let list = usize::from(INTROSPECTION_LISTS.contains(&name));
                    let introspection = matches!(name, "__schema" | "__type");
                    if introspection && !self.introspection {
                        let message = "this server does not show its schema by introspection".to_owned();
                        return Err(Rejected { code: "INTROSPECTION_OFF", message, position: Some(field.pos) });
                    }
                    let depth = if introspection { 0 } else { inner.depth + 1 };
                    Measure { fields: inner.fields.saturating_add(1), depth, lists: inner.lists + list, ..inner }
                }
                Selection::InlineFragment(fragment) => self.selections(&fragment.node.selection_set)?,
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    self.fragment(name, spread.pos)?
                }
            };
            total.fields = total.fields.saturating_add(part.fields);
            total.depth = total.depth.max(part.depth);
            total.lists = total.lists.max(part.lists);
            total.levels = total.levels.max(part.levels + 1);
        }
        Ok(total)
    }

    fn fragment(&mut self, name: &'a str, spread: Pos) -> Result<Measure, Rejected> {
        match self.fragments.get(name) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => {
                let message = format!("fragment '{name}' spreads itself");
                return Err(Rejected { code: "FRAGMENT_CYCLE", message, position: Some(spread) });
            }
            None => {}
        }
        // A fragment that does not exist is for validation to name.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Measure::default()) };
        self.fragments.insert(name, None);
        let measure = self.selections(&fragment.node.selection_set)?;
        self.fragments.insert(name, Some(measure));
        Ok(measure)
    }
}
