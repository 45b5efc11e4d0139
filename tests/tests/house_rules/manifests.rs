//! Who may import whom, and where versions stand: read from the manifests.

use toml::{Table, Value};

use crate::File;

/// Each member and the members that it may use. What a member does not use, it can't come to depend on by accident.
pub(crate) const ARROWS: [(&str, &[&str]); 7] = [
    ("domain", &[]),
    ("commands", &["domain"]),
    ("projections", &["domain"]),
    ("adapters", &["domain"]),
    ("api", &["domain", "commands", "projections"]),
    ("infra", &["domain", "commands", "projections", "adapters", "api"]),
    ("tests", &["domain", "commands", "projections", "adapters", "api", "infra"]),
];

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(crate) fn members(workspace: &str) -> Vec<String> {
    let manifest: Table = workspace.parse().expect("the root manifest is TOML");
    let members = manifest["workspace"]["members"].as_array().expect("the workspace lists its members");
    members.iter().filter_map(|member| member.as_str().map(str::to_owned)).collect()
}

pub(crate) fn imports_follow_the_arrows(file: &File) -> Vec<String> {
    let Some(member) = member_of(file) else { return Vec::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
        return vec![format!("'{member}' has no place in the arrows")];
    };
    let ours = dependencies(file).into_iter().filter_map(|(name, _)| name.strip_prefix("lotline-").map(str::to_owned));
    ours.filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| format!("{member} must not depend on {name}"))
        .collect()
}

pub(crate) fn versions_stand_in_the_root(file: &File) -> Vec<String> {
    if member_of(file).is_none() {
        return Vec::new();
    }
    let own = dependencies(file).into_iter().filter(|(_, value)| {
        let from_workspace = value.get("workspace").and_then(Value::as_bool) == Some(true);
        let pinned = ["version", "path", "git"].iter().any(|key| value.get(key).is_some());
        !from_workspace || pinned
    });
    own.map(|(name, _)| format!("{name} must be `workspace = true`")).collect()
}

pub(crate) fn members_take_the_lints(file: &File) -> Vec<String> {
    if member_of(file).is_none() {
        return Vec::new();
    }
    let manifest: Table = file.text.parse().expect("a tracked manifest is TOML");
    let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
    if inherited == Some(true) { Vec::new() } else { vec!["[lints] must be `workspace = true`".to_owned()] }
}

/// A workspace of its own, which takes nothing from the root: only cargo-fuzz builds it.
const APART: &str = "tests/fuzz";

/// The member whose manifest this is.
fn member_of(file: &File) -> Option<&str> {
    file.path.strip_suffix("/Cargo.toml").filter(|folder| *folder != APART)
}

/// All dependencies of a manifest, also those of a target.
fn dependencies(file: &File) -> Vec<(String, Value)> {
    let manifest: Table = file.text.parse().expect("a tracked manifest is TOML");
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = targets.filter_map(Value::as_table).chain([&manifest]);
    let mut found = Vec::new();
    for table in tables {
        for section in SECTIONS {
            let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    found
}

#[test]
fn a_planted_import_is_found() {
    let planted =
        |member: &str, text: &str| imports_follow_the_arrows(&File::new(format!("{member}/Cargo.toml"), text));
    assert_eq!(
        planted("domain", "[dependencies]\nlotline-adapters.workspace = true"),
        ["domain must not depend on adapters"]
    );
    assert_eq!(
        planted("commands", "[dev-dependencies]\nlotline-api.workspace = true"),
        ["commands must not depend on api"]
    );
    let target = "[target.'cfg(unix)'.dependencies]\nlotline-infra = { workspace = true }";
    assert_eq!(planted("api", target), ["api must not depend on infra"]);
    assert_eq!(planted("misplaced", ""), ["'misplaced' has no place in the arrows"]);
    assert!(planted("api", "[dependencies]\nlotline-domain.workspace = true\nserde.workspace = true").is_empty());
}

#[test]
fn a_planted_version_is_found() {
    let planted = |text: &str| versions_stand_in_the_root(&File::new("api/Cargo.toml", text));
    for text in [
        "[dependencies]\nserde = '1'",
        "[dependencies]\nserde = { version = '1' }",
        "[build-dependencies]\nserde = { path = '../serde' }",
        "[dev-dependencies.serde]\ngit = 'https://example.org'",
    ] {
        assert_eq!(planted(text), ["serde must be `workspace = true`"], "{text}");
    }
    assert!(planted("[dependencies]\nserde = { workspace = true, features = ['rc'] }").is_empty());
    assert!(versions_stand_in_the_root(&File::new("Cargo.toml", "[dependencies]\nserde = '1'")).is_empty());
}

#[test]
fn a_member_without_lints_is_found() {
    let planted = |text: &str| members_take_the_lints(&File::new("api/Cargo.toml", text)).len();
    assert_eq!(planted("[dependencies]"), 1);
    assert_eq!(planted("[lints.rust]\nunsafe_code = 'allow'"), 1);
    assert_eq!(planted("[lints]\nworkspace = true"), 0);
}
