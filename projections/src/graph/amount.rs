//! Exact quantities in eight bytes, and the share of an amount that goes along an edge.

use rust_decimal::Decimal;

/// Digits after the point of an [`Amount`].
const AMOUNT_SCALE: u32 = 18;
const MANTISSA_BITS: u32 = 58;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const ASIDE: u64 = 1 << 63;
/// Largest scale that five bits hold; decimals have no more than 28.
const MOST_SCALE: u32 = 31;

/// A quantity that is not negative, exact:
///
/// ```text
/// bit 63 = 0: value = mantissa / 10^scale        0 | scale, 5 bits | mantissa, 58 bits
/// bit 63 = 1: the value stands aside             1 | its place in `Aside`
/// ```
/// Seventeen digits fit by themselves, which is every quantity that a plant weighs; the rest, up to the 26 digits of a [`Quantity`] in its base
/// unit, stands aside. Zero is "not known": no lot has it.
///
/// [`Quantity`]: lotline_domain::quantity::Quantity
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Packed(u64);

/// Quantities with too many digits for [`Packed`]. They are only added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aside(Vec<Scaled>);

/// `mantissa / 10^scale`, without trailing zeros after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scaled {
    mantissa: u128,
    scale: u32,
}

/// How much of one lot is in another, in 10^-18 of the base unit of what it is an amount of.
///
/// Added up without rounding, so the order does not matter. What goes along an edge is rounded down to a whole number of these: parts never
/// make more than the whole, and an amount is too small by less than 10^-18 for each edge on the ways to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(u128);

impl Scaled {
    /// Nothing when the value is not a positive number.
    pub(crate) fn new(mut mantissa: u128, mut scale: u32) -> Option<Self> {
        while scale > 0 && mantissa.is_multiple_of(10) && mantissa > 0 {
            mantissa /= 10;
            scale -= 1;
        }
        (mantissa > 0 && scale <= MOST_SCALE).then_some(Self { mantissa, scale })
    }

    /// Nothing when the value is not positive.
    pub(crate) fn of(value: Decimal) -> Option<Self> {
        Self::new(u128::try_from(value.mantissa()).ok()?, value.scale())
    }

    /// Nothing when it has more digits than a decimal.
    pub(crate) fn to_decimal(self) -> Option<Decimal> {
        Decimal::try_from_i128_with_scale(i128::try_from(self.mantissa).ok()?, self.scale).ok()
    }

    /// The product with another one, exact; nothing when it has too many digits.
    pub(crate) fn times(self, other: Self) -> Option<Self> {
        Self::new(self.mantissa.checked_mul(other.mantissa)?, self.scale + other.scale)
    }
}

impl Packed {
    /// Not known.
    pub(crate) const NONE: Self = Self(0);

    /// Packs a quantity, or puts it aside. Nothing means not known.
    pub(crate) fn new(value: Option<Scaled>, aside: &mut Aside) -> Self {
        let Some(value) = value else { return Self::default() };
        match u64::try_from(value.mantissa) {
            Ok(mantissa) if mantissa <= MANTISSA => Self(u64::from(value.scale) << MANTISSA_BITS | mantissa),
            Ok(_) | Err(_) => {
                aside.0.push(value);
                Self(ASIDE | (aside.0.len() - 1) as u64)
            }
        }
    }

    /// The quantity; nothing when it is not known.
    pub(crate) fn read(self, aside: &Aside) -> Option<Scaled> {
        match self.0 {
            0 => None,
            place if place & ASIDE != 0 => aside.0.get((place & !ASIDE) as usize).copied(),
            packed => Some(Scaled { mantissa: u128::from(packed & MANTISSA), scale: (packed >> MANTISSA_BITS) as u32 }),
        }
    }
}

impl Aside {
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Scaled>()
    }
}

impl Amount {
    /// All of a lot. Nothing when it is beyond 3 × 10^20 base units.
    pub(crate) fn whole(quantity: Scaled) -> Option<Self> {
        let Scaled { mantissa, scale } = quantity;
        if scale <= AMOUNT_SCALE {
            return mantissa.checked_mul(10_u128.pow(AMOUNT_SCALE - scale)).map(Self);
        }
        Some(Self(mantissa / 10_u128.pow(scale - AMOUNT_SCALE)))
    }

    /// What of this amount goes along when `part` is taken of the `whole` that it is spread in.
    pub(crate) fn share(self, part: Scaled, whole: Scaled) -> Option<Self> {
        let common = part.scale.max(whole.scale);
        let at_common = |given: Scaled| given.mantissa.checked_mul(10_u128.checked_pow(common - given.scale)?);
        multiply_divide(self.0, at_common(part)?, at_common(whole)?).map(Self)
    }

    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The amount in base units, rounded down to the 28 digits that a decimal has.
    pub fn to_decimal(self) -> Decimal {
        let (mut value, mut scale) = (self.0, AMOUNT_SCALE);
        loop {
            let decimal = i128::try_from(value).ok().map(|value| Decimal::try_from_i128_with_scale(value, scale));
            if let Some(Ok(decimal)) = decimal {
                return decimal.normalize();
            }
            (value, scale) = (value / 10, scale - 1);
        }
    }
}

/// `a × n / d`, rounded down. Nothing when it does not fit.
fn multiply_divide(a: u128, n: u128, d: u128) -> Option<u128> {
    let times = a.checked_div(d)?;
    let rest = a - times * d;
    if let (Some(whole), Some(rest)) = (times.checked_mul(n), rest.checked_mul(n)) {
        return whole.checked_add(rest / d);
    }
    let (high, low) = wide(a, n);
    divide(high, low, d)
}

/// The product as 256 bits.
fn wide(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let lowest = a0 * b0;
    let middle = a1 * b0 + (lowest >> 64);
    let crossed = a0 * b1 + (middle & LOW);
    (a1 * b1 + (middle >> 64) + (crossed >> 64), crossed << 64 | (lowest & LOW))
}

/// Long division by bits; for the rare numbers that are this large. Nothing when the quotient does not fit.
fn divide(high: u128, low: u128, d: u128) -> Option<u128> {
    if high >= d {
        return None;
    }
    let (mut rest, mut quotient) = (high, 0_u128);
    for bit in (0..128).rev() {
        let carry = rest >> 127;
        rest = rest << 1 | (low >> bit & 1);
        quotient <<= 1;
        if carry == 1 || rest >= d {
            rest = rest.wrapping_sub(d);
            quotient |= 1;
        }
    }
    Some(quotient)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn share_of(amount: &str, part: &str, whole: &str) -> Decimal {
        let of = |text| Scaled::of(decimal(text)).unwrap();
        Amount::whole(of(amount)).unwrap().share(of(part), of(whole)).unwrap().to_decimal()
    }

    #[test]
    fn quantities_read_back_exactly_also_those_that_stand_aside() {
        let mut aside = Aside::default();
        let given = ["12.5", "0.000001", "288230376151711743", "288230376151711744", "453592369999.99954640763"];
        let packed = given.map(|text| Packed::new(Scaled::of(decimal(text)), &mut aside));
        assert_eq!(aside.0.len(), 2, "a mantissa of 58 bits fits, one more does not");
        for (text, packed) in given.iter().zip(packed) {
            assert_eq!(packed.read(&aside), Scaled::of(decimal(text)), "{text}");
        }
        assert_eq!(Packed::new(None, &mut aside).read(&aside), None);
        assert_eq!(Scaled::of(decimal("-1")), None);
        assert_eq!(Scaled::of(decimal("0.0")), None);
    }

    #[test]
    fn shares_are_exact_or_rounded_down_at_the_18th_digit() {
        assert_eq!(share_of("100", "40", "100"), decimal("40"));
        assert_eq!(share_of("100", "0.5", "8"), decimal("6.25"));
        assert_eq!(share_of("1", "1", "3"), decimal("0.333333333333333333"));
        assert_eq!(share_of("1", "2", "3"), decimal("0.666666666666666666"));
        assert_eq!(share_of("999999999999", "999999999999.999999", "999999999999.999999"), decimal("999999999999"));
    }

    proptest! {
        /// Against long multiplication and subtraction on limbs of sixteen bits.
        #[test]
        fn large_shares_are_right(a in any::<u128>(), n in any::<u128>(), d in 1_u128..) {
            if let Some(quotient) = multiply_divide(a, n, d) {
                let (high, low) = wide(quotient, d);
                let (whole_high, whole_low) = wide(a, n);
                let (rest, borrow) = whole_low.overflowing_sub(low);
                prop_assert_eq!(whole_high - high - u128::from(borrow), 0);
                prop_assert!(rest < d);
            } else {
                prop_assert!(wide(a, n).0 >= d);
            }
            let limbs = |x: u128| (0..8).map(move |at| (x >> (16 * at)) & 0xffff);
            let mut product = [0_u128; 17];
            for (i, x) in limbs(a).enumerate() {
                for (j, y) in limbs(n).enumerate() {
                    product[i + j] += x * y;
                }
            }
            for at in 0..16 {
                product[at + 1] += product[at] >> 16;
                product[at] &= 0xffff;
            }
            let joined = |part: &[u128]| part.iter().rev().fold(0_u128, |all, limb| all << 16 | limb);
            prop_assert_eq!(wide(a, n), (joined(&product[8..16]), joined(&product[..8])));
        }
    }
}
