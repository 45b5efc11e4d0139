//! Points in time with microsecond resolution, which is what PostgreSQL keeps.
//!
//! Text form: RFC 3339 in UTC with exactly six fractional digits, `2026-11-21T03:15:00.000000Z`, so that equal times have equal bytes
//! wherever they are hashed.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time within the years 1 to 9999.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not an RFC 3339 time")]
pub struct InvalidTimestamp(String);

const MIN_MICROS: i64 = -62_135_596_800_000_000; // 0001-01-01
const MAX_MICROS: i64 = 253_402_300_799_999_999; // 9999-12-31T23:59:59.999999

impl Timestamp {
    /// From microseconds since the epoch, clamped to the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(MIN_MICROS, MAX_MICROS))
    }

    /// From milliseconds since the epoch, clamped likewise.
    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// As a chrono time.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).expect("invariant: a Timestamp lies within the years 1 to 9999")
    }

    /// This time moved by a number of microseconds, clamped.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Parses RFC 3339 with any offset; digits beyond microseconds are cut.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] when the text is no such time or lies outside the years 1 to 9999.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let invalid = || InvalidTimestamp(text.chars().take(64).collect());
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| invalid())?;
        let micros = time.timestamp_micros();
        if (MIN_MICROS..=MAX_MICROS).contains(&micros) { Ok(Self(micros)) } else { Err(invalid()) }
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::parse(&text).map_err(serde::de::Error::custom)
        } else {
            Ok(Self::from_micros(i64::deserialize(deserializer)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_fixed_width_utc() {
        let time = Timestamp::parse("2026-11-21T05:15:00.5+02:00").unwrap();
        assert_eq!(time.to_string(), "2026-11-21T03:15:00.500000Z");
        assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
    }

    #[test]
    fn nonsense_and_absurd_years_are_refused() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "+12026-01-01T00:00:00Z", "2026-11-21 03:15"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn extremes_stay_printable() {
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros(i64::MIN).to_string(), "0001-01-01T00:00:00.000000Z");
    }
}
