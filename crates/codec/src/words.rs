//! The words of a batch's cells: the difference of each from its prediction.
//!
//! The difference is coded as its bit length, one bit of "longer than this" at a time, then sign
//! and the bits below the highest, of which the upper two are modelled. The contexts are the
//! column's spread, how many of its words have been seen, and where the prediction is between two
//! counts. They are independent of a column's meaning, so one table of priors fits every kind of
//! register.

use crate::predictor::{FRACTION_BITS, Predictor, Surprises};
use crate::priors::{CONTEXTS, PRIORS};
use crate::range_coder::{Coder, Steady};

/// State kept for one column's words.
pub(crate) type ColumnWords = Predictor;

/// A column's first word: its bit length as a tree of five bits, by the bit length of the word to
/// the left.
const LEFTS: usize = 6;
const TREE: usize = 32;
/// A column's second word: bit length of the difference, by the bit length of the first word.
const LENGTHS: usize = 17;
const EARLY: usize = 9;
/// Later words: by the spread, in half octaves.
const SPREADS: usize = 28;
/// Whether there is a difference: also by the number of words seen and the distance to the nearest
/// count.
const AGES: usize = 3;
const DISTANCES: usize = 4;
/// The two bits below the highest: by the spread in octaves and the bit length.
const OCTAVES: usize = SPREADS / 2 + 1;

/// Where each family of contexts starts in the table.
const FIRST: usize = 0;
/// The families before this one depend more on what the registers are than on how they move.
#[cfg(test)]
pub(crate) const DIFFERS_START: usize = DIFFERS;
const SECOND: usize = FIRST + LEFTS * TREE;
const DIFFERS: usize = SECOND + LENGTHS * EARLY;
const SIGN: usize = DIFFERS + AGES * SPREADS * DISTANCES;
const LONGER: usize = SIGN + SPREADS * DISTANCES;
const UPPER: usize = LONGER + SPREADS * LENGTHS;
const LOWER: usize = UPPER + OCTAVES * LENGTHS;
const _: () = assert!(CONTEXTS == LOWER + OCTAVES * LENGTHS * 2);

/// The adaptive part of the words, shared by all columns.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    contexts: [Steady; CONTEXTS],
    surprises: Surprises,
    /// Bit length of the first word to the left, in coarse steps.
    left: usize,
}

/// What is known before the difference is coded.
#[derive(Debug, Clone, Copy)]
struct Context {
    /// Bit length of the only word seen, if just one was.
    only: Option<usize>,
    spread: usize,
    age: usize,
    distance: usize,
}

impl Words {
    pub(crate) const NEW: Self = Self::with(PRIORS);

    pub(crate) const fn with(contexts: [Steady; CONTEXTS]) -> Self {
        Self { contexts, surprises: [0; _], left: 0 }
    }

    /// Starts a row.
    pub(crate) fn start_row(&mut self) {
        self.surprises = [0; _];
        self.left = 0;
    }

    /// Codes the word of the next cell that was read.
    pub(crate) fn code(
        &mut self,
        coder: &mut impl Coder,
        column: &mut ColumnWords,
        word: u16,
    ) -> u16 {
        if column.seen() == 0 {
            let word = self.first(coder, word);
            column.start(word);
            return word;
        }
        let prediction = column.predict(&self.surprises);
        let nearest = (prediction.expected + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
        let nearest = u16::try_from(nearest).unwrap_or(u16::MAX);
        let beyond = prediction.expected - (i32::from(nearest) << FRACTION_BITS);
        // Differences are mirrored so that positive ones are more likely.
        let is_turned = beyond < 0;
        let turn = |off: i16| if is_turned { off.wrapping_neg() } else { off };
        let distance = usize::try_from(beyond.unsigned_abs() >> (FRACTION_BITS - 3));
        let context = Context {
            only: (column.seen() == 1).then(|| length(column.last())),
            spread: half_octave(column.spread()),
            age: match column.seen() {
                0..=2 => 0,
                3..=4 => 1,
                _ => 2,
            },
            distance: distance.unwrap_or(0).min(DISTANCES - 1),
        };
        let off = turn(word.wrapping_sub(nearest).cast_signed());
        let off = turn(self.off(coder, context, off));
        let word = nearest.wrapping_add(off.cast_unsigned());
        column.learn(prediction, word, &mut self.surprises);
        word
    }

    fn first(&mut self, coder: &mut impl Coder, word: u16) -> u16 {
        let start = FIRST + self.left * TREE;
        let mut node = 1;
        for shift in (0..5).rev() {
            let bit = length(word) >> shift & 1 != 0;
            let bit = coder.bit_in(&mut self.contexts, start + node, bit);
            node = node << 1 | usize::from(bit);
        }
        let length = node - TREE;
        self.left = match length {
            0 => 1,
            1..=4 => 2,
            5..=8 => 3,
            9..=11 => 4,
            _ => 5,
        };
        let Some(length) = u32::try_from(length).ok().filter(|&length| length <= u16::BITS) else {
            coder.reject();
            return 0;
        };
        u16::try_from(coder.below_highest(word.into(), length)).unwrap_or(0)
    }

    fn off(&mut self, coder: &mut impl Coder, context: Context, off: i16) -> i16 {
        let Context { only, spread, age, distance } = context;
        let actual = length(off.unsigned_abs());
        let mut coded = 0;
        while coded < LENGTHS - 1 {
            let at = match only {
                Some(length) if coded < EARLY => SECOND + length * EARLY + coded,
                _ if coded == 0 => DIFFERS + (age * SPREADS + spread) * DISTANCES + distance,
                _ => LONGER + spread * LENGTHS + coded,
            };
            if !coder.bit_in(&mut self.contexts, at, actual > coded) {
                break;
            }
            coded += 1;
        }
        match coded {
            0 => return 0,
            // The only difference with 16 bits.
            16 => return i16::MIN,
            _ => (),
        }
        let at = SIGN + spread * DISTANCES + distance;
        let is_negative = coder.bit_in(&mut self.contexts, at, off < 0);
        let magnitude =
            self.magnitude(coder, only.map_or(spread, |_| 0), coded, off.unsigned_abs());
        let magnitude = i16::try_from(magnitude).unwrap_or(i16::MAX);
        if is_negative { -magnitude } else { magnitude }
    }

    /// Codes a number whose bit length is known.
    fn magnitude(
        &mut self,
        coder: &mut impl Coder,
        spread: usize,
        length: usize,
        value: u16,
    ) -> u32 {
        let value = u32::from(value);
        let context = spread.div_ceil(2) * LENGTHS + length;
        let mut coded = 1;
        let mut left = length - 1;
        for start in [UPPER + context, LOWER + 2 * context] {
            if left == 0 {
                return coded;
            }
            left -= 1;
            // The context of the lower bit includes the upper bit.
            let at = if start < LOWER { start } else { start + usize::from(coded & 1 != 0) };
            let bit = coder.bit_in(&mut self.contexts, at, value >> left & 1 != 0);
            coded = coded << 1 | u32::from(bit);
        }
        let bits = u32::try_from(left).unwrap_or(0);
        coded << left | coder.short(value & ((1 << left) - 1), bits)
    }
}

fn length(word: u16) -> usize {
    usize::try_from(u16::BITS - word.leading_zeros()).unwrap_or(0)
}

/// 0 for a spread of zero, then two steps per doubling; the spread is in 1/32.
fn half_octave(spread: i32) -> usize {
    let Some(octave) = (spread >> 1).checked_ilog2() else {
        return 0;
    };
    let half = if octave == 0 { 0 } else { spread >> octave & 1 };
    let step = 1 + 2 * octave + half.cast_unsigned();
    usize::try_from(step).unwrap_or(0).min(SPREADS - 1)
}
