//! Amounts with units, exact decimals throughout.
//!
//! Units are codes of UNECE Recommendation 20. Conversion within a dimension multiplies by an exact decimal; between dimensions there is none
//! (a density belongs to a product, not to a unit). To add a unit: one line in the table below.

use std::fmt;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::schema;

/// What a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Base unit: kilogram.
    Mass,
    /// Base unit: litre.
    Volume,
    /// Base unit: piece.
    Count,
    /// Base unit: metre.
    Length,
}

macro_rules! units {
    ($($code:ident, $dimension:ident, $mantissa:literal, $scale:literal, $doc:literal;)*) => {
        /// A unit of measure by its UNECE Rec 20 code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "UPPERCASE")]
        pub enum Unit { $(#[doc = $doc] $code,)* }

        impl Unit {
            /// Every unit that quantities can have.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The Rec 20 code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$code => units!(@upper $code),)* }
            }

            /// What it measures.
            pub fn dimension(self) -> Dimension {
                match self { $(Self::$code => Dimension::$dimension,)* }
            }

            /// How many base units of its dimension make one of it.
            pub fn factor(self) -> Decimal {
                match self { $(Self::$code => Decimal::from_parts($mantissa, 0, 0, false, $scale),)* }
            }
        }
    };
    (@upper Mgm) => { "MGM" }; (@upper Grm) => { "GRM" }; (@upper Kgm) => { "KGM" }; (@upper Tne) => { "TNE" };
    (@upper Lbr) => { "LBR" }; (@upper Mlt) => { "MLT" }; (@upper Ltr) => { "LTR" }; (@upper Hlt) => { "HLT" };
    (@upper Mtq) => { "MTQ" }; (@upper C62) => { "C62" }; (@upper Mmt) => { "MMT" }; (@upper Mtr) => { "MTR" };
}

units! {
    Mgm, Mass, 1, 6, "milligram";
    Grm, Mass, 1, 3, "gram";
    Kgm, Mass, 1, 0, "kilogram";
    Tne, Mass, 1000, 0, "tonne";
    Lbr, Mass, 45_359_237, 8, "pound";
    Mlt, Volume, 1, 3, "millilitre";
    Ltr, Volume, 1, 0, "litre";
    Hlt, Volume, 100, 0, "hectolitre";
    Mtq, Volume, 1000, 0, "cubic metre";
    C62, Count, 1, 0, "piece";
    Mmt, Length, 1, 3, "millimetre";
    Mtr, Length, 1, 0, "metre";
}

impl Unit {
    /// Reads a Rec 20 code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|unit| unit.code() == code)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A positive amount with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Quantity {
    /// At most 12 digits before the point and 6 after it, without trailing zeros.
    #[schemars(schema_with = "schema::amount")]
    value: Decimal,
    /// What it counts.
    unit: Unit,
}

/// Why a text and a unit code make no quantity.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum InvalidQuantity {
    /// Not a decimal number, such as `NaN` or `12,5`.
    #[error("'{0}' is not a decimal number; write it like 12.5")]
    NotDecimal(String),
    /// Zero or less.
    #[error("the quantity {0} is not greater than zero")]
    NotPositive(Decimal),
    /// Too many digits.
    #[error("the quantity {0} has more than 12 digits before the point or more than 6 after it")]
    OutOfRange(String),
    /// Not a unit of [`Unit::ALL`].
    #[error("'{0}' is not a known unit; use a UNECE Rec 20 code such as KGM, LTR or C62")]
    UnknownUnit(String),
}

impl Quantity {
    /// Digits before the point.
    pub const MAX_INTEGER_DIGITS: u32 = 12;
    /// Digits after the point.
    pub const MAX_SCALE: u32 = 6;

    /// # Errors
    /// [`InvalidQuantity`] when the value is not positive or has too many digits.
    pub fn new(value: Decimal, unit: Unit) -> Result<Self, InvalidQuantity> {
        if value <= Decimal::ZERO {
            return Err(InvalidQuantity::NotPositive(value));
        }
        let value = value.normalize();
        if value.scale() > Self::MAX_SCALE || value >= Decimal::from(10_i64.pow(Self::MAX_INTEGER_DIGITS)) {
            return Err(InvalidQuantity::OutOfRange(value.to_string()));
        }
        Ok(Self { value, unit })
    }

    /// Reads what a person or a program wrote: a plain decimal and a Rec 20 code.
    ///
    /// # Errors
    /// [`InvalidQuantity`].
    pub fn parse(value: &str, unit: &str) -> Result<Self, InvalidQuantity> {
        let shown = || value.chars().take(40).collect::<String>();
        let unit = Unit::parse(unit).ok_or_else(|| InvalidQuantity::UnknownUnit(unit.chars().take(16).collect()))?;
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
        if !plain || digits == 0 {
            return Err(InvalidQuantity::NotDecimal(shown()));
        }
        if digits > 28 {
            return Err(InvalidQuantity::OutOfRange(shown()));
        }
        let value = Decimal::from_str_exact(value).map_err(|_| InvalidQuantity::NotDecimal(shown()))?;
        Self::new(value, unit)
    }

    /// The number, without trailing zeros.
    pub fn value(self) -> Decimal {
        self.value
    }

    /// The unit.
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// The amount in the base unit of its dimension, exact: 18 digits times a factor of at most 8 more fit a decimal of 28.
    pub fn in_base(self) -> Decimal {
        (self.value * self.unit.factor()).normalize()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_quantities_say_why() {
        assert!(matches!(Quantity::parse("NaN", "KGM"), Err(InvalidQuantity::NotDecimal(_))));
        assert!(matches!(Quantity::parse("1e9", "KGM"), Err(InvalidQuantity::NotDecimal(_))));
        assert!(matches!(Quantity::parse("", "KGM"), Err(InvalidQuantity::NotDecimal(_))));
        assert!(matches!(Quantity::parse("-1", "KGM"), Err(InvalidQuantity::NotPositive(_))));
        assert!(matches!(Quantity::parse("0", "KGM"), Err(InvalidQuantity::NotPositive(_))));
        assert!(matches!(Quantity::parse("1000000000000", "KGM"), Err(InvalidQuantity::OutOfRange(_))));
        assert!(matches!(Quantity::parse("0.0000001", "KGM"), Err(InvalidQuantity::OutOfRange(_))));
        assert!(matches!(Quantity::parse(&"9".repeat(300), "KGM"), Err(InvalidQuantity::OutOfRange(_))));
        assert!(matches!(Quantity::parse("1", "stone"), Err(InvalidQuantity::UnknownUnit(_))));
    }

    #[test]
    fn every_code_reads_back() {
        for unit in Unit::ALL {
            assert_eq!(Unit::parse(unit.code()), Some(*unit));
            assert_eq!(serde_json::to_string(unit).unwrap(), format!("\"{}\"", unit.code()));
        }
    }

    proptest! {
        #[test]
        fn conversion_to_base_is_exact(mantissa in 1_i64..1_000_000_000_000_000_000, index in 0..Unit::ALL.len()) {
            let quantity = Quantity::new(Decimal::new(mantissa, 6), Unit::ALL[index]).unwrap();
            // Integers, so that nothing can round: mantissa × factor mantissa must equal the base value at the summed scale.
            let factor = quantity.unit().factor();
            let expected = i128::from(mantissa) * factor.mantissa();
            let mut base = quantity.in_base();
            base.rescale(6 + factor.scale());
            prop_assert_eq!(base.mantissa(), expected);
        }
    }
}
