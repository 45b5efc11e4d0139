//! GS1 element strings (General Specifications 24, sections 3, 5.10 and 7): what a scanner reads from a case, a pallet or a paper.
//!
//! Read are: element strings with FNC1 as U+001D, with or without a symbology identifier such as `]C1` or `]d2`; the bracketed form under a
//! symbol, `(01)04012345678901(10)AB-1`; and GS1 Digital Link URIs. Invariant: [`Scan`] has values that are right by their own rules (length,
//! characters, check digit, calendar), and each application identifier once; written and read again it is the same.

mod ai;
mod parse;

use std::fmt::{self, Write};

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use thiserror::Error;

use self::ai::Format;

/// Stands between values whose length is not fixed.
pub const FNC1: char = '\u{1d}';
/// Longest text that is looked at: symbols hold far less.
pub const MAX_CHARS: usize = 4_096;

/// A value and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    ai: String,
    value: String,
    format: &'static Format,
}

/// What was scanned: elements in their order, each application identifier once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    elements: Vec<Element>,
}

/// Why a text is nothing that a scanner reads from a GS1 symbol. Places count characters from 0.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ScanError {
    /// Nothing, or nothing but a prefix.
    #[error("there is nothing to read")]
    Empty,
    /// Longer than any symbol.
    #[error("{0} characters are more than any symbol has")]
    TooLarge(usize),
    /// No application identifier that is known begins there.
    #[error("'{found}' at {at} is no known application identifier")]
    UnknownAi {
        /// Where.
        at: usize,
        /// What stands there.
        found: String,
    },
    /// The value ends too early.
    #[error("AI {ai} at {at} needs {needed} characters, {found} follow")]
    TooShort {
        /// The application identifier.
        ai: String,
        /// Where its value begins.
        at: usize,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// The value is longer than it may be: perhaps an FNC1 is missing after it.
    #[error("AI {ai} at {at} takes at most {max} characters, {found} follow; is an FNC1 missing after it?")]
    TooLong {
        /// The application identifier.
        ai: String,
        /// Where its value begins.
        at: usize,
        /// How many it takes.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// A character that may not stand there.
    #[error("AI {ai}: {found:?} at {at} is not allowed; it takes {allowed}")]
    Character {
        /// The application identifier.
        ai: String,
        /// Where.
        at: usize,
        /// The character.
        found: char,
        /// What may stand there.
        allowed: &'static str,
    },
    /// The check digit does not follow from the other digits.
    #[error("AI {ai} at {at}: the check digit of {value} should be {right}")]
    CheckDigit {
        /// The application identifier.
        ai: String,
        /// Where its value begins.
        at: usize,
        /// As read.
        value: String,
        /// What it should be.
        right: u32,
    },
    /// No day of any calendar.
    #[error("AI {ai} at {at}: {value} is no date YYMMDD")]
    Date {
        /// The application identifier.
        ai: String,
        /// Where its value begins.
        at: usize,
        /// As read.
        value: String,
    },
    /// It stands twice and says two things.
    #[error("AI {ai} stands twice, the second time at {at}, with another value")]
    Twice {
        /// The application identifier.
        ai: String,
        /// Where the second value begins.
        at: usize,
    },
    /// A web address without a GS1 key in it.
    #[error("the address has no GS1 key such as /01/ or /00/ in its path")]
    NoKey,
    /// A `%` that is not followed by two hexadecimal digits of a character.
    #[error("the address has a wrong percent-encoding at {at}")]
    Encoding {
        /// Where.
        at: usize,
    },
}

impl Element {
    /// The application identifier: 2 to 4 digits.
    pub fn ai(&self) -> &str {
        &self.ai
    }

    /// As it stands in the symbol.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What it is called.
    pub fn title(&self) -> &'static str {
        self.format.title
    }

    /// The day that a date means on a day: the century is the one that is nearest, and day 00 is the last of its month.
    pub fn date(&self, today: NaiveDate) -> Option<NaiveDate> {
        if self.format.is_date() { ai::date(&self.value, today.year()) } else { None }
    }

    /// The number that a measure means: its last application identifier digit says where the point is.
    pub fn measure(&self) -> Option<Decimal> {
        if !self.format.is_measure() {
            return None;
        }
        let scale = self.ai.bytes().last()?.checked_sub(b'0')?;
        let digits: i64 = self.value.parse().ok()?;
        Some(Decimal::new(digits, u32::from(scale)).normalize())
    }
}

impl Scan {
    /// Reads what a scanner gave.
    ///
    /// # Errors
    /// [`ScanError`], naming the application identifier and the place.
    pub fn parse(text: &str) -> Result<Self, ScanError> {
        parse::scan(text)
    }

    /// In the order of the symbol.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// A value by its application identifier.
    pub fn get(&self, ai: &str) -> Option<&Element> {
        self.elements.iter().find(|element| element.ai == ai)
    }

    /// Of the trade item, or of those in the logistic unit: 14 digits.
    pub fn gtin(&self) -> Option<&str> {
        self.get("01").or_else(|| self.get("02")).map(Element::value)
    }

    /// Batch or lot number.
    pub fn batch(&self) -> Option<&str> {
        self.get("10").map(Element::value)
    }

    /// Serial Shipping Container Code: 18 digits.
    pub fn sscc(&self) -> Option<&str> {
        self.get("00").map(Element::value)
    }

    /// As an element string, without a symbology identifier.
    pub fn element_string(&self) -> String {
        let mut text = String::new();
        for (index, element) in self.elements.iter().enumerate() {
            text.push_str(&element.ai);
            text.push_str(&element.value);
            if index + 1 < self.elements.len() && !ai::is_predefined(&element.ai) {
                text.push(FNC1);
            }
        }
        text
    }

    /// As a path and query of a GS1 Digital Link URI below a domain such as `https://id.gs1.org`; nothing without a key that can begin one.
    pub fn digital_link(&self, domain: &str) -> Option<String> {
        let key = ai::PRIMARY.iter().find_map(|key| self.get(key.0).map(|element| (element, key.1)))?;
        let mut text = format!("{}/{}/{}", domain.trim_end_matches('/'), key.0.ai, percent(&key.0.value));
        let qualifiers = key.1.iter().filter_map(|ai| self.get(ai));
        for element in qualifiers.clone() {
            let _ = write!(text, "/{}/{}", element.ai, percent(&element.value));
        }
        let used: Vec<&str> = qualifiers.chain([key.0]).map(Element::ai).collect();
        let rest = self.elements.iter().filter(|element| !used.contains(&element.ai()));
        for (index, element) in rest.enumerate() {
            let _ = write!(text, "{}{}={}", if index == 0 { '?' } else { '&' }, element.ai, percent(&element.value));
        }
        Some(text)
    }
}

/// The form under a symbol.
impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for element in &self.elements {
            write!(f, "({}){}", element.ai, element.value)?;
        }
        Ok(())
    }
}

fn percent(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
