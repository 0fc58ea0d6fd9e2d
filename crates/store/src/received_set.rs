//! Which sequences of one boot epoch were received and which will never arrive: the basis of
//! exactly-once.
//!
//! Both are ascending sets of disjoint ranges that do not touch, and no sequence is in both. They
//! outlive the blocks themselves, so that retention does not make an old batch look unknown. A
//! device reports which batches it has lost, and how many samples were in them. A received batch
//! never counts as lost, whatever the report, and a batch that arrives after all is accepted and no
//! longer counts as lost. So a false report of a loss cannot keep a batch out.

use std::ops::RangeInclusive;

use ecowatt_model::ROWS_MAX;

use crate::limits::{LOST_RANGES_MAX, RECEIVED_RANGES_MAX};
use crate::varint;

/// Outcome of adding a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    New,
    Known,
    /// It would need one range more than the store keeps.
    TooManyRanges,
}

/// Sequences received and lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Received {
    stored: Ranges,
    lost: Ranges,
    /// Samples in the lost batches.
    lost_samples: u64,
    /// Samples that were lost before they were in a batch.
    unbatched: u32,
}

impl Received {
    /// Adds a batch with the given number of samples.
    pub(crate) fn add(&mut self, sequence: u32, rows: u16) -> Added {
        if self.stored.contains(sequence) {
            return Added::Known;
        }
        if self.stored.0.len() >= RECEIVED_RANGES_MAX && !self.stored.touches(sequence) {
            // Holes that will never be filled do not count. Losses do not count either while there
            // are few ranges without them.
            let mut both = self.stored.clone();
            self.lost.0.iter().for_each(|(first, last)| both.add(*first, *last));
            both.add(sequence, sequence);
            if both.0.len() > RECEIVED_RANGES_MAX {
                return Added::TooManyRanges;
            }
        }
        self.stored.add(sequence, sequence);
        if self.lost.contains(sequence) {
            self.lost.remove(sequence);
            let rest = self.lost_samples.saturating_sub(u64::from(rows));
            self.lost_samples = if self.lost.0.is_empty() { 0 } else { rest };
        }
        Added::New
    }

    /// Records that the device has lost all of `first..=last`, which had `samples` samples. If some
    /// of these batches were received or are known to be lost, the others get their share of the
    /// samples.
    pub(crate) fn lose(&mut self, first: u32, last: u32, samples: u32) {
        let first = first.max(1);
        let Some(count) = last.checked_sub(first).map(|more| u64::from(more) + 1) else { return };
        let mut both = self.stored.clone();
        self.lost.0.iter().for_each(|(first, last)| both.add(*first, *last));
        let added = count - both.count_within(first, last);
        if added == 0 {
            return;
        }
        let mut lost = self.lost.clone();
        lost.add(first, last);
        for (first, last) in &self.stored.0 {
            lost.cut(*first, *last);
        }
        if lost.0.len() > LOST_RANGES_MAX.max(self.lost.0.len()) {
            return;
        }
        self.lost = lost;
        let samples = u64::from(samples).min(count.saturating_mul(ROWS_MAX as u64));
        // Rounded to the nearest; `added` is at most 2^32, as is `samples`.
        let share =
            (u128::from(samples) * u128::from(added) + u128::from(count / 2)) / u128::from(count);
        self.lost_samples += u64::try_from(share).unwrap_or(samples);
    }

    /// Records samples of the epoch that were lost before they were in a batch: the total, which
    /// only grows.
    pub(crate) fn lose_unbatched(&mut self, total: u32) {
        self.unbatched = self.unbatched.max(total);
    }

    /// Samples of the epoch that will never arrive.
    pub(crate) fn lost_samples(&self) -> u64 {
        self.lost_samples + u64::from(self.unbatched)
    }

    /// Returns whether a batch was received.
    pub(crate) fn has(&self, sequence: u32) -> bool {
        self.stored.contains(sequence)
    }

    /// Returns the first and the last sequence received.
    pub(crate) fn bounds(&self) -> Option<RangeInclusive<u32>> {
        let ((first, _), (_, last)) = (self.stored.0.first()?, self.stored.0.last()?);
        Some(*first..=*last)
    }

    /// The received ranges.
    pub(crate) fn ranges(&self) -> Vec<RangeInclusive<u32>> {
        self.stored.0.iter().map(|(first, last)| *first..=*last).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(6 + (self.stored.0.len() + self.lost.0.len()) * 4);
        self.stored.encode(&mut out);
        self.lost.encode(&mut out);
        varint::put_u64(&mut out, self.lost_samples);
        varint::put_u64(&mut out, u64::from(self.unbatched));
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let received = Self {
            stored: Ranges::decode(&mut bytes)?,
            lost: Ranges::decode(&mut bytes)?,
            lost_samples: varint::take_u64(&mut bytes)?,
            unbatched: varint::take_u32(&mut bytes)?,
        };
        bytes.is_empty().then_some(received)
    }
}

/// Disjoint ranges that do not touch, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    fn contains(&self, value: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= value);
        after.checked_sub(1).is_some_and(|at| value <= self.0[at].1)
    }

    /// Returns whether adding a value would create no further range.
    fn touches(&self, value: u32) -> bool {
        self.contains(value)
            || value.checked_sub(1).is_some_and(|before| self.contains(before))
            || value.checked_add(1).is_some_and(|after| self.contains(after))
    }

    fn add(&mut self, mut first: u32, mut last: u32) {
        let from = self.0.partition_point(|(_, l)| l.saturating_add(1) < first);
        let to = from + self.0[from..].partition_point(|(f, _)| *f <= last.saturating_add(1));
        if let Some(joined) = self.0.get(from..to).filter(|joined| !joined.is_empty()) {
            first = first.min(joined[0].0);
            last = last.max(joined[joined.len() - 1].1);
        }
        self.0.splice(from..to, [(first, last)]);
    }

    fn remove(&mut self, value: u32) {
        self.cut(value, value);
    }

    /// Removes `first..=last`.
    fn cut(&mut self, first: u32, last: u32) {
        let from = self.0.partition_point(|(_, l)| *l < first);
        let to = from + self.0[from..].partition_point(|(f, _)| *f <= last);
        let before = self.0.get(from).filter(|(f, _)| from < to && *f < first);
        let before = before.map(|(f, _)| (*f, first - 1));
        let after = to.checked_sub(1).filter(|_| from < to).map(|at| self.0[at].1);
        let after = after.filter(|l| *l > last).map(|l| (last + 1, l));
        self.0.splice(from..to, before.into_iter().chain(after));
    }

    /// Counts the members of `first..=last`.
    fn count_within(&self, first: u32, last: u32) -> u64 {
        let within = self.0.iter().map(|(f, l)| (*f.max(&first), *l.min(&last)));
        within.filter(|(f, l)| f <= l).map(|(f, l)| u64::from(l - f) + 1).sum()
    }

    /// Encodes the number of ranges, then the distance to each and its length.
    fn encode(&self, out: &mut Vec<u8>) {
        varint::put_u64(out, u64::try_from(self.0.len()).unwrap_or(u64::MAX));
        let mut from = 0;
        for (first, last) in &self.0 {
            varint::put_u64(out, u64::from(first - from));
            varint::put_u64(out, u64::from(last - first));
            from = *last;
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut from = 0u32;
        for _ in 0..varint::take_u32(bytes)? {
            let first = from.checked_add(varint::take_u32(bytes)?)?;
            let last = first.checked_add(varint::take_u32(bytes)?)?;
            ranges.push((first, last));
            from = last;
        }
        Some(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// An operation of a device on the sequences of an epoch.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Add(u32),
        Lose(u32, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1u32..60).prop_map(Step::Add),
            (1u32..60, 0u32..9).prop_map(|(first, more)| Step::Lose(first, first + more)),
        ]
    }

    const ROWS: u16 = 7;

    proptest! {
        #[test]
        fn what_is_received_and_what_is_lost_are_counted_once(
            steps in proptest::collection::vec(step(), 0..120),
        ) {
            let mut received = Received::default();
            let (mut stored, mut lost) = (BTreeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Add(sequence) => {
                        let expected =
                            if stored.insert(sequence) { Added::New } else { Added::Known };
                        lost.remove(&sequence);
                        prop_assert_eq!(received.add(sequence, ROWS), expected);
                    }
                    Step::Lose(first, last) => {
                        lost.extend((first..=last).filter(|it| !stored.contains(it)));
                        received.lose(first, last, (last - first + 1) * u32::from(ROWS));
                    }
                }
            }
            let held: BTreeSet<u32> = received.ranges().into_iter().flatten().collect();
            prop_assert_eq!(&held, &stored);
            let missing: BTreeSet<u32> =
                received.lost.0.iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(&missing, &lost);
            let samples = u64::try_from(lost.len()).unwrap() * u64::from(ROWS);
            prop_assert_eq!(received.lost_samples(), samples);
            for ranges in [&received.stored, &received.lost] {
                prop_assert!(!ranges.0.windows(2).any(|w| w[0].1 + 1 >= w[1].0));
            }
            prop_assert_eq!(Received::decode(&received.encode()), Some(received));
        }
    }

    #[test]
    fn range_beyond_the_limit_is_not_taken() {
        let mut received = Received::default();
        for i in 0..u32::try_from(RECEIVED_RANGES_MAX).unwrap() {
            assert_eq!(received.add(2 * i + 2, 1), Added::New);
        }
        assert_eq!(received.add(10_000, 1), Added::TooManyRanges);
        assert_eq!(received.add(3, 1), Added::New, "filling a hole is always possible");
        assert_eq!(received.add(10_000, 1), Added::New);
        assert_eq!(received.add(u32::MAX, 1), Added::TooManyRanges);
    }

    #[test]
    fn holes_that_will_never_be_filled_do_not_count_against_the_limit() {
        let mut received = Received::default();
        for i in 1..=u32::try_from(LOST_RANGES_MAX).unwrap() {
            received.lose(3 * i - 2, 3 * i - 1, 2);
            assert_eq!(received.add(3 * i, 1), Added::New);
        }
        assert!(received.lost.0.len() <= LOST_RANGES_MAX);
    }

    #[test]
    fn reports_of_losses_keep_no_batch_out() {
        let mut received = Received::default();
        received.lose(0, u32::MAX, u32::MAX);
        for sequence in [1, 2, 3, u32::MAX, 7] {
            assert_eq!(received.add(sequence, 180), Added::New);
            assert_eq!(received.add(sequence, 180), Added::Known);
        }
        let mut received = Received::default();
        for i in 0..1_000 {
            received.lose(2 * i, 2 * i, 100);
        }
        assert_eq!(received.lost.0.len(), LOST_RANGES_MAX);
        for sequence in (1..=5_000).rev() {
            assert_eq!(received.add(sequence, 180), Added::New, "{sequence}");
        }
        assert_eq!(received.lost_samples(), 0);
    }

    #[test]
    fn unbatched_samples_are_a_total() {
        let mut received = Received::default();
        for total in [5, 5, 3, 9] {
            received.lose_unbatched(total);
        }
        received.lose(1, 2, 20);
        assert_eq!(received.lost_samples(), 29);
        received.lose(1, 4, 40);
        assert_eq!(received.lost_samples(), 49);
        received.lose(4, 3, 7);
        received.lose(9, 9, u32::MAX);
        assert_eq!(received.lost_samples(), 49 + 1_024, "a batch has as many rows as it can have");
    }
}
