//! Rules of this code base that no compiler knows, over every file that git tracks.
//!
//! Each rule is a function from a file to what it finds there, and each has a test with a planted violation, so that it can fail.
//! To add one: a function beside the others, its line in [`RULES`], its planted test.

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "house_rules/manifests.rs"]
mod manifests;
#[path = "house_rules/metrics.rs"]
mod metrics;
#[path = "house_rules/migrations.rs"]
mod migrations;
#[path = "house_rules/names.rs"]
mod names;
#[path = "house_rules/source.rs"]
mod source;
#[path = "house_rules/structure.rs"]
mod structure;
#[path = "house_rules/words.rs"]
mod words;

/// A tracked file; the path is relative to the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    }
}

/// Looks at one file and says what is wrong in it.
type Rule = fn(&File) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("imports follow the arrows", manifests::imports_follow_the_arrows),
    ("versions stand in the root manifest", manifests::versions_stand_in_the_root),
    ("members take the workspace's lints", manifests::members_take_the_lints),
    ("files open with why they exist", structure::files_open_with_docs),
    ("files are short", structure::files_are_short),
    ("functions are short", structure::functions_are_short),
    ("matches on events are exhaustive", structure::matches_on_events_are_exhaustive),
    ("no mod.rs and no drawer files", names::files_have_names),
    ("no lint is switched off", words::no_lint_is_switched_off),
    ("no test is switched off", words::no_test_is_switched_off),
    ("nothing is left to be done", words::nothing_is_left_to_be_done),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every tracked text file that is there.
fn tracked() -> Vec<File> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root())
        .output()
        .expect("git runs: the rules hold for what it tracks");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).expect("tracked paths are UTF-8");
    let read = |path: &str| Some(File::new(path, std::fs::read_to_string(root().join(path)).ok()?));
    paths.split('\0').filter(|path| !path.is_empty()).filter_map(read).collect()
}

#[test]
fn every_rule_holds_everywhere() {
    let files = tracked();
    assert!(files.iter().filter(|file| file.has_extension(&["rs"])).count() > 40, "the sources were found");
    assert!(files.iter().any(|file| file.path == "domain/Cargo.toml"), "the manifests were found");
    let mut findings = Vec::new();
    for file in &files {
        for (name, rule) in RULES {
            findings.extend(rule(file).into_iter().map(|finding| format!("{}: {finding} ({name})", file.path)));
        }
    }
    assert!(findings.is_empty(), "{} violations:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn every_metric_is_described() {
    let findings = metrics::differences(&tracked());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn no_migration_has_changed() {
    let findings = migrations::differences(&tracked());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_member_has_its_arrows() {
    let files = tracked();
    let workspace = files.iter().find(|file| file.path == "Cargo.toml").expect("there is a root manifest");
    assert_eq!(manifests::members(&workspace.text), manifests::ARROWS.map(|(member, _)| member));
}
