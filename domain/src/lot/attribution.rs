//! How much of an input is in each output, where there are several.
//!
//! Of a well-mixed vat nobody can tell which gram went where, so every output is a child of every input, by its share: its quantity in base
//! units over that of all outputs, or the shares that were given with the outputs. What was lost is thereby attributed like what was kept.
//!
//! An amount has at most six decimals in the input's own unit, so shares are rounded by the largest remainder: each output gets its share
//! rounded down to a millionth, and the millionths that are left go one each to those that lost most by the rounding, of equals to the first. An
//! output that would get nothing gets a millionth from the one that has most, so that "contains any" is never answered with no.
//! Invariant: the amounts are above zero, and their sum is exactly what was taken.

use rust_decimal::Decimal;

use crate::quantity::Quantity;

/// Decimals in which amounts are compared: six of a quantity and eight of the finest factor, that of the pound.
const SCALE: u32 = 14;
/// [`SCALE`] as a factor.
const PARTS: u128 = 10_u128.pow(SCALE);

/// An amount in base units, in parts of 10^-14: exact, and below 10^30.
pub(super) fn parts(base: Decimal) -> u128 {
    let base = base.normalize();
    let scale = SCALE.checked_sub(base.scale()).expect("invariant: a quantity in base units has at most 14 decimals");
    base.mantissa().unsigned_abs() * 10_u128.pow(scale)
}

/// Parts as a decimal number, without zeros at the end.
pub(super) fn shown(parts: u128) -> String {
    let (whole, part) = (parts / PARTS, parts % PARTS);
    if part == 0 {
        return whole.to_string();
    }
    let digits = format!("{part:0width$}", width = SCALE as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// The amounts of one input in outputs of these weights; nothing when it has fewer millionths than there are outputs.
///
/// Weights are above zero and below 10^30, and there are at most 1,000.
pub(super) fn attribute(taken: Quantity, weights: &[u128]) -> Option<Vec<Quantity>> {
    let scale = Quantity::MAX_SCALE - taken.value().scale();
    let millionths = taken.value().mantissa().unsigned_abs() * 10_u128.pow(scale);
    if millionths < weights.len() as u128 {
        return None;
    }
    let whole: u128 = weights.iter().sum();
    let (mut amounts, remainders): (Vec<u128>, Vec<u128>) =
        weights.iter().map(|weight| share(millionths, *weight, whole)).unzip();
    let left = millionths - amounts.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|one, other| remainders[*other].cmp(&remainders[*one]).then(one.cmp(other)));
    for index in order.into_iter().take(left as usize) {
        amounts[index] += 1;
    }
    while let Some(nothing) = amounts.iter().position(|amount| *amount == 0) {
        let most = amounts.iter().copied().max().unwrap_or_default();
        let richest = amounts.iter().position(|amount| *amount == most)?;
        amounts[richest] -= 1;
        amounts[nothing] = 1;
    }
    let quantity = |amount: u128| {
        let value = Decimal::from_i128_with_scale(amount as i128, Quantity::MAX_SCALE);
        Quantity::new(value, taken.unit()).expect("invariant: a part of a quantity, above zero, is a quantity")
    };
    Some(amounts.into_iter().map(quantity).collect())
}

/// `amount × weight / whole` and its remainder, without an intermediate result that would not fit: by long division, bit after bit.
fn share(amount: u128, weight: u128, whole: u128) -> (u128, u128) {
    let (mut quotient, mut remainder) = (0, 0);
    for bit in (0..u128::BITS - amount.leading_zeros()).rev() {
        quotient <<= 1;
        remainder <<= 1;
        if (amount >> bit) & 1 == 1 {
            remainder += weight;
        }
        while remainder >= whole {
            remainder -= whole;
            quotient += 1;
        }
    }
    (quotient, remainder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attributed(value: &str, weights: &[u128]) -> Option<Vec<String>> {
        let amounts = attribute(Quantity::parse(value, "KGM").unwrap(), weights)?;
        Some(amounts.iter().map(|amount| amount.value().to_string()).collect())
    }

    #[test]
    fn what_divides_is_divided_and_what_does_not_goes_to_the_largest_remainder() {
        assert_eq!(attributed("90", &[60, 30]).unwrap(), ["60", "30"]);
        assert_eq!(attributed("10", &[1, 1, 1]).unwrap(), ["3.333334", "3.333333", "3.333333"]);
        assert_eq!(attributed("1", &[1, 2, 4]).unwrap(), ["0.142857", "0.285714", "0.571429"]);
        assert_eq!(attributed("0.000003", &[1, 1]).unwrap(), ["0.000002", "0.000001"]);
    }

    #[test]
    fn nobody_gets_nothing() {
        assert_eq!(attributed("0.000004", &[1_000, 1, 1]).unwrap(), ["0.000002", "0.000001", "0.000001"]);
        assert_eq!(attributed("0.000001", &[1, 1]), None);
    }

    #[test]
    fn the_largest_numbers_fit() {
        let most = parts(Quantity::parse("999999999999.999999", "TNE").unwrap().in_base());
        let least = parts(Quantity::parse("0.000001", "LBR").unwrap().in_base());
        assert_eq!(attributed("999999999999.999999", &[most; 1_000]).unwrap()[999], "999999999.999999");
        assert_eq!(attributed("999999999999.999999", &[most, least]).unwrap(), ["999999999999.999998", "0.000001"]);
        assert_eq!(shown(most), "999999999999999.999");
        assert_eq!((shown(least), shown(PARTS)), ("0.00000045359237".to_owned(), "1".to_owned()));
    }

    proptest! {
        #[test]
        fn the_sum_is_what_was_taken_and_each_is_within_a_millionth_of_its_share(
            millionths in 1_u64..1_000_000_000_000,
            weights in proptest::collection::vec(1_u64..1_000_000, 1..20),
        ) {
            let taken = Quantity::new(Decimal::from_i128_with_scale(i128::from(millionths), 6), crate::quantity::Unit::Grm).unwrap();
            let wide: Vec<u128> = weights.iter().map(|weight| u128::from(*weight)).collect();
            let Some(amounts) = attribute(taken, &wide) else {
                prop_assert!((millionths as usize) < weights.len());
                return Ok(());
            };
            let sum: Decimal = amounts.iter().map(|amount| amount.value()).sum();
            prop_assert_eq!(sum, taken.value());
            let whole: u64 = weights.iter().sum();
            let scarce = weights.iter().any(|weight| i128::from(millionths) * i128::from(*weight) < i128::from(whole));
            for (amount, weight) in amounts.iter().zip(&weights) {
                let mut value = amount.value();
                value.rescale(6);
                let (got, due) = (value.mantissa() * i128::from(whole), i128::from(millionths) * i128::from(*weight));
                prop_assert!(scarce || (got - due).abs() < i128::from(whole));
            }
        }
    }
}
