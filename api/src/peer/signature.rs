//! How a node proves that it is one: HMAC-SHA-256 (RFC 2104) under the secret of the tenant's nodes.
//!
//! Header `lotline-signature: t=<Unix milliseconds>,h=<64 hex digits>`; the tag covers `t`, a newline, and the body.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use lotline_domain::timestamp::Timestamp;
use sha2::Sha256;
use thiserror::Error;

/// The header.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("lotline-signature");

/// How far the clocks of two nodes, plus the way between them, may be apart.
const SKEW_MILLIS: i64 = 60_000;

/// Why a request is not taken for another node's.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub(super) enum NotANode {
    /// No header, or not as it should be.
    #[error("the signature is missing or malformed")]
    Malformed,
    /// Signed too long ago, or in the future.
    #[error("the signature is out of date: the clocks of two nodes may differ by {} s", SKEW_MILLIS / 1_000)]
    OutOfDate,
    /// Another secret, or another body.
    #[error("the signature is wrong")]
    Wrong,
}

/// The secret of the tenant's nodes.
#[derive(Clone)]
pub struct PeerKey(Hmac<Sha256>);

impl PeerKey {
    /// From any number of bytes; 32 random ones are as good as it gets.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("invariant: HMAC takes keys of any length"))
    }

    /// The header's value for a body.
    pub(super) fn sign(&self, body: &[u8], now: Timestamp) -> HeaderValue {
        let millis = now.millis();
        let tag: [u8; 32] = self.mac(millis, body).finalize().into_bytes().into();
        HeaderValue::try_from(format!("t={millis},h={}", hex::encode(tag)))
            .expect("invariant: digits and letters make a header")
    }

    /// Whether a node of this installation sent the body just now.
    pub(super) fn check(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), NotANode> {
        let (millis, tag) = parse(headers).ok_or(NotANode::Malformed)?;
        // In constant time.
        self.mac(millis, body).verify_slice(&tag).map_err(|_| NotANode::Wrong)?;
        if now.millis().abs_diff(millis) > SKEW_MILLIS.unsigned_abs() { Err(NotANode::OutOfDate) } else { Ok(()) }
    }

    fn mac(&self, millis: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(millis.to_string().as_bytes());
        mac.update(b"\n");
        mac.update(body);
        mac
    }
}

fn parse(headers: &HeaderMap) -> Option<(i64, [u8; 32])> {
    let text = headers.get(SIGNATURE)?.to_str().ok()?;
    let (time, tag) = text.split_once(',')?;
    let millis = time.strip_prefix("t=")?.parse().ok()?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(tag.strip_prefix("h=")?, &mut bytes).ok()?;
    Some((millis, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &HeaderValue) -> HeaderMap {
        HeaderMap::from_iter([(SIGNATURE, value.clone())])
    }

    #[test]
    fn only_the_same_secret_body_and_time_pass() {
        let (key, other) = (PeerKey::new(b"one"), PeerKey::new(b"two"));
        let now = Timestamp::from_millis(1_795_000_000_000);
        let signed = headers(&key.sign(b"body", now));
        assert_eq!(key.check(&signed, b"body", now), Ok(()));
        assert_eq!(key.check(&signed, b"body", now.plus_micros(59_000_000)), Ok(()));
        assert_eq!(key.check(&signed, b"body", now.plus_micros(61_000_000)), Err(NotANode::OutOfDate));
        assert_eq!(key.check(&signed, b"body", now.plus_micros(-61_000_000)), Err(NotANode::OutOfDate));
        assert_eq!(key.check(&signed, b"bodx", now), Err(NotANode::Wrong));
        assert_eq!(other.check(&signed, b"body", now), Err(NotANode::Wrong));
    }

    #[test]
    fn a_time_can_not_be_put_in_place_of_another() {
        let key = PeerKey::new(b"one");
        let now = Timestamp::from_millis(1_795_000_000_000);
        let value = key.sign(b"body", now);
        let later = value.to_str().unwrap().replace("t=1795000000000", "t=1795000090000");
        let forged = headers(&HeaderValue::try_from(later).unwrap());
        assert_eq!(key.check(&forged, b"body", Timestamp::from_millis(1_795_000_090_000)), Err(NotANode::Wrong));
    }

    #[test]
    fn nonsense_is_malformed() {
        let key = PeerKey::new(b"one");
        let now = Timestamp::from_millis(0);
        assert_eq!(key.check(&HeaderMap::new(), b"", now), Err(NotANode::Malformed));
        for text in ["", "t=,h=", "t=1", "t=1,h=00", "h=00,t=1", "t=x,h=", &format!("t=1,h={}", "zz".repeat(32))] {
            let given = headers(&HeaderValue::try_from(text).unwrap());
            assert_eq!(key.check(&given, b"", now), Err(NotANode::Malformed), "{text}");
        }
    }
}
