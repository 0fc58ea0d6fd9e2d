//! Whether an inverter is there, asleep, gone or broken, and when to try it again.
//!
//! *Asleep*: the last sample that could tell said so (its profile's sleep rule), whether or not it
//! still answers. *Offline*: it went quiet without that. *Faulty*: it answers, but no register can
//! be read. Each cycle gives one sample whatever its outcome; the pauses keep those without an answer
//! few at night.

use core::time::Duration;

use ecowatt_wire::SourceState;

use crate::limits::{ASLEEP_PAUSE, BACK_OFF_MAX, BACK_OFF_STEP, FAILED_CYCLES_MAX};

/// How a cycle went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// At least one register was read.
    Read,
    /// Answers came, but no words.
    Refused,
    /// Nothing came.
    Quiet,
}

/// State of one inverter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkState {
    state: SourceState,
    failed_cycles: u32,
    is_sleepy: bool,
}

impl LinkState {
    pub(crate) fn new() -> Self {
        Self { state: SourceState::Unknown, failed_cycles: 0, is_sleepy: false }
    }

    pub(crate) fn state(&self) -> SourceState {
        self.state
    }

    /// Whether the last sample that could tell said that the inverter goes to sleep.
    pub(crate) fn set_sleepy(&mut self, is_sleepy: bool) {
        self.is_sleepy = is_sleepy;
    }

    /// Takes the outcome of a cycle; gives the former state if it changed.
    pub(crate) fn cycle_ended(&mut self, outcome: Outcome) -> Option<SourceState> {
        let former = self.state;
        self.failed_cycles = match outcome {
            Outcome::Read => 0,
            Outcome::Refused | Outcome::Quiet => self.failed_cycles.saturating_add(1),
        };
        self.state = match outcome {
            Outcome::Read if self.is_sleepy => SourceState::Asleep,
            Outcome::Read => SourceState::Online,
            Outcome::Refused | Outcome::Quiet if self.failed_cycles < FAILED_CYCLES_MAX => former,
            Outcome::Refused => SourceState::Faulty,
            Outcome::Quiet => match former {
                SourceState::Asleep => SourceState::Asleep,
                SourceState::Unknown
                | SourceState::Online
                | SourceState::Offline
                | SourceState::Faulty => {
                    if self.is_sleepy {
                        SourceState::Asleep
                    } else {
                        SourceState::Offline
                    }
                }
            },
        };
        (self.state != former).then_some(former)
    }

    /// Whether it answered lately.
    pub(crate) fn is_answering(&self) -> bool {
        match self.state {
            SourceState::Online => true,
            SourceState::Asleep => !self.is_quietly_asleep(),
            SourceState::Unknown | SourceState::Offline | SourceState::Faulty => false,
        }
    }

    /// Whether it sleeps and has stopped to answer, as many do.
    pub(crate) fn is_quietly_asleep(&self) -> bool {
        self.state == SourceState::Asleep && self.failed_cycles >= FAILED_CYCLES_MAX
    }

    /// How long to leave the inverter alone, beyond its usual interval.
    pub(crate) fn pause(&self) -> Duration {
        match self.state {
            SourceState::Online | SourceState::Unknown => Duration::ZERO,
            // Fog at noon may look like dusk: as long as it answers nothing is missed.
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

    fn after(is_sleepy: bool, outcomes: &[Outcome]) -> (SourceState, Duration) {
        let mut link = LinkState::new();
        link.cycle_ended(Outcome::Read);
        link.set_sleepy(is_sleepy);
        for outcome in outcomes {
            link.cycle_ended(*outcome);
        }
        (link.state(), link.pause())
    }

    #[test]
    fn quiet_means_asleep_offline_or_a_lost_frame() {
        use Outcome::{Quiet, Read, Refused};
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
