//! PostgreSQL's binary numeric as a scaled integer, exactly. Nothing enters but the bytes of one value.
//!
//! The wrong answer avoided: a detour over text or floats. The wire format is base 10,000 digits with a weight; a column
//! numeric(p, s) is an integer of 10^-s, so reading is a sum of products in 128 bits with every overflow checked.

use std::fmt::Write as _;

/// One numeric value as received.
///
/// The format is the one of `numeric_send` in PostgreSQL: count of digits, weight of the first, sign, display scale, then
/// the digits, each 0 to 9,999.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeric<'a> {
    weight: i16,
    sign: Sign,
    display_scale: u16,
    digits: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Positive,
    Negative,
    NotANumber,
    Infinity,
    NegativeInfinity,
}

/// A numeric fitted into a decimal column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitted {
    /// The value, exactly.
    Exact(i128),
    /// The value, rounded half away from zero because the column has fewer decimal places.
    Rounded(i128),
    /// No decimal of the column's precision means this: not a number, infinite, or too large.
    Impossible,
}

impl<'a> Numeric<'a> {
    /// Reads the header; `None` if the bytes are no numeric.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, digits) = bytes.split_at_checked(8)?;
        let word = |at: usize| -> [u8; 2] { [header[at], header[at + 1]] };
        let count = usize::try_from(i16::from_be_bytes(word(0))).ok()?;
        let sign = match u16::from_be_bytes(word(4)) {
            0x0000 => Sign::Positive,
            0x4000 => Sign::Negative,
            0xC000 => Sign::NotANumber,
            0xD000 => Sign::Infinity,
            0xF000 => Sign::NegativeInfinity,
            _ => return None,
        };
        if digits.len() != count * 2 {
            return None;
        }
        Some(Self { weight: i16::from_be_bytes(word(2)), sign, display_scale: u16::from_be_bytes(word(6)), digits })
    }

    fn digits(self) -> impl Iterator<Item = u16> + 'a {
        self.digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// The value as an integer of 10^-`scale` with at most `precision` digits.
    pub(super) fn fit(self, precision: u8, scale: i8) -> Fitted {
        let negative = match self.sign {
            Sign::Positive => false,
            Sign::Negative => true,
            Sign::NotANumber | Sign::Infinity | Sign::NegativeInfinity => return Fitted::Impossible,
        };
        let Some((magnitude, exact)) = self.magnitude(i32::from(scale)) else { return Fitted::Impossible };
        let in_range = 10_i128.checked_pow(u32::from(precision)).is_none_or(|limit| magnitude < limit);
        if !in_range {
            return Fitted::Impossible;
        }
        let value = if negative { -magnitude } else { magnitude };
        if exact { Fitted::Exact(value) } else { Fitted::Rounded(value) }
    }

    /// The absolute value times 10^`scale`, and whether nothing was rounded off; `None` when 128 bits do not hold it.
    fn magnitude(self, scale: i32) -> Option<(i128, bool)> {
        let mut total: i128 = 0;
        let mut exact = true;
        let mut round_up = false;
        for (index, digit) in self.digits().enumerate() {
            if digit == 0 {
                continue;
            }
            let position = i32::try_from(index).ok()?;
            let exponent = (i32::from(self.weight) - position) * 4 + scale;
            if exponent >= 0 {
                let factor = 10_i128.checked_pow(u32::try_from(exponent).ok()?)?;
                total = total.checked_add(factor.checked_mul(i128::from(digit))?)?;
                continue;
            }
            // The point of the column cuts this digit, or lies above it. The first dropped decimal decides the rounding.
            let dropped = u32::try_from(-exponent).ok()?;
            if dropped > 4 {
                exact = false;
                continue;
            }
            let divisor = 10_u16.pow(dropped);
            let rest = u32::from(digit % divisor);
            total = total.checked_add(i128::from(digit / divisor))?;
            if rest != 0 {
                exact = false;
                round_up = rest * 2 >= u32::from(divisor);
            }
        }
        if round_up {
            total = total.checked_add(1)?;
        }
        Some((total, exact))
    }

    /// The value as PostgreSQL writes it.
    pub(super) fn text(self) -> String {
        match self.sign {
            Sign::NotANumber => return "NaN".into(),
            Sign::Infinity => return "Infinity".into(),
            Sign::NegativeInfinity => return "-Infinity".into(),
            Sign::Positive | Sign::Negative => {}
        }
        let digits: Vec<u16> = self.digits().collect();
        let digit_at = |weight: i32| -> u16 {
            usize::try_from(i32::from(self.weight) - weight).ok().and_then(|i| digits.get(i).copied()).unwrap_or(0)
        };
        let mut text = String::new();
        for weight in (0..=i32::from(self.weight).max(0)).rev() {
            // Writing into a String cannot fail.
            let _ = write!(text, "{:04}", digit_at(weight));
        }
        let whole = text.trim_start_matches('0');
        let mut out = String::from(if self.sign == Sign::Negative { "-" } else { "" });
        out.push_str(if whole.is_empty() { "0" } else { whole });
        let places = usize::from(self.display_scale);
        if places > 0 {
            let mut fraction = String::new();
            let mut weight = -1;
            while fraction.len() < places {
                let _ = write!(fraction, "{:04}", digit_at(weight));
                weight -= 1;
            }
            fraction.truncate(places);
            out.push('.');
            out.push_str(&fraction);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `numeric_send` of an integer of 10^-scale.
    fn send(unscaled: i128, scale: u16) -> Vec<u8> {
        let mut decimal = unscaled.unsigned_abs().to_string();
        while decimal.len() <= usize::from(scale) {
            decimal.insert(0, '0');
        }
        let (whole, fraction) = decimal.split_at(decimal.len() - usize::from(scale));
        let mut whole = whole.to_owned();
        while whole.len() % 4 != 0 {
            whole.insert(0, '0');
        }
        let mut fraction = fraction.to_owned();
        while fraction.len() % 4 != 0 {
            fraction.push('0');
        }
        let mut weight = i16::try_from(whole.len() / 4).unwrap() - 1;
        let mut digits: Vec<u16> = format!("{whole}{fraction}")
            .as_bytes()
            .chunks(4)
            .map(|four| std::str::from_utf8(four).unwrap().parse().unwrap())
            .collect();
        while digits.first() == Some(&0) {
            digits.remove(0);
            weight -= 1;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            weight = 0;
        }
        let sign: u16 = if unscaled < 0 { 0x4000 } else { 0 };
        let mut bytes = i16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        for digit in digits {
            bytes.extend(digit.to_be_bytes());
        }
        bytes
    }

    fn fit(unscaled: i128, scale: u16, precision: u8, to: i8) -> Fitted {
        Numeric::read(&send(unscaled, scale)).unwrap().fit(precision, to)
    }

    proptest! {
        #[test]
        fn a_numeric_of_the_columns_scale_comes_back_exactly(
            value in -99_999_999_999_999_999_999_999_999_999_999_999_999_i128..=99_999_999_999_999_999_999_999_999_999_999_999_999,
            scale in 0_u16..=38,
        ) {
            let bytes = send(value, scale);
            let numeric = Numeric::read(&bytes).unwrap();
            prop_assert_eq!(numeric.fit(38, i8::try_from(scale).unwrap()), Fitted::Exact(value));
        }

        #[test]
        fn the_text_of_a_numeric_reads_back_as_the_same_number(value in any::<i64>(), scale in 0_u16..=25) {
            let bytes = send(i128::from(value), scale);
            let text = Numeric::read(&bytes).unwrap().text();
            let digits: String = text.chars().filter(|c| *c != '.').collect();
            prop_assert_eq!(digits.parse::<i128>().unwrap(), i128::from(value));
            prop_assert_eq!(text.split_once('.').map_or(0, |(_, fraction)| fraction.len()), usize::from(scale));
        }

        #[test]
        fn rounding_is_half_away_from_zero(value in any::<i32>(), dropped in 1_u16..=8) {
            let divisor = 10_i128.pow(u32::from(dropped));
            let value = i128::from(value);
            let half = if value < 0 { -divisor / 2 } else { divisor / 2 };
            let expected = (value + half) / divisor;
            let fitted = fit(value, dropped + 2, 38, 2);
            if value % divisor == 0 {
                prop_assert_eq!(fitted, Fitted::Exact(expected));
            } else {
                prop_assert_eq!(fitted, Fitted::Rounded(expected));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(numeric) = Numeric::read(&bytes) {
                let _ = numeric.fit(18, 4);
            }
        }
    }

    #[test]
    fn what_no_decimal_can_mean_is_told_apart() {
        for (sign, text) in [(0xC000_u16, "NaN"), (0xD000, "Infinity"), (0xF000, "-Infinity")] {
            let mut bytes = vec![0, 0, 0, 0];
            bytes.extend(sign.to_be_bytes());
            bytes.extend([0, 0]);
            let numeric = Numeric::read(&bytes).unwrap();
            assert_eq!(numeric.fit(18, 4), Fitted::Impossible);
            assert_eq!(numeric.text(), text);
        }
    }

    #[test]
    fn a_number_of_more_digits_than_the_column_is_not_cut() {
        assert_eq!(fit(1_000_000, 0, 7, 0), Fitted::Exact(1_000_000));
        assert_eq!(fit(1_000_000, 0, 6, 0), Fitted::Impossible);
        assert_eq!(fit(i128::MAX, 0, 38, 0), Fitted::Impossible);
    }

    #[test]
    fn a_rounding_that_needs_one_more_digit_than_the_column_is_impossible() {
        assert_eq!(fit(9_995, 3, 3, 2), Fitted::Impossible);
    }

    #[test]
    fn digits_far_below_the_columns_scale_round_to_zero() {
        assert_eq!(fit(1, 30, 18, 4), Fitted::Rounded(0));
        assert_eq!(fit(-5, 5, 18, 4), Fitted::Rounded(-1));
        assert_eq!(fit(4, 5, 18, 4), Fitted::Rounded(0));
    }
}
