//! The table has every root field of the schema and no other, and demands are read whatever the operation looks like.

use std::collections::BTreeSet;
use std::fmt::Write;

use async_graphql::Request;

use super::*;
use crate::schema::sdl;

/// Root fields as the schema definition has them.
fn in_schema() -> BTreeSet<(String, String)> {
    let document = async_graphql::parser::parse_schema(sdl()).unwrap();
    let mut found = BTreeSet::new();
    for definition in &document.definitions {
        let async_graphql::parser::types::TypeSystemDefinition::Type(definition) = definition else { continue };
        let name = definition.node.name.node.as_str();
        let async_graphql::parser::types::TypeKind::Object(object) = &definition.node.kind else { continue };
        if ["Query", "Mutation", "Subscription"].contains(&name) {
            found.extend(object.fields.iter().map(|field| (name.to_lowercase(), field.node.name.node.to_string())));
        }
    }
    found
}

fn read(query: &str, variables: serde_json::Value) -> Vec<Need> {
    let mut request = Request::new(query).variables(Variables::from_json(variables));
    let variables = request.variables.clone();
    let document = request.parsed_query().unwrap();
    let (_, operation) = document.operations.iter().next().unwrap();
    demands(document, &operation.node, &variables).into_iter().map(|demand| demand.need).collect()
}

fn north() -> SiteId {
    SiteId::new("north").unwrap()
}

#[test]
fn every_root_field_is_in_the_table_once_and_nothing_else_is() {
    let listed: Vec<(String, String)> = TABLE
        .iter()
        .filter(|(_, field, _)| !field.starts_with("__"))
        .map(|(root, field, _)| (root.as_str().to_owned(), (*field).to_owned()))
        .collect();
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "a field stands twice");
    assert_eq!(unique, in_schema());
}

#[test]
fn a_field_that_is_not_in_the_table_is_refused() {
    assert_eq!(read("{ secrets }", serde_json::json!({})), [Need::Unlisted]);
    let demand = Demand { field: "secrets".to_owned(), need: Need::Unlisted };
    assert!(demand.check(&AccessState::default(), Actor::System, Timestamp::from_millis(0)).is_err());
    assert_eq!(read("subscription { lots }", serde_json::json!({})), [Need::Unlisted], "tables are by root");
}

#[test]
fn a_site_is_found_wherever_it_stands() {
    let at_north = [Need::Permission(Permission::LookUp, Some(north()))];
    let everywhere = [Need::Permission(Permission::LookUp, None)];
    let somewhere = [Need::Somewhere(Permission::LookUp)];
    for (query, variables, expected) in [
        ("{ lots(site: \"north\", first: 1) { a } }", serde_json::json!({}), &at_north),
        ("query($s: String) { lots(site: $s) { a } }", serde_json::json!({ "s": "north" }), &at_north),
        ("query($s: String = \"north\") { lots(site: $s) { a } }", serde_json::json!({}), &at_north),
        ("{ other: lots(site: \"north\") { a } }", serde_json::json!({}), &at_north),
        (
            "{ ...F } fragment F on Query { ... on Query { lots(site: \"north\") { a } } }",
            serde_json::json!({}),
            &at_north,
        ),
        ("{ lots { a } }", serde_json::json!({}), &somewhere),
        ("{ lots(site: null) { a } }", serde_json::json!({}), &somewhere),
        ("query($s: String) { lots(site: $s) { a } }", serde_json::json!({}), &somewhere),
        ("query($s: String = \"north\") { lots(site: $s) { a } }", serde_json::json!({ "s": null }), &somewhere),
        ("{ lots(site: \"north\", site: \"south\") { a } }", serde_json::json!({}), &somewhere),
        ("{ lots(site: \"A b\") { a } }", serde_json::json!({}), &everywhere),
        ("{ lots(site: 7) { a } }", serde_json::json!({}), &everywhere),
        ("{ lot(id: \"x\") { a } }", serde_json::json!({}), &somewhere),
        ("{ lot(site: \"north\", id: \"x\") { a } }", serde_json::json!({}), &at_north),
    ] {
        assert_eq!(read(query, variables), *expected, "{query}");
    }
    let validate = |site| [Need::Permission(Permission::Validate, site)];
    let query = "query($f: AuditFilterInput) { auditTrail(filter: $f) { a } }";
    assert_eq!(read(query, serde_json::json!({ "f": { "stream": "north" } })), validate(Some(north())));
    assert_eq!(read(query, serde_json::json!({ "f": { "stream": "_tenant" } })), validate(None));
    assert_eq!(read(query, serde_json::json!({})), validate(None));
}

#[test]
fn an_id_is_asked_for_as_what_it_names() {
    use lotline_projections::signals::SignalKey;
    use uuid::Uuid;
    let event = NodeId::AuditEntry(Uuid::nil()).encode();
    let signal = NodeId::Signal(SignalKey { site: "north".to_owned(), number: 1 }).encode();
    let validate = Need::Permission(Permission::Validate, None);
    let query = "query($i: ID!) { node(id: $i) { id } }";
    assert_eq!(read(query, serde_json::json!({ "i": event.as_str() })), std::slice::from_ref(&validate));
    let many = "query($i: [ID!]!) { nodes(ids: $i) { id } }";
    let both = read(many, serde_json::json!({ "i": [signal.as_str(), event.as_str()] }));
    assert_eq!(both, [Need::Permission(Permission::LookUp, Some(north())), validate]);
    assert_eq!(read(query, serde_json::json!({ "i": "x" })), [Need::Permission(Permission::LookUp, None)]);
    let one = read("query($i: [ID!]!) { signalLatest(ids: $i) { a } }", serde_json::json!({ "i": signal.as_str() }));
    assert_eq!(one, [Need::Permission(Permission::LookUp, Some(north()))], "one id stands for a list of one");
}

/// The tables of SECURITY.md.
fn tables() -> String {
    use lotline_domain::access::role::{GRANTS, Role, RoleSet};
    let mut text = String::from("| role |");
    for permission in Permission::ALL {
        write!(text, " {permission} |").unwrap();
    }
    let columns = ":-:|".repeat(Permission::ALL.len());
    writeln!(text, "\n|---|{columns}").unwrap();
    for (role, granted) in GRANTS {
        write!(text, "| {role} |").unwrap();
        for permission in Permission::ALL {
            text.push_str(if granted.has(permission) { " yes |" } else { " |" });
        }
        text.push('\n');
    }
    text.push_str("\n| field | takes | roles |\n|---|---|---|\n");
    for (root, field, rule) in TABLE {
        let (takes, permission) = match rule {
            Rule::Admitted => ("to have come in".to_owned(), None),
            Rule::AtSite(permission) => (format!("{permission} at its site; without one, narrowed"), Some(permission)),
            Rule::AtStream(permission) => (format!("{permission} at its site"), Some(permission)),
            Rule::ByGrant => {
                let takes = "LOOK_UP everywhere; with VIEW on some pipelines, narrowed";
                (takes.to_owned(), Some(&Permission::LookUp))
            }
            Rule::Everywhere(permission) => (format!("{permission} everywhere"), Some(permission)),
            Rule::ById => (
                "LOOK_UP at its site, VIEW on a pipeline; VALIDATE everywhere for an event".to_owned(),
                Some(&Permission::LookUp),
            ),
            Rule::Command(permission) => (format!("{permission}, judged by the writer"), Some(permission)),
        };
        let granted = |role: &Role| permission.is_none_or(|permission| RoleSet::of(&[*role]).grants(*permission));
        let roles: Vec<&str> = Role::ALL.iter().filter(|role| granted(role)).map(|role| role.as_str()).collect();
        let roles = if roles.len() == Role::ALL.len() { "all".to_owned() } else { roles.join(", ") };
        writeln!(text, "| {} `{field}` | {takes} | {roles} |", root.as_str()).unwrap();
    }
    text
}

#[test]
fn the_tables_of_the_security_page_are_those_of_the_code() {
    const BEGIN: &str = "<!-- made from the code: begin -->\n";
    const END: &str = "<!-- made from the code: end -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (shown, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{}{END}{tail}", tables())).unwrap();
    } else {
        assert_eq!(shown, tables(), "run UPDATE_SCHEMA=1 cargo test --workspace --lib security");
    }
}
