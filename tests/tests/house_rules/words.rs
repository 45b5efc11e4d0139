//! Words that must not stand in the code. They are put together here from halves, so that this file may be looked at too.

use crate::File;
use crate::source::masked;

const ALLOW: &str = concat!("al", "low(");
const IGNORE: &str = concat!("ign", "ore");
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimplement", "ed!(")];

pub(crate) fn no_lint_is_switched_off(file: &File) -> Vec<String> {
    attributes(file)
        .filter(|(_, attribute)| attribute.starts_with(ALLOW) || attribute.contains(&format!(",{ALLOW}")))
        .map(|(line, _)| format!("line {line}: use #[expect(…, reason = …)]"))
        .collect()
}

pub(crate) fn no_test_is_switched_off(file: &File) -> Vec<String> {
    attributes(file)
        .filter(|(_, attribute)| attribute.starts_with(IGNORE) || attribute.contains(&format!(",{IGNORE}")))
        .map(|(line, _)| format!("line {line}: a test runs or is deleted"))
        .collect()
}

pub(crate) fn nothing_is_left_to_be_done(file: &File) -> Vec<String> {
    let script = file.path.starts_with("infra/dev/") && !file.path.contains('.');
    if !script && !file.has_extension(&["rs", "py", "sh", "sql", "toml", "ts", "js", "yaml", "yml", "proto"]) {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| UNFINISHED.iter().any(|word| line.contains(word)))
        .map(|(index, _)| format!("line {}: unfinished work belongs in an issue", index + 1))
        .collect()
}

/// The inside of every attribute without blanks, with its line.
fn attributes(file: &File) -> impl Iterator<Item = (usize, String)> {
    let masked = if file.has_extension(&["rs"]) { masked(&file.text) } else { String::new() };
    let mut found = Vec::new();
    for (start, _) in masked.match_indices('#') {
        let rest = masked[start + 1..].strip_prefix('!').unwrap_or(&masked[start + 1..]);
        let Some(rest) = rest.trim_start().strip_prefix('[') else { continue };
        let line = masked[..start].matches('\n').count() + 1;
        let inside = rest.split(']').next().unwrap_or(rest);
        found.push((line, inside.split_whitespace().collect()));
    }
    found.into_iter()
}

#[test]
fn a_planted_switch_is_found() {
    let planted = |text: &str| no_lint_is_switched_off(&File::new("a.rs", text)).len();
    assert_eq!(planted(&format!("//! Doc.\n#[{ALLOW}dead_code)]\nfn a() {{}}")), 1);
    assert_eq!(planted(&format!("#![{ALLOW}clippy::all)]")), 1);
    assert_eq!(planted(&format!("#[ {ALLOW}\n  dead_code)]")), 1);
    assert_eq!(planted(&format!("#[cfg_attr(test, {ALLOW}dead_code))]")), 1);
    assert_eq!(planted(&format!("// never #[{ALLOW}dead_code)]\nconst A: &str = \"#[{ALLOW}dead_code)]\";")), 0);
    assert_eq!(planted("#[expect(dead_code, reason = \"x\")]"), 0);
}

#[test]
fn a_planted_sleeping_test_is_found() {
    let planted = |text: &str| no_test_is_switched_off(&File::new("a.rs", text)).len();
    assert_eq!(planted(&format!("#[test]\n#[{IGNORE}]\nfn a() {{}}")), 1);
    assert_eq!(planted(&format!("#[{IGNORE} = \"slow\"]")), 1);
    assert_eq!(planted(&format!("#[cfg_attr(unix, {IGNORE})]")), 1);
    assert_eq!(planted("#[test]\nfn ignored() {}"), 0);
}

#[test]
fn planted_unfinished_work_is_found() {
    for word in UNFINISHED {
        assert_eq!(
            nothing_is_left_to_be_done(&File::new("a.rs", format!("//! Doc.\n// {word} later"))).len(),
            1,
            "{word}"
        );
        assert_eq!(nothing_is_left_to_be_done(&File::new("infra/dev/run", format!("# {word}"))).len(), 1, "{word}");
        assert_eq!(nothing_is_left_to_be_done(&File::new("README.md", word)).len(), 0, "{word}");
    }
}
