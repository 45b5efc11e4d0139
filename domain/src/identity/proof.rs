//! What a proof is bound to: one command as its sender wrote it.
//!
//! ```text
//! SHA-256( "lotline proof 1" 0 <mutation> 0 <its input as JSON, members in order of their names, without blanks> )
//! ```
//!
//! The idempotency key is part of the input, so that a proof is for one command and not for all that look like it.

use serde_json::Value;
use sha2::{Digest, Sha256};

const LABEL: &[u8] = b"lotline proof 1\0";

/// The digest of a command.
pub fn digest(mutation: &str, input: &Value) -> [u8; 32] {
    let mut text = String::new();
    write(input, &mut text);
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update(mutation.as_bytes());
    hash.update([0]);
    hash.update(text.as_bytes());
    hash.finalize().into()
}

/// One text per value, whatever order its members came in.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_command_has_one_digest_and_another_another() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let given = digest("setRoles", &read(r#"{"b":[1,{"y":2,"x":null}],"a":"ä\""}"#));
        assert_eq!(given, digest("setRoles", &read(r#"{ "a": "\u00e4\"", "b": [1, {"x": null, "y": 2}] }"#)));
        let others = [
            ("setRole", json!({ "b": [1, { "y": 2, "x": null }], "a": "ä\"" })),
            ("setRoles", json!({ "b": [{ "y": 2, "x": null }, 1], "a": "ä\"" })),
            ("setRoles", json!({ "b": [1, { "y": 2 }], "a": "ä\"" })),
            ("setRoles", json!({ "b": [1, { "y": "2", "x": null }], "a": "ä\"" })),
        ];
        for (mutation, input) in others {
            assert_ne!(given, digest(mutation, &input), "{mutation} {input}");
        }
    }
}
