//! Random secrets that are handed out once and kept as a digest.
//!
//! A text of 256 random bits needs no slow hash: SHA-256 of it can't be searched. The form names what it is, so that secret scanners find it:
//!
//! ```text
//! lotline_refresh_<64 hex digits>
//! ```

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const HEX_DIGITS: usize = 64;

/// What an [`OpaqueToken`] is for. One kind is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// Gets the next access token of a session.
    Refresh,
    /// A one-time link: first administrator, invitation, forgotten password.
    Link,
    /// Says that its owner has just proved again who they are, for one command.
    Proof,
}

impl SecretKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Refresh => "lotline_refresh_",
            Self::Link => "lotline_link_",
            Self::Proof => "lotline_proof_",
        }
    }
}

/// A secret that only its owner has. Its `Debug` does not show it.
#[derive(Clone)]
pub struct OpaqueToken {
    kind: SecretKind,
    text: String,
}

impl OpaqueToken {
    /// A token from fresh random bytes.
    pub fn new(kind: SecretKind, random: [u8; 32]) -> Self {
        Self { kind, text: format!("{}{}", kind.prefix(), hex::encode(random)) }
    }

    /// Reads what somebody presents; nothing when it can't be a token of this kind. There is one text per token.
    pub fn parse(kind: SecretKind, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(kind.prefix())?;
        let valid = digits.len() == HEX_DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self { kind, text: text.to_owned() })
    }

    /// The text, for its owner only.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is kept of it.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.text.as_bytes())
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaqueToken").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// SHA-256 of a secret. Deliberately without `==`: [`SecretDigest::matches`] takes the same time whatever differs.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a secret's bytes.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// A digest as it was kept; nothing when it has another length.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// To be kept.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same secret, in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretDigest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [SecretKind; 3] = [SecretKind::Refresh, SecretKind::Link, SecretKind::Proof];

    #[test]
    fn a_kind_is_not_taken_for_another() {
        for kind in KINDS {
            let token = OpaqueToken::new(kind, [0xa5; 32]);
            for other in KINDS {
                assert_eq!(OpaqueToken::parse(other, token.expose()).is_some(), kind == other);
            }
        }
    }

    #[test]
    fn there_is_one_text_per_token() {
        let token = OpaqueToken::new(SecretKind::Link, [0xab; 32]);
        let upper = token.expose().replace("ab", "AB");
        for other in [upper.as_str(), &format!("{} ", token.expose()), &token.expose()[1..], "", "lotline_link_"] {
            assert!(OpaqueToken::parse(SecretKind::Link, other).is_none(), "{other}");
        }
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let token = OpaqueToken::new(SecretKind::Proof, [0xab; 32]);
        assert!(!format!("{token:?} {:?}", token.digest()).contains("abab"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", bytes: [u8; 32]) {
            for kind in KINDS {
                let _ = OpaqueToken::parse(kind, &text);
                let token = OpaqueToken::new(kind, bytes);
                let read = OpaqueToken::parse(kind, token.expose()).unwrap();
                prop_assert!(read.digest().matches(&token.digest()));
                prop_assert!(!read.digest().matches(&SecretDigest::of(text.as_bytes())));
            }
        }
    }
}
