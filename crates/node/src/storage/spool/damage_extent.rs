//! Finds out what unreadable records held, from the readable ones around them.
//!
//! Each batch's record and each segment's head contain the batch before it and the number of
//! samples up to there. Across an unreadable place, the difference is what is lost.

use alloc::vec::Vec;

use ecowatt_model::{BatchId, Sequence};

use super::freed::{FreedRanges, linear};
use super::gaps::Dropped;
use super::segment::Mark;
use super::sequence;

/// Missing batches between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    first: BatchId,
    last: Sequence,
    /// `None` if only the size of the batch after it is known.
    samples: Option<u32>,
    rows_after: u16,
}

/// Visits the records of all segments in order.
#[derive(Debug, Default)]
pub(super) struct Survey {
    at: Option<Mark>,
    is_broken: bool,
    holes: Vec<Hole>,
}

impl Survey {
    /// Starts a survey after this position.
    pub(super) fn from(at: Option<Mark>) -> Self {
        Self { at, ..Self::default() }
    }

    /// Something is unreadable here.
    pub(super) fn break_off(&mut self) {
        self.is_broken = true;
    }

    /// A known position: everything up to it was appended.
    pub(super) fn reach(&mut self, mark: Option<Mark>) {
        if core::mem::take(&mut self.is_broken)
            && let Some(mark) = mark
            && self.at.is_some_and(|at| at.id < mark.id)
        {
            self.end_series(mark.id);
            self.note(mark.id, mark.samples, 0);
        }
        self.at = mark.or(self.at);
    }

    /// A readable batch, and the number of samples before it.
    pub(super) fn pass(&mut self, id: BatchId, rows: u16, samples_before: u32) {
        if core::mem::take(&mut self.is_broken) && id.sequence.0 > 0 {
            let before = BatchId { sequence: Sequence(id.sequence.0 - 1), ..id };
            match (self.at, sequence::first(id) == id) {
                // Only batches of the previous series can be missing.
                (Some(at), true) if at.id < id => {
                    let next = at.id.sequence.0.saturating_add(1);
                    let last = BatchId { sequence: Sequence(next), ..at.id };
                    self.note(last, samples_before, rows);
                }
                (_, true) => {}
                (_, false) => {
                    self.end_series(id);
                    self.note(before, samples_before, rows);
                }
            }
        }
        self.at = Some(Mark { id, samples: samples_before.wrapping_add(rows.into()) });
    }

    /// The series before `id`'s may have continued too; its samples are counted with those of
    /// `id`'s.
    fn end_series(&mut self, id: BatchId) {
        if let Some(Mark { id: end, .. }) = self.at.filter(|at| at.id < sequence::first(id))
            && end.sequence.0 > 0
        {
            let last = Sequence(end.sequence.0.saturating_add(1));
            let first = BatchId { sequence: last, ..end };
            self.holes.push(Hole { first, last, samples: Some(0), rows_after: 0 });
        }
    }

    /// Everything after `at`, up to `last`, is missing.
    fn note(&mut self, last: BatchId, samples: u32, rows_after: u16) {
        let at = self.at.filter(|at| at.id <= last);
        let samples = at.map(|at| samples.wrapping_sub(at.samples));
        let first = match at {
            Some(at) if sequence::is_one(at.id, last) => at.id.sequence.0.saturating_add(1),
            Some(_) => sequence::first(last).sequence.0,
            None => 0,
        };
        if first <= last.sequence.0 && last.sequence.0 > 0 && samples != Some(0) {
            let first = BatchId { sequence: Sequence(first), ..last };
            self.holes.push(Hole { first, last: last.sequence, samples, rows_after });
        }
    }

    /// The lost batches, without those that need not be sent any more.
    pub(super) fn losses(&self, freed: &FreedRanges) -> Vec<Dropped> {
        self.holes.iter().filter_map(|hole| hole.loss(freed)).collect()
    }
}

impl Hole {
    fn loss(&self, freed: &FreedRanges) -> Option<Dropped> {
        let last = BatchId { sequence: self.last, ..self.first };
        let mut first = self.first.sequence.0;
        if first == 0 {
            // Its beginning is unknown, but acknowledged batches are not part of it.
            let end = freed.end_before(linear(last) + 1).map_or(0, |end| end & u64::from(u32::MAX));
            first = u32::try_from(end).unwrap_or(0).saturating_add(1);
            first = first.max(sequence::first(last).sequence.0);
        }
        let from = BatchId { sequence: Sequence(first), ..last };
        if first > self.last.0 || freed.covers(linear(from), linear(last)) {
            return None;
        }
        let count = self.last.0 - first + 1;
        let samples = self.samples.unwrap_or_else(|| count.saturating_mul(self.rows_after.into()));
        Some(Dropped::run(last.epoch, (first, self.last.0), samples))
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::BootEpoch;

    use super::*;

    fn id(epoch: u32, sequence: u32) -> BatchId {
        BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
    }

    fn mark(epoch: u32, sequence: u32, samples: u32) -> Mark {
        Mark { id: id(epoch, sequence), samples }
    }

    fn lost(epoch: u32, first: u32, last: u32, samples: u32) -> Dropped {
        Dropped::run(BootEpoch(epoch), (first, last), samples)
    }

    #[test]
    fn what_is_between_two_records_is_what_they_do_not_hold() {
        let mut survey = Survey::from(Some(mark(1, 4, 40)));
        survey.pass(id(1, 5), 10, 40);
        survey.break_off();
        survey.pass(id(1, 8), 10, 71);
        // Readable again: a batch that was freed and removed in between is not lost.
        survey.reach(Some(mark(1, 20, 200)));
        survey.pass(id(1, 21), 7, 200);
        survey.break_off();
        survey.reach(Some(mark(1, 25, 240)));
        // Into the next epoch.
        survey.break_off();
        survey.pass(id(2, 1), 5, 260);
        survey.break_off();
        survey.pass(id(3, 3), 5, 300);
        // Only the end of a record is damaged, and no batch was in it.
        survey.break_off();
        survey.pass(id(3, 4), 5, 305);
        let expected = [
            lost(1, 6, 7, 21),
            lost(1, 22, 25, 33),
            lost(1, 26, 26, 20),
            lost(2, 2, 2, 0),
            lost(3, 1, 2, 35),
        ];
        assert_eq!(survey.losses(&FreedRanges::default()), expected);
        let mut freed = FreedRanges::default();
        freed.mark((linear(id(1, 5)), linear(id(1, 7))));
        assert_eq!(survey.losses(&freed), expected[1..]);
    }

    #[test]
    fn between_two_series_no_number_counts_as_lost() {
        let first = |by| sequence::first_recovered(BootEpoch(by)).0;
        let mut survey = Survey::from(Some(mark(1, 4, 40)));
        survey.break_off();
        survey.pass(id(1, first(2)), 10, 51);
        survey.break_off();
        survey.pass(id(1, first(3) + 2), 10, 66);
        survey.break_off();
        survey.pass(id(2, 1), 10, 77);
        let expected = [
            lost(1, 5, 5, 11),
            lost(1, first(2) + 1, first(2) + 1, 0),
            lost(1, first(3), first(3) + 1, 5),
            lost(1, first(3) + 3, first(3) + 3, 1),
        ];
        assert_eq!(survey.losses(&FreedRanges::default()), expected);
    }

    #[test]
    fn without_a_beginning_the_acknowledged_and_the_size_of_the_next_tell() {
        let mut survey = Survey::default();
        survey.break_off();
        survey.pass(id(7, 12), 5, 1_000);
        assert_eq!(survey.losses(&FreedRanges::default()), [lost(7, 1, 11, 55)]);
        let mut freed = FreedRanges::default();
        freed.mark((linear(id(7, 1)), linear(id(7, 9))));
        assert_eq!(survey.losses(&freed), [lost(7, 10, 11, 10)]);
    }
}
