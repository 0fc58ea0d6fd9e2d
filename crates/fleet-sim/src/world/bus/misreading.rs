//! Wrong values in well-formed answers.
//!
//! Inverters and gateways sometimes answer in correct frames with words that the inverter does not
//! hold: one word of a 32-bit number from another moment, an older answer, filler, a register with
//! an arbitrary number. The device cannot tell such an answer from a correct one by its frame.

use std::sync::Arc;

use ecowatt_inverter_sim::Tabulation;
use ecowatt_inverter_sim::journal::AnsweredRead;
use ecowatt_model::UnixMs;

use crate::faults::kinds::{Fault, Misread, Occasion};
use crate::faults::weights::Weights;
use crate::random::Random;
use crate::streams;

/// Age of the oldest answer that is repeated: a day.
const OLD_MAX_MS: u64 = 24 * 3_600_000;

/// Decides which answers are misread, and how.
#[derive(Debug)]
pub(super) struct Misreadings {
    random: Random,
    weights: Arc<Weights>,
    /// Share of all answers, in millionths; 0 draws nothing.
    rate: u32,
}

impl Misreadings {
    pub(super) fn never() -> Self {
        Self::of(&Arc::new(Weights::calm()), 0)
    }

    pub(super) fn of(weights: &Arc<Weights>, seed: u64) -> Self {
        let rate = weights.of_fault(Fault::Misreading);
        Self { random: Random::new(seed, streams::MISREADINGS), weights: Arc::clone(weights), rate }
    }

    /// Returns the words that are sent instead, if this answer is misread.
    pub(super) fn strike(&mut self, table: &Tabulation, read: &AnsweredRead) -> Option<Vec<u16>> {
        let random = &mut self.random;
        if self.rate == 0 || !random.happens(self.rate) {
            return None;
        }
        let mut words = read.words.clone();
        let len = u64::try_from(words.len()).unwrap_or(0);
        let at = usize::try_from(random.below(len)).unwrap_or(0);
        let Fault::Misread(how) = self.weights.pick(Occasion::Misreading, random) else {
            return None;
        };
        match how {
            Misread::OldAnswer => {
                let old = UnixMs(
                    read.shown_at.0
                        - i64::try_from(random.between(60_000, OLD_MAX_MS)).unwrap_or(0),
                );
                let count = u16::try_from(words.len()).unwrap_or(0);
                let held = table.words(old.max(table.start()), read.address, count)?;
                words.copy_from_slice(held);
            }
            Misread::Filler => words.fill(if random.below(2) == 0 { 0 } else { u16::MAX }),
            // The carry between two words has reached one of them.
            Misread::WordAbove => words[at] = words[at].wrapping_add(1),
            Misread::WordBelow => words[at] = words[at].wrapping_sub(1),
            Misread::ArbitraryWord => words[at] = u16::try_from(random.below(1 << 16)).unwrap_or(0),
        }
        (words != read.words).then_some(words)
    }
}
