//! How long to wait for an answer, learned from earlier ones.

use core::time::Duration;

use crate::limits::{TIMEOUT_FACTOR, TIMEOUT_MIN};

/// Filtered latency of one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    filtered: Option<Duration>,
    ceiling: Duration,
}

impl Latency {
    pub(crate) fn new(ceiling: Duration) -> Self {
        Self { filtered: None, ceiling: ceiling.max(TIMEOUT_MIN) }
    }

    /// The wait for the next answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.filtered.map_or(self.ceiling, |filtered| {
            (filtered * TIMEOUT_FACTOR).clamp(TIMEOUT_MIN, self.ceiling)
        })
    }

    /// An answer took this long. Slower answers count at once, quicker ones by and by.
    pub(crate) fn answered(&mut self, after: Duration) {
        let after = after.min(self.ceiling);
        self.filtered = Some(match self.filtered {
            Some(filtered) if after < filtered => (filtered * 7 + after) / 8,
            Some(_) | None => after,
        });
    }

    /// No answer came: what was learned may be wrong.
    pub(crate) fn timed_out(&mut self) {
        self.filtered = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_latency_between_floor_and_ceiling() {
        let ms = Duration::from_millis;
        let mut latency = Latency::new(ms(3000));
        assert_eq!(latency.timeout(), ms(3000));
        latency.answered(ms(10));
        assert_eq!(latency.timeout(), TIMEOUT_MIN);
        latency.answered(ms(300));
        assert_eq!(latency.timeout(), ms(1200));
        latency.answered(ms(220));
        assert_eq!(latency.timeout(), ms(1160));
        latency.timed_out();
        assert_eq!(latency.timeout(), ms(3000));
    }
}
