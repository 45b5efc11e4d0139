//! From registers to engineering values, compiled once per signal.
//!
//! 0xAABBCCDD in two registers, and 0x1122334455667788 in four:
//!
//! | order | 32 bits | 64 bits |
//! |---|---|---|
//! | ABCD | `AABB CCDD` | `1122 3344 5566 7788` |
//! | CDAB | `CCDD AABB` | `7788 5566 3344 1122` |
//! | BADC | `BBAA DDCC` | `2211 4433 6655 8877` |
//! | DCBA | `DDCC BBAA` | `8877 6655 4433 2211` |
//!
//! So CDAB reverses the registers, BADC the bytes within each, DCBA both. A value of one register follows the same rule: its bytes
//! are swapped by BADC and DCBA.
//!
//! Invariant: a Good reading is a finite number. NaN, infinity, or a result too large for a double is `Bad_OutOfRange`.

use lotline_domain::sample::Quality;
use lotline_domain::signal::{DataType, WordOrder};
use rust_decimal::Decimal;

/// How to read one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoder {
    data_type: DataType,
    word_order: WordOrder,
    scaling: Option<Scaling>,
}

/// value = (raw × factor + summand) ÷ divisor, all three integers: so that 723 × 0.1 is the double nearest to 72.3, which a
/// multiplication by the double nearest to 0.1 would miss.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scaling {
    factor: f64,
    summand: f64,
    divisor: f64,
}

impl Decoder {
    /// Compiles the way from raw to engineering value: value = raw × scale + offset.
    pub fn new(data_type: DataType, word_order: WordOrder, scale: Decimal, offset: Decimal) -> Self {
        let identity = scale == Decimal::ONE && offset.is_zero();
        Self { data_type, word_order, scaling: (!identity).then(|| Scaling::new(scale, offset)) }
    }

    /// Registers that a value takes.
    pub fn registers(&self) -> usize {
        usize::from(self.data_type.registers())
    }

    /// Decodes the first [`Self::registers`] of `words`, which must be that many at least.
    pub fn registers_to_value(&self, words: &[u16]) -> (f64, Quality) {
        let words = &words[..self.registers()];
        let bits = join(words, self.word_order);
        self.finish(match self.data_type {
            DataType::Bool => f64::from(u8::from(bits != 0)),
            DataType::I16 => f64::from(bits as u16 as i16),
            DataType::U16 => f64::from(bits as u16),
            DataType::I32 => f64::from(bits as u32 as i32),
            DataType::U32 => f64::from(bits as u32),
            DataType::I64 => (bits as i64) as f64,
            DataType::U64 => bits as f64,
            DataType::F32 => f64::from(f32::from_bits(bits as u32)),
            DataType::F64 => f64::from_bits(bits),
        })
    }

    /// Decodes a bit: 0 or 1, then scaled like any value.
    pub fn bit_to_value(&self, bit: bool) -> (f64, Quality) {
        self.finish(f64::from(u8::from(bit)))
    }

    fn finish(&self, raw: f64) -> (f64, Quality) {
        let value = self.scaling.map_or(raw, |scaling| scaling.apply(raw));
        if value.is_finite() { (value, Quality::GOOD) } else { (0.0, Quality::BAD_OUT_OF_RANGE) }
    }
}

impl Scaling {
    fn new(scale: Decimal, offset: Decimal) -> Self {
        let digits = scale.scale().max(offset.scale());
        let integer = |number: Decimal| number.mantissa() as f64 * 10_f64.powi((digits - number.scale()) as i32);
        Self { factor: integer(scale), summand: integer(offset), divisor: 10_f64.powi(digits as i32) }
    }

    fn apply(self, raw: f64) -> f64 {
        let exact = (raw * self.factor + self.summand) / self.divisor;
        // A huge float can overflow in between though the result would not.
        if exact.is_finite() { exact } else { raw * (self.factor / self.divisor) + self.summand / self.divisor }
    }
}

/// The bits of a value of one to four registers, most significant first.
fn join(words: &[u16], order: WordOrder) -> u64 {
    let (reverse_words, swap_bytes) = match order {
        WordOrder::Abcd => (false, false),
        WordOrder::Cdab => (true, false),
        WordOrder::Badc => (false, true),
        WordOrder::Dcba => (true, true),
    };
    let push = |bits: u64, word: &u16| (bits << 16) | u64::from(if swap_bytes { word.swap_bytes() } else { *word });
    if reverse_words { words.iter().rev().fold(0, push) } else { words.iter().fold(0, push) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDERS: [WordOrder; 4] = [WordOrder::Abcd, WordOrder::Cdab, WordOrder::Badc, WordOrder::Dcba];

    /// Written from the table above, on bytes rather than on shifts.
    fn encode(big_endian: &[u8], order: WordOrder) -> Vec<u16> {
        let mut words: Vec<[u8; 2]> = big_endian.chunks(2).map(|pair| [pair[0], pair[1]]).collect();
        if matches!(order, WordOrder::Cdab | WordOrder::Dcba) {
            words.reverse();
        }
        if matches!(order, WordOrder::Badc | WordOrder::Dcba) {
            for word in &mut words {
                word.reverse();
            }
        }
        words.into_iter().map(u16::from_be_bytes).collect()
    }

    fn plain(data_type: DataType, order: WordOrder) -> Decoder {
        Decoder::new(data_type, order, Decimal::ONE, Decimal::ZERO)
    }

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn the_table_of_orders_holds() {
        let two = [[0xAABB, 0xCCDD], [0xCCDD, 0xAABB], [0xBBAA, 0xDDCC], [0xDDCC, 0xBBAA]];
        let four = [
            [0x1122, 0x3344, 0x5566, 0x7788],
            [0x7788, 0x5566, 0x3344, 0x1122],
            [0x2211, 0x4433, 0x6655, 0x8877],
            [0x8877, 0x6655, 0x4433, 0x2211],
        ];
        for (index, order) in ORDERS.into_iter().enumerate() {
            assert_eq!(join(&two[index], order), 0xAABB_CCDD, "{order:?}");
            assert_eq!(join(&four[index], order), 0x1122_3344_5566_7788, "{order:?}");
        }
    }

    #[test]
    fn decimals_come_out_as_people_write_them() {
        let tenth = Decoder::new(DataType::I16, WordOrder::Abcd, decimal("0.1"), Decimal::ZERO);
        for raw in i16::MIN..=i16::MAX {
            let written: f64 = format!("{}.{}", raw.unsigned_abs() / 10, raw.unsigned_abs() % 10).parse().unwrap();
            let expected = if raw < 0 { -written } else { written };
            assert_eq!(tenth.registers_to_value(&[raw as u16]), (expected, Quality::GOOD));
        }
        let celsius = Decoder::new(DataType::U16, WordOrder::Abcd, decimal("0.01"), decimal("-273.15"));
        assert_eq!(celsius.registers_to_value(&[34_515]), (72.0, Quality::GOOD));
    }

    #[test]
    fn what_is_no_number_is_never_good() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let words = encode(&value.to_be_bytes(), WordOrder::Cdab);
            assert_eq!(
                plain(DataType::F32, WordOrder::Cdab).registers_to_value(&words),
                (0.0, Quality::BAD_OUT_OF_RANGE)
            );
        }
        let thousandfold = Decoder::new(DataType::F64, WordOrder::Abcd, decimal("1000"), Decimal::ZERO);
        let words = encode(&f64::MAX.to_be_bytes(), WordOrder::Abcd);
        assert_eq!(thousandfold.registers_to_value(&words), (0.0, Quality::BAD_OUT_OF_RANGE));
        let thousandth = Decoder::new(DataType::F64, WordOrder::Abcd, decimal("0.001"), decimal("0.001"));
        assert!(thousandth.registers_to_value(&words).1.is_good());
    }

    #[test]
    fn bits_are_zero_and_one() {
        let decoder = plain(DataType::Bool, WordOrder::Abcd);
        assert_eq!((decoder.bit_to_value(false).0, decoder.bit_to_value(true).0), (0.0, 1.0));
        assert_eq!((decoder.registers_to_value(&[0]).0, decoder.registers_to_value(&[256]).0), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn every_type_round_trips_in_every_order(bits: u64, index in 0..4_usize) {
            let order = ORDERS[index];
            let read = |data_type, bytes: &[u8]| plain(data_type, order).registers_to_value(&encode(bytes, order));
            let good = |value| (value, Quality::GOOD);
            prop_assert_eq!(read(DataType::U16, &(bits as u16).to_be_bytes()), good(f64::from(bits as u16)));
            prop_assert_eq!(read(DataType::I16, &(bits as i16).to_be_bytes()), good(f64::from(bits as i16)));
            prop_assert_eq!(read(DataType::U32, &(bits as u32).to_be_bytes()), good(f64::from(bits as u32)));
            prop_assert_eq!(read(DataType::I32, &(bits as i32).to_be_bytes()), good(f64::from(bits as i32)));
            prop_assert_eq!(read(DataType::U64, &bits.to_be_bytes()), good(bits as f64));
            prop_assert_eq!(read(DataType::I64, &(bits as i64).to_be_bytes()), good(bits as i64 as f64));
            let (single, double) = (f32::from_bits(bits as u32), f64::from_bits(bits));
            let floats = [
                (read(DataType::F32, &single.to_be_bytes()), f64::from(single)),
                (read(DataType::F64, &double.to_be_bytes()), double),
            ];
            for (got, sent) in floats {
                prop_assert_eq!(got, if sent.is_finite() { good(sent) } else { (0.0, Quality::BAD_OUT_OF_RANGE) });
            }
        }

        #[test]
        fn scaling_stays_next_to_the_decimal_result(raw: i32, scale in -999_999_i64..1_000_000, offset in -999_999_i64..1_000_000, digits in 0..9_u32) {
            prop_assume!(scale != 0);
            let (scale, offset) = (Decimal::new(scale, digits), Decimal::new(offset, 3));
            let words = encode(&raw.to_be_bytes(), WordOrder::Abcd);
            let (value, quality) = Decoder::new(DataType::I32, WordOrder::Abcd, scale, offset).registers_to_value(&words);
            let exact: f64 = (Decimal::from(raw) * scale + offset).to_string().parse().unwrap();
            prop_assert!(quality.is_good());
            prop_assert!((value - exact).abs() <= exact.abs() * 1e-12 + 1e-9, "{} {}", value, exact);
        }
    }
}
