//! The losses to report to the server: samples that will never arrive.
//!
//! Lost batches are reported as runs. A run has no missing batch in it, and all its batches are of
//! one size as long as there is room to keep sizes apart, so that the server can count the samples
//! that it does not have. Samples in no batch are reported as the total of their epoch. Reporting a
//! loss twice does no harm; not reporting it would.

use alloc::vec::Vec;

use ecowatt_model::{BatchId, BootEpoch, Sequence};
use ecowatt_wire::ITEMS_MAX;

use crate::storage::{grown, held};

/// Losses that wait to be reported; beyond that neighbours are joined. Each segment begins with all
/// of them.
pub(super) const GAPS_MAX: usize = 64;

/// A loss: batches of one epoch, none missing from the first to the last, or samples in no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Sequence 0 if the samples were in no batch.
    pub first: BatchId,
    pub last: BatchId,
    pub batches: u32,
    /// All samples in the batches; for samples in no batch, the total that the epoch has lost so
    /// far.
    pub samples: u32,
}

impl Dropped {
    /// A loss of samples that were in no batch; `samples` is the epoch's total.
    pub(super) fn unbatched(epoch: BootEpoch, total: u32) -> Self {
        let none = BatchId { epoch, sequence: Sequence(0) };
        Self { first: none, last: none, batches: 0, samples: total }
    }

    /// Batches from the first to the last with all their samples.
    pub(super) fn run(epoch: BootEpoch, (first, last): (u32, u32), samples: u32) -> Self {
        let id = |sequence| BatchId { epoch, sequence: Sequence(sequence) };
        let batches = last.saturating_sub(first).saturating_add(1);
        Self { first: id(first), last: id(last), batches, samples }
    }

    /// Whether the samples were in batches.
    #[must_use]
    pub fn is_batched(&self) -> bool {
        self.batches > 0
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        self.is_batched()
            && next.is_batched()
            && self.last.epoch == next.first.epoch
            && self.last.sequence.0.checked_add(1) == Some(next.first.sequence.0)
    }

    fn is_of_the_size_of(&self, other: &Self) -> bool {
        u64::from(self.samples) * u64::from(other.batches)
            == u64::from(other.samples) * u64::from(self.batches)
    }

    /// Joins the run that follows.
    fn extend(&mut self, next: &Self) {
        self.last = next.last;
        self.batches = self.batches.saturating_add(next.batches);
        self.samples = self.samples.saturating_add(next.samples);
    }

    fn contains(&self, other: &Self) -> bool {
        self.is_batched() == other.is_batched()
            && self.first <= other.first
            && other.last <= self.last
            && other.samples <= self.samples
    }
}

/// Joins runs of one epoch that follow each other. Returns at most `max` runs, if joining batches
/// of different size can achieve that.
pub(super) fn runs(batches: impl Iterator<Item = (BatchId, u16)>, max: usize) -> Vec<Dropped> {
    let mut runs: Vec<Dropped> = Vec::new();
    for (BatchId { epoch, sequence }, rows) in batches {
        let one = Dropped::run(epoch, (sequence.0, sequence.0), rows.into());
        match runs.last_mut() {
            Some(run) if run.is_followed_by(&one) && run.is_of_the_size_of(&one) => {
                run.extend(&one);
            }
            Some(_) | None => runs.push(one),
        }
    }
    if runs.len() > max {
        join(&mut runs, |_, _| true);
    }
    runs
}

fn join(runs: &mut Vec<Dropped>, may: impl Fn(&Dropped, &Dropped) -> bool) {
    runs.dedup_by(|next, run| {
        let is_joined = run.is_followed_by(next) && may(run, next);
        if is_joined {
            run.extend(next);
        }
        is_joined
    });
}

/// The losses, oldest first as far as they were found in that order.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    waiting: Vec<Dropped>,
    /// How many of them, from the first, are in the message in flight.
    offered: usize,
}

impl Gaps {
    /// Replaces the losses by those at the head of a segment.
    pub(super) fn restart(&mut self, waiting: &[Dropped]) {
        self.waiting = waiting.to_vec();
        self.offered = 0;
    }

    pub(super) fn as_slice(&self) -> &[Dropped] {
        &self.waiting
    }

    pub(super) fn note(&mut self, gap: Dropped) {
        if self.waiting.iter().any(|held| held.contains(&gap)) {
            return;
        }
        let free = &mut self.waiting[self.offered..];
        if !gap.is_batched()
            && let Some(held) = free.iter_mut().find(|held| held.first == gap.first)
        {
            held.samples = held.samples.max(gap.samples);
            return;
        }
        match free.last_mut() {
            Some(last) if last.is_followed_by(&gap) && last.is_of_the_size_of(&gap) => {
                last.extend(&gap);
            }
            Some(_) | None => self.waiting.push(gap),
        }
        self.bound();
    }

    /// Returns the losses to report, as many as a message can list.
    pub(super) fn offer(&mut self) -> &[Dropped] {
        join(&mut self.waiting, Dropped::is_of_the_size_of);
        self.offered = self.waiting.len().min(ITEMS_MAX);
        &self.waiting[..self.offered]
    }

    /// The server knows the first `count` of the losses that were offered, but no later ones.
    pub(super) fn are_known(&mut self, count: usize) {
        self.waiting.drain(..count.min(self.offered));
        self.offered = 0;
    }

    /// Joins neighbours of different size, then those of different epochs. No sample stays
    /// uncounted.
    fn bound(&mut self) {
        while self.waiting.len() > GAPS_MAX {
            let from = self.offered.min(self.waiting.len() - 2);
            let pairs = self.waiting[from..].windows(2);
            match pairs.into_iter().position(|pair| pair[0].is_followed_by(&pair[1])) {
                Some(at) => {
                    let next = self.waiting.remove(from + at + 1);
                    self.waiting[from + at].extend(&next);
                }
                None => {
                    let oldest = self.waiting.remove(from);
                    let next = &mut self.waiting[from];
                    let samples = next.samples.saturating_add(oldest.samples);
                    *next = Dropped::unbatched(next.first.epoch, samples);
                }
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        held(&self.waiting)
    }

    pub(super) const fn memory_bytes_max() -> usize {
        grown::<Dropped>(GAPS_MAX + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(epoch: u32, first: u32, last: u32, rows: u32) -> Dropped {
        Dropped::run(BootEpoch(epoch), (first, last), (last - first + 1) * rows)
    }

    #[test]
    fn runs_part_at_holes_sizes_and_epochs() {
        let id =
            |epoch, sequence| BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) };
        let batches = [(id(1, 8), 5), (id(1, 9), 5), (id(1, 10), 7), (id(1, 12), 7), (id(2, 1), 7)];
        let parted = runs(batches.into_iter(), 8);
        let expected = [run(1, 8, 9, 5), run(1, 10, 10, 7), run(1, 12, 12, 7), run(2, 1, 1, 7)];
        assert_eq!(parted, expected);
        let joined = runs(batches.into_iter(), 3);
        assert_eq!(joined[0], Dropped::run(BootEpoch(1), (8, 10), 17));
        assert_eq!(joined[1..], expected[2..]);
    }

    #[test]
    fn what_is_under_way_is_not_changed_and_not_forgotten() {
        let mut gaps = Gaps::default();
        gaps.note(run(1, 1, 10, 5));
        assert_eq!(gaps.offer(), [run(1, 1, 10, 5)]);
        gaps.note(run(1, 11, 12, 5));
        gaps.note(run(1, 3, 4, 5));
        gaps.are_known(1);
        assert_eq!(gaps.as_slice(), [run(1, 11, 12, 5)]);
        // The reply was lost: both are reported again, as one.
        gaps.note(run(1, 13, 13, 5));
        gaps.offer();
        gaps.note(run(1, 14, 14, 5));
        assert_eq!(gaps.offer(), [run(1, 11, 14, 5)]);
    }

    #[test]
    fn totals_replace_totals() {
        let mut gaps = Gaps::default();
        gaps.note(Dropped::unbatched(BootEpoch(1), 5));
        gaps.note(Dropped::unbatched(BootEpoch(1), 9));
        gaps.note(Dropped::unbatched(BootEpoch(1), 7));
        assert_eq!(gaps.offer(), [Dropped::unbatched(BootEpoch(1), 9)]);
        gaps.note(Dropped::unbatched(BootEpoch(1), 11));
        gaps.are_known(1);
        assert_eq!(gaps.as_slice(), [Dropped::unbatched(BootEpoch(1), 11)]);
    }

    #[test]
    fn beyond_the_limit_neighbours_are_joined_and_every_sample_stays() {
        for step in [1, 2] {
            let (mut gaps, mut samples) = (Gaps::default(), 0);
            for at in 0..200 {
                let gap = run(1 + at * (step - 1), 1 + step * at, 1 + step * at, at % 7 + 1);
                samples += gap.samples;
                gaps.note(gap);
            }
            assert!(gaps.as_slice().len() <= GAPS_MAX);
            assert_eq!(gaps.as_slice().iter().map(|gap| gap.samples).sum::<u32>(), samples);
            assert!(gaps.memory_bytes() <= Gaps::memory_bytes_max());
        }
    }
}
