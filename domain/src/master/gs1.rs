//! GS1 identification keys (General Specifications, sections 2 and 7.9): what a scanner reads from a trade item or a place.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::MasterRefusal;

/// Why a text is no key.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum InvalidKey {
    /// Not as long as such a key is, or with something else than digits.
    #[error("it must have {0} digits and nothing else")]
    Digits(&'static str),
    /// The last digit does not follow from the others.
    #[error("its check digit should be {0}")]
    CheckDigit(u32),
}

/// A Global Trade Item Number: 8, 12, 13 or 14 digits as they stand on the item. Two that differ only by zeros in front are one, as GS1 has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Gtin(#[schemars(regex(pattern = "^(\\d{8}|\\d{12,14})$"))] String);

/// A Global Location Number: 13 digits, of a party or a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Gln(#[schemars(regex(pattern = "^\\d{13}$"))] String);

impl Gtin {
    /// # Errors
    /// [`MasterRefusal::InvalidGs1Key`] naming the input field.
    pub fn parse(field: &'static str, given: &str) -> Result<Self, MasterRefusal> {
        key(field, "GTIN", given, &[8, 12, 13, 14], "8, 12, 13 or 14").map(Self)
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With zeros in front, as it stands in a GS1 element string: two that are equal so are one.
    pub fn in_14_digits(&self) -> String {
        format!("{:0>14}", self.0)
    }
}

impl Gln {
    /// # Errors
    /// [`MasterRefusal::InvalidGs1Key`] naming the input field.
    pub fn parse(field: &'static str, given: &str) -> Result<Self, MasterRefusal> {
        key(field, "GLN", given, &[13], "13").map(Self)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Gtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Gln {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn key(
    field: &'static str,
    key: &'static str,
    given: &str,
    lengths: &[usize],
    shown: &'static str,
) -> Result<String, MasterRefusal> {
    let text = given.trim();
    let invalid =
        |problem| MasterRefusal::InvalidGs1Key { field, key, given: text.chars().take(20).collect(), problem };
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(10)).collect();
    let digits = digits.filter(|digits| lengths.contains(&digits.len()));
    let Some((last, others)) = digits.as_deref().and_then(<[u32]>::split_last) else {
        return Err(invalid(InvalidKey::Digits(shown)));
    };
    let right = check_digit(others);
    if *last == right { Ok(text.to_owned()) } else { Err(invalid(InvalidKey::CheckDigit(right))) }
}

/// The digit that follows these: weights 3 and 1 in turn from the right.
pub(crate) fn check_digit(others: &[u32]) -> u32 {
    let weighted = others.iter().rev().zip([3, 1].into_iter().cycle()).map(|(digit, weight)| digit * weight);
    (10 - weighted.sum::<u32>() % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From GS1's own examples and from things on a shelf.
    #[test]
    fn real_keys_are_taken() {
        for gtin in ["4012345678901", "614141000036", "10614141000415", "96385074", " 9506000134352\n"] {
            assert_eq!(Gtin::parse("gtin", gtin).unwrap().as_str(), gtin.trim(), "{gtin}");
        }
        assert_eq!(Gtin::parse("gtin", "614141000036").unwrap().in_14_digits(), "00614141000036");
        assert_eq!(Gln::parse("gln", "9506000140445").unwrap().to_string(), "9506000140445");
    }

    #[test]
    fn a_slip_of_a_finger_is_found() {
        for (given, problem) in [
            ("4012345678902", InvalidKey::CheckDigit(1)),
            ("4012345687901", InvalidKey::CheckDigit(3)),
            ("401234567890", InvalidKey::CheckDigit(3)),
            ("40123456789", InvalidKey::Digits("8, 12, 13 or 14")),
            ("401234567890A", InvalidKey::Digits("8, 12, 13 or 14")),
            ("４０１２３４５６７８９０１", InvalidKey::Digits("8, 12, 13 or 14")),
            ("", InvalidKey::Digits("8, 12, 13 or 14")),
        ] {
            let found = Gtin::parse("gtin", given).unwrap_err();
            assert!(
                matches!(&found, MasterRefusal::InvalidGs1Key { problem: found, .. } if *found == problem),
                "{found}"
            );
        }
        assert!(Gln::parse("gln", "614141000036").is_err(), "a GTIN of 12 digits is no place");
    }
}
