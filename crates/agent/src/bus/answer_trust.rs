//! Decides whether an answer can be trusted on a bus whose frames do not name their request.
//!
//! RTU frames carry no transaction number. A late answer to an earlier request, an answer that a
//! gateway repeats, and the answer to another master all look right if unit, function and length
//! fit. Three rules keep them out:
//!
//! - Bytes that arrive before a request is sent do not belong to its answer.
//! - After a request without an answer, its unit is not asked again until that answer can no longer
//!   arrive.
//! - An answer that may be to another master counts only if no other answer follows: ours would,
//!   within the time that its unit takes.
//!
//! [`Guard`] uses no clock and no line: it gets events with their times, and returns how long to
//! wait.

use std::time::Duration;

use ecowatt_model::MonoMs;

use super::latency::Latency;

/// Shortest frame: unit, function, exception code, checksum. Fewer bytes are noise.
pub(super) const FRAME_MIN: usize = 5;

/// How long a bus counts as shared after unrequested bytes.
const SHARED_FOR: Duration = Duration::from_secs(15 * 60);

/// How long answers of a unit are doubted after a request to it was given up: an answer may arrive
/// later than its profile allows.
const DOUBTED_FOR: Duration = Duration::from_secs(60);

/// Shortest wait for a second answer through a gateway, whose network delays some frames.
const DOUBT_MIN: Duration = Duration::from_millis(60);
/// The same where another answer was heard. Two masters' answers may be delayed differently.
const DOUBT_SHARED_MIN: Duration = Duration::from_millis(250);

/// Units whose answers are remembered; the oldest is dropped first. A bus has at most eight
/// inverters.
const UNITS_MAX: usize = 16;
/// The same for units that did not answer.
const SILENT_MAX: usize = UNITS_MAX;

/// A unit that did not answer.
#[derive(Debug, Clone, Copy)]
struct Silent {
    unit: u8,
    /// When it was asked.
    asked: MonoMs,
    /// How long after that its answer may come.
    patience: Duration,
    /// Whether the answer, or something like it, has come since.
    has_come: bool,
}

/// What is known of a bus and matters for the next answer.
#[derive(Debug)]
pub(super) struct Guard {
    /// Whether a master may receive answers to other masters, as behind a transparent gateway.
    is_gateway: bool,
    /// Longest time that an answer may take on this bus.
    answer_max: Duration,
    silent: Vec<Silent>,
    stray_at: Option<MonoMs>,
    /// By unit.
    latencies: Vec<(u8, Latency)>,
}

impl Guard {
    pub(super) fn new(is_gateway: bool, answer_max: Duration) -> Self {
        Self { is_gateway, answer_max, silent: Vec::new(), stray_at: None, latencies: Vec::new() }
    }

    /// Notes a request without a valid answer, which may still arrive.
    pub(super) fn gave_up(&mut self, unit: u8, asked: MonoMs) {
        self.note_silent(unit, asked, self.answer_max);
    }

    /// Notes bytes at `at` that are no answer. They may be another master's request: then an answer
    /// is still to come, to that request or to ours.
    pub(super) fn misheard(&mut self, unit: u8, at: MonoMs) {
        self.note_silent(unit, at, self.usual_for(unit));
    }

    fn note_silent(&mut self, unit: u8, asked: MonoMs, patience: Duration) {
        self.silent.retain(|silent| silent.unit != unit);
        if self.silent.len() >= SILENT_MAX {
            self.silent.remove(0);
        }
        self.silent.push(Silent { unit, asked, patience, has_come: false });
    }

    /// Notes an answer that counts, and the time from request to answer.
    pub(super) fn answered(&mut self, unit: u8, latency: Duration) {
        self.latency_of(unit).answered(latency);
    }

    /// Notes a request whose answer could not be told from another, with the time to the second.
    pub(super) fn crowded(&mut self, unit: u8, second: Duration) {
        self.latency_of(unit).crowded(second);
    }

    fn latency_of(&mut self, unit: u8) -> &mut Latency {
        let known = self.latencies.iter().position(|(known, _)| *known == unit);
        let place = known.unwrap_or_else(|| {
            if self.latencies.len() >= UNITS_MAX {
                self.latencies.remove(0);
            }
            self.latencies.push((unit, Latency::UNKNOWN));
            self.latencies.len() - 1
        });
        &mut self.latencies[place].1
    }

    /// Notes at least [`FRAME_MIN`] unrequested bytes. Returns whether the bus was not known to be
    /// shared.
    pub(super) fn heard_stray(&mut self, now: MonoMs) -> bool {
        // It may be a late answer; then the bus is not shared.
        let late = self.silent.iter_mut().find(|silent| {
            !silent.has_come && now.since(silent.asked) <= DOUBTED_FOR.max(self.answer_max)
        });
        if let Some(late) = late {
            late.has_come = true;
            return false;
        }
        let is_news = !self.is_shared(now);
        self.stray_at = Some(now);
        is_news
    }

    /// Whether another master uses this bus.
    pub(super) fn is_shared(&self, now: MonoMs) -> bool {
        self.stray_at.is_some_and(|at| now.since(at) < SHARED_FOR)
    }

    /// Returns how long a late answer of the unit may still arrive.
    pub(super) fn late_for(&self, unit: u8, now: MonoMs) -> Duration {
        let silent = self.silent.iter().find(|silent| silent.unit == unit && !silent.has_come);
        silent.map_or(Duration::ZERO, |silent| {
            silent.patience.saturating_sub(now.since(silent.asked))
        })
    }

    /// Returns how long to wait for a second answer before the first one counts.
    ///
    /// If the first is to another master, the inverter begins with ours at the latest when it has
    /// sent that one.
    pub(super) fn doubt_for(&self, unit: u8, now: MonoMs) -> Duration {
        let is_late_possible = self.silent.iter().any(|silent| {
            silent.unit == unit && now.since(silent.asked) < DOUBTED_FOR + self.answer_max
        });
        if self.is_shared(now) || is_late_possible {
            self.latest(unit, Latency::usual_shared).max(DOUBT_SHARED_MIN)
        } else if self.is_gateway {
            self.usual_for(unit).max(DOUBT_MIN)
        } else {
            Duration::ZERO
        }
    }

    /// Returns the time within which a unit answers, by its last answers: the slowest and a quarter
    /// more. An answer that takes longer than any may is given up, so no longer than that.
    pub(super) fn usual_for(&self, unit: u8) -> Duration {
        self.latest(unit, Latency::usual)
    }

    fn latest(&self, unit: u8, estimate: fn(&Latency) -> Option<Duration>) -> Duration {
        let known = self.latencies.iter().find(|(known, _)| *known == unit);
        let estimate = known.and_then(|(_, latency)| estimate(latency));
        estimate.map_or(self.answer_max, |estimate| estimate.min(self.answer_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER_MAX: Duration = Duration::from_secs(2);

    fn at(seconds: u64) -> MonoMs {
        MonoMs(seconds * 1_000)
    }

    #[test]
    fn a_silent_unit_is_waited_for_and_others_are_not() {
        let mut guard = Guard::new(true, ANSWER_MAX);
        guard.gave_up(1, at(10));
        assert_eq!(guard.late_for(1, at(11)), Duration::from_secs(1));
        assert_eq!(guard.late_for(1, at(12)), Duration::ZERO);
        assert_eq!(guard.late_for(2, at(11)), Duration::ZERO);
        assert!(!guard.heard_stray(at(11)), "this was the late answer");
        assert_eq!(guard.late_for(1, at(11)), Duration::ZERO);
        assert!(!guard.is_shared(at(11)));
        assert!(guard.heard_stray(at(11)), "and this was not");
        assert!(guard.is_shared(at(12)) && !guard.heard_stray(at(12)));
    }

    #[test]
    fn doubt_lasts_as_long_as_its_cause() {
        let mut line = Guard::new(false, ANSWER_MAX);
        line.answered(1, Duration::from_millis(40));
        assert_eq!(line.doubt_for(1, at(1)), Duration::ZERO);
        line.gave_up(1, at(1));
        assert_eq!(line.doubt_for(1, at(30)), DOUBT_SHARED_MIN);
        assert_eq!(line.doubt_for(2, at(30)), Duration::ZERO);
        assert_eq!(line.doubt_for(1, at(90)), Duration::ZERO);
        line.heard_stray(at(100));
        assert_eq!(line.doubt_for(1, at(200)), DOUBT_SHARED_MIN);
        assert_eq!(line.doubt_for(2, at(200)), ANSWER_MAX, "it never answered");
        assert_eq!(line.doubt_for(2, at(100 + 15 * 60)), Duration::ZERO);

        let mut gateway = Guard::new(true, ANSWER_MAX);
        assert_eq!(gateway.doubt_for(1, at(1)), ANSWER_MAX);
        gateway.answered(1, Duration::from_millis(8));
        assert_eq!(gateway.doubt_for(1, at(1)), DOUBT_MIN);
        gateway.answered(1, Duration::from_millis(900));
        assert_eq!(gateway.doubt_for(1, at(1)), Duration::from_millis(1_125));
        gateway.heard_stray(at(1));
        assert_eq!(gateway.doubt_for(1, at(2)), Duration::from_millis(1_800));
        gateway.answered(1, Duration::from_millis(1_900));
        assert_eq!(gateway.doubt_for(1, at(2)), ANSWER_MAX);
    }

    #[test]
    fn latencies_are_kept_by_unit_and_bounded() {
        let mut guard = Guard::new(true, ANSWER_MAX);
        for _ in 0..100 {
            guard.answered(1, Duration::from_millis(800));
            guard.answered(2, Duration::from_millis(20));
        }
        assert_eq!(guard.usual_for(1), Duration::from_secs(1));
        assert_eq!(guard.usual_for(2), Duration::from_millis(25));
        for unit in 3..=u8::MAX {
            guard.answered(unit, Duration::ZERO);
        }
        assert_eq!(guard.latencies.len(), UNITS_MAX);
    }

    #[test]
    fn the_list_of_silent_units_is_bounded() {
        let mut guard = Guard::new(true, ANSWER_MAX);
        for unit in 0..=u8::MAX {
            guard.gave_up(unit, at(1));
        }
        assert_eq!(guard.silent.len(), SILENT_MAX);
    }
}
