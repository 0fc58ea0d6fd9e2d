//! What retention removes, and the time by which it is decided.
//!
//! Samples, minutes and quarter hours can be removed; days, energy, its gaps and the edges behind it
//! stay, so no total depends on retention (`docs/decisions/0050-retention-per-resolution.md`). Pure.

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};

use crate::limits::{RETENTION_CLOCK_SPEED_MAX, RETENTION_CLOCK_STEP_MAX_MS};

/// What can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolution {
    Samples,
    Minutes,
    Quarters,
}

impl Resolution {
    /// From the finest to the coarsest.
    pub const ALL: [Self; 3] = [Self::Samples, Self::Minutes, Self::Quarters];

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Samples => 0,
            Self::Minutes => 1,
            Self::Quarters => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|resolution| resolution.code() == code)
    }
}

/// What was removed of one inverter in one resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    pub device: DeviceNumber,
    pub source: SourceNumber,
    pub resolution: Resolution,
    /// Everything that was removed is before this instant, the end of a UTC day.
    pub before: UnixMs,
    /// Samples, minutes or quarter hours. A minute that a late batch filled again counts again.
    pub rows: u64,
    /// What they took, encoded.
    pub bytes: u64,
}

/// What one commit removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    pub rows: u64,
    pub bytes: u64,
    /// Whether a limit of the commit was reached, so that more may be due.
    pub has_more: bool,
}

/// The time by which retention decides. It follows the server's clock, but a clock that jumps ahead
/// for years moves it by days at most, and it never passes the newest sample of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetentionClock {
    pub(crate) at: UnixMs,
    /// The server's clock when this one was last moved.
    pub(crate) seen: UnixMs,
}

impl RetentionClock {
    /// Moves it; it begins with the first sample. Between two looks it moves at most so many times
    /// as far as the server's clock did, of which no more than an hour counts: a jump is one look,
    /// however far, and many restarts after it are no reason to go faster.
    pub(crate) fn moved(held: Option<Self>, now: UnixMs, newest: Option<UnixMs>) -> Option<Self> {
        let Some(newest) = newest else { return held };
        let shown = now.min(newest);
        let Some(held) = held else { return Some(Self { at: shown, seen: now }) };
        let elapsed = now.0.saturating_sub(held.seen.0).clamp(0, RETENTION_CLOCK_STEP_MAX_MS);
        let most = held.at.0.saturating_add(elapsed * RETENTION_CLOCK_SPEED_MAX);
        Some(Self { at: shown.min(UnixMs(most)), seen: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const START: i64 = 20_000 * DAY;

    /// Moves a clock that starts at [`START`] through times of the server; samples are as new.
    fn through(times: impl IntoIterator<Item = i64>) -> i64 {
        let mut held = None;
        for at in std::iter::once(START).chain(times) {
            held = RetentionClock::moved(held, UnixMs(at), Some(UnixMs(at)));
        }
        held.unwrap().at.0
    }

    #[test]
    fn follows_the_server_hour_by_hour() {
        let month = 30 * 24;
        assert_eq!(through((1..=month).map(|hour| START + hour * HOUR)), START + month * HOUR);
        assert_eq!(RetentionClock::moved(None, UnixMs(START), None), None, "nothing is stored");
    }

    #[test]
    fn jump_ahead_moves_it_by_a_day_and_restarts_by_nothing_more() {
        let jump = START + 3_650 * DAY;
        assert_eq!(through([START + HOUR, jump]), START + HOUR + DAY);
        let restarts = (0..1_000).map(|n| jump + n * 1_000);
        let moved = through(restarts) - START;
        assert!(moved <= DAY + 999 * 1_000 * 24, "{moved}");
        // Once the clock is right again, so is this one.
        assert_eq!(through([jump, START + 2 * HOUR]), START + 2 * HOUR);
    }

    #[test]
    fn long_outage_is_caught_up_within_days() {
        let back = START + 60 * DAY;
        let hours = (0..63).map(|hour| back + hour * HOUR);
        assert_ne!(through(hours.clone().take(48)), back + 47 * HOUR);
        assert_eq!(through(hours), back + 62 * HOUR);
    }

    #[test]
    fn clock_that_is_set_back_moves_it_back() {
        assert_eq!(through([START + HOUR, START - 90 * DAY]), START - 90 * DAY);
    }

    #[test]
    fn does_not_pass_the_newest_sample() {
        let held = RetentionClock { at: UnixMs(START), seen: UnixMs(START) };
        let (now, newest) = (UnixMs(START + HOUR), UnixMs(START + 5));
        let moved = RetentionClock::moved(Some(held), now, Some(newest)).unwrap();
        assert_eq!((moved.at, moved.seen), (newest, now));
    }

    #[test]
    fn every_resolution_has_a_code_of_its_own() {
        for resolution in Resolution::ALL {
            assert_eq!(Resolution::from_code(resolution.code()), Some(resolution));
        }
        assert_eq!(Resolution::from_code(3), None);
    }
}
