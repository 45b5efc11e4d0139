//! ID tokens of a provider of OpenID Connect (Core 1.0 section 2), read with suspicion: JSON Web Signatures (RFC 7515) by keys of a JWK set (RFC 7517).
//!
//! ```text
//! {"alg":"RS256"|"ES256"|"EdDSA","kid":…} . {"iss","sub","aud","exp","iat","nonce",…} . signature
//! ```
//!
//! The algorithm decides which keys can be meant, and a key is of one algorithm by its type: a public key is never taken for the secret of an HMAC.
//! `none` and everything with a shared secret are refused by their names. Claims come into being only by a verified signature.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::timestamp::Timestamp;

/// Longer tokens are refused before they are looked at; with many groups they have some kilobytes.
pub const MAX_ID_TOKEN_BYTES: usize = 64 * 1_024;

/// OpenID Connect Core section 2: `sub` has at most 255 characters of ASCII.
const MAX_SUBJECT: usize = 255;

/// Keys of a set beyond that are not looked at.
const MAX_KEYS: usize = 100;

/// Smaller RSA keys are not taken (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2_048;

/// Signatures that count (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Those that count, by name; nothing for `none`, HMACs and all others.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A provider's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// An uncompressed point of P-256: `04 x y`.
    P256([u8; 65]),
    /// Ed25519.
    Ed25519([u8; 32]),
}

/// A provider's keys.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(Vec<NamedKey>);

#[derive(Debug, Clone)]
struct NamedKey {
    name: Option<String>,
    algorithm: Algorithm,
    key: PublicKey,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What came is no JWK set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the keys of the provider are no JWK set")]
pub struct NotKeys;

impl KeyRing {
    /// Reads a JWK set. Keys that can't be used here are left out, as RFC 7517 section 5 has it.
    ///
    /// # Errors
    /// [`NotKeys`].
    pub fn read(json: &[u8]) -> Result<Self, NotKeys> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|_| NotKeys)?;
        let jwks = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(Self(jwks.filter_map(Jwk::named).collect()))
    }

    /// The key that a token names, or the only one that can be meant when it names none.
    pub fn find(&self, algorithm: Algorithm, name: Option<&str>) -> Option<&PublicKey> {
        let fits =
            |key: &&NamedKey| key.algorithm == algorithm && name.is_none_or(|name| key.name.as_deref() == Some(name));
        let mut found = self.0.iter().filter(fits);
        let first = found.next()?;
        found.next().is_none().then_some(&first.key)
    }
}

impl Jwk {
    fn named(self) -> Option<NamedKey> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let part = |text: &Option<String>| text.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let trimmed = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
                let (n, e) = (trimmed(part(&self.n)?), trimmed(part(&self.e)?));
                (Algorithm::Rs256, (n.len() * 8 >= MIN_RSA_BITS).then_some(PublicKey::Rsa { n, e })?)
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (<[u8; 32]>::try_from(part(&self.x)?).ok()?, <[u8; 32]>::try_from(part(&self.y)?).ok()?);
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                (Algorithm::Es256, PublicKey::P256(point))
            }
            ("OKP", Some("Ed25519")) => {
                (Algorithm::EdDsa, PublicKey::Ed25519(<[u8; 32]>::try_from(part(&self.x)?).ok()?))
            }
            _ => return None,
        };
        let fits = self.alg.as_deref().is_none_or(|name| Algorithm::parse(name) == Some(algorithm));
        fits.then_some(NamedKey { name: self.kid, algorithm, key })
    }
}

/// Why an ID token does not count. For the log; the person learns only that it did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdTokenRefusal {
    /// Longer than [`MAX_ID_TOKEN_BYTES`].
    #[error("the ID token is too long")]
    TooLong,
    /// Not three parts of base64url with JSON in them, or with extensions that must be understood.
    #[error("the ID token is malformed")]
    Malformed,
    /// `none`, a shared secret, or one that is not used here.
    #[error("the ID token is signed by an algorithm that does not count")]
    Algorithm,
    /// Signed by a key that the provider does not publish.
    #[error("the key of the ID token is not the provider's")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the signature of the ID token does not fit")]
    Signature,
    /// Of another issuer.
    #[error("the ID token is of another issuer")]
    Issuer,
    /// For another client.
    #[error("the ID token is for another client")]
    Audience,
    /// Over, not begun, or without times.
    #[error("the times of the ID token can't be")]
    Times,
    /// For another sign-in.
    #[error("the ID token is of another sign-in")]
    Nonce,
    /// Without a subject, or with one that can't be.
    #[error("the ID token names nobody")]
    Subject,
    /// The person did not prove it again, or the provider does not say when.
    #[error("the person has not signed in again at the provider")]
    NotAgain,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token whose signature has not been looked at: it says nothing yet.
pub struct UnverifiedIdToken<'a> {
    algorithm: Algorithm,
    key: Option<String>,
    message: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> UnverifiedIdToken<'a> {
    /// Takes a token apart. Total: any text is read or refused.
    ///
    /// # Errors
    /// [`IdTokenRefusal::TooLong`], [`IdTokenRefusal::Malformed`], [`IdTokenRefusal::Algorithm`].
    pub fn read(text: &'a str) -> Result<Self, IdTokenRefusal> {
        if text.len() > MAX_ID_TOKEN_BYTES {
            return Err(IdTokenRefusal::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(IdTokenRefusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(IdTokenRefusal::Malformed)?;
        let header: Header = object(header)?;
        if header.crit.is_some() {
            return Err(IdTokenRefusal::Malformed);
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(IdTokenRefusal::Algorithm)?;
        Ok(Self { algorithm, key: header.kid, message, claims, signature: bytes(signature)? })
    }

    /// The key that it says it is signed with, if the provider has it.
    pub fn key<'k>(&self, keys: &'k KeyRing) -> Option<&'k PublicKey> {
        keys.find(self.algorithm, self.key.as_deref())
    }

    /// What it says, if `fits` says that the signature is a key's over the message.
    ///
    /// # Errors
    /// [`IdTokenRefusal::Signature`], or [`IdTokenRefusal::Malformed`] when something else was signed than claims.
    pub fn verify(self, fits: impl FnOnce(&[u8], &[u8]) -> bool) -> Result<IdClaims, IdTokenRefusal> {
        if !fits(self.message.as_bytes(), &self.signature) {
            return Err(IdTokenRefusal::Signature);
        }
        Ok(IdClaims(object(self.claims)?))
    }
}

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedToken<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Who we are to it.
    pub client_id: &'a str,
    /// The sign-in that was begun.
    pub nonce: &'a str,
    /// Since when the person must have proved who they are, where that is asked for.
    pub authenticated_since: Option<Timestamp>,
    /// How far the clocks may be apart.
    pub leeway: Duration,
}

/// What a provider says of a person, signed.
#[derive(Debug, Clone)]
pub struct IdClaims(Map<String, Value>);

impl IdClaims {
    /// Whether it counts here and now (OpenID Connect Core section 3.1.3.7).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, expected: &ExpectedToken<'_>, now: Timestamp) -> Result<(), IdTokenRefusal> {
        if self.text("iss") != Some(expected.issuer) {
            return Err(IdTokenRefusal::Issuer);
        }
        self.check_audience(expected.client_id)?;
        let (now, leeway) = (now.millis().div_euclid(1_000), expected.leeway.as_secs() as i64);
        let (Some(expires), Some(issued)) = (self.seconds("exp"), self.seconds("iat")) else {
            return Err(IdTokenRefusal::Times);
        };
        let begun = !self.0.contains_key("nbf") || self.seconds("nbf").is_some_and(|from| from <= now + leeway);
        if now >= expires.saturating_add(leeway) || issued > now + leeway || !begun {
            return Err(IdTokenRefusal::Times);
        }
        let nonce = self.text("nonce").unwrap_or_default();
        if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return Err(IdTokenRefusal::Nonce);
        }
        if let Some(since) = expected.authenticated_since {
            let since = since.millis().div_euclid(1_000) - leeway;
            let again = self.seconds("auth_time").is_some_and(|at| at >= since && at <= now + leeway);
            if !again {
                return Err(IdTokenRefusal::NotAgain);
            }
        }
        self.subject().map(|_| ())
    }

    /// Who it is to the provider.
    ///
    /// # Errors
    /// [`IdTokenRefusal::Subject`].
    pub fn subject(&self) -> Result<&str, IdTokenRefusal> {
        let subject = self.text("sub").filter(|text| !text.is_empty() && text.len() <= MAX_SUBJECT && text.is_ascii());
        subject.ok_or(IdTokenRefusal::Subject)
    }

    /// All of it.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    fn check_audience(&self, client_id: &str) -> Result<(), IdTokenRefusal> {
        let (ours, others) = match self.0.get("aud") {
            Some(Value::String(one)) => (one == client_id, false),
            Some(Value::Array(all)) => (all.iter().any(|one| one == client_id), all.len() > 1),
            _ => (false, false),
        };
        let party = self.0.get("azp").map(|party| party == client_id);
        // With several audiences it must be said to whom it was given.
        if ours && party.unwrap_or(!others) { Ok(()) } else { Err(IdTokenRefusal::Audience) }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A NumericDate (RFC 7519 section 2), which may have a fraction.
    fn seconds(&self, name: &str) -> Option<i64> {
        let value = self.0.get(name)?;
        let fits = |seconds: &f64| (0.0..1e12).contains(seconds);
        value
            .as_i64()
            .filter(|seconds| (0..1_000_000_000_000).contains(seconds))
            .or_else(|| value.as_f64().filter(fits).map(|seconds| seconds as i64))
    }
}

fn bytes(part: &str) -> Result<Vec<u8>, IdTokenRefusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenRefusal::Malformed)
}

fn object<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, IdTokenRefusal> {
    serde_json::from_slice(&bytes(part)?).map_err(|_| IdTokenRefusal::Malformed)
}

#[cfg(test)]
mod tests;
