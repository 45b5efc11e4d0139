//! What nested fields read is known of every one of them, so that `consistentWith` waits for all that an answer shows.

use std::collections::BTreeSet;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};

use super::NESTED;

const ROOTS: [&str; 3] = ["Query", "Mutation", "Subscription"];

fn base(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => base(inner),
    }
}

/// Pages are made from the rows of their list, whose root field names its model itself.
fn is_page(of: &str, composite: &BTreeSet<String>) -> bool {
    let of_page = |node: &str| composite.contains(&format!("{node}Connection"));
    of.ends_with("Connection") || of.strip_suffix("Edge").is_some_and(of_page)
}

/// `(type, field)` of fields.
type Fields = BTreeSet<(String, String)>;

/// Every field below the roots whose value has fields itself, and every field.
fn nested() -> (Fields, Fields) {
    let document = parse_schema(crate::schema::sdl()).expect("the schema's own text parses");
    let types: Vec<_> = document
        .definitions
        .into_iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        })
        .collect();
    let composite: BTreeSet<String> = types
        .iter()
        .filter(|found| matches!(found.kind, TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_)))
        .map(|found| found.name.node.to_string())
        .collect();
    let (mut found, mut all) = (Fields::new(), Fields::new());
    for owner in &types {
        let name = owner.name.node.as_str();
        let TypeKind::Object(object) = &owner.kind else { continue };
        if ROOTS.contains(&name) || is_page(name, &composite) {
            continue;
        }
        for field in &object.fields {
            let key = (name.to_owned(), field.node.name.node.to_string());
            if composite.contains(base(&field.node.ty.node)) {
                found.insert(key.clone());
            }
            all.insert(key);
        }
    }
    (found, all)
}

#[test]
fn every_nested_field_says_what_it_reads() {
    let (nested, all) = nested();
    assert!(nested.len() > 10, "the schema was walked: {nested:?}");
    let known: Fields = NESTED.iter().map(|(owner, field, _)| ((*owner).to_owned(), (*field).to_owned())).collect();
    assert_eq!(known.len(), NESTED.len(), "a field stands twice in NESTED");
    let missing: Vec<_> = nested.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "say in NESTED of api/src/schema/scope.rs which read models these fields read: {missing:?}"
    );
    // A plain value may be read from another model too.
    let stale: Vec<_> = known.difference(&all).collect();
    assert!(stale.is_empty(), "NESTED names fields that the schema does not have: {stale:?}");
}
