//! Exact decimal numbers: an integer times a power of ten.

use core::fmt;
use core::str::FromStr;

/// `mantissa` × 10^`exponent`. Equality compares the parts: 10e-1 and 1e0 differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scaled {
    /// The integer.
    pub mantissa: i64,
    /// The power of ten.
    pub exponent: i8,
}

/// The text is not a decimal number in the range of [`Scaled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number such as -12.5")]
pub struct ParseScaledError;

/// 10^n for every n for which it fits in an `i64`.
pub(crate) const POWERS_OF_TEN: [i64; 19] = {
    let mut powers = [1; 19];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

impl Scaled {
    /// Returns the mantissa for another exponent, or `None` if that would lose digits or overflow.
    #[must_use]
    pub fn rescale(self, exponent: i8) -> Option<i64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let shift = i16::from(self.exponent) - i16::from(exponent);
        let power = *POWERS_OF_TEN.get(usize::from(shift.unsigned_abs()))?;
        if shift >= 0 {
            self.mantissa.checked_mul(power)
        } else {
            (self.mantissa % power == 0).then(|| self.mantissa / power)
        }
    }
}

impl Scaled {
    /// Multiplies by a whole number and returns the product in units of 10^`exponent`, truncated to
    /// whole units; `None` if it does not fit.
    #[must_use]
    pub fn times(self, factor: u32, exponent: i8) -> Option<i64> {
        let product = i128::from(self.mantissa) * i128::from(factor);
        let shift = i16::from(self.exponent) - i16::from(exponent);
        let power = i128::from(*POWERS_OF_TEN.get(usize::from(shift.unsigned_abs()))?);
        let units = if shift >= 0 { product.checked_mul(power)? } else { product / power };
        i64::try_from(units).ok()
    }
}

impl From<i64> for Scaled {
    fn from(mantissa: i64) -> Self {
        Self { mantissa, exponent: 0 }
    }
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            self.mantissa.fmt(f)?;
            let zeros = if self.mantissa == 0 { 0 } else { digits };
            return (0..zeros).try_for_each(|_| f.write_str("0"));
        }
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let magnitude = self.mantissa.unsigned_abs();
        match POWERS_OF_TEN.get(digits).and_then(|&power| u64::try_from(power).ok()) {
            Some(power) => {
                write!(f, "{sign}{}.{:0digits$}", magnitude / power, magnitude % power)
            }
            None => write!(f, "{sign}0.{magnitude:0digits$}"),
        }
    }
}

impl FromStr for Scaled {
    type Err = ParseScaledError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || (fraction.is_empty() && digits.contains('.')) {
            return Err(ParseScaledError);
        }
        let exponent = i8::try_from(fraction.len()).map_err(|_| ParseScaledError)?;
        let mut mantissa = 0i64;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(ParseScaledError);
            }
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|shifted| shifted.checked_add(i64::from(byte - b'0')))
                .ok_or(ParseScaledError)?;
        }
        Ok(Self { mantissa: sign * mantissa, exponent: -exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_and_number_agree() {
        for (text, mantissa, exponent) in [
            ("-12.5", -125, -1),
            ("0.01", 1, -2),
            ("7", 7, 0),
            ("-0.05", -5, -2),
            ("10.0", 100, -1),
        ] {
            let number = Scaled { mantissa, exponent };
            assert_eq!(text.parse(), Ok(number));
            assert_eq!(number.to_string(), text);
        }
        assert_eq!(Scaled { mantissa: 3, exponent: 2 }.to_string(), "300");
        for bad in ["", "-", ".5", "1.", "1e3", "+1", "1 ", "99999999999999999999"] {
            assert_eq!(bad.parse::<Scaled>(), Err(ParseScaledError), "{bad}");
        }
    }

    #[test]
    fn rescaling_never_loses_digits() {
        let number = Scaled { mantissa: 250, exponent: -2 };
        assert_eq!(number.rescale(-3), Some(2500));
        assert_eq!(number.rescale(-1), Some(25));
        assert_eq!(number.rescale(0), None);
        assert_eq!(Scaled { mantissa: i64::MAX, exponent: 0 }.rescale(-1), None);
        assert_eq!(Scaled { mantissa: 1, exponent: 100 }.rescale(-100), None);
    }
}
