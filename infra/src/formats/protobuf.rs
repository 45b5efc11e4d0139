//! The fields of a `.proto` file, as far as the files of Lotline go: proto3, messages of scalar fields.
//!
//! Enough to tell whether a released field changed without a Protobuf compiler in the binary. Anything else in the file is an error, so
//! that nothing passes unread; a test compares what is read here with what a real compiler reads.

use std::collections::BTreeMap;

use thiserror::Error;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Whether it is `repeated`.
    pub repeated: bool,
    /// Its scalar type, such as `sint64`.
    pub kind: String,
}

/// Fields by message and name, as `SignalBatch.site`.
pub type Fields = BTreeMap<String, Field>;

/// A statement that this reader does not know.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the Protobuf schema has a statement that can't be compared: '{0}'")]
pub struct UnknownStatement(String);

/// Reads a file: its package and its fields.
///
/// # Errors
/// [`UnknownStatement`].
pub fn read(text: &str) -> Result<(String, Fields), UnknownStatement> {
    let without_comments: String =
        text.lines().flat_map(|line| [line.split("//").next().unwrap_or(line), "\n"]).collect();
    let mut package = String::new();
    let mut message: Option<String> = None;
    let mut fields = Fields::new();
    // Each piece ends with the sign that closes its statement.
    for statement in without_comments.split_inclusive([';', '{', '}']).map(str::trim).filter(|piece| !piece.is_empty())
    {
        let unknown = || UnknownStatement(statement.chars().take(80).collect());
        let (body, end) = statement.split_at(statement.len() - 1);
        let words: Vec<&str> = body.split_whitespace().collect();
        match (words.as_slice(), end, &message) {
            (["syntax", "=", "\"proto3\""], ";", None) => {}
            (["package", name], ";", None) => (*name).clone_into(&mut package),
            (["message", name], "{", None) => message = Some((*name).to_owned()),
            ([], "}", Some(_)) => message = None,
            ([label @ .., kind, name, "=", number], ";", Some(message)) => {
                let repeated = match label {
                    [] => false,
                    ["repeated"] => true,
                    _ => return Err(unknown()),
                };
                let number = number.parse().map_err(|_| unknown())?;
                fields.insert(format!("{message}.{name}"), Field { number, repeated, kind: (*kind).to_owned() });
            }
            _ => return Err(unknown()),
        }
    }
    Ok((package, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_number_label_and_type() {
        let (package, fields) =
            read("syntax = \"proto3\"; // why\npackage a.b;\nmessage M {\n  // x = 9;\n  repeated uint32 n = 7;\n}")
                .unwrap();
        assert_eq!(package, "a.b");
        let expected = Field { number: 7, repeated: true, kind: "uint32".into() };
        assert_eq!(fields, BTreeMap::from([("M.n".to_owned(), expected)]));
    }

    #[test]
    fn what_is_not_known_is_no_silence() {
        for text in [
            "import \"x\";",
            "message M { oneof a { string b = 1; } }",
            "message M { optional string b = 1; }",
            "enum E { A = 0; }",
            "message M { string b = x; }",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
