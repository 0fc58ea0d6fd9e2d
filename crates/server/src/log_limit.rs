//! Limits the rate of a log line and counts how many were suppressed. An overload would otherwise
//! write thousands of them, and a log that fills the disk or takes the processor makes it worse.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ecowatt_model::MonoMs;

/// Decides when the line may be written.
#[derive(Debug)]
pub(crate) struct LogLimit {
    every: Duration,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    last: Option<MonoMs>,
    suppressed: u64,
}

impl LogLimit {
    /// Allows one line in each `every`.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, written: Mutex::default() }
    }

    /// Whether to write the line at `now`; if so, how many were suppressed since the last one.
    pub(crate) fn allow(&self, now: MonoMs) -> Option<u64> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.last.is_some_and(|last| now.since(last) < self.every) {
            written.suppressed += 1;
            return None;
        }
        written.last = Some(now);
        Some(std::mem::take(&mut written.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_is_written_at_once_and_later_ones_count_the_suppressed() {
        let limit = LogLimit::new(Duration::from_secs(1));
        let counts = [5, 6, 1_004, 1_005, 1_006, 9_000].map(|ms| limit.allow(MonoMs(ms)));
        assert_eq!(counts, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
