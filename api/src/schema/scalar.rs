//! Scalars of the schema.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_domain::position::Position;

/// A position in the tenant's logs, opaque. A mutation and every item of a subscription give one; `consistentWith` waits until the
/// read models have passed it, `after` goes on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionToken(pub Position);

#[Scalar(name = "PositionToken")]
impl ScalarType for PositionToken {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        let malformed = || InputValueError::custom("the position token is malformed");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
        let text = String::from_utf8(bytes).map_err(|_| malformed())?;
        text.parse().map(Self).map_err(|_| malformed())
    }

    fn to_value(&self) -> Value {
        Value::String(BASE64_URL_SAFE_NO_PAD.encode(self.0.to_string()))
    }
}

/// The version of a thing: the sequence of the last event that touched it, a whole number up to 2^53. Larger than GraphQL's Int, which
/// has 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u64);

#[Scalar(name = "Version")]
impl ScalarType for Version {
    fn parse(value: Value) -> InputValueResult<Self> {
        let given = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        given.map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

impl From<i64> for Version {
    /// Sequences are counted from 1, so a table never holds a negative one.
    fn from(sequence: i64) -> Self {
        Self(u64::try_from(sequence).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_opaque_and_round_trip() {
        let token = PositionToken("l0.17_s3.4".parse().unwrap());
        let value = token.to_value();
        assert_eq!(value, Value::String("bDAuMTdfczMuNA".to_owned()));
        assert_eq!(PositionToken::parse(value).unwrap(), token);
        for bad in ["l0.17", "!", "AAAA", "bDAuMTdfczMuNA=="] {
            assert!(PositionToken::parse(Value::String(bad.to_owned())).is_err(), "{bad}");
        }
        assert!(PositionToken::parse(Value::Number(1.into())).is_err());
    }

    #[test]
    fn versions_are_whole_and_not_negative() {
        assert_eq!(Version::parse(Value::Number(7.into())).unwrap(), Version(7));
        assert_eq!(Version::parse(Value::String("7".to_owned())).unwrap(), Version(7));
        assert!(Version::parse(Value::Number((-1).into())).is_err());
        assert!(Version::parse(Value::Boolean(true)).is_err());
    }
}
