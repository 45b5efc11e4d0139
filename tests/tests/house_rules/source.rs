//! Just enough of Rust's grammar to look at code without its comments and texts.

/// The source with every comment, text and character literal blanked out. Lines stay where they are.
pub(crate) fn masked(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment or literal that begins here ends, if one does.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => Some(find(chars, at, |rest| rest[0] == '\n', 0)),
        '/' if next == Some('*') => Some(comment_end(chars, at)),
        '"' => Some(text_end(chars, at + 1)),
        'r' if !follows_name(chars, at) => raw_text_end(chars, at),
        '\'' if next == Some('\\') => Some(find(chars, at + 3, |rest| rest[0] == '\'', 1)),
        '\'' if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, matches: impl Fn(&[char]) -> bool, beyond: usize) -> usize {
    (from..chars.len()).find(|at| matches(&chars[*at..])).map_or(chars.len(), |at| at + beyond)
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < chars.len() {
        let step = match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => 1,
            ('*', Some('/')) => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn text_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_text_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some(find(chars, open + 1, closes, 1 + hashes))
}

fn follows_name(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

/// The text between the brace at `open` and its partner, in masked source.
pub(crate) fn block(masked: &str, open: usize) -> Option<&str> {
    let mut depth = 0_usize;
    for (offset, c) in masked[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(&masked[open + 1..open + offset]),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Places of a keyword in masked source.
pub(crate) fn keywords<'a>(masked: &'a str, keyword: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    masked.match_indices(keyword).map(|(at, _)| at).filter(move |at| {
        let before = masked[..*at].chars().next_back();
        let after = masked[at + keyword.len()..].chars().next();
        !before.is_some_and(in_name) && after.is_some_and(char::is_whitespace)
    })
}

/// The brace that opens a block after `from`, unless a semicolon ends the item before it.
pub(crate) fn opening_brace(masked: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, c) in masked[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(from + offset),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn comments_and_texts_are_blanked_and_lines_kept() {
    let same = |source: &str, expected: &str| assert_eq!(masked(source), expected, "{source}");
    same("a // {\nb", "a     \nb");
    same("a /* { /* } */ */ b", "a                 b");
    same("x(\"{\\\"\", 1)", "x(     , 1)");
    same("x(r#\"{\"}\"#)", "x(        )");
    same("x('{', '\\'', '\\u{7b}')", "x(   ,     ,         )");
    same("fn a<'a>(x: &'a str) {}", "fn a<'a>(x: &'a str) {}");
    same("let bar = 1;", "let bar = 1;");
    same("let open = \"", "let open =  ");
}
