//! File names: each says what is in it.

use crate::File;

const DRAWERS: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "types", "misc", "shared"];

pub(crate) fn files_have_names(file: &File) -> Vec<String> {
    if !file.has_extension(&["rs", "py", "sh", "sql", "ts"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if file.path.ends_with("/mod.rs") {
        findings.push("write `foo.rs` beside `foo/`, never mod.rs".to_owned());
    }
    for part in file.path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        if DRAWERS.contains(&stem) {
            findings.push(format!("'{stem}' does not say what is in it"));
        }
    }
    findings
}

#[test]
fn planted_names_are_found() {
    let planted = |path: &str| files_have_names(&File::new(path, "")).len();
    for path in ["domain/src/lot/mod.rs", "domain/src/utils.rs", "api/src/common/error.rs", "infra/dev/helpers.sh"] {
        assert_eq!(planted(path), 1, "{path}");
    }
    for path in ["domain/src/lot.rs", "domain/src/modbus.rs", "api/src/typeset.rs", "api/types.graphql"] {
        assert_eq!(planted(path), 0, "{path}");
    }
}
