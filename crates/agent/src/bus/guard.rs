//! Decides whether an answer can be trusted on a bus whose frames do not name their request.
//!
//! RTU frames carry no transaction number. A late answer to an earlier request, an answer that a
//! gateway repeats, and the answer to another master all look right if unit, function and length
//! fit. Three rules keep them out:
//!
//! - Bytes that arrive before a request is sent do not belong to its answer.
//! - After a request without an answer, its unit is not asked again until that answer can no longer
//!   arrive.
//! - An answer that may be to another master counts only if no other answer follows: ours would.
//!
//! [`Guard`] uses no clock and no line: it gets events with their times, and returns how long to
//! wait.

use std::time::Duration;

use ecowatt_model::MonoMs;

/// Shortest frame: unit, function, exception code, checksum. Fewer bytes are noise.
pub(super) const FRAME_MIN: usize = 5;

/// How long a bus counts as shared after unrequested bytes. Other masters poll at least every
/// quarter hour, or so rarely that [`DOUBT_MIN`] catches them each time.
const SHARED_FOR: Duration = Duration::from_secs(15 * 60);

/// How long answers of a unit are doubted after a request to it was given up: an answer may arrive
/// later than its profile allows.
const DOUBTED_FOR: Duration = Duration::from_secs(60);

/// Shortest wait for a second answer, and the only one if there is no reason for doubt.
const DOUBT_MIN: Duration = Duration::from_millis(60);
const DOUBT_CALM_MAX: Duration = Duration::from_millis(250);

/// Units remembered after requests without an answer; the oldest is dropped first. A bus has at
/// most eight inverters.
const SILENT_MAX: usize = 16;

/// A unit that did not answer.
#[derive(Debug, Clone, Copy)]
struct Silent {
    unit: u8,
    /// When it was asked.
    asked: MonoMs,
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
    /// The usual time from request to answer: rises at once, falls by an eighth.
    latency: Duration,
}

impl Guard {
    pub(super) fn new(is_gateway: bool, answer_max: Duration) -> Self {
        Self { is_gateway, answer_max, silent: Vec::new(), stray_at: None, latency: Duration::ZERO }
    }

    /// Notes a request without a valid answer, which may still arrive.
    pub(super) fn gave_up(&mut self, unit: u8, asked: MonoMs) {
        self.silent.retain(|silent| silent.unit != unit);
        if self.silent.len() >= SILENT_MAX {
            self.silent.remove(0);
        }
        self.silent.push(Silent { unit, asked, has_come: false });
    }

    /// Notes that a request was answered.
    pub(super) fn answered(&mut self, latency: Duration) {
        self.latency = latency.max(self.latency - self.latency / 8);
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
            self.answer_max.saturating_sub(now.since(silent.asked))
        })
    }

    /// Returns how long to wait for a second answer before the first one counts.
    pub(super) fn doubt_for(&self, unit: u8, now: MonoMs) -> Duration {
        let is_late_possible = self.silent.iter().any(|silent| {
            silent.unit == unit && now.since(silent.asked) < DOUBTED_FOR + self.answer_max
        });
        if self.is_shared(now) || is_late_possible {
            let longest = self.answer_max.max(DOUBT_CALM_MAX);
            (self.latency * 2).clamp(DOUBT_CALM_MAX, longest)
        } else if self.is_gateway {
            (self.latency * 3 / 2).clamp(DOUBT_MIN, DOUBT_CALM_MAX)
        } else {
            Duration::ZERO
        }
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
        line.answered(Duration::from_millis(40));
        assert_eq!(line.doubt_for(1, at(1)), Duration::ZERO);
        line.gave_up(1, at(1));
        assert_eq!(line.doubt_for(1, at(30)), DOUBT_CALM_MAX);
        assert_eq!(line.doubt_for(2, at(30)), Duration::ZERO);
        assert_eq!(line.doubt_for(1, at(90)), Duration::ZERO);
        line.heard_stray(at(100));
        assert_eq!(line.doubt_for(2, at(200)), DOUBT_CALM_MAX);
        assert_eq!(line.doubt_for(2, at(100 + 15 * 60)), Duration::ZERO);

        let mut gateway = Guard::new(true, ANSWER_MAX);
        assert_eq!(gateway.doubt_for(1, at(1)), DOUBT_MIN);
        gateway.answered(Duration::from_millis(900));
        assert_eq!(gateway.doubt_for(1, at(1)), DOUBT_CALM_MAX);
        gateway.heard_stray(at(1));
        assert_eq!(gateway.doubt_for(1, at(2)), Duration::from_millis(1_800));
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
