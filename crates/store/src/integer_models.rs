//! Models of integers for the codec's range coder, which packs of roll-ups and edges are made of.
//!
//! A number is coded as its bit length, one bit of "longer than this" at a time, then its sign and
//! the bits below the highest, of which the upper two are modelled. A model learns from the numbers
//! that it has coded, and the same call encodes and decodes.

use ecowatt_codec::range_coder::{Coder, Decoder, Encoder, Quick};

/// Bit lengths of 0 to 64.
const LENGTHS: usize = 65;
/// Places of a context: whether a number is longer than each length, its sign, and for each length
/// the two bits below the highest (3 places, the first by nothing and two by the bit before).
const SIGN: usize = LENGTHS;
const UPPER: usize = SIGN + 1;
const PLACES: usize = UPPER + 3 * LENGTHS;
/// Contexts by how large recent numbers were.
const SPREADS: usize = 20;

/// Model of one sequence of numbers.
#[derive(Debug, Default)]
pub(crate) struct Number {
    /// [`PLACES`] for each context that was used.
    probabilities: Vec<Quick>,
    /// Twice a running mean of the bit length.
    spread: usize,
}

impl Number {
    /// Codes a number in the context of how large the ones before were.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let context = (self.spread / 2).min(SPREADS);
        let value = self.code_in(context, coder, value);
        self.note(value.unsigned_abs());
        value
    }

    /// Like [`Number::code`], for a number without a sign.
    pub(crate) fn code_size(&mut self, coder: &mut impl Coder, value: u64) -> u64 {
        let context = (self.spread / 2).min(SPREADS);
        let value = self.code_size_in(context, coder, value);
        self.note(value);
        value
    }

    fn note(&mut self, size: u64) {
        self.spread = self.spread.midpoint(2 * length(size));
    }

    /// Codes a number in a context that the caller chooses.
    pub(crate) fn code_in(&mut self, context: usize, coder: &mut impl Coder, value: i64) -> i64 {
        let size = self.code_size_in(context, coder, value.unsigned_abs());
        if size == 0 {
            return 0;
        }
        let sign = &mut self.places(context)[SIGN];
        let size = size.cast_signed();
        if coder.bit(sign, value < 0) { size.wrapping_neg() } else { size }
    }

    /// Like [`Number::code_in`], for a number without a sign.
    pub(crate) fn code_size_in(
        &mut self,
        context: usize,
        coder: &mut impl Coder,
        value: u64,
    ) -> u64 {
        let places = self.places(context);
        let actual = length(value);
        let mut coded = 0;
        while coded < LENGTHS - 1 && coder.bit(&mut places[coded], actual > coded) {
            coded += 1;
        }
        if coded < 2 {
            return u64::from(coded == 1);
        }
        let upper = &mut places[UPPER + 3 * coded..][..3];
        let mut left = coded - 1;
        let mut number = 1;
        for level in 0..2.min(left) {
            left -= 1;
            let at = if level == 0 { 0 } else { 1 + usize::from(number & 1 == 1) };
            let bit = coder.bit(&mut upper[at], value >> left & 1 == 1);
            number = number << 1 | u64::from(bit);
        }
        let bits = u32::try_from(left).unwrap_or(0);
        number << left | coder.uniform(value & ((1 << left) - 1), bits)
    }

    fn places(&mut self, context: usize) -> &mut [Quick] {
        let end = (context + 1) * PLACES;
        if self.probabilities.len() < end {
            self.probabilities.resize(end, Quick::EVEN);
        }
        &mut self.probabilities[end - PLACES..end]
    }
}

/// Bit length of a number; 0 has none.
pub(crate) fn length(value: u64) -> usize {
    usize::try_from(u64::BITS - value.leading_zeros()).unwrap_or(0)
}

/// Encodes into as many bytes as it takes; `code` runs again with more room if `room` was too
/// little, so it must start with unused models.
pub(crate) fn encoded(mut room: usize, code: impl Fn(&mut Encoder<'_>)) -> Vec<u8> {
    loop {
        let mut bytes = vec![0; room];
        let mut coder = Encoder::new(&mut bytes);
        code(&mut coder);
        if let Some(length) = coder.finish() {
            bytes.truncate(length);
            bytes.shrink_to_fit();
            return bytes;
        }
        room = room.saturating_mul(2).max(64);
    }
}

/// Decodes what [`encoded`] returned; `None` if it would have returned other bytes.
pub(crate) fn decoded<T>(bytes: &[u8], code: impl FnOnce(&mut Decoder<'_>) -> T) -> Option<T> {
    let mut coder = Decoder::new(bytes);
    let value = code(&mut coder);
    coder.finish().ok().map(|()| value)
}

/// Returns the greatest number that divides all of these, at least 1: counters and powers are whole
/// multiples of the unit that the inverter reports in.
pub(crate) fn common_unit(values: impl IntoIterator<Item = i64>) -> i64 {
    let unit = values.into_iter().fold(0u64, |unit, value| {
        let (mut a, mut b) = (unit, value.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    i64::try_from(unit).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let value = prop_oneof![
            8 => -50i64..50,
            2 => any::<i64>(),
            1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)],
        ];
        proptest::collection::vec(value, 0..200)
    }

    proptest! {
        #[test]
        fn numbers_come_back(values in values()) {
            let bytes = encoded(0, |coder| {
                let (mut signed, mut size) = (Number::default(), Number::default());
                for value in &values {
                    signed.code(coder, *value);
                    size.code_size(coder, value.cast_unsigned());
                }
            });
            let found = decoded(&bytes, |coder| {
                let (mut signed, mut size) = (Number::default(), Number::default());
                let mut both = || (signed.code(coder, 0), size.code_size(coder, 0).cast_signed());
                values.iter().map(|_| both()).collect::<Vec<_>>()
            });
            let expected: Vec<_> = values.iter().map(|value| (*value, *value)).collect();
            prop_assert_eq!(found, Some(expected));
        }

        #[test]
        fn unit_divides_all(values in values(), factor in 1i64..1000) {
            let values: Vec<i64> = values.iter().map(|value| value / 1000 * factor).collect();
            let unit = common_unit(values.iter().copied());
            prop_assert!(values.iter().all(|value| value % unit == 0));
            prop_assert!(unit % factor == 0 || values.iter().all(|value| *value == 0));
        }
    }

    #[test]
    fn what_repeats_costs_nearly_nothing() {
        let bytes = encoded(64, |coder| {
            let mut number = Number::default();
            (0..10_000).for_each(|_| {
                number.code(coder, 0);
            });
        });
        assert!(bytes.len() < 16, "{}", bytes.len());
    }
}
