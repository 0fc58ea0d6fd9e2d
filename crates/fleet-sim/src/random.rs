//! Random numbers that follow from a seed (SplitMix64; Steele, Lea, Flood, 2014).
//!
//! Each part of the simulation draws from a stream of its own, so that its draws do not depend on
//! how often other parts have drawn.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Random {
    /// Returns the stream of `part` under `seed`.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Self {
        Self { state: mixed(seed ^ mixed(part.wrapping_mul(GOLDEN).wrapping_add(1))) }
    }

    /// Draws the next number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mixed(self.state)
    }

    /// Draws a number below `limit`; a `limit` of 0 counts as 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The highest bits of a product; the bias does not matter here.
        u64::try_from((u128::from(self.draw()) * u128::from(limit.max(1))) >> 64).unwrap_or(0)
    }

    /// Draws a number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// Draws whether something with this probability, in millionths, happens.
    pub fn happens(&mut self, millionths: u32) -> bool {
        self.below(1_000_000) < u64::from(millionths)
    }

    /// Draws a waiting time in milliseconds, exponentially distributed around `mean_ms`: at least 1
    /// ms, at most 20 times the mean.
    pub fn waiting_ms(&mut self, mean_ms: u64) -> u64 {
        // 53 bits make a number in (0, 1] that f64 holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = ((self.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let factor = (-uniform.ln()).min(20.0);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive time of days at most"
        )]
        let waiting = (factor * mean_ms as f64) as u64;
        waiting.max(1)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let numbers = |seed, part| {
            let mut random = Random::new(seed, part);
            [random.draw(), random.draw(), random.draw()]
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert_ne!(numbers(1, 2), numbers(1, 3));
        assert_ne!(numbers(1, 2), numbers(2, 2));
    }

    #[test]
    fn numbers_keep_to_their_limits_and_means() {
        let mut random = Random::new(7, 0);
        let mut sum = 0;
        for _ in 0..100_000 {
            assert!(random.below(10) < 10);
            assert!((3..=5).contains(&random.between(3, 5)));
            sum += random.waiting_ms(1_000);
        }
        assert!((95_000_000..105_000_000).contains(&sum), "{sum}");
    }
}
