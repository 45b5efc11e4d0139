//! What is in git is what the types give now, and it does not break what was released.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use lotline_domain::event::EVENT_TYPES;
use lotline_infra::formats::{self, PROTO_FILE, compatibility};
use lotline_tests::server;
use serde_json::Value;

use crate::root;

/// Files below a folder, by their path from it; not those of the released formats.
fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("released") {
                folders.push(path);
            } else if path.is_file() {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn the_files_in_git_are_those_of_the_types() {
    let folder = root("domain/schema");
    let mut expected = formats::files();
    // This one is in domain/proto, written by hand; the binary carries it as it is.
    let proto = expected.remove(PROTO_FILE).expect("the Protobuf schema is among the formats");
    assert_eq!(proto, std::fs::read_to_string(root("domain/proto").join(PROTO_FILE)).unwrap());
    let renew = std::env::var_os("UPDATE_SCHEMA").is_some();
    let mut stale = Vec::new();
    for (name, text) in &expected {
        let path = folder.join(name);
        if renew {
            std::fs::write(&path, text).unwrap();
        }
        if std::fs::read(&path).unwrap_or_default() != text.as_bytes() {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "{stale:?} in domain/schema are stale: `make formats` renews them");
    assert_eq!(files_below(&folder), expected.into_keys().collect::<BTreeSet<_>>(), "a file nobody makes any more");
}

#[test]
fn nothing_breaks_what_was_released() {
    let released = formats::read(&root("domain/schema/released")).unwrap();
    let breaks = compatibility::compare(&released, &formats::current()).unwrap();
    let shown: Vec<String> = breaks.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "released formats are broken:\n{}", shown.join("\n"));
    let known = released.events.keys().filter(|name| EVENT_TYPES.contains(&name.as_str())).count();
    assert!(known >= 9, "the nine types of the first release were found, not {known}");
}

/// So that the comparison is known to see the real schemas and not only those of its own tests.
#[test]
fn a_break_in_any_released_event_is_seen() {
    let released = formats::read(&root("domain/schema/released")).unwrap();
    for name in released.events.keys() {
        let mut broken = formats::current();
        let schema = broken.events.get_mut(name).expect("a released type is still there");
        let data = schema["properties"]["data"]["$ref"].as_str().unwrap()[1..].to_owned();
        let data = schema.pointer_mut(&data).unwrap();
        let field = data["required"][0].as_str().unwrap().to_owned();
        data["properties"].as_object_mut().unwrap().remove(&field);
        data["required"].as_array_mut().unwrap().remove(0);
        let breaks = compatibility::compare(&released, &broken).unwrap();
        assert_eq!(breaks.len(), 1, "{name}: {breaks:?}");
        let expected = format!("{name}: data.{field}: the field was released and is gone (FieldRemoved)");
        assert_eq!(breaks[0].to_string(), expected);
    }
}

fn lotline(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(server::binary());
    command.arg("formats").args(arguments).current_dir(folder).output().expect("the binary starts")
}

#[test]
fn the_command_writes_checks_and_releases() {
    let folder = std::env::temp_dir().join(lotline_tests::stack::unique("formats"));
    std::fs::create_dir_all(&folder).unwrap();
    let output = lotline(&["--out", "all"], &folder);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(files_below(&folder.join("all")), formats::files().into_keys().collect());
    assert!(lotline(&["check", "--against", "all"], &folder).status.success());
    assert!(lotline(&["release", "--to", "kept"], &folder).status.success());
    assert_eq!(files_below(&folder.join("kept")), formats::contracts().into_keys().collect());

    let path = folder.join("kept/events/lotline.lot.registered.v1.json");
    let mut schema: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    schema["$defs"]["LotRegistered"]["properties"]["colour"] = serde_json::json!({ "type": "string" });
    std::fs::write(&path, schema.to_string()).unwrap();
    for arguments in [["check", "--against", "kept"], ["release", "--to", "kept"]] {
        let output = lotline(&arguments, &folder);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("lotline.lot.registered.v1: data.colour: the field was released and is gone"), "{said}");
    }
    assert!(std::fs::read_to_string(&path).unwrap().contains("colour"), "a refused release writes nothing");
    assert!(!lotline(&["check", "--against", "nowhere"], &folder).status.success());
    std::fs::remove_dir_all(&folder).unwrap();
}
