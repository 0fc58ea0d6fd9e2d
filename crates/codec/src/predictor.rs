//! Predicts a column's next word and the likely error of the prediction.
//!
//! Five averages of the column, from its last word to a slow mean, and its last word plus its mean
//! step are weighted by their recent accuracy: noise around a level favours the slow averages, a
//! moving value the fast ones, a counter the step. The errors of the columns to the left in the
//! same row (a cloud moves all currents at once) and the column's own previous errors are added
//! with weights learned row by row. Only integers are used, in units of 1/32 of a count; nothing
//! here can overflow, whatever the words are.

/// Fractional bits of a prediction.
pub(crate) const FRACTION_BITS: u32 = 5;

/// How far, in 1/256 of the difference, an average moves towards each word in the long run.
const PACES: [i32; AVERAGES] = [AT_ONCE, 200, 140, 70, 16];
const AVERAGES: usize = 5;
const AT_ONCE: i32 = 256;
const STEP_PACE: i32 = 16;

/// How far, in 1/256, errors and the spread move in the long run.
const ERROR_PACE: i32 = 32;

/// Number of columns to the left, and of own earlier rows, whose surprises are used.
pub(crate) const NEIGHBOURS: usize = 8;
const LAGS: usize = 2;

/// Anything further from an average than this many times its mean distance plus four counts is
/// treated as that far: one disturbed word must not spoil the next twenty. A real jump is followed
/// at once by the first average, which is the last word itself.
const OUTLIER_TIMES: i32 = 7;
const OUTLIER: i32 = 4 << FRACTION_BITS;

/// A surprise is measured in 1/16 of the spread and limited to four times the spread.
const SURPRISE_UNIT: i32 = 16;
const SURPRISE_MAX: i32 = 4 * SURPRISE_UNIT;

/// Learned weights have 12 fractional bits, and surprises have 4.
const WEIGHT_SHIFT: u32 = 16;
const LEARNING_SHIFT: u32 = 2;

/// Errors of the columns in the current row, nearest on the left first.
pub(crate) type Surprises = [i8; NEIGHBOURS];

/// State kept for one column's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predictor {
    /// Words seen, up to 255.
    seen: u8,
    /// The first is the last word itself.
    averages: [i32; AVERAGES],
    /// Mean distance of the words from each average, in 1/32.
    errors: [i32; AVERAGES],
    /// Mean step from word to word, modulo 2^16, and its mean error.
    step: i32,
    step_error: i32,
    /// Mean distance of the words from the predictions, in 1/32.
    spread: i32,
    own: [i8; LAGS],
    weights: [i16; NEIGHBOURS + LAGS],
}

/// A prediction and its components.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prediction {
    /// From the column's own averages only.
    alone: i32,
    /// The expected word, with its fraction.
    pub(crate) expected: i32,
}

impl Predictor {
    pub(crate) const NEW: Self = Self {
        seen: 0,
        averages: [0; AVERAGES],
        errors: [0; AVERAGES],
        step: 0,
        step_error: 0,
        spread: 0,
        own: [0; LAGS],
        weights: [0; NEIGHBOURS + LAGS],
    };

    pub(crate) fn seen(&self) -> u8 {
        self.seen
    }

    pub(crate) fn last(&self) -> u16 {
        u16::try_from(self.averages[0] >> FRACTION_BITS).unwrap_or(u16::MAX)
    }

    pub(crate) fn spread(&self) -> i32 {
        self.spread
    }

    /// Takes a column's first word.
    pub(crate) fn start(&mut self, word: u16) {
        *self = Self { seen: 1, averages: [fixed(word); AVERAGES], ..Self::NEW };
    }

    pub(crate) fn predict(&self, left: &Surprises) -> Prediction {
        let last = self.averages[0];
        let (mut sum, mut weights) = (0_i64, 0_i64);
        let mut weigh = |ahead: i32, error: i32| {
            // The inverse of the squared error, at most 2^24.
            let inverse = i64::from((1 << 20) / (error + 4));
            let weight = 1 + ((inverse * inverse) >> 12);
            sum += weight * i64::from(ahead);
            weights += weight;
        };
        for (average, error) in self.averages.iter().zip(self.errors) {
            weigh(average - last, error);
        }
        weigh(self.step, self.step_error);
        // A weighted mean of differences below 2^21 is also below 2^21.
        let alone = last + i32::try_from(sum / weights).unwrap_or(0);
        let surprises = left.iter().chain(&self.own).zip(self.weights);
        let learned: i32 = surprises.map(|(&by, weight)| i32::from(by) * i32::from(weight)).sum();
        let shift = (i64::from(learned) * i64::from(self.spread)) >> WEIGHT_SHIFT;
        let expected = i64::from(alone) + shift;
        let expected = expected.clamp(0, i64::from(fixed(u16::MAX)));
        Prediction { alone, expected: i32::try_from(expected).unwrap_or(alone) }
    }

    /// Learns from the actual word and passes the surprise on to the columns to the right.
    pub(crate) fn learn(&mut self, prediction: Prediction, word: u16, left: &mut Surprises) {
        let actual = fixed(word);
        let off = actual - prediction.expected;
        let surprise = self.surprise(off);
        for (weight, &by) in self.weights.iter_mut().zip(left.iter().chain(&self.own)) {
            let step = (i32::from(surprise) * i32::from(by)) >> LEARNING_SHIFT;
            *weight = weight.saturating_add(i16::try_from(step).unwrap_or(0));
        }
        // The first step of a column cannot show yet what counts as surprising.
        let told = if self.seen == 1 { 0 } else { self.surprise(actual - prediction.alone) };
        // A disturbance affects the neighbours in its row, but not the next row.
        let is_disturbed = i32::from(told.abs()) == SURPRISE_MAX;
        self.own = [if is_disturbed { 0 } else { told }, self.own[0]];
        left.copy_within(..NEIGHBOURS - 1, 1);
        left[0] = told;

        let step = i32::from(word.wrapping_sub(self.last()).cast_signed()) << FRACTION_BITS;
        let pace = |long_run: i32| long_run.max(256 / (i32::from(self.seen) + 1));
        let error_pace = if self.seen == 1 { 256 } else { pace(ERROR_PACE) };
        let limit =
            |mean: i32| if self.seen == 1 { i32::MAX } else { OUTLIER_TIMES * mean + OUTLIER };
        for ((average, error), long_run) in
            self.averages.iter_mut().zip(&mut self.errors).zip(PACES)
        {
            let limit = limit(*error);
            let off = actual - *average;
            *error += (off.abs().min(limit) - *error) * error_pace / 256;
            *average += match long_run {
                AT_ONCE => off,
                _ => off.clamp(-limit, limit) * pace(long_run) / 256,
            };
        }
        let limit_step = limit(self.step_error);
        let off_step = step - self.step;
        self.step_error += (off_step.abs().min(limit_step) - self.step_error) * error_pace / 256;
        // The first step is the only sample of the steps so far; the first word was not a step.
        self.step += off_step.clamp(-limit_step, limit_step)
            * STEP_PACE.max(256 / i32::from(self.seen))
            / 256;
        self.spread += (off.abs().min(limit(self.spread)) - self.spread) * error_pace / 256;
        self.seen = self.seen.saturating_add(1);
    }

    fn surprise(&self, off: i32) -> i8 {
        let by = off * SURPRISE_UNIT / (self.spread + SURPRISE_UNIT);
        i8::try_from(by.clamp(-SURPRISE_MAX, SURPRISE_MAX)).unwrap_or(0)
    }
}

fn fixed(word: u16) -> i32 {
    i32::from(word) << FRACTION_BITS
}
