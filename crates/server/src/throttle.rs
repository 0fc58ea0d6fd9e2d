//! Slows down guessing of claim codes.
//!
//! A token bucket per claim id, in a table of bounded size. Only wrong tries are counted and
//! refused. The right code never passes through here, so it is accepted whatever others tried for
//! the same claim. Tokens and set-up codes have 256 bits and need no such bound.

use std::collections::HashMap;
use std::time::Duration;

use ecowatt_model::MonoMs;

use crate::limits::{WRONG_CODE_EVERY, WRONG_CODES_BURST, WRONG_CODES_CLAIMS_MAX};

/// Wrong tries by claim id.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// When the claim will have all its tries back. Its distance from now, in steps of
    /// [`WRONG_CODE_EVERY`], is the number of tries spent.
    full_at: HashMap<String, MonoMs>,
}

impl Throttle {
    /// Counts a wrong try.
    ///
    /// # Errors
    /// If there were too many: the time until the next wrong try is answered as one.
    pub(crate) fn wrong(&mut self, claim: &str, now: MonoMs) -> Result<(), Duration> {
        let held = self.full_at.get(claim).copied().unwrap_or(now).max(now);
        let full_at = held.plus(WRONG_CODE_EVERY);
        let spent = full_at.since(now);
        let burst = WRONG_CODE_EVERY * WRONG_CODES_BURST;
        if spent > burst {
            return Err(spent - burst);
        }
        if self.full_at.len() >= WRONG_CODES_CLAIMS_MAX && !self.full_at.contains_key(claim) {
            self.forget(now);
        }
        self.full_at.insert(claim.to_owned(), full_at);
        Ok(())
    }

    /// Makes room: forgets all claims that have their tries back, or else the one nearest to that.
    fn forget(&mut self, now: MonoMs) {
        let before = self.full_at.len();
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() == before
            && let Some(nearest) =
                self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(id, _)| id.clone())
        {
            self.full_at.remove(&nearest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_allowed_and_then_one_per_interval() {
        let mut throttle = Throttle::default();
        let now = MonoMs(5_000);
        for _ in 0..WRONG_CODES_BURST {
            assert_eq!(throttle.wrong("AAAAA", now), Ok(()));
        }
        assert_eq!(throttle.wrong("AAAAA", now), Err(WRONG_CODE_EVERY));
        assert_eq!(throttle.wrong("AAAAB", now), Ok(()), "each claim has its own");
        let later = now.plus(WRONG_CODE_EVERY);
        assert_eq!(throttle.wrong("AAAAA", later), Ok(()));
        assert_eq!(throttle.wrong("AAAAA", later), Err(WRONG_CODE_EVERY));
    }

    #[test]
    fn table_stays_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..2 * WRONG_CODES_CLAIMS_MAX {
            let _ = throttle.wrong(&format!("{n:05}"), MonoMs(0));
        }
        assert!(throttle.full_at.len() <= WRONG_CODES_CLAIMS_MAX);
    }
}
