//! The times of a batch's rows.
//!
//! A batch sampled at a constant interval pays only for its first time and the interval. Otherwise
//! each row pays for its deviation from the interval expected from the rows before it, so jitter
//! costs its own size and a missing sample costs once. All arithmetic wraps, so any times can be
//! coded.

use crate::TimeBase;
use crate::range_coder::{Coder, Quick};

/// Milliseconds in a second, the unit of a batch whose times are all whole seconds.
const SECOND: i64 = 1000;

/// Bits of the bit length of a constant interval, which is below 2^31 units.
const INTERVAL_CLASS_BITS: u32 = 5;
const INTERVAL_MAX: i64 = (1 << 31) - 1;

/// The header's flags about the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) base: TimeBase,
    /// Some time is not a whole second.
    pub(crate) is_fine: bool,
    /// The rows are not spaced by one interval of 0 to 2^31 - 1 units.
    pub(crate) is_irregular: bool,
}

impl Shape {
    pub(crate) fn of(base: TimeBase, times: &[i64]) -> Self {
        let is_fine = times.iter().any(|time| time % SECOND != 0);
        let unit = if is_fine { 1 } else { SECOND };
        let mut steps = times.windows(2).map(|pair| match pair {
            [earlier, later] => (later / unit).wrapping_sub(earlier / unit),
            _ => 0,
        });
        let is_irregular = steps.next().is_some_and(|first| {
            !(0..=INTERVAL_MAX).contains(&first) || steps.any(|step| step != first)
        });
        Self { base, is_fine, is_irregular }
    }

    /// Bits that are enough for the first time of most batches; others are flagged and take 64.
    fn usual_bits(self) -> u32 {
        match (self.base, self.is_fine) {
            (TimeBase::Unix, false) => 32,
            (TimeBase::Unix, true) => 42,
            (TimeBase::SinceBoot, false) => 20,
            (TimeBase::SinceBoot, true) => 30,
        }
    }
}

/// Codes the times row by row.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    shape: Shape,
    rows: usize,
    row: usize,
    last: i64,
    interval: i64,
    first_interval: i64,
    /// Whether the coded times justify the flags of the shape.
    has_fine: bool,
    has_irregular: bool,
    is_expected: Quick,
    is_late: Quick,
    class: [Quick; 64],
}

impl Times {
    pub(crate) fn new(shape: Shape, rows: usize) -> Self {
        Self {
            shape,
            rows,
            row: 0,
            last: 0,
            interval: 0,
            first_interval: 0,
            has_fine: false,
            has_irregular: false,
            is_expected: Quick::EVEN,
            is_late: Quick::EVEN,
            class: [Quick::EVEN; 64],
        }
    }

    /// Codes the next row's time in milliseconds.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, time: i64) -> i64 {
        let unit = if self.shape.is_fine { 1 } else { SECOND };
        let at = time / unit;
        let at = match self.row {
            0 => self.first(coder, at),
            row => {
                let interval = self.step(coder, row, at.wrapping_sub(self.last));
                self.last.wrapping_add(interval)
            }
        };
        self.last = at;
        self.row += 1;
        let Some(time) = at.checked_mul(unit) else {
            coder.reject();
            return 0;
        };
        self.has_fine |= time % SECOND != 0;
        let is_last = self.row == self.rows;
        let is_borne_out =
            self.has_fine == self.shape.is_fine && self.has_irregular == self.shape.is_irregular;
        if is_last && !is_borne_out {
            coder.reject();
        }
        time
    }

    fn first(&mut self, coder: &mut impl Coder, at: i64) -> i64 {
        let bits = self.shape.usual_bits();
        let is_usual = |at: u64| at >> bits == 0;
        let at = at.cast_unsigned();
        // The flag's cost hardly matters: an unusual first time is rare in a fleet's life.
        let flag = coder.short(if is_usual(at) { 0 } else { 7 }, 3);
        let coded = match flag {
            0 => coder.uniform(at, bits),
            _ => {
                let coded = coder.uniform(at, u64::BITS);
                if flag != 7 || is_usual(coded) {
                    coder.reject();
                }
                coded
            }
        };
        coded.cast_signed()
    }

    fn step(&mut self, coder: &mut impl Coder, row: usize, step: i64) -> i64 {
        if !self.shape.is_irregular {
            if row == 1 {
                let interval = coder.sized(step.cast_unsigned(), INTERVAL_CLASS_BITS);
                self.interval = interval.cast_signed();
            }
            return self.interval;
        }
        let off = self.off(coder, step.wrapping_sub(self.interval));
        let step = self.interval.wrapping_add(off);
        if row == 1 {
            self.interval = step;
            self.first_interval = step;
            self.has_irregular = !(0..=INTERVAL_MAX).contains(&step);
        } else {
            self.has_irregular |= step != self.first_interval;
            // The interval follows jitter, but not a gap in the samples.
            if off.unsigned_abs() <= self.interval.unsigned_abs() / 8 {
                self.interval = self.interval.wrapping_add(off / 4);
            }
        }
        step
    }

    /// Codes the deviation of a step from the expected one.
    fn off(&mut self, coder: &mut impl Coder, off: i64) -> i64 {
        if coder.bit(&mut self.is_expected, off == 0) {
            return 0;
        }
        // Magnitude minus one: 0 to 2^63 - 1, so its bit length is at most 63.
        let is_late = coder.bit(&mut self.is_late, off > 0);
        let magnitude = if off > 0 { off - 1 } else { !off }.cast_unsigned();
        let class = u64::BITS - magnitude.leading_zeros();
        let mut node = 1;
        for shift in (0..6).rev() {
            let bit = coder.bit(&mut self.class[node & 63], class >> shift & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        let class = u32::try_from(node & 63).unwrap_or_default();
        let magnitude = coder.below_highest(magnitude, class).cast_signed();
        match (is_late, magnitude.checked_add(1)) {
            (true, Some(off)) => off,
            (true, None) => {
                coder.reject();
                0
            }
            (false, _) => !magnitude,
        }
    }
}
