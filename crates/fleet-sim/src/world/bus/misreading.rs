//! Wrong values in well-formed answers.
//!
//! Inverters and gateways sometimes answer in correct frames with words that the inverter does not
//! hold: one word of a 32-bit number from another moment, an older answer, filler, a register with
//! an arbitrary number. The device cannot tell such an answer from a correct one by its frame.

use ecowatt_inverter_sim::Tabulation;
use ecowatt_inverter_sim::journal::AnsweredRead;
use ecowatt_model::UnixMs;

use crate::random::Random;
use crate::scenario::Level;

/// Number of the random stream of misreadings, so that no other draw depends on how many there are.
const STREAM: u64 = 1 << 43;
/// Age of the oldest answer that is repeated: a day.
const OLD_MAX_MS: u64 = 24 * 3_600_000;

/// Decides which answers are misread, and how.
#[derive(Debug)]
pub(super) struct Misreadings {
    random: Random,
    /// Share of all answers, in millionths.
    rate: u32,
}

impl Misreadings {
    pub(super) fn never() -> Self {
        Self { random: Random::new(0, STREAM), rate: 0 }
    }

    /// About one a week for an inverter that is read once a minute, or several a day, by level.
    pub(super) fn at(level: Level, seed: u64) -> Self {
        let rate = match level {
            Level::None => 0,
            Level::Low => 50,
            Level::High => 2_000,
        };
        Self { random: Random::new(seed, STREAM), rate }
    }

    /// Returns the words that are sent instead, if this answer is misread.
    pub(super) fn strike(&mut self, table: &Tabulation, read: &AnsweredRead) -> Option<Vec<u16>> {
        let random = &mut self.random;
        if self.rate == 0 || !random.happens(self.rate) {
            return None;
        }
        let mut words = read.words.clone();
        let len = u64::try_from(words.len()).unwrap_or(0);
        let mut place = || usize::try_from(random.below(len)).unwrap_or(0);
        let at = place();
        match random.below(5) {
            0 => {
                let old = UnixMs(
                    read.shown_at.0
                        - i64::try_from(random.between(60_000, OLD_MAX_MS)).unwrap_or(0),
                );
                let count = u16::try_from(words.len()).unwrap_or(0);
                let held = table.words(old.max(table.start()), read.address, count)?;
                words.copy_from_slice(held);
            }
            1 => words.fill(if random.below(2) == 0 { 0 } else { u16::MAX }),
            // The carry between two words has reached one of them.
            2 => words[at] = words[at].wrapping_add(1),
            3 => words[at] = words[at].wrapping_sub(1),
            _ => words[at] = u16::try_from(random.below(1 << 16)).unwrap_or(0),
        }
        (words != read.words).then_some(words)
    }
}
