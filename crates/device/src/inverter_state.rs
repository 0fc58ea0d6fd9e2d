//! Whether an inverter is online, asleep, offline or faulty, and when to try it again.
//!
//! *Asleep*: by the profile's sleep rule for the last sample with its registers, and the inverter
//! makes no power or has stopped answering, for no longer than [`NIGHT_MAX`]. One that still answers
//! and makes no power after that is *online*: it is idle for another reason than the night.
//! *Offline*: silent for another reason. *Faulty*: it answers, but no register can be read. Each
//! cycle produces one sample whatever its outcome; the pauses keep samples without an answer few at
//! night.

use core::time::Duration;

use ecowatt_model::MonoMs;
use ecowatt_wire::SourceState;

use crate::limits::{
    ASLEEP_PAUSE, BACK_OFF_MAX, BACK_OFF_STEP, FAILED_CYCLES_MAX, NIGHT_MAX, WAKE_UP_MIN,
};

/// How a cycle went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CycleOutcome {
    /// At least one register was read.
    Read,
    /// Answers came, but no register was read.
    Refused,
    /// No answer came.
    Quiet,
}

/// State of one inverter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InverterLink {
    state: SourceState,
    failed_cycles: u32,
    sleep: Sleep,
    /// Since when there was no answer at all, and for how long before the epoch began.
    quiet_since: Option<MonoMs>,
    quiet_before: Duration,
    /// Since when each of its answers showed no power, in this epoch. Silence in between does not
    /// end it.
    idle_since: Option<MonoMs>,
}

/// Sleep by the last sample that has the registers of the sleep rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    No,
    /// It makes so little power that it counts as asleep once it stops answering.
    Soon,
    /// It makes no power.
    Yes,
}

impl InverterLink {
    /// Of an inverter that was awake when this epoch began, or of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self {
        state: SourceState::Unknown,
        failed_cycles: 0,
        sleep: Sleep::No,
        quiet_since: None,
        quiet_before: Duration::ZERO,
        idle_since: None,
    };

    /// Of an inverter that had been asleep for so long when this epoch began. A clock that is ahead
    /// does not end its sleep at once: it has at least [`WAKE_UP_MIN`] to answer.
    pub(crate) fn asleep(asleep_for: Duration) -> Self {
        Self {
            state: SourceState::Asleep,
            sleep: Sleep::Yes,
            quiet_before: asleep_for.min(NIGHT_MAX - WAKE_UP_MIN),
            ..Self::UNKNOWN
        }
    }

    pub(crate) fn state(&self) -> SourceState {
        self.state
    }

    /// Takes the result of the sleep rule for a sample.
    pub(crate) fn set_sleep(&mut self, sleep: Sleep) {
        self.sleep = sleep;
    }

    /// Takes the outcome of a cycle; returns the previous state if it changed.
    pub(crate) fn cycle_ended(
        &mut self,
        now: MonoMs,
        outcome: CycleOutcome,
    ) -> Option<SourceState> {
        let former = self.state;
        if outcome == CycleOutcome::Quiet {
            self.quiet_since.get_or_insert(now);
        } else {
            (self.quiet_since, self.quiet_before) = (None, Duration::ZERO);
        }
        let quiet_for = self.quiet_since.map_or(Duration::ZERO, |since| now.since(since));
        let is_overdue = quiet_for + self.quiet_before > NIGHT_MAX;
        if outcome == CycleOutcome::Read {
            let since = *self.idle_since.get_or_insert(now);
            self.idle_since = (self.sleep == Sleep::Yes).then_some(since);
        }
        let is_idle = self.idle_since.is_some_and(|since| now.since(since) > NIGHT_MAX);
        self.failed_cycles = match outcome {
            CycleOutcome::Read => 0,
            CycleOutcome::Refused | CycleOutcome::Quiet => self.failed_cycles.saturating_add(1),
        };
        self.state = match outcome {
            CycleOutcome::Read if self.sleep == Sleep::Yes && !is_idle => SourceState::Asleep,
            CycleOutcome::Read => SourceState::Online,
            CycleOutcome::Refused | CycleOutcome::Quiet
                if self.failed_cycles < FAILED_CYCLES_MAX =>
            {
                former
            }
            CycleOutcome::Refused => SourceState::Faulty,
            CycleOutcome::Quiet if self.sleep == Sleep::No || is_overdue => SourceState::Offline,
            CycleOutcome::Quiet => SourceState::Asleep,
        };
        (self.state != former).then_some(former)
    }

    /// Makes the pauses between attempts to reach it short again.
    pub(crate) fn try_again(&mut self) {
        self.failed_cycles = self.failed_cycles.min(FAILED_CYCLES_MAX);
    }

    /// Whether it answers, as far as recent cycles show.
    pub(crate) fn is_answering(&self) -> bool {
        match self.state {
            SourceState::Online => true,
            SourceState::Asleep => !self.is_quietly_asleep(),
            SourceState::Unknown | SourceState::Offline | SourceState::Faulty => false,
        }
    }

    /// Whether it sleeps and has stopped answering, as many do.
    pub(crate) fn is_quietly_asleep(&self) -> bool {
        self.state == SourceState::Asleep && self.failed_cycles >= FAILED_CYCLES_MAX
    }

    /// How long to leave the inverter alone, beyond its usual interval.
    pub(crate) fn pause(&self) -> Duration {
        match self.state {
            SourceState::Online | SourceState::Unknown => Duration::ZERO,
            // Fog at noon may look like dusk: an inverter that still answers is polled as usual.
            SourceState::Asleep if self.is_quietly_asleep() => ASLEEP_PAUSE,
            SourceState::Asleep => Duration::ZERO,
            SourceState::Offline | SourceState::Faulty => {
                BACK_OFF_STEP.saturating_mul(self.failed_cycles).min(BACK_OFF_MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(is_sleepy: bool, outcomes: &[CycleOutcome]) -> (SourceState, Duration) {
        let mut link = InverterLink::UNKNOWN;
        link.cycle_ended(MonoMs(0), CycleOutcome::Read);
        link.set_sleep(if is_sleepy { Sleep::Yes } else { Sleep::No });
        for outcome in outcomes {
            link.cycle_ended(MonoMs(0), *outcome);
        }
        (link.state(), link.pause())
    }

    const HOUR_MS: u64 = 3_600_000;

    /// The state after each of these hours of silence.
    fn quiet_at(mut link: InverterLink, hours: &[u64]) -> std::vec::Vec<SourceState> {
        let mut state = |hour: &u64| {
            for _ in 0..FAILED_CYCLES_MAX {
                link.cycle_ended(MonoMs(hour * HOUR_MS), CycleOutcome::Quiet);
            }
            link.state()
        };
        hours.iter().map(&mut state).collect()
    }

    #[test]
    fn sleep_longer_than_a_night_is_a_failure_even_across_restarts() {
        use SourceState::{Asleep, Offline};
        let mut dusk = InverterLink::UNKNOWN;
        dusk.set_sleep(Sleep::Soon);
        dusk.cycle_ended(MonoMs(0), CycleOutcome::Read);
        assert_eq!(dusk.state(), SourceState::Online, "it makes power");
        assert_eq!(
            quiet_at(dusk, &[1, 15, 21, 22, 99]),
            [Asleep, Asleep, Asleep, Offline, Offline]
        );
        // Restarted after ten hours of silence, by the clock.
        let asleep = |hours: u64| InverterLink::asleep(Duration::from_secs(hours * 3600));
        assert_eq!(asleep(10).state(), Asleep);
        assert_eq!(quiet_at(asleep(10), &[0, 9, 10, 11]), [Asleep, Asleep, Asleep, Offline]);
        // A clock that is months ahead.
        assert_eq!(quiet_at(asleep(9999), &[0, 1, 2]), [Asleep, Asleep, Offline]);
        // One answer, and a whole night is allowed again.
        let mut awake = asleep(19);
        awake.cycle_ended(MonoMs(0), CycleOutcome::Read);
        assert_eq!(quiet_at(awake, &[5, 24, 26]), [Asleep, Asleep, Offline]);
    }

    #[test]
    fn an_inverter_that_answers_and_makes_nothing_is_not_asleep_for_ever() {
        use CycleOutcome::{Quiet, Read};
        use SourceState::{Asleep, Online};
        let mut link = InverterLink::UNKNOWN;
        let mut state = |hour: u64, sleep: Sleep, outcome: CycleOutcome| {
            link.set_sleep(sleep);
            link.cycle_ended(MonoMs(hour * HOUR_MS), outcome);
            link.state()
        };
        assert_eq!(state(0, Sleep::Yes, Read), Asleep);
        assert_eq!(state(20, Sleep::Yes, Read), Asleep);
        assert_eq!(state(21, Sleep::Yes, Read), Online);
        // At night it falls silent as well, and in the morning it is as before.
        for hour in 30..33 {
            state(hour, Sleep::Yes, Quiet);
        }
        assert_eq!(state(40, Sleep::Yes, Quiet), Asleep);
        assert_eq!(state(41, Sleep::Yes, Read), Online);
        // Power ends it.
        assert_eq!(state(42, Sleep::Soon, Read), Online);
        assert_eq!(state(43, Sleep::Yes, Read), Asleep);
    }

    #[test]
    fn quiet_means_asleep_offline_or_a_lost_frame() {
        use CycleOutcome::{Quiet, Read, Refused};
        let s = Duration::from_secs;
        assert_eq!(after(false, &[Quiet, Quiet]), (SourceState::Online, s(0)));
        assert_eq!(after(false, &[Quiet; 3]), (SourceState::Offline, s(6)));
        assert_eq!(after(false, &[Quiet; 1000]), (SourceState::Offline, BACK_OFF_MAX));
        assert_eq!(after(true, &[Quiet; 3]), (SourceState::Asleep, ASLEEP_PAUSE));
        assert_eq!(after(true, &[Quiet; 1000]), (SourceState::Asleep, ASLEEP_PAUSE));
        assert_eq!(after(true, &[Read]), (SourceState::Asleep, s(0)));
        assert_eq!(after(true, &[Refused; 3]), (SourceState::Faulty, s(6)));
        assert_eq!(after(false, &[Quiet, Quiet, Quiet, Read]), (SourceState::Online, s(0)));
    }
}
