//! What a device has announced under one key, counted against the limits.
//!
//! Roll-ups and newest readings have a cell for each point that an inverter ever had, and each of its
//! batches merges with all of them. So the points of all layouts together are limited, not only
//! those of one.

use std::collections::HashSet;

use ecowatt_model::SourceNumber;

use crate::fleet::AnnounceError;
use crate::limits::{POINTS_PER_KEY_MAX, POINTS_PER_SOURCE_MAX, STREAMS_PER_KEY_MAX};
use crate::point::PointDef;
use crate::sorted_map::SortedMap;

/// The streams and distinct points of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyStreams {
    pub(crate) streams: u32,
    points: SortedMap<SourceNumber, HashSet<PointDef>>,
}

impl KeyStreams {
    pub(crate) fn new(
        streams: u32,
        points: impl IntoIterator<Item = (SourceNumber, PointDef)>,
    ) -> Self {
        let mut held = Self { streams, ..Self::default() };
        for (source, point) in points {
            held.points.entry(source).insert(point);
        }
        held
    }

    /// Adds a further stream.
    ///
    /// # Errors
    /// If it is beyond a limit; nothing is added then.
    pub(crate) fn add(
        &mut self,
        source: SourceNumber,
        points: &[PointDef],
    ) -> Result<(), AnnounceError> {
        if self.streams >= STREAMS_PER_KEY_MAX {
            return Err(AnnounceError::TooMany);
        }
        let held = self.points.get(&source);
        let is_new = |point: &&PointDef| held.is_none_or(|held| !held.contains(*point));
        let more = points.iter().filter(is_new).collect::<HashSet<_>>().len();
        let of_source = held.map_or(0, HashSet::len) + more;
        let of_key = self.points.iter().map(|(_, held)| held.len()).sum::<usize>() + more;
        // A layout without points of its own adds nothing, whatever there is already.
        if more > 0 && (of_source > POINTS_PER_SOURCE_MAX || of_key > POINTS_PER_KEY_MAX) {
            return Err(AnnounceError::TooManyPoints);
        }
        self.streams += 1;
        self.points.entry(source).extend(points.iter().cloned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::Unit;

    use super::*;

    fn points(first: usize, count: usize) -> Vec<PointDef> {
        let point = |n| PointDef { name: format!("x.{n}"), unit: Unit::None, exponent: 0 };
        (first..first + count).map(point).collect()
    }

    #[test]
    fn points_count_once_and_are_limited_by_inverter_and_by_key() {
        let mut held = KeyStreams::default();
        let fits = POINTS_PER_SOURCE_MAX / 128;
        for n in 0..fits {
            held.add(SourceNumber(0), &points(n * 128, 128)).unwrap();
        }
        let refused = held.add(SourceNumber(0), &points(fits * 128, 1));
        assert!(matches!(refused, Err(AnnounceError::TooManyPoints)), "{refused:?}");
        held.add(SourceNumber(0), &points(100, 128)).unwrap();

        let mut taken = fits;
        for source in 1..8 {
            for n in 0..fits {
                let added = held.add(SourceNumber(source), &points(n * 128, 128));
                taken += usize::from(added.is_ok());
            }
        }
        assert_eq!(taken * 128, POINTS_PER_KEY_MAX);
        assert_eq!(held.streams, u32::try_from(taken + 1).unwrap(), "refused ones are not counted");
    }

    /// Eight inverters with full layouts can all change them once, to points that they never had.
    #[test]
    fn eight_inverters_can_all_change_their_layouts() {
        let mut held = KeyStreams::default();
        for first in [0, 1000] {
            for source in 0..8 {
                held.add(SourceNumber(source), &points(first, 128)).unwrap();
            }
        }
    }
}
