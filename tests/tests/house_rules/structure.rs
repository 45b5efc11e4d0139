//! The shape of files and functions.

use crate::File;
use crate::source::{block, keywords, masked, opening_brace};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

pub(crate) fn files_open_with_docs(file: &File) -> Vec<String> {
    let documented = !file.has_extension(&["rs"]) || file.text.starts_with("//! ");
    if documented { Vec::new() } else { vec!["the first line must be `//!` and say why the file exists".to_owned()] }
}

pub(crate) fn files_are_short(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if file.has_extension(&["rs", "py", "sh", "sql", "ts"]) && lines > FILE_LINES {
        return vec![format!("{lines} lines are more than {FILE_LINES}")];
    }
    Vec::new()
}

pub(crate) fn functions_are_short(file: &File) -> Vec<String> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let source = masked(&file.text);
    let mut findings = Vec::new();
    for start in keywords(&source, "fn") {
        let name: String = source[start + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = opening_brace(&source, start).filter(|_| !name.is_empty()) else { continue };
        let Some(body) = block(&source, open) else { continue };
        let lines = source[start..open].matches('\n').count() + body.matches('\n').count() + 1;
        if lines > FUNCTION_LINES {
            findings.push(format!("fn {name} has {lines} lines, more than {FUNCTION_LINES}"));
        }
    }
    findings
}

/// A catch-all beside patterns of [`Event`] would let a new event pass unnoticed.
pub(crate) fn matches_on_events_are_exhaustive(file: &File) -> Vec<String> {
    if !file.has_extension(&["rs"]) || !(file.path.starts_with("domain/") || file.path.starts_with("projections/")) {
        return Vec::new();
    }
    let source = masked(&file.text);
    let mut findings = Vec::new();
    for start in keywords(&source, "match") {
        let Some(arms) = opening_brace(&source, start).and_then(|open| block(&source, open)) else { continue };
        let patterns = patterns(arms);
        let on_events = patterns.iter().any(|pattern| pattern.contains("Event::"));
        if on_events && patterns.iter().any(|pattern| catches_all(pattern)) {
            let line = source[..start].matches('\n').count() + 1;
            findings.push(format!("line {line}: name every event instead of a catch-all"));
        }
    }
    findings
}

/// The patterns of a match's arms.
fn patterns(arms: &str) -> Vec<String> {
    let (mut patterns, mut current, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut in_pattern = true;
    let mut chars = arms.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let arrow = in_pattern && depth == 0 && c == '=' && chars.peek() == Some(&'>');
        if arrow {
            chars.next();
            patterns.push(std::mem::take(&mut current).trim().to_owned());
            in_pattern = false;
        } else if in_pattern {
            current.push(c);
        } else if depth == 0 && (c == ',' || c == '}') {
            // A block ends its arm; the comma that may follow it begins no pattern.
            in_pattern = true;
        }
        if in_pattern && current.trim() == "," {
            current.clear();
        }
    }
    patterns
}

/// `_`, `_ if …`, or a name that takes anything.
fn catches_all(pattern: &str) -> bool {
    let pattern = pattern.split(" if ").next().unwrap_or(pattern).trim();
    let name = pattern.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
    !pattern.is_empty() && name
}

#[test]
fn planted_files_without_docs_are_found() {
    let planted = |text: &str| files_open_with_docs(&File::new("a.rs", text)).len();
    assert_eq!(planted("use std::fmt;\n//! Late."), 1);
    assert_eq!(planted("\n//! Late."), 1);
    assert_eq!(planted("//! \n"), 0);
    assert_eq!(planted("//! Why.\nuse std::fmt;"), 0);
    assert_eq!(files_open_with_docs(&File::new("a.sql", "SELECT 1")).len(), 0);
}

#[test]
fn a_planted_long_file_is_found() {
    assert_eq!(files_are_short(&File::new("a.rs", "x\n".repeat(501))).len(), 1);
    assert_eq!(files_are_short(&File::new("a.rs", "x\n".repeat(500))).len(), 0);
    assert_eq!(files_are_short(&File::new("Cargo.lock", "x\n".repeat(9_000))).len(), 0);
}

#[test]
fn a_planted_long_function_is_found() {
    let planted = |body: usize| {
        let text = format!(
            "fn short() {{ \"{{\"; }}\ntrait T {{ fn none(); }}\npub fn long(\n    x: u8,\n) {{\n{}}}\n",
            "x;\n".repeat(body)
        );
        functions_are_short(&File::new("a.rs", text))
    };
    assert_eq!(planted(66), Vec::<String>::new());
    assert_eq!(planted(67), ["fn long has 71 lines, more than 70"]);
    let arrays = format!("fn a(x: [u8; 2]) -> [u8; 2] {{\n{}}}\n", "x;\n".repeat(80));
    assert_eq!(functions_are_short(&File::new("a.rs", arrays)).len(), 1);
}

#[test]
fn a_planted_catch_all_is_found() {
    let planted = |arms: &str| {
        let text = format!("fn a(e: &Event) {{ match e {{ {arms} }} }}");
        matches_on_events_are_exhaustive(&File::new("projections/src/a.rs", text)).len()
    };
    assert_eq!(planted("Event::A(x) => x, _ => {}"), 1);
    assert_eq!(planted("Event::A(x) => { x } _ => {}"), 1);
    assert_eq!(planted("Event::A(Lot { id, .. }) => b(id, |_| 1), other => c(other),"), 1);
    assert_eq!(planted("Event::A(_) | Event::B(_) => {}, _ if late => {}"), 1);
    assert_eq!(planted("Event::A(x) => match x { 1 => 2, _ => 3 }, Event::B(_) => {}"), 0);
    assert_eq!(planted("Some(1) => 2, _ => 3"), 0);
    let elsewhere = File::new("api/src/a.rs", "match e { Event::A => 1, _ => 2 }");
    assert_eq!(matches_on_events_are_exhaustive(&elsewhere).len(), 0);
}
