//! The newest reading of every point of one inverter, and the newest attempt to read it.
//!
//! A batch that arrives late never replaces something newer. A reading with a future time is only
//! kept until there is one with a plausible time.

use ecowatt_model::{Quality, UnixMs};

use crate::ids::PointId;
use crate::sorted_map::SortedMap;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u32};

/// How far after its arrival the time of a reading may be and still be plausible: the clocks of
/// devices follow the server's more closely.
const AHEAD_MAX_MS: i64 = 60_000;

/// Sort key for the newest of several instants that arrived until `now`: plausible ones are above
/// future ones.
pub(crate) fn newness(at: UnixMs, now: UnixMs) -> (bool, UnixMs) {
    (at.0 <= now.0.saturating_add(AHEAD_MAX_MS), at)
}

/// A good value and the time at which it was read, in the unit of its point or field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    pub at: UnixMs,
    pub value: i64,
}

/// An attempt to read a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub at: UnixMs,
    pub quality: Quality,
}

/// The newest reading of one point and the newest attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PointLatest {
    pub(crate) good: Option<Reading>,
    pub(crate) tried: Attempt,
}

impl PointLatest {
    /// Merges readings that arrived until `now`.
    pub(crate) fn join(&mut self, other: Self, now: UnixMs) {
        let good = self.good.into_iter().chain(other.good);
        self.good = good.max_by_key(|good| (newness(good.at, now), good.value));
        let order = |tried: Attempt| (newness(tried.at, now), quality_code(tried.quality));
        if order(other.tried) > order(self.tried) {
            self.tried = other.tried;
        }
    }
}

/// The newest readings of the points of one inverter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Latest {
    pub(crate) points: SortedMap<PointId, PointLatest>,
}

/// First byte of the stored form.
const FORMAT: u8 = 1;

impl Latest {
    /// Merges readings that arrived until `now`.
    pub(crate) fn merge(&mut self, other: Self, now: UnixMs) {
        self.points.merge(other.points, |held, other| held.join(other, now));
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.points.len() * size_of::<(PointId, PointLatest)>()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.points.len() * 12);
        out.push(FORMAT);
        let mut point_before = 0;
        let mut at_before = 0i64;
        for (point, latest) in self.points.iter() {
            put_u64(&mut out, u64::from(point.0 - point_before));
            let Attempt { at: tried_at, quality } = latest.tried;
            put_i64(&mut out, tried_at.0.wrapping_sub(at_before));
            out.push(quality_code(quality) << 1 | u8::from(latest.good.is_some()));
            if let Some(Reading { at, value }) = latest.good {
                put_i64(&mut out, tried_at.0.wrapping_sub(at.0));
                put_i64(&mut out, value);
            }
            (point_before, at_before) = (point.0, tried_at.0);
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take_u8(bytes)? != FORMAT {
            return None;
        }
        let mut points = SortedMap::default();
        let mut point = 0u32;
        let mut at = 0i64;
        while !bytes.is_empty() {
            point = point.checked_add(take_u32(bytes)?)?;
            at = at.wrapping_add(take_i64(bytes)?);
            let kind = take_u8(bytes)?;
            let good = if kind & 1 == 0 {
                None
            } else {
                let read_at = UnixMs(at.wrapping_sub(take_i64(bytes)?));
                Some(Reading { at: read_at, value: take_i64(bytes)? })
            };
            let tried = Attempt { at: UnixMs(at), quality: quality_from_code(kind >> 1)? };
            points.add(PointId(point), PointLatest { good, tried }, |held, later| *held = later);
        }
        Some(Self { points })
    }
}

const QUALITIES: [Quality; 10] = [
    Quality::Good,
    Quality::NotDue,
    Quality::Timeout,
    Quality::Exception,
    Quality::Garbled,
    Quality::Quarantined,
    Quality::Unreachable,
    Quality::Asleep,
    Quality::NotImplemented,
    Quality::OutOfRange,
];

fn quality_code(quality: Quality) -> u8 {
    match quality {
        Quality::Good => 0,
        Quality::NotDue => 1,
        Quality::Timeout => 2,
        Quality::Exception => 3,
        Quality::Garbled => 4,
        Quality::Quarantined => 5,
        Quality::Unreachable => 6,
        Quality::Asleep => 7,
        Quality::NotImplemented => 8,
        Quality::OutOfRange => 9,
    }
}

fn quality_from_code(code: u8) -> Option<Quality> {
    QUALITIES.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn readings_come_back_and_merge_in_any_order(
            readings in proptest::collection::vec(
                (0u32..9, any::<i64>(), 0u8..10, proptest::option::of((any::<i64>(), any::<i64>()))),
                0..20,
            ),
            now in any::<i64>(),
        ) {
            let now = UnixMs(now);
            let join = |held: &mut PointLatest, other| held.join(other, now);
            let readings: Vec<_> = readings
                .into_iter()
                .map(|(point, at, quality, good)| {
                    let quality = quality_from_code(quality).unwrap();
                    let good = good.map(|(at, value)| Reading { at: UnixMs(at), value });
                    (PointId(point), PointLatest { good, tried: Attempt { at: UnixMs(at), quality } })
                })
                .collect();
            let (mut forwards, mut backwards) = (Latest::default(), Latest::default());
            for (point, latest) in &readings {
                forwards.points.add(*point, *latest, join);
            }
            for (point, latest) in readings.iter().rev() {
                let mut one = Latest::default();
                one.points.add(*point, *latest, join);
                backwards.merge(one, now);
            }
            prop_assert_eq!(&forwards, &backwards);
            prop_assert_eq!(Latest::decode(&forwards.encode()), Some(forwards));
        }
    }

    #[test]
    fn time_to_come_stands_until_there_is_a_present_one() {
        let reading = |at, value| PointLatest {
            good: Some(Reading { at: UnixMs(at), value }),
            tried: Attempt { at: UnixMs(at), quality: Quality::Good },
        };
        let hour = 3_600_000;
        let mut held = reading(hour, 1);
        held.join(reading(24 * hour, 2), UnixMs(hour));
        assert_eq!(held, reading(hour, 1));
        let mut held = reading(24 * hour, 2);
        held.join(reading(23 * hour, 3), UnixMs(hour));
        assert_eq!(held, reading(24 * hour, 2), "neither is of the present");
        held.join(reading(0, 4), UnixMs(hour));
        assert_eq!(held, reading(0, 4));
        // A clock that is slightly ahead must not delay newer readings.
        held.join(reading(hour + 2_000, 5), UnixMs(hour));
        assert_eq!(held, reading(hour + 2_000, 5));
    }

    #[test]
    fn every_quality_has_its_code() {
        for (code, quality) in (0u8..).zip(QUALITIES) {
            assert_eq!(quality_code(quality), code);
        }
    }
}
