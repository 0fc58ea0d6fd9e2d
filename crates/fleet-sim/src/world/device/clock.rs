//! A device's clocks: a monotonic one that drifts, and a system clock that may be wrong at the start.

use ecowatt_model::{MonoMs, UnixMs};

use crate::faults::kinds::{DeviceStartFault, Fault};
use crate::faults::weights::Weights;
use crate::judges::truth::Birth;
use crate::random::Random;
use crate::streams;

/// Largest drift of a crystal, in parts per million.
const DRIFT_PPM_MAX: u64 = 100;
/// Largest error of a clock with a battery.
const SMALL_ERROR_MS: u64 = 300;
/// Largest error of a clock that was set by hand.
const LARGE_ERROR_MS: u64 = 3 * 86_400_000;

/// The clocks of one epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceClock {
    birth: Birth,
    /// Error of the system clock; none if it was never set.
    error_ms: Option<i64>,
    /// When a time server corrects the system clock, whether or not our server is reachable.
    right_from: Option<UnixMs>,
}

/// One in this many clocks that are wrong at the start is corrected by a time server.
const PUT_RIGHT_ONE_IN: u64 = 2;
const PUT_RIGHT_WITHIN_MS: u64 = 3 * 3_600_000;
/// Longest time until a board without a battery finds a time server.
const SET_WITHIN_MS: u64 = 30 * 60_000;

impl DeviceClock {
    pub(crate) fn at_boot(now: UnixMs, random: &mut Random, weights: &Weights) -> Self {
        let drift = i64::try_from(random.below(2 * DRIFT_PPM_MAX + 1)).unwrap_or(0);
        let is_drifting = weights.of_fault(Fault::DeviceStart(DeviceStartFault::ClockDrifting)) > 0;
        let drift_ppm = if is_drifting { drift - 100 } else { 0 };
        let mut off_by = |most: u64| {
            i64::try_from(random.below(2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
        };
        let (small, large) = (off_by(SMALL_ERROR_MS), off_by(LARGE_ERROR_MS));
        let error_ms = if weights.happens(Fault::DeviceStart(DeviceStartFault::ClockUnset), random)
        {
            None
        } else if weights.happens(Fault::DeviceStart(DeviceStartFault::ClockWrong), random) {
            Some(large)
        } else {
            Some(small)
        };
        let mut others = Random::new(now.0.cast_unsigned(), streams::TIME_SERVERS);
        let is_wrong = error_ms.is_none_or(|error| error == large);
        let right_from = (is_wrong && others.below(PUT_RIGHT_ONE_IN) == 0)
            .then(|| UnixMs(now.0.saturating_add_unsigned(others.below(PUT_RIGHT_WITHIN_MS))));
        Self { birth: Birth { boot: now, drift_ppm }, error_ms, right_from }
    }

    /// Makes it the clock of a board without a battery: unset at every start, and right once a time
    /// server is found.
    pub(crate) fn without_battery(self) -> Self {
        let boot = self.birth.boot;
        let mut others = Random::new(boot.0.cast_unsigned(), streams::TIME_SERVERS);
        let right_from = boot.0.saturating_add_unsigned(others.below(SET_WITHIN_MS));
        Self { error_ms: None, right_from: Some(UnixMs(right_from)), ..self }
    }

    pub(crate) fn birth(&self) -> Birth {
        self.birth
    }

    pub(crate) fn system_error_ms(&self) -> Option<i64> {
        self.error_ms
    }

    /// Returns what the system clock shows.
    pub(crate) fn system(&self, now: UnixMs) -> UnixMs {
        if self.right_from.is_some_and(|from| now >= from) {
            return now;
        }
        // An unset clock shows 2000-01-01.
        self.error_ms.map_or(UnixMs(946_684_800_000), |error| UnixMs(now.0 + error))
    }

    /// Returns the time since the start as the device measures it.
    pub(crate) fn mono(&self, now: UnixMs) -> MonoMs {
        let elapsed = now.0 - self.birth.boot.0;
        let shown = i128::from(elapsed) * i128::from(1_000_000 + self.birth.drift_ppm) / 1_000_000;
        MonoMs(u64::try_from(shown).unwrap_or(0))
    }

    /// Returns the first true instant at which [`DeviceClock::mono`] has reached `at`.
    pub(crate) fn true_time(&self, at: MonoMs) -> UnixMs {
        let Ok(mono) = i64::try_from(at.0) else { return UnixMs(i64::MAX) };
        if mono > i64::MAX / 4 {
            return UnixMs(i64::MAX);
        }
        let rate = i128::from(1_000_000 + self.birth.drift_ppm);
        let elapsed = (i128::from(mono) * 1_000_000 + rate - 1) / rate;
        UnixMs(self.birth.boot.0 + i64::try_from(elapsed).unwrap_or(i64::MAX / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_go_there_and_back() {
        for drift_ppm in [-100, -1, 0, 3, 100] {
            let birth = Birth { boot: UnixMs(1_000_000), drift_ppm };
            let clock = DeviceClock { birth, error_ms: None, right_from: None };
            for mono in [0, 1, 999, 1_000, 86_400_000, 30 * 86_400_000] {
                let at = clock.true_time(MonoMs(mono));
                assert!(clock.mono(at) >= MonoMs(mono), "{drift_ppm} {mono}");
                assert!(mono == 0 || clock.mono(UnixMs(at.0 - 1)) < MonoMs(mono));
            }
        }
    }
}
