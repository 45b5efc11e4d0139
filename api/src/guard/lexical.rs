//! One pass over the text of a document: size, tokens, nesting, aliases and directives.
//!
//! Lexical grammar of GraphQL (October 2021, section 2.1). The pass does not judge syntax, which is the parser's work; it only has to
//! count at least as much as the parser would see.

use async_graphql::Pos;

use super::Rejected;
use crate::config::Limits;

/// Deepest nesting of brackets of any kind. The parser recurses on each, and so does the walk over values.
pub const MAX_NESTING: usize = 64;

/// Counts as it reads.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    line_start: usize,
}

/// Checks a document's text.
///
/// # Errors
/// The first limit that is broken, with its place.
pub fn check(text: &str, limits: &Limits) -> Result<(), Rejected> {
    if text.len() > limits.document_bytes {
        let message = format!("the document has {} bytes; at most {} are accepted", text.len(), limits.document_bytes);
        return Err(Rejected { code: "DOCUMENT_TOO_LARGE", message, position: None });
    }
    let mut scan = Scan { text: text.as_bytes(), at: 0, line: 1, line_start: 0 };
    let (mut tokens, mut aliases, mut directives, mut nesting) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut parentheses = 0_usize;
    let mut after_name = false;
    while let Some((byte, position)) = scan.next() {
        tokens += 1;
        match byte {
            b'{' | b'[' | b'(' => {
                nesting += 1;
                parentheses += usize::from(byte == b'(' || parentheses > 0);
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                parentheses = parentheses.saturating_sub(1);
            }
            b':' => aliases += usize::from(after_name && parentheses == 0),
            b'@' => directives += 1,
            _ => {}
        }
        after_name = byte.is_ascii_alphabetic() || byte == b'_';
        let counts = [
            (tokens, limits.document_tokens, "TOO_MANY_TOKENS", "tokens"),
            (aliases, limits.aliases, "TOO_MANY_ALIASES", "aliases"),
            (directives, limits.directives, "TOO_MANY_DIRECTIVES", "directives"),
            (nesting, MAX_NESTING, "NESTED_TOO_DEEP", "nested brackets"),
        ];
        for (count, most, code, what) in counts {
            if count > most {
                let message = format!("the document has more than {most} {what}");
                return Err(Rejected { code, message, position: Some(position) });
            }
        }
    }
    Ok(())
}

impl Scan<'_> {
    /// The first byte of the next token, and its place.
    fn next(&mut self) -> Option<(u8, Pos)> {
        loop {
            let byte = *self.text.get(self.at)?;
            match byte {
                b'\n' => self.new_line(),
                b' ' | b'\t' | b'\r' | b',' => self.at += 1,
                b'#' => self.skip_while(|byte| byte != b'\n'),
                _ => break,
            }
        }
        let byte = self.text[self.at];
        let position = Pos { line: self.line, column: self.at - self.line_start + 1 };
        match byte {
            b'"' => self.string(),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.skip_while(|byte| byte == b'_' || byte.is_ascii_alphanumeric()),
            b'-' | b'0'..=b'9' => {
                self.at += 1;
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-'));
            }
            b'.' => self.skip_while(|byte| byte == b'.'),
            _ => self.at += 1,
        }
        Some((byte, position))
    }

    fn new_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    fn skip_while(&mut self, more: impl Fn(u8) -> bool) {
        while self.text.get(self.at).is_some_and(|byte| more(*byte)) {
            self.at += 1;
        }
    }

    /// A string or block string, to its end or the end of the text.
    fn string(&mut self) {
        let block = self.text[self.at..].starts_with(b"\"\"\"");
        self.at += if block { 3 } else { 1 };
        while let Some(byte) = self.text.get(self.at) {
            let rest = &self.text[self.at..];
            match byte {
                b'\\' if block && rest.starts_with(b"\\\"\"\"") => self.at += 4,
                b'\\' if !block => self.at += 2,
                b'"' if block && rest.starts_with(b"\"\"\"") => return self.at += 3,
                b'"' if !block => return self.at += 1,
                // A plain string ends with its line, closed or not.
                b'\n' if !block => return,
                b'\n' => self.new_line(),
                _ => self.at += 1,
            }
        }
    }
}
