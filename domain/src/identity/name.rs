//! Login names: e-mail addresses, of which only a keyed digest is kept.

use std::fmt;

use thiserror::Error;

/// RFC 5321 section 4.5.3.1.3, less the angle brackets.
const MAX_BYTES: usize = 254;

/// A text that can't be a login name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a login name is an e-mail address of visible ASCII characters, such as ann@example.org; write other domains as xn--…"
)]
pub struct InvalidName;

/// An e-mail address in the one form in which it is compared: without blanks around it, in lower case.
///
/// ASCII only, so that no two addresses look alike and differ. Its `Debug` does not show it: it is personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginName(String);

impl LoginName {
    /// Reads and normalises an address. Whether it takes mail is another question.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        if text.len() > MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidName);
        }
        let (local, domain) = text.split_once('@').ok_or(InvalidName)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(InvalidName);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginName").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_form() {
        assert_eq!(LoginName::new(" Ann@Example.ORG ").unwrap().as_str(), "ann@example.org");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(243));
        for text in ["", "ann", "@", "ann@", "@example.org", "a@b@c", "an n@example.org", "änn@example.org", &long] {
            assert_eq!(LoginName::new(text), Err(InvalidName), "{text}");
        }
        assert!(LoginName::new(&long[1..]).is_ok(), "254 bytes are allowed");
    }

    #[test]
    fn debug_does_not_show_the_address() {
        assert!(!format!("{:?}", LoginName::new("ann@example.org").unwrap()).contains("ann"));
    }
}
