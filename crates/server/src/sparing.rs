//! Log lines that an overload would make by the thousand, said now and then with their number: a log
//! that fills the disk or takes the processor would make things worse.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ecowatt_model::MonoMs;

/// Decides when such a line is due.
#[derive(Debug)]
pub(crate) struct Sparing {
    every: Duration,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    last: Option<MonoMs>,
    kept_back: u64,
}

impl Sparing {
    /// One line in `every`.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, said: Mutex::default() }
    }

    /// Whether to say it at `now`: then how often it was kept back since the last line.
    pub(crate) fn speak(&self, now: MonoMs) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now.since(last) < self.every) {
            said.kept_back += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_at_once_then_now_and_then_with_what_was_kept_back() {
        let sparing = Sparing::new(Duration::from_secs(1));
        let said = [5, 6, 1_004, 1_005, 1_006, 9_000].map(|ms| sparing.speak(MonoMs(ms)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
