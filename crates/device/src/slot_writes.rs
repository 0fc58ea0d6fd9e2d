//! Which slots have contents that are not durable yet, and when they are written.

use ecowatt_model::MonoMs;

use crate::limits::STORAGE_RETRY;
use crate::slot::Slot;

/// Progress of every slot.
#[derive(Debug)]
pub(crate) struct Keeping {
    slots: [Progress; Slot::ALL.len()],
    /// A slot that could not be written is not tried again before this.
    retry_at: MonoMs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The contents are durable.
    Done,
    /// They are to be written.
    Due,
    /// They are to be written again after a failure.
    Failed,
    UnderWay,
    /// Former contents are being written: the present ones follow.
    Outdated,
}

impl Keeping {
    /// Nothing has to be written.
    pub(crate) const DONE: Self =
        Self { slots: [Progress::Done; Slot::ALL.len()], retry_at: MonoMs(0) };

    /// The contents of a slot have changed.
    pub(crate) fn changed(&mut self, slot: Slot) {
        let progress = self.of(slot);
        *progress = match *progress {
            Progress::Done | Progress::Due | Progress::Failed => Progress::Due,
            Progress::UnderWay | Progress::Outdated => Progress::Outdated,
        };
    }

    /// Returns a slot that is due, once.
    pub(crate) fn poll(&mut self, now: MonoMs) -> Option<Slot> {
        let can_retry = self.retry_at <= now;
        let is_due = |progress: &Progress| match progress {
            Progress::Due => true,
            Progress::Failed => can_retry,
            Progress::Done | Progress::UnderWay | Progress::Outdated => false,
        };
        let slot = Slot::ALL.into_iter().zip(&self.slots).find(|(_, progress)| is_due(progress))?.0;
        *self.of(slot) = Progress::UnderWay;
        Some(slot)
    }

    /// When the next slot is due.
    pub(crate) fn poll_at(&self) -> Option<MonoMs> {
        let due = |progress: &Progress| match progress {
            Progress::Due => Some(MonoMs(0)),
            Progress::Failed => Some(self.retry_at),
            Progress::Done | Progress::UnderWay | Progress::Outdated => None,
        };
        self.slots.iter().filter_map(due).min()
    }

    /// Takes the outcome of a write; returns whether the present contents are durable.
    pub(crate) fn finish(&mut self, now: MonoMs, slot: Slot, is_durable: bool) -> bool {
        if !is_durable {
            self.retry_at = now.plus(STORAGE_RETRY);
        }
        let progress = self.of(slot);
        *progress = match *progress {
            _ if !is_durable => Progress::Failed,
            Progress::Outdated => Progress::Due,
            Progress::Done | Progress::Due | Progress::Failed | Progress::UnderWay => {
                Progress::Done
            }
        };
        self.is_done(slot)
    }

    /// Whether the present contents of a slot are durable.
    pub(crate) fn is_done(&self, slot: Slot) -> bool {
        self.slots[slot as usize] == Progress::Done
    }

    fn of(&mut self, slot: Slot) -> &mut Progress {
        &mut self.slots[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_while_it_is_written_is_written_again() {
        let (mut keeping, now) = (Keeping::DONE, MonoMs(5));
        assert_eq!(keeping.poll(now), None);
        keeping.changed(Slot::Desired);
        assert_eq!(keeping.poll_at(), Some(MonoMs(0)), "at once");
        assert_eq!(keeping.poll(now), Some(Slot::Desired));
        assert_eq!(keeping.poll(now), None);
        keeping.changed(Slot::Desired);
        assert_eq!(keeping.poll(now), None);
        assert!(!keeping.finish(now, Slot::Desired, true));
        assert_eq!(keeping.poll(now), Some(Slot::Desired));
        assert!(keeping.finish(now, Slot::Desired, true) && keeping.is_done(Slot::Desired));
    }

    #[test]
    fn a_failed_write_is_retried_after_a_pause_and_holds_up_no_other_slot() {
        let (mut keeping, now) = (Keeping::DONE, MonoMs(0));
        keeping.changed(Slot::Sleep);
        assert_eq!(keeping.poll(now), Some(Slot::Sleep));
        assert!(!keeping.finish(now, Slot::Sleep, false));
        keeping.changed(Slot::Desired);
        assert_eq!(keeping.poll(now), Some(Slot::Desired));
        assert!(keeping.finish(now, Slot::Desired, true));
        assert_eq!(keeping.poll_at(), Some(MonoMs(0).plus(STORAGE_RETRY)));
        assert_eq!(keeping.poll(MonoMs(0).plus(STORAGE_RETRY)), Some(Slot::Sleep));
    }
}
