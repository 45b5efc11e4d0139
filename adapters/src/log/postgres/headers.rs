//! Headers as JSON text: an array of pairs, `[["ce_id","…"],["ce_type","…"]]`, in their order.
//!
//! A value that is not UTF-8, which only a stranger writes, stands as `{"hex":"ff00"}`, so it comes back as it was.

use std::borrow::Cow;

use bytes::Bytes;
use lotline_domain::record::Header;
use serde::{Deserialize, Serialize};

use super::super::header_name;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Value<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Bytes {
        #[serde(borrow)]
        hex: Cow<'a, str>,
    },
}

pub(in super::super) fn encode(headers: &[Header]) -> String {
    let pairs: Vec<(&str, Value<'_>)> = headers.iter().map(|header| (header.name.as_ref(), value_of(header))).collect();
    serde_json::to_string(&pairs).expect("invariant: pairs of text have a JSON form")
}

fn value_of(header: &Header) -> Value<'_> {
    match std::str::from_utf8(&header.value) {
        Ok(text) => Value::Text(Cow::Borrowed(text)),
        Err(_) => Value::Bytes { hex: Cow::Owned(hex::encode(&header.value)) },
    }
}

pub(in super::super) fn decode(json: &str) -> Result<Vec<Header>, serde_json::Error> {
    let pairs: Vec<(Cow<'_, str>, Value<'_>)> = serde_json::from_str(json)?;
    let header = |(name, value): (Cow<'_, str>, Value<'_>)| {
        let value = match value {
            Value::Text(text) => Bytes::from(text.into_owned()),
            Value::Bytes { hex } => Bytes::from(hex::decode(hex.as_bytes()).map_err(serde::de::Error::custom)?),
        };
        Ok(Header { name: header_name(&name), value })
    };
    pairs.into_iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_fixed() {
        let headers = [Header::new("ce_type", "a\"ü"), Header::new("ce_type", ""), Header::new("x", &b"\xff\x00"[..])];
        let json = r#"[["ce_type","a\"ü"],["ce_type",""],["x",{"hex":"ff00"}]]"#;
        assert_eq!(encode(&headers), json);
        assert_eq!(decode(json).unwrap(), headers);
    }

    #[test]
    fn another_form_is_refused() {
        for json in ["", "{}", r#"[["a"]]"#, r#"[["a",1]]"#, r#"[["a",{"hex":"f"}]]"#, "[[\"a\",\"b\"]"] {
            assert!(decode(json).is_err(), "{json}");
        }
    }
}
