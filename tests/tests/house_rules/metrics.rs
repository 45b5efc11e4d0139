//! Metrics: every one that the sources count stands in the table that `/metrics` takes its help from, and nothing else does.

use std::collections::BTreeMap;

use crate::File;

const TABLE: &str = "infra/src/telemetry/descriptions.rs";
const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// What is counted and not described, described and not counted, or described as another kind.
pub(crate) fn differences(files: &[File]) -> Vec<String> {
    let table = files.iter().find(|file| file.path == TABLE);
    let Some(table) = table else { return vec![format!("{TABLE} is missing")] };
    let described = described(&table.text);
    let mut used = BTreeMap::new();
    let sources = files.iter().filter(|file| file.has_extension(&["rs"]) && file.path != TABLE);
    for file in sources.filter(|file| !file.path.starts_with("tests/")) {
        for (kind, name) in counted(&file.text) {
            used.insert(name, (kind, file.path.clone()));
        }
    }
    let mut findings = Vec::new();
    for (name, (kind, path)) in &used {
        match described.get(name) {
            Some(as_kind) if as_kind == kind => {}
            Some(as_kind) => findings.push(format!("{path}: {name} is a {kind}, but {TABLE} calls it a {as_kind}")),
            None => findings.push(format!("{path}: {name} is not described in {TABLE}")),
        }
    }
    let stale = described.keys().filter(|name| !used.contains_key(*name));
    findings.extend(stale.map(|name| format!("{TABLE}: {name} is counted nowhere")));
    findings
}

/// Kind and name of each metric: `counter!("…"`, and calls of closures that are named after their kind, `counter("…"`.
fn counted(source: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for kind in KINDS {
        for (at, _) in source.match_indices(kind) {
            let rest = &source[at + kind.len()..];
            let Some(rest) = rest.strip_prefix('!').unwrap_or(rest).strip_prefix('(') else { continue };
            if let Some(name) = rest.trim_start().strip_prefix('"').and_then(|text| text.split('"').next()) {
                found.push((kind, name.to_owned()));
            }
        }
    }
    found
}

/// Name and kind of each line of the table.
fn described(table: &str) -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    for kind in KINDS {
        let variant = format!("{}{},", kind[..1].to_uppercase(), &kind[1..]);
        for (at, _) in table.match_indices(&variant) {
            let opens = table[..at].trim_end().ends_with('(');
            let rest = table[at + variant.len()..].trim_start();
            if let Some(name) = rest.strip_prefix('"').and_then(|text| text.split('"').next()).filter(|_| opens) {
                found.insert(name.to_owned(), kind);
            }
        }
    }
    found
}

#[test]
fn planted_differences_are_found() {
    let table = "const M: &[X] = &[\n    (Counter, \"a_total\", Unit::Count, \"A.\"),\n    (\n        Gauge,\n        \"b\",\n    ),\n];";
    let told = |source: &str| differences(&[File::new(TABLE, table), File::new("api/src/a.rs", source)]);
    let whole = "counter!(\"a_total\", labels); let b = metrics::gauge!(\n    \"b\");";
    assert_eq!(told(whole), Vec::<String>::new());
    assert_eq!(told(&format!("{whole} histogram!(\"c_seconds\")")).len(), 1, "not described");
    assert_eq!(told(&format!("{whole} let x = counter(\"d_total\");")).len(), 1, "not described, by a closure");
    assert_eq!(told("counter!(\"a_total\")").len(), 1, "counted nowhere");
    assert_eq!(told(&whole.replace("gauge", "histogram")).len(), 1, "another kind");
    assert_eq!(differences(&[]).len(), 1, "no table");
}
