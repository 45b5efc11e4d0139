//! Access tokens: JSON Web Tokens (RFC 7519) in the profile of RFC 9068, signed with Ed25519 (RFC 8037), and strictly ours.
//!
//! ```text
//! {"alg":"EdDSA","typ":"at+jwt","kid":"<43>"} . {"iss","aud","sub":"user:<uuid>","tenant","sid","jti","iat","exp","auth_time"} . signature
//! ```
//!
//! What is read is what is written and nothing more: one algorithm, three members in the header, nine claims. A token with anything else
//! (`jku`, `x5u`, `jwk`, `crit`, another `typ`) was not made here. The key is named by its thumbprint (RFC 7638) and looked up among our own; a
//! name of any other form is refused before it is looked up. Claims come into being only by a verified signature.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::id::{SessionId, TenantId, UserId};
use crate::timestamp::Timestamp;

/// Longer tokens are refused before they are looked at; ours have about 600 bytes.
pub const MAX_TOKEN_BYTES: usize = 2_048;

const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "at+jwt";
const KEY_NAME_CHARACTERS: usize = 43;

/// Names a signing key: the SHA-256 thumbprint of its public half, base64url.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// The name of an Ed25519 public key (RFC 7638 section 3, RFC 8037 appendix A.3).
    pub fn of(public_key: &[u8; 32]) -> Self {
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public_key));
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(jwk)))
    }

    /// Reads a name; nothing when no key of ours can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == KEY_NAME_CHARACTERS
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        valid.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One key of the published set (RFC 7517 section 4).
pub fn public_jwk(name: &KeyName, public_key: &[u8; 32]) -> serde_json::Value {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ALGORITHM, "kid": name.0, "x": x })
}

/// Which tokens count.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// Who issues them; `iss`.
    pub issuer: String,
    /// For whom they are; `aud`.
    pub audience: String,
    /// Whose they are.
    pub tenant: TenantId,
    /// How long they are good.
    pub lifetime: Duration,
    /// How far the clocks of two nodes may be apart.
    pub leeway: Duration,
}

impl TokenPolicy {
    /// 15 minutes, and 30 s between clocks.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, tenant: TenantId) -> Self {
        let (lifetime, leeway) = (Duration::from_mins(15), Duration::from_secs(30));
        Self { issuer: issuer.into(), audience: audience.into(), tenant, lifetime, leeway }
    }
}

/// What a token says. Times are whole seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Who issued it.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// For whom.
    #[serde(rename = "aud")]
    pub audience: String,
    /// Who is meant.
    #[serde(rename = "sub", serialize_with = "write_subject", deserialize_with = "read_subject")]
    pub user: UserId,
    /// In which organisation.
    pub tenant: TenantId,
    /// The session that it belongs to, and dies with.
    #[serde(rename = "sid")]
    pub session: SessionId,
    /// Names this token.
    #[serde(rename = "jti")]
    pub id: Uuid,
    /// When it was issued.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// When it ends.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// When the person proved who they are.
    #[serde(rename = "auth_time")]
    pub authenticated_at: i64,
}

/// Why a token does not count. Callers without a token learn no more than that; logs and metrics may say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenRefusal {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not made here, by its form.
    #[error("the token is malformed")]
    Malformed,
    /// Another algorithm, or another type of token.
    #[error("the token is of another kind")]
    Kind,
    /// Signed with a key that is not ours, or not any more.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    Signature,
    /// Of another issuer, for another audience or tenant.
    #[error("the token is for somebody else")]
    Elsewhere,
    /// Over.
    #[error("the token has expired")]
    Expired,
    /// Not begun, or valid for longer than tokens are.
    #[error("the token's times can't be")]
    Times,
    /// Its session has ended.
    #[error("the session of the token has ended")]
    SessionEnded,
    /// Whether its session has ended can't be found out at the moment.
    #[error("tokens can't be checked at the moment")]
    Unavailable,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A token whose signature has not been looked at: it says nothing yet.
pub struct Unverified<'a> {
    key: KeyName,
    message: &'a str,
    claims: &'a str,
    signature: [u8; 64],
}

impl<'a> Unverified<'a> {
    /// Takes a token apart. Total: any text is read or refused.
    ///
    /// # Errors
    /// [`TokenRefusal::TooLong`], [`TokenRefusal::Malformed`], [`TokenRefusal::Kind`], or [`TokenRefusal::UnknownKey`] for a key name of another form.
    pub fn read(text: &'a str) -> Result<Self, TokenRefusal> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenRefusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenRefusal::Malformed)?;
        let header: Header = object(header)?;
        if header.alg != ALGORITHM || !header.typ.eq_ignore_ascii_case(TYPE) {
            return Err(TokenRefusal::Kind);
        }
        let key = KeyName::parse(&header.kid).ok_or(TokenRefusal::UnknownKey)?;
        let signature = bytes(signature)?.try_into().map_err(|_| TokenRefusal::Malformed)?;
        Ok(Self { key, message, claims, signature })
    }

    /// The key that it says it is signed with.
    pub fn key(&self) -> &KeyName {
        &self.key
    }

    /// What it says, if `fits` says that the signature is the key's over the message. Its times, issuer and audience are for [`Claims::check`].
    ///
    /// # Errors
    /// [`TokenRefusal::Signature`], or [`TokenRefusal::Malformed`] when something else was signed than claims.
    pub fn verify(self, fits: impl FnOnce(&[u8], &[u8; 64]) -> bool) -> Result<Claims, TokenRefusal> {
        if fits(self.message.as_bytes(), &self.signature) { object(self.claims) } else { Err(TokenRefusal::Signature) }
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Claims {
    /// Signs: the token in its text form.
    pub fn sign(&self, key: &KeyName, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
        let header = Header { alg: ALGORITHM.into(), typ: TYPE.into(), kid: key.0.clone() };
        let mut token = format!("{}.{}", json(&header), json(self));
        let signature = sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// Whether it counts here and now. Asked at each use, also of a token that was verified before.
    ///
    /// # Errors
    /// [`TokenRefusal::Elsewhere`], [`TokenRefusal::Expired`], [`TokenRefusal::Times`].
    pub fn check(&self, policy: &TokenPolicy, now: Timestamp) -> Result<(), TokenRefusal> {
        if self.issuer != policy.issuer || self.audience != policy.audience || self.tenant != policy.tenant {
            return Err(TokenRefusal::Elsewhere);
        }
        let (now, leeway) = (now.millis().div_euclid(1_000), policy.leeway.as_secs() as i64);
        let lasts = i128::from(self.expires_at) - i128::from(self.issued_at);
        if self.issued_at > now + leeway
            || self.authenticated_at > now + leeway
            || lasts <= 0
            || lasts > i128::from(policy.lifetime.as_secs())
        {
            return Err(TokenRefusal::Times);
        }
        if now >= self.expires_at.saturating_add(leeway) { Err(TokenRefusal::Expired) } else { Ok(()) }
    }
}

fn bytes(part: &str) -> Result<Vec<u8>, TokenRefusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefusal::Malformed)
}

fn object<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenRefusal> {
    serde_json::from_slice(&bytes(part)?).map_err(|_| TokenRefusal::Malformed)
}

fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_vec(value).expect("invariant: headers and claims are plain JSON");
    URL_SAFE_NO_PAD.encode(text)
}

fn write_subject<S: Serializer>(user: &UserId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("user:{user}"))
}

fn read_subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UserId, D::Error> {
    let text = String::deserialize(deserializer)?;
    let id = text.strip_prefix("user:").and_then(|id| Uuid::try_parse(id).ok()).map(UserId);
    id.ok_or_else(|| serde::de::Error::custom("the subject is not user:<uuid>"))
}

#[cfg(test)]
mod tests;
