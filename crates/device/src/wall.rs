//! The time of day, as an offset from the monotonic clock.
//!
//! The system clock is believed once, at the start, if it is plausible; what it does later is of no
//! interest. The server's time sets an unset clock and steps one that is off by more than
//! [`CLOCK_STEP_MIN`]. A step never touches samples that were taken before it.

use core::time::Duration;

use ecowatt_model::{MonoMs, UnixMs};

use crate::limits::{CLOCK_STEP_MIN, PLAUSIBLE_UNIX_MS};

/// What the device knows about the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    offset_ms: Option<i64>,
    deviation_ms: i64,
}

/// What hearing the server's time led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Kept,
    Set,
    Stepped(i64),
}

impl Wall {
    /// Takes the system clock at `now`, if it has been set.
    #[must_use]
    pub fn new(system: Option<UnixMs>, now: MonoMs) -> Self {
        let offset_ms = system
            .filter(|unix| unix.0 >= PLAUSIBLE_UNIX_MS)
            .map(|unix| unix.0.saturating_sub(signed(now.0)));
        Self { offset_ms, deviation_ms: 0 }
    }

    /// The time of day at a monotonic instant.
    #[must_use]
    pub fn unix(&self, at: MonoMs) -> Option<UnixMs> {
        self.offset_ms.map(|offset| UnixMs(offset.saturating_add(signed(at.0))))
    }

    /// Device clock minus server clock when it was last heard of, before any step.
    #[must_use]
    pub fn deviation_ms(&self) -> i64 {
        self.deviation_ms
    }

    /// First instant after `now` that is a whole multiple of `interval` by the time of day.
    #[must_use]
    pub fn next_multiple(&self, now: MonoMs, interval: Duration) -> MonoMs {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let shown = self.offset_ms.unwrap_or(0).saturating_add(signed(now.0));
        let wait = interval - shown.rem_euclid(interval);
        MonoMs(now.0.saturating_add(wait.unsigned_abs()))
    }

    /// Hears the time that the server wrote between `sent` and `received`.
    pub(crate) fn hear(&mut self, server: UnixMs, sent: MonoMs, received: MonoMs) -> Heard {
        if server.0 < PLAUSIBLE_UNIX_MS {
            return Heard::Kept;
        }
        let uncertainty = signed(received.0.saturating_sub(sent.0)) / 2;
        let offset = server.0.saturating_add(uncertainty).saturating_sub(signed(received.0));
        let Some(known) = self.offset_ms else {
            self.offset_ms = Some(offset);
            self.deviation_ms = 0;
            return Heard::Set;
        };
        self.deviation_ms = known.saturating_sub(offset);
        let tolerated = i64::try_from(CLOCK_STEP_MIN.as_millis()).unwrap_or(i64::MAX);
        if self.deviation_ms.saturating_abs() <= tolerated.saturating_add(uncertainty) {
            return Heard::Kept;
        }
        self.offset_ms = Some(offset);
        Heard::Stepped(self.deviation_ms.saturating_neg())
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_767_268_800_000;

    #[test]
    fn implausible_system_clock_is_not_believed() {
        assert_eq!(Wall::new(Some(UnixMs(946_684_800_000)), MonoMs(5)).unix(MonoMs(5)), None);
        let wall = Wall::new(Some(UnixMs(NOON)), MonoMs(1_000));
        assert_eq!(wall.unix(MonoMs(3_000)), Some(UnixMs(NOON + 2_000)));
    }

    #[test]
    fn small_deviation_is_kept_and_large_one_stepped() {
        let mut wall = Wall::new(Some(UnixMs(NOON)), MonoMs(0));
        let heard = wall.hear(UnixMs(NOON + 1_500), MonoMs(0), MonoMs(0));
        assert_eq!((heard, wall.deviation_ms()), (Heard::Kept, -1_500));
        let heard = wall.hear(UnixMs(NOON + 9_000), MonoMs(0), MonoMs(200));
        assert_eq!(heard, Heard::Stepped(8_900));
        assert_eq!(wall.unix(MonoMs(200)), Some(UnixMs(NOON + 9_100)));
        // A slow reply says little about the time, so it does not step the clock.
        let heard = wall.hear(UnixMs(NOON + 20_000), MonoMs(200), MonoMs(40_200));
        assert_eq!(heard, Heard::Kept);
    }

    #[test]
    fn multiples_follow_the_time_of_day() {
        let wall = Wall::new(Some(UnixMs(NOON + 1_200)), MonoMs(100));
        let five = Duration::from_secs(5);
        assert_eq!(wall.next_multiple(MonoMs(100), five), MonoMs(3_900));
        assert_eq!(wall.next_multiple(MonoMs(3_900), five), MonoMs(8_900));
        let unset = Wall::new(None, MonoMs(0));
        assert_eq!(unset.next_multiple(MonoMs(100), five), MonoMs(5_000));
    }
}
