//! The batches that need not be sent any more: acknowledged ones and lost ones.
//!
//! Disjoint ranges of ids as single numbers, ascending. A range that is forgotten here is sent
//! again, and the server stores it once. So the oldest may be forgotten, which bounds the set.

use alloc::vec::Vec;

use ecowatt_model::BatchId;

use crate::storage::{grown, held};

/// Ranges that are remembered; beyond that the oldest is forgotten.
const RANGES_MAX: usize = 256;

/// An id as one number, in the same order as the ids.
pub(super) fn linear(id: BatchId) -> u64 {
    (u64::from(id.epoch.0) << 32) | u64::from(id.sequence.0)
}

/// The set of freed ids.
#[derive(Debug, Default)]
pub(super) struct FreedRanges(Vec<(u64, u64)>);

impl FreedRanges {
    pub(super) fn contains(&self, id: BatchId) -> bool {
        self.covers(linear(id), linear(id))
    }

    pub(super) fn covers(&self, from: u64, to: u64) -> bool {
        self.0.iter().any(|(first, last)| *first <= from && to <= *last)
    }

    /// The end of the last range before `id`, if it is in the same epoch.
    pub(super) fn end_before(&self, id: u64) -> Option<u64> {
        let before = self.0.iter().map(|(_, last)| *last).filter(|last| *last < id).max()?;
        (before >> 32 == id >> 32).then_some(before)
    }

    pub(super) fn mark(&mut self, range: (u64, u64)) {
        self.0.push(range);
        self.0.sort_unstable();
        self.0.dedup_by(|(first, last), (_, former_last)| {
            let is_joined = *first <= former_last.saturating_add(1);
            if is_joined {
                *former_last = (*former_last).max(*last);
            }
            is_joined
        });
        if self.0.len() > RANGES_MAX {
            self.0.remove(0);
        }
    }

    /// Forgets the ranges below the oldest id that still exists, or all of them.
    pub(super) fn forget_below(&mut self, oldest: Option<u64>) {
        match oldest {
            Some(oldest) => self.0.retain(|(_, last)| *last >= oldest),
            None => self.0.clear(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        held(&self.0)
    }

    pub(super) const fn memory_bytes_max() -> usize {
        grown::<(u64, u64)>(RANGES_MAX + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_the_oldest_is_forgotten() {
        let mut freed = FreedRanges::default();
        for range in [(5, 9), (1, 2), (3, 4), (20, 21), (8, 12)] {
            freed.mark(range);
        }
        assert_eq!(freed.0, [(1, 12), (20, 21)]);
        assert!(freed.covers(1, 12) && !freed.covers(12, 13) && !freed.covers(13, 13));
        assert_eq!((freed.end_before(20), freed.end_before(1)), (Some(12), None));
        for at in 0..u64::try_from(RANGES_MAX).unwrap() {
            freed.mark((100 + 2 * at, 100 + 2 * at));
        }
        assert_eq!((freed.0.len(), freed.0[0]), (RANGES_MAX, (100, 100)));
        freed.forget_below(Some(601));
        assert_eq!(freed.0, [(602, 602), (604, 604), (606, 606), (608, 608), (610, 610)]);
        freed.forget_below(None);
        assert_eq!(freed.0, []);
    }
}
