//! Which sequences of one boot epoch have been received: the truth behind exactly-once.
//!
//! A set of disjoint ranges that do not touch, ascending. It outlives the blocks themselves, so that
//! retention does not make an old batch look unknown.

use std::ops::RangeInclusive;

use crate::limits::RECEIVED_RANGES_MAX;
use crate::varint;

/// What became of a sequence that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    New,
    Known,
    /// It would make one range more than the store keeps.
    TooManyRanges,
}

/// Sequences received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Received {
    ranges: Vec<(u32, u32)>,
}

impl Received {
    pub(crate) fn add(&mut self, sequence: u32) -> Added {
        let at = self.ranges.partition_point(|(first, _)| *first <= sequence);
        let before = at.checked_sub(1).map(|i| (i, self.ranges[i].1));
        if before.is_some_and(|(_, last)| sequence <= last) {
            return Added::Known;
        }
        let joins_before =
            before.filter(|(_, last)| last.checked_add(1) == Some(sequence)).map(|(i, _)| i);
        let joins_after =
            self.ranges.get(at).is_some_and(|(first, _)| sequence.checked_add(1) == Some(*first));
        match (joins_before, joins_after) {
            (Some(i), true) => {
                self.ranges[i].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (Some(i), false) => self.ranges[i].1 = sequence,
            (None, true) => self.ranges[at].0 = sequence,
            (None, false) if self.ranges.len() >= RECEIVED_RANGES_MAX => {
                return Added::TooManyRanges;
            }
            (None, false) => self.ranges.insert(at, (sequence, sequence)),
        }
        Added::New
    }

    /// Adds all of `first..=last`.
    pub(crate) fn add_range(&mut self, first: u32, last: u32) -> Added {
        if self.ranges.iter().any(|(f, l)| *f <= first && last <= *l) {
            return Added::Known;
        }
        let mut joined = (first, last);
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        for (f, l) in &self.ranges {
            if l.saturating_add(1) < first || last.saturating_add(1) < *f {
                ranges.push((*f, *l));
            } else {
                joined = (joined.0.min(*f), joined.1.max(*l));
            }
        }
        if ranges.len() >= RECEIVED_RANGES_MAX {
            return Added::TooManyRanges;
        }
        ranges.push(joined);
        ranges.sort_unstable();
        self.ranges = ranges;
        Added::New
    }

    pub(crate) fn ranges(&self) -> Vec<RangeInclusive<u32>> {
        self.ranges.iter().map(|(first, last)| *first..=*last).collect()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.ranges.len() * 4);
        let mut from = 0;
        for (first, last) in &self.ranges {
            varint::put_u64(&mut out, u64::from(first - from));
            varint::put_u64(&mut out, u64::from(last - first));
            from = *last;
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut from = 0u32;
        while !bytes.is_empty() {
            let first = from.checked_add(varint::take_u32(&mut bytes)?)?;
            let last = first.checked_add(varint::take_u32(&mut bytes)?)?;
            ranges.push((first, last));
            from = last;
        }
        Some(Self { ranges })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_was_added_once(sequences in proptest::collection::vec(1u32..60, 0..120)) {
            let mut received = Received::default();
            let mut model = BTreeSet::new();
            for sequence in sequences {
                let expected = if model.insert(sequence) { Added::New } else { Added::Known };
                prop_assert_eq!(received.add(sequence), expected);
            }
            let held: BTreeSet<u32> = received.ranges().into_iter().flatten().collect();
            prop_assert_eq!(&held, &model);
            let touching = received.ranges.windows(2).any(|w| w[0].1 + 1 >= w[1].0);
            prop_assert!(!touching);
            prop_assert_eq!(Received::decode(&received.encode()), Some(received));
        }
    }

    proptest! {
        #[test]
        fn range_is_its_sequences(ranges in proptest::collection::vec((1u32..60, 0u32..9), 0..30)) {
            let (mut one_by_one, mut whole) = (Received::default(), Received::default());
            for (first, more) in ranges {
                let added = (first..=first + more).map(|s| one_by_one.add(s)).collect::<Vec<_>>();
                let expected =
                    if added.contains(&Added::New) { Added::New } else { Added::Known };
                prop_assert_eq!(whole.add_range(first, first + more), expected);
                prop_assert_eq!(&one_by_one, &whole);
            }
        }
    }

    #[test]
    fn range_beyond_the_limit_is_not_taken() {
        let mut received = Received::default();
        for i in 0..u32::try_from(RECEIVED_RANGES_MAX).unwrap() {
            assert_eq!(received.add(2 * i + 2), Added::New);
        }
        assert_eq!(received.add(10_000), Added::TooManyRanges);
        assert_eq!(received.add(3), Added::New, "filling a hole is always possible");
        assert_eq!(received.add(10_000), Added::New);
        assert_eq!(received.add(u32::MAX), Added::TooManyRanges);
    }
}
