//! Random numbers that follow from a seed (SplitMix64; Steele, Lea, Flood, 2014).
//!
//! Each part of the simulated world draws from a stream of its own, so that what happens to one
//! does not depend on how often another has drawn.

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
    /// The stream of `part` under `seed`.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Self {
        Self { state: mixed(seed ^ mixed(part.wrapping_mul(GOLDEN).wrapping_add(1))) }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mixed(self.state)
    }

    /// A number below `limit`, which is above 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The highest bits of a product; the bias is of no matter here.
        u64::try_from((u128::from(self.draw()) * u128::from(limit.max(1))) >> 64).unwrap_or(0)
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// Whether something of this probability happens, in millionths.
    pub fn happens(&mut self, millionths: u32) -> bool {
        self.below(1_000_000) < u64::from(millionths)
    }

    /// A waiting time around `mean_ms`, exponentially distributed, at least 1 and at most 20 times
    /// the mean.
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
