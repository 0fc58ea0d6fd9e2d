//! From the words of one sample to the value of one point; the inner loop of ingest.

use ecowatt_model::{Mark, Quality};

use crate::decimal::POWERS_OF_TEN;
use crate::number_type::{Kind, WordOrder};

use super::{Point, SENTINELS_MAX};

/// Largest scale factor that is accepted; SunSpec allows -10 to 10.
const SCALE_FACTOR_MAX: i16 = 10;

/// The fields of a point that decoding needs, in one cache line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    kind: Kind,
    order: WordOrder,
    first: u8,
    width: u8,
    scale: Option<u8>,
    exponent: i8,
    sentinel_count: u8,
    sentinels: [u64; SENTINELS_MAX],
    multiplier: i64,
    min: i64,
    max: i64,
}

impl Access {
    pub(super) fn of(point: &Point) -> Self {
        let mut sentinels = [0; SENTINELS_MAX];
        for (slot, &sentinel) in sentinels.iter_mut().zip(&point.sentinels) {
            *slot = sentinel;
        }
        Self {
            kind: point.kind,
            order: point.word_order,
            first: point.first_column,
            width: point.column_count,
            scale: point.scale_column,
            exponent: point.exponent,
            sentinel_count: u8::try_from(point.sentinels.len().min(SENTINELS_MAX)).unwrap_or(0),
            sentinels,
            multiplier: point.multiplier,
            min: point.min.unwrap_or(i64::MIN),
            max: point.max.unwrap_or(i64::MAX),
        }
    }

    /// Whether one of its columns, or that of its scale factor, is in `first..end`.
    pub(super) fn touches(&self, first: u8, end: u8) -> bool {
        let own = self.first < end && first < self.first.saturating_add(self.width);
        own || self.scale.is_some_and(|scale| (first..end).contains(&scale))
    }

    #[inline]
    pub(super) fn decode(&self, words: &[u16], marks: &[Mark]) -> (Quality, Option<i64>) {
        let from = usize::from(self.first);
        // Most points have one word, and indexing is cheaper than slicing.
        let wire = if self.width == 1 {
            let (Some(&word), Some(&mark)) = (words.get(from), marks.get(from)) else {
                return (Quality::Garbled, None);
            };
            if mark != Mark::Read {
                return (mark.into(), None);
            }
            u64::from(word)
        } else {
            let columns = from..from + usize::from(self.width);
            let (Some(words), Some(marks)) = (words.get(columns.clone()), marks.get(columns))
            else {
                return (Quality::Garbled, None);
            };
            if let Some(&mark) = marks.iter().find(|&&mark| mark != Mark::Read) {
                return (mark.into(), None);
            }
            join(words, self.order)
        };
        if self.kind == Kind::Text {
            return (Quality::Good, None);
        }
        if self.sentinels[..usize::from(self.sentinel_count)].contains(&wire) {
            return (Quality::NotImplemented, None);
        }
        let value = match self.scale {
            None => self.scaled(wire),
            Some(column) => {
                let column = usize::from(column);
                let (Some(&word), Some(&mark)) = (words.get(column), marks.get(column)) else {
                    return (Quality::Garbled, None);
                };
                if mark != Mark::Read {
                    return (mark.into(), None);
                }
                let factor = word.cast_signed();
                if factor == i16::MIN {
                    return (Quality::NotImplemented, None);
                }
                self.scaled_by(wire, factor)
            }
        };
        match value {
            Ok(Some(value)) if (self.min..=self.max).contains(&value) => {
                (Quality::Good, Some(value))
            }
            Ok(value) => (Quality::OutOfRange, value),
            Err(NotANumber) => (Quality::NotImplemented, None),
        }
    }

    /// The value in units of the exponent; `None` if it does not fit.
    fn scaled(&self, wire: u64) -> Result<Option<i64>, NotANumber> {
        if self.kind == Kind::F32 {
            return from_float(wire, self.exponent);
        }
        Ok(integer(self.kind, wire).and_then(|count| count.checked_mul(self.multiplier)))
    }

    /// Like [`Self::scaled`], with one count worth 10^`factor`.
    fn scaled_by(&self, wire: u64, factor: i16) -> Result<Option<i64>, NotANumber> {
        if factor.abs() > SCALE_FACTOR_MAX {
            return Ok(None);
        }
        let Some(count) = integer(self.kind, wire) else { return Ok(None) };
        let shift = factor - i16::from(self.exponent);
        let power = POWERS_OF_TEN[usize::from(shift.unsigned_abs())];
        Ok(if shift >= 0 {
            count.checked_mul(power)
        } else {
            // Rounds half away from zero; `power` is even, so half of it is exact.
            let half = if count < 0 { -power / 2 } else { power / 2 };
            Some(count.saturating_add(half) / power)
        })
    }
}

struct NotANumber;

fn join(words: &[u16], order: WordOrder) -> u64 {
    let append = |wire: u64, &word: &u16| (wire << 16) | u64::from(word);
    match order {
        WordOrder::Big => words.iter().fold(0, append),
        WordOrder::Little => words.iter().rev().fold(0, append),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the kind says how wide the number is")]
fn integer(kind: Kind, wire: u64) -> Option<i64> {
    match kind {
        Kind::I16 => Some(i64::from((wire as u16).cast_signed())),
        Kind::I32 => Some(i64::from((wire as u32).cast_signed())),
        Kind::U16
        | Kind::U32
        | Kind::U64
        | Kind::Acc32
        | Kind::Enum16
        | Kind::Bits16
        | Kind::Bits32
        | Kind::F32
        | Kind::Text => i64::try_from(wire).ok(),
    }
}

/// A float in units of 10^`exponent`, rounded half away from zero.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked; low 32 bits are meant")]
fn from_float(wire: u64, exponent: i8) -> Result<Option<i64>, NotANumber> {
    /// Above this, adjacent `f64` values are more than one apart.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = f64::from(f32::from_bits(wire as u32));
    if float.is_nan() {
        return Err(NotANumber);
    }
    const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0];
    let scaled = float * POWERS[usize::from(exponent.unsigned_abs()).min(POWERS.len() - 1)];
    if !(-EXACT_MAX..=EXACT_MAX).contains(&scaled) {
        return Ok(None);
    }
    Ok(Some((if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use ecowatt_model::Unit;

    fn point(kind: Kind) -> Point {
        Point {
            name: String::from("ac.power"),
            unit: Unit::Watt,
            kind,
            word_order: WordOrder::Big,
            first_column: 0,
            column_count: kind.registers().unwrap_or(2),
            scale_column: None,
            multiplier: 1,
            exponent: 0,
            sentinels: vec![],
            min: None,
            max: None,
            counter: None,
            labels: vec![],
        }
    }

    fn decode(point: &Point, words: &[u16]) -> (Quality, Option<i64>) {
        Access::of(point).decode(words, &vec![Mark::Read; words.len()])
    }

    fn good(value: i64) -> (Quality, Option<i64>) {
        (Quality::Good, Some(value))
    }

    #[test]
    fn kinds_and_word_orders() {
        let table: &[(Kind, WordOrder, &[u16], i64)] = &[
            (Kind::U16, WordOrder::Big, &[0xFFFE], 65_534),
            (Kind::I16, WordOrder::Big, &[0xFFFE], -2),
            (Kind::U32, WordOrder::Big, &[0x0001, 0x0002], 65_538),
            (Kind::U32, WordOrder::Little, &[0x0001, 0x0002], 131_073),
            (Kind::I32, WordOrder::Big, &[0xFFFF, 0xFFFF], -1),
            (Kind::I32, WordOrder::Little, &[0xFFFE, 0xFFFF], -2),
            (Kind::U64, WordOrder::Big, &[0, 0, 1, 0], 65_536),
            (Kind::U64, WordOrder::Little, &[0, 1, 0, 0], 65_536),
            (Kind::Acc32, WordOrder::Big, &[0, 7], 7),
            (Kind::Bits32, WordOrder::Big, &[0x8000, 1], 0x8000_0001),
            (Kind::Enum16, WordOrder::Big, &[4], 4),
        ];
        for &(kind, word_order, words, value) in table {
            assert_eq!(
                decode(&Point { word_order, ..point(kind) }, words),
                good(value),
                "{kind:?}"
            );
        }
        assert_eq!(decode(&point(Kind::U64), &[0xFFFF; 4]), (Quality::OutOfRange, None));
    }

    #[test]
    fn floats_are_rounded_to_the_exponent() {
        let tenths = Point { exponent: -1, ..point(Kind::F32) };
        let words = |value: f32| {
            let bytes = value.to_bits().to_be_bytes();
            [u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]])]
        };
        assert_eq!(decode(&tenths, &words(230.16)), good(2302));
        assert_eq!(decode(&tenths, &words(-0.05)), good(-1));
        assert_eq!(decode(&tenths, &words(f32::NAN)), (Quality::NotImplemented, None));
        assert_eq!(decode(&tenths, &words(f32::INFINITY)), (Quality::OutOfRange, None));
        assert_eq!(decode(&tenths, &words(f32::MAX)), (Quality::OutOfRange, None));
    }

    #[test]
    fn a_scale_factor_comes_from_the_same_sample() {
        let power = Point { scale_column: Some(1), exponent: -1, ..point(Kind::I16) };
        let factor = |value: i16| value.cast_unsigned();
        assert_eq!(decode(&power, &[500, factor(1)]), good(50_000));
        assert_eq!(decode(&power, &[500, factor(0)]), good(5_000));
        assert_eq!(decode(&power, &[500, factor(-1)]), good(500));
        assert_eq!(decode(&power, &[505, factor(-2)]), good(51));
        assert_eq!(decode(&power, &[504, factor(-2)]), good(50));
        assert_eq!(decode(&power, &[factor(-505), factor(-2)]), good(-51));
        assert_eq!(decode(&power, &[500, factor(-10)]), good(0));
        assert_eq!(decode(&power, &[500, 0x8000]), (Quality::NotImplemented, None));
        assert_eq!(decode(&power, &[500, factor(11)]), (Quality::OutOfRange, None));
        let total = Point { scale_column: Some(4), exponent: -6, ..point(Kind::U64) };
        assert_eq!(
            decode(&total, &[0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF, factor(10)]),
            (Quality::OutOfRange, None)
        );
    }

    #[test]
    fn sentinels_and_limits_become_quality() {
        let voltage = Point {
            multiplier: 10,
            exponent: -2,
            sentinels: vec![0xFFFF, 0x8000],
            min: Some(0),
            max: Some(30_000),
            ..point(Kind::U16)
        };
        assert_eq!(decode(&voltage, &[2_301]), good(23_010));
        assert_eq!(decode(&voltage, &[0xFFFF]), (Quality::NotImplemented, None));
        assert_eq!(decode(&voltage, &[0x8000]), (Quality::NotImplemented, None));
        assert_eq!(decode(&voltage, &[3_001]), (Quality::OutOfRange, Some(30_010)));
    }

    #[test]
    fn a_mark_on_any_column_becomes_the_quality() {
        let pair = Access::of(&point(Kind::U32));
        let marks = [Mark::Read, Mark::Timeout];
        assert_eq!(pair.decode(&[1, 0], &marks), (Quality::Timeout, None));
        assert_eq!(pair.decode(&[1], &marks), (Quality::Garbled, None));
        let scaled = Access::of(&Point { scale_column: Some(1), ..point(Kind::U16) });
        assert_eq!(scaled.decode(&[1, 0], &marks), (Quality::Timeout, None));
        assert_eq!(scaled.decode(&[1], &[Mark::Read]), (Quality::Garbled, None));
    }
}
