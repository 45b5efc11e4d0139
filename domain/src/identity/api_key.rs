//! API keys as text: found by secret scanners, and a mistyped one is told without asking the database.
//!
//! ```text
//! lotline_<prefix>_<secret><check>
//!          12       40      6        characters of Crockford's base32, lower case: 0-9 a-z without i l o u
//! ```
//!
//! The prefix (60 random bits) names the key and may be shown. The secret has 200 random bits. The check is the first 30 bits of SHA-256
//! over all before it. As a pattern: `lotline_[0-9a-hjkmnp-tv-z]{12}_[0-9a-hjkmnp-tv-z]{46}`.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::secret::SecretDigest;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const PREFIX: usize = 12;
const SECRET: usize = 40;
const CHECK: usize = 6;
const BRAND: &str = "lotline_";

/// Random bytes that a new key needs.
pub const RANDOM_BYTES: usize = PREFIX + SECRET;

/// Why a text is not an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MalformedKey {
    /// It does not look like one.
    #[error("this is not an API key: it has the form lotline_<12 characters>_<46 characters>")]
    Form,
    /// It looks like one, but a character is wrong or missing.
    #[error("the API key is mistyped or cut off: its check does not fit")]
    Check,
}

/// A key as its owner has it. Its `Debug` shows the prefix only.
#[derive(Clone)]
pub struct ApiKeyText(String);

impl ApiKeyText {
    /// A key from fresh random bytes.
    pub fn new(random: [u8; RANDOM_BYTES]) -> Self {
        let letters: String = random.iter().map(|byte| letter(*byte)).collect();
        let (prefix, secret) = letters.split_at(PREFIX);
        let body = format!("{BRAND}{prefix}_{secret}");
        let check = check_of(&body);
        Self(body + &check)
    }

    /// Reads what somebody presents. Asks nobody.
    ///
    /// # Errors
    /// [`MalformedKey`].
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let rest = text.strip_prefix(BRAND).ok_or(MalformedKey::Form)?;
        let (prefix, tail) = rest.split_once('_').ok_or(MalformedKey::Form)?;
        let of_alphabet = |part: &str| part.bytes().all(|byte| ALPHABET.contains(&byte));
        if prefix.len() != PREFIX || tail.len() != SECRET + CHECK || !of_alphabet(prefix) || !of_alphabet(tail) {
            return Err(MalformedKey::Form);
        }
        let (body, check) = text.split_at(text.len() - CHECK);
        if check_of(body) == check { Ok(Self(text.to_owned())) } else { Err(MalformedKey::Check) }
    }

    /// Names the key; no secret.
    pub fn prefix(&self) -> &str {
        &self.0[BRAND.len()..BRAND.len() + PREFIX]
    }

    /// The text, for its owner only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeyText").field(&self.prefix()).finish()
    }
}

fn letter(byte: u8) -> char {
    char::from(ALPHABET[usize::from(byte & 31)])
}

fn check_of(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 2;
    (0..CHECK).rev().map(|place| letter((bits >> (5 * place)) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn random() -> impl Strategy<Value = [u8; RANDOM_BYTES]> {
        proptest::collection::vec(any::<u8>(), RANDOM_BYTES).prop_map(|bytes| bytes.try_into().unwrap())
    }

    /// A key that is once out must be readable for ever. The check was worked out by Python.
    #[test]
    fn the_form_is_fixed() {
        let key = ApiKeyText::new(std::array::from_fn(|place| place as u8));
        assert_eq!(key.expose(), "lotline_0123456789ab_cdefghjkmnpqrstvwxyz0123456789abcdefghjk9jf1jn");
        assert_eq!(key.prefix(), "0123456789ab");
    }

    #[test]
    fn debug_shows_the_prefix_only() {
        let key = ApiKeyText::new([7; RANDOM_BYTES]);
        assert_eq!(format!("{key:?}"), "ApiKeyText(\"777777777777\")");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", tail in "[ -~]{0,80}") {
            for text in [text, format!("lotline_{tail}"), format!("lotline_0123456789ab_{tail}")] {
                prop_assert!(ApiKeyText::parse(&text).is_err());
            }
        }

        #[test]
        fn what_was_made_is_read(bytes in random()) {
            let key = ApiKeyText::new(bytes);
            let read = ApiKeyText::parse(key.expose()).unwrap();
            prop_assert!(read.digest().matches(&key.digest()));
            prop_assert_eq!(read.prefix(), key.prefix());
        }

        #[test]
        fn a_slip_is_noticed(bytes in random(), place in 8_usize..67, other in 0_usize..32) {
            let key = ApiKeyText::new(bytes);
            let mut text = key.expose().as_bytes().to_vec();
            prop_assume!(text[place] != ALPHABET[other] && text[place] != b'_');
            text[place] = ALPHABET[other];
            prop_assert_eq!(ApiKeyText::parse(std::str::from_utf8(&text).unwrap()).unwrap_err(), MalformedKey::Check);
            prop_assert_eq!(ApiKeyText::parse(&key.expose()[..66]).unwrap_err(), MalformedKey::Form);
        }
    }
}
