//! The starts of boot epochs in the time of day.
//!
//! Samples that were taken before the server confirmed the clock are stored with the time since the
//! start of their epoch, so the start of the epoch must survive a power cut as they do. The start
//! of the current epoch follows the clock until it is confirmed; the start of an epoch that ended
//! unconfirmed is the last value of its clock. Once a later epoch knows the time, an earlier one
//! cannot have ended after that one began, whatever its clock showed.

use alloc::vec::Vec;

use ecowatt_model::{BootEpoch, MonoMs, UnixMs};
use ecowatt_wire::{Certainty, EpochStart};

/// Epochs that are remembered: more than a year of one restart a day without a server. For a
/// forgotten epoch the next remembered one limits when it ended.
pub const STARTS_MAX: usize = 512;

/// All epochs that may have waiting samples, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochStarts(pub(super) Vec<Start>);

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) epoch: u32,
    /// The time of day at zero of its monotonic clock.
    pub(super) unix_ms: i64,
    pub(super) is_confirmed: bool,
    /// Its monotonic clock when it began.
    pub(super) began_ms: u64,
    /// The latest known value of its monotonic clock.
    pub(super) reached_ms: u64,
}

impl Start {
    fn first_ms(&self) -> i64 {
        self.unix_ms.saturating_add_unsigned(self.began_ms)
    }

    fn last_ms(&self) -> i64 {
        self.unix_ms.saturating_add_unsigned(self.reached_ms.max(self.began_ms))
    }
}

impl EpochStarts {
    /// Returns where an epoch began; for one that is not remembered, the instant before which it
    /// began. Without a later epoch it is 1970, which is not a plausible time.
    pub fn of(&self, epoch: BootEpoch) -> EpochStart {
        let place = self.0.partition_point(|start| start.epoch < epoch.0);
        let next = self.0.get(place);
        let is_known = next.is_some_and(|start| start.epoch == epoch.0);
        let is_confirmed = is_known && next.is_some_and(|start| start.is_confirmed);
        let certainty = if is_confirmed { Certainty::Confirmed } else { Certainty::Estimated };
        let unix_ms = match next {
            Some(start) if is_known => start.unix_ms,
            Some(start) => start.first_ms(),
            None => 0,
        };
        EpochStart { unix: UnixMs(unix_ms), certainty }
    }

    /// The earliest instant at which the next epoch can begin. Only confirmed starts count: a clock
    /// that was ahead must not shift a clock that is right.
    pub fn earliest(&self) -> Option<UnixMs> {
        let last = self.0.iter().rev().find(|start| start.is_confirmed);
        last.map(|start| UnixMs(start.last_ms()))
    }

    /// The best estimate for a start without a clock: the end of the previous epoch.
    pub fn latest(&self) -> Option<UnixMs> {
        self.0.last().map(|start| UnixMs(start.last_ms())).max(self.earliest())
    }

    /// Records that an epoch lasted until its monotonic clock showed `until`.
    pub fn lasted(&mut self, epoch: BootEpoch, until: MonoMs) {
        if let Some(start) = self.0.iter_mut().find(|start| start.epoch == epoch.0) {
            start.reached_ms = start.reached_ms.max(until.0);
        }
    }

    /// Places epochs in the time of day: the one with this number, which began when its monotonic
    /// clock showed `began`, and the earlier ones since `first`, which share that clock. Returns
    /// whether anything changed.
    pub fn place(
        &mut self,
        first: BootEpoch,
        (epoch, began): (BootEpoch, MonoMs),
        start: EpochStart,
    ) -> bool {
        let before = self.0.clone();
        let place = self.0.partition_point(|held| held.epoch < epoch.0);
        if self.0.get(place).is_none_or(|held| held.epoch != epoch.0) {
            let (epoch, unix_ms, began_ms) = (epoch.0, start.unix.0, began.0);
            let held = Start { epoch, unix_ms, is_confirmed: false, began_ms, reached_ms: 0 };
            self.0.insert(place, held);
        }
        let is_confirmed = start.certainty == Certainty::Confirmed;
        let in_common = self.0.iter_mut().filter(|s| (first.0..=epoch.0).contains(&s.epoch));
        for held in in_common.filter(|held| !held.is_confirmed) {
            (held.unix_ms, held.is_confirmed) = (start.unix.0, is_confirmed);
        }
        if is_confirmed {
            self.limit_estimates();
        }
        if self.0.len() > STARTS_MAX {
            self.0.drain(..self.0.len() - STARTS_MAX);
        }
        self.0 != before
    }

    /// Moves estimates back so that no epoch ends after the next one can have begun. Only a confirmed
    /// start says when that was: a clock that was behind must not shift a clock that was right.
    fn limit_estimates(&mut self) {
        let mut latest: Option<i64> = None;
        for start in self.0.iter_mut().rev() {
            if start.is_confirmed {
                latest = Some(start.first_ms());
            } else if let Some(latest) = &mut latest {
                start.unix_ms -= start.last_ms().saturating_sub(*latest).max(0);
                *latest = latest.saturating_sub(start.last_ms().saturating_sub(start.first_ms()));
            }
        }
    }

    /// Forgets epochs before `oldest`, which have no waiting samples; the last confirmed one stays.
    pub fn forget_before(&mut self, oldest: BootEpoch) {
        let last = self.0.iter().rev().find(|start| start.is_confirmed).map(|start| start.epoch);
        self.0.retain(|start| start.epoch >= oldest.0 || Some(start.epoch) == last);
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        super::held(&self.0)
    }

    /// Upper limit of [`EpochStarts::memory_bytes`].
    pub(super) const fn memory_bytes_max() -> usize {
        super::grown::<Start>(STARTS_MAX + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOON: i64 = 1_767_268_800_000;

    fn estimated(ms: i64) -> EpochStart {
        EpochStart { unix: UnixMs(ms), certainty: Certainty::Estimated }
    }

    fn confirmed(ms: i64) -> EpochStart {
        EpochStart { unix: UnixMs(ms), certainty: Certainty::Confirmed }
    }

    fn starts(placed: &[(u32, EpochStart, u64)]) -> EpochStarts {
        let mut starts = EpochStarts::default();
        for (epoch, start, until) in placed {
            let epoch = BootEpoch(*epoch);
            starts.place(epoch, (epoch, MonoMs(0)), *start);
            starts.lasted(epoch, MonoMs(*until));
        }
        starts
    }

    #[test]
    fn epoch_that_ended_unconfirmed_keeps_its_estimate() {
        let slow = estimated(NOON - 26 * HOUR);
        let starts =
            starts(&[(1, confirmed(NOON - 30 * HOUR), 0), (2, slow, 5), (3, confirmed(NOON), 0)]);
        assert_eq!(starts.of(BootEpoch(2)), slow);
        assert_eq!(starts.of(BootEpoch(3)), confirmed(NOON));
        // A forgotten epoch ended before the first remembered one began.
        assert_eq!(starts.of(BootEpoch(0)), estimated(NOON - 30 * HOUR));
        assert_eq!(starts.of(BootEpoch(4)), estimated(0));
    }

    #[test]
    fn clock_that_was_ahead_is_held_back_by_the_epoch_after_it() {
        let fast = NOON + 5 * HOUR + HOUR / 2;
        let placed = [
            (2, estimated(fast), 600_000),
            (3, estimated(fast + HOUR), 1_200_000),
            (4, confirmed(NOON), 0),
        ];
        let starts = starts(&placed);
        assert_eq!(starts.of(BootEpoch(3)), estimated(NOON - 1_200_000));
        assert_eq!(starts.of(BootEpoch(2)), estimated(NOON - 1_800_000));
    }

    #[test]
    fn clock_that_was_behind_shifts_no_epoch_before_it() {
        let right = estimated(NOON - 5 * HOUR);
        let slow = estimated(NOON - 9 * HOUR);
        let placed = [(2, right, 600_000), (3, slow, 1_200_000), (4, confirmed(NOON), 0)];
        let starts = starts(&placed);
        assert_eq!((starts.of(BootEpoch(2)), starts.of(BootEpoch(3))), (right, slow));
        // The epoch between them took its time, whatever its clock showed.
        let late = estimated(NOON - 900_000);
        let starts = self::starts(&[(2, late, 600_000), placed[1], placed[2]]);
        assert_eq!(starts.of(BootEpoch(2)), estimated(NOON - 1_800_000));
    }

    #[test]
    fn estimates_do_not_limit_each_other() {
        let placed = [(1, estimated(NOON), 0), (2, estimated(NOON - 2 * HOUR), 0)];
        assert_eq!(starts(&placed).of(BootEpoch(1)), estimated(NOON));
        assert_eq!(starts(&placed).earliest(), None);
        assert_eq!(starts(&placed).latest(), Some(UnixMs(NOON - 2 * HOUR)));
    }

    #[test]
    fn epochs_of_one_run_are_confirmed_together_and_once() {
        let mut starts = starts(&[(4, estimated(1), 0), (5, estimated(1), 0)]);
        assert!(starts.place(BootEpoch(5), (BootEpoch(6), MonoMs(9)), confirmed(NOON)));
        assert_eq!(starts.of(BootEpoch(5)), confirmed(NOON));
        assert_eq!(starts.of(BootEpoch(4)), estimated(1));
        assert!(!starts.place(BootEpoch(5), (BootEpoch(6), MonoMs(9)), confirmed(NOON + HOUR)));
        assert_eq!(starts.earliest(), Some(UnixMs(NOON + 9)));
    }

    #[test]
    fn as_many_are_remembered_as_are_permitted() {
        let mut starts = EpochStarts::default();
        for epoch in (1..1000).map(BootEpoch) {
            starts.place(epoch, (epoch, MonoMs(0)), estimated(NOON + i64::from(epoch.0)));
        }
        assert_eq!((starts.0.len(), starts.0[0].epoch), (STARTS_MAX, 488));
        assert!(starts.memory_bytes() <= EpochStarts::memory_bytes_max());
        starts.forget_before(BootEpoch(990));
        assert_eq!(starts.0.len(), 10);
    }
}
