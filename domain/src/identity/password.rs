//! What a password must be, after NIST SP 800-63B-4 section 3.1.1.2: long, not common, not about its owner; no rules of composition, no expiry.

use std::fmt;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Characters at least.
pub const MIN_CHARACTERS: usize = 12;
/// Characters at most.
pub const MAX_CHARACTERS: usize = 128;
/// What is longer is refused before it is looked at: four bytes a character.
const MAX_BYTES: usize = 4 * MAX_CHARACTERS;
/// Words about the owner that are shorter may occur by chance.
const MIN_WORD: usize = 4;

/// A password as it was typed, in normal form NFKC, so that every keyboard gives the same. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Password(String);

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Weakness {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("the password needs at least {MIN_CHARACTERS} characters")]
    Short,
    /// More than [`MAX_CHARACTERS`].
    #[error("the password may have {MAX_CHARACTERS} characters at most")]
    Long,
    /// Everybody's first guess.
    #[error("the password is one of those that are tried first: a common word, a row of keys, a repetition")]
    Common,
    /// Contains the name or address of its owner.
    #[error("the password contains the name or the address of its owner")]
    Personal,
}

impl Password {
    /// Takes what was typed; nothing when it is longer than any password.
    pub fn new(typed: &str) -> Option<Self> {
        if typed.len() > MAX_BYTES {
            return None;
        }
        let normal: String = typed.nfkc().collect();
        (normal.chars().count() <= MAX_CHARACTERS).then_some(Self(normal))
    }

    /// The bytes to be hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether a person may choose it. `about` are the person's names and addresses.
    ///
    /// # Errors
    /// [`Weakness`].
    pub fn check(&self, about: &[&str]) -> Result<(), Weakness> {
        if self.0.chars().count() < MIN_CHARACTERS {
            return Err(Weakness::Short);
        }
        let lower = self.0.to_lowercase();
        if is_common(&lower) {
            return Err(Weakness::Common);
        }
        let personal = about.iter().flat_map(|text| words(text)).any(|word| lower.contains(&word));
        if personal { Err(Weakness::Personal) } else { Ok(()) }
    }
}

/// Takes a new password and checks it.
///
/// # Errors
/// [`Weakness`].
pub fn choose(typed: &str, about: &[&str]) -> Result<Password, Weakness> {
    let password = Password::new(typed).ok_or(Weakness::Long)?;
    password.check(about)?;
    Ok(password)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password").finish_non_exhaustive()
    }
}

/// The parts of a name or an address that must not occur.
fn words(text: &str) -> Vec<String> {
    let text = text.nfkc().collect::<String>().to_lowercase();
    let local = text.split_once('@').map_or(text.as_str(), |(local, _)| local);
    let parts = local.split(|c: char| !c.is_alphanumeric()).chain([local, text.trim()]);
    parts.filter(|part| part.chars().count() >= MIN_WORD).map(str::to_owned).collect()
}

/// `lower` is in lower case. What is left of it without repetitions and trimmings must be more than common words; a number of
/// twenty digits may be a good one.
fn is_common(lower: &str) -> bool {
    let chars: Vec<char> = lower.chars().collect();
    let unit = (1..=chars.len()).find(|unit| chars.chunks(*unit).all(|chunk| chars.starts_with(chunk)));
    let unit = &chars[..unit.unwrap_or(chars.len())];
    if unit.len() <= 4 || is_row(&chars) || is_row(unit) {
        return true;
    }
    let all: String = unit.iter().collect();
    let bare = all.trim_matches(|c: char| !c.is_alphabetic());
    [bare, all.as_str()].iter().any(|left| {
        let plain: String = left.chars().map(unleet).collect();
        let common = is_made_of_common(left) || is_made_of_common(&plain);
        common && (!left.is_empty() || unit.len() < 20)
    })
}

/// Common words one after another, and nothing else.
fn is_made_of_common(text: &str) -> bool {
    text.is_empty()
        || COMMON
            .iter()
            .any(|word| text.strip_prefix(word).is_some_and(|rest| rest.len() < text.len() && is_made_of_common(rest)))
}

/// Neighbours on the keyboard or in the alphabet all the way, forth or back.
fn is_row(chars: &[char]) -> bool {
    let steps = |row: &str| {
        let row: Vec<char> = row.chars().collect();
        let near = |pair: &[char]| {
            let at = |c: char| row.iter().position(|r| *r == c);
            matches!((at(pair[0]), at(pair[1])), (Some(a), Some(b)) if a.abs_diff(b) <= 1 || a.abs_diff(b) == row.len() - 1)
        };
        chars.windows(2).all(near)
    };
    ROWS.iter().any(|row| steps(row))
}

fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

const ROWS: [&str; 7] = [
    "0123456789",
    "1234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
];

/// Words that people make passwords of, alone, after each other, or with digits and signs around them.
const COMMON: [&str; 66] = [
    "access",
    "account",
    "admin",
    "administrator",
    "apple",
    "autumn",
    "baseball",
    "batman",
    "changeme",
    "charlie",
    "chocolate",
    "company",
    "computer",
    "correct",
    "dairy",
    "default",
    "dragon",
    "factory",
    "flower",
    "football",
    "freedom",
    "hello",
    "iloveyou",
    "internet",
    "letmein",
    "login",
    "lotline",
    "love",
    "manager",
    "master",
    "michael",
    "monkey",
    "mustang",
    "newpass",
    "operator",
    "pass",
    "passwort",
    "password",
    "plant",
    "princess",
    "production",
    "qwerty",
    "qwertz",
    "quality",
    "root",
    "secret",
    "secure",
    "shadow",
    "spring",
    "starwars",
    "summer",
    "sunshine",
    "superman",
    "system",
    "temp",
    "temporary",
    "test",
    "testing",
    "trustno",
    "user",
    "welcome",
    "whatever",
    "winter",
    "word",
    "work",
    "your",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), Weakness> {
        choose(text, &["Ann Müller", "ann.mueller@example.org"]).map(|_| ())
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(verdict("größter fräs"), Ok(()));
        assert_eq!(verdict("größte fräs"), Err(Weakness::Short));
        let long: String = "the milk is cold and ".chars().cycle().take(129).collect();
        assert_eq!(verdict(&long), Err(Weakness::Long));
        assert_eq!(verdict(&long[..128]), Ok(()));
        assert_eq!(verdict(&"x".repeat(1 << 20)), Err(Weakness::Long));
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        let common = [
            "password1234",
            "Password2026!",
            "P@ssw0rd!!!!",
            "passwordpassword",
            "123456789012",
            "987654321098",
            "qwertyuiopas",
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "LotlineLotline",
            "lotline-2026-11",
            "WelcomeWelcome1",
            "administrator1",
            "1qaz2wsx3edc",
            "Summer2026!!",
            "letmeinletmein",
            "changeme1234",
            "2026-11-21 03:15",
            "qwerty123456",
        ];
        for text in common {
            assert_eq!(verdict(text), Err(Weakness::Common), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_asked_of_it() {
        for text in
            ["correct horse battery", "all lower case", "ÄÖÜ ist kein Rätsel", "password of a cow", "7f3c9a1e5b2d"]
        {
            assert_eq!(verdict(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_owner_is_not_in_it() {
        for text in ["milk MUELLER milk", "xx müller xx xx", "ann.mueller@example.org"] {
            assert_eq!(verdict(text), Err(Weakness::Personal), "{text}");
        }
        assert_eq!(verdict("annual report seven"), Ok(()), "three letters may occur by chance");
    }

    #[test]
    fn every_keyboard_gives_the_same() {
        let (composed, decomposed) = (Password::new("gr\u{fc}n").unwrap(), Password::new("gru\u{308}n").unwrap());
        assert_eq!(composed.as_bytes(), decomposed.as_bytes());
    }

    #[test]
    fn debug_does_not_show_the_password() {
        assert!(!format!("{:?}", Password::new("correct horse").unwrap()).contains("horse"));
    }
}
