//! Aggregates of one UTC day of one inverter, point by point, and the bytes of packs of them.
//!
//! The day is divided into buckets of equal width: 1,440 minutes or 96 quarter hours. Neighbours in
//! time are coded together, so a value takes a quarter of what it takes in a row of its own, and a
//! point is decoded without the others.
//!
//! Pure. Bytes: format; the lists of times (number of lists; length and bytes of each); then the
//! points, ascending: id as distance from the one before, number of its list, length and bytes of
//! its values. Points that are read together share a list. Bytes of lists and values are code words
//! of [`crate::integer_models`].

use ecowatt_codec::range_coder::Coder;
use ecowatt_model::UnixMs;

use crate::ids::PointId;
use crate::integer_models::{Number, decoded, encoded, length};
use crate::rollup::{Aggregate, MINUTE_MS, MINUTES, QUARTER_MS, Quarter};
use crate::sorted_map::SortedMap;
use crate::varint::{put_u64, take_u8, take_u32, take_u64};

/// Milliseconds of a UTC day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Quarter hours of a UTC day.
pub(crate) const QUARTERS_PER_DAY: i64 = DAY_MS / QUARTER_MS;

/// First byte of a pack.
const FORMAT: u8 = 1;

/// Bits of the number of buckets.
const SLOT_BITS: u32 = 11;

/// Width of the buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Minute,
    Quarter,
}

impl Width {
    pub(crate) fn ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Quarter => QUARTER_MS,
        }
    }

    /// Start of a bucket of a UTC day.
    pub(crate) fn start(self, day: i64, slot: u16) -> UnixMs {
        UnixMs(day.saturating_mul(DAY_MS).saturating_add(i64::from(slot) * self.ms()))
    }

    fn slots(self) -> usize {
        usize::try_from(DAY_MS / self.ms()).unwrap_or(0)
    }

    /// The bucket of a minute of a quarter hour.
    pub(crate) fn slot(self, quarter: i64, minute: u8) -> u16 {
        let quarter = u16::try_from(quarter.rem_euclid(QUARTERS_PER_DAY)).unwrap_or(0);
        match self {
            Self::Minute => quarter * u16::try_from(MINUTES).unwrap_or(0) + u16::from(minute),
            Self::Quarter => quarter,
        }
    }
}

/// Aggregates by bucket of the day, ascending.
pub(crate) type Column = SortedMap<u16, Aggregate>;

/// The aggregates of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DayColumns {
    pub(crate) width: Width,
    /// Days since 1970-01-01, UTC.
    pub(crate) day: i64,
    pub(crate) points: SortedMap<PointId, Column>,
}

impl DayColumns {
    pub(crate) fn new(width: Width, day: i64) -> Self {
        Self { width, day, points: SortedMap::default() }
    }

    /// Adds the minutes of a quarter hour of the day.
    pub(crate) fn add(&mut self, number: i64, quarter: &Quarter) {
        for (point, minute, aggregate) in quarter.minutes() {
            let slot = self.width.slot(number, minute);
            self.points.entry(point).add(slot, *aggregate, |held, more| held.merge(&more));
        }
    }

    /// Returns the quarter hours of a day of minutes, ascending.
    pub(crate) fn quarters(&self) -> SortedMap<i64, Quarter> {
        let minutes = u16::try_from(MINUTES).unwrap_or(1);
        let ids: Vec<PointId> = self.points.iter().map(|(point, _)| *point).collect();
        let mut quarters: SortedMap<i64, Quarter> = SortedMap::default();
        for (place, (_, column)) in self.points.iter().enumerate() {
            for (slot, aggregate) in column.iter() {
                let number = self.day * QUARTERS_PER_DAY + i64::from(slot / minutes);
                if !quarters.has(&number) {
                    quarters.replace(number, Quarter::new(ids.clone()));
                }
                let minute = u8::try_from(slot % minutes).unwrap_or(0);
                quarters.entry(number).minute(minute)[place] = Some(*aggregate);
            }
        }
        quarters
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut lists: Vec<Vec<Time>> = Vec::new();
        let mut points = Vec::new();
        let mut before = 0;
        for (point, column) in self.points.iter().filter(|(_, column)| !column.is_empty()) {
            let times: Vec<Time> =
                column.iter().map(|(slot, cell)| Time::of(self, *slot, cell)).collect();
            let values = encoded(16 + 4 * times.len(), |coder| {
                let mut model = Values::default();
                for (_, cell) in column.iter() {
                    model.code(coder, cell.count, cell);
                }
            });
            let list = lists.iter().position(|held| *held == times).unwrap_or(lists.len());
            if list == lists.len() {
                lists.push(times);
            }
            put_u64(&mut points, u64::from(point.0 - before));
            put_u64(&mut points, u64::try_from(list).unwrap_or(u64::MAX));
            put_bytes(&mut points, &values);
            before = point.0;
        }
        let mut out = vec![FORMAT];
        put_u64(&mut out, u64::try_from(lists.len()).unwrap_or(u64::MAX));
        for times in lists {
            let bytes = encoded(16 + 2 * times.len(), |coder| {
                let count = u64::try_from(times.len()).unwrap_or(0);
                coder.uniform(count, SLOT_BITS);
                let mut model = Times::default();
                for time in &times {
                    model.code(coder, *time);
                }
            });
            put_bytes(&mut out, &bytes);
        }
        out.extend(points);
        out
    }

    /// Decodes a pack; `None` if it is damaged.
    pub(crate) fn decode(width: Width, day: i64, bytes: &[u8]) -> Option<Self> {
        let mut columns = Self::new(width, day);
        read(width, day, bytes, Some, |point, column| {
            columns.points.replace(point, column);
        })?;
        Some(columns)
    }

    /// Decodes only the wanted points, in their order.
    pub(crate) fn decode_points(
        width: Width,
        day: i64,
        bytes: &[u8],
        wanted: &[PointId],
    ) -> Option<Vec<Column>> {
        let mut found = vec![Column::default(); wanted.len()];
        let place = |point| wanted.iter().position(|wanted| *wanted == point);
        read(width, day, bytes, place, |place, column| found[place] = column)?;
        Some(found)
    }
}

/// Counts the buckets of a pack that hold anything, without decoding values; `None` if its times are
/// damaged.
pub(crate) fn count_buckets(width: Width, mut bytes: &[u8]) -> Option<u64> {
    let bytes = &mut bytes;
    if take_u8(bytes)? != FORMAT {
        return None;
    }
    let mut held = vec![false; width.slots()];
    for _ in 0..take_u64(bytes)? {
        for time in take_times(width, take_bytes(bytes)?)? {
            *held.get_mut(usize::from(time.slot))? = true;
        }
    }
    u64::try_from(held.into_iter().filter(|is_held| *is_held).count()).ok()
}

/// Reads a pack and passes the columns of those points to `take` for which `wanted` has a place.
fn read<P>(
    width: Width,
    day: i64,
    mut bytes: &[u8],
    wanted: impl Fn(PointId) -> Option<P>,
    mut take: impl FnMut(P, Column),
) -> Option<()> {
    let bytes = &mut bytes;
    if take_u8(bytes)? != FORMAT {
        return None;
    }
    // A list that no wanted point uses is not decoded.
    let mut lists: Vec<(&[u8], Option<Vec<Time>>)> = Vec::new();
    for _ in 0..take_u64(bytes)? {
        lists.push((take_bytes(bytes)?, None));
    }
    let mut point = 0u32;
    while !bytes.is_empty() {
        point = point.checked_add(take_u32(bytes)?)?;
        let (list, times) = lists.get_mut(usize::try_from(take_u64(bytes)?).ok()?)?;
        let values = take_bytes(bytes)?;
        let Some(place) = wanted(PointId(point)) else { continue };
        if times.is_none() {
            *times = Some(take_times(width, list)?);
        }
        let times = times.as_ref()?;
        let column = decoded(values, |coder| {
            let mut model = Values::default();
            let mut column = Column::with_capacity(times.len());
            for time in times {
                let mut cell = model.code(coder, time.count, &Aggregate::of(UnixMs(0), 0));
                let start = width.start(day, time.slot);
                cell.last_at = UnixMs(start.0.wrapping_add(time.offset_ms));
                column.replace(time.slot, cell);
            }
            column
        })?;
        take(place, column);
    }
    Some(())
}

fn take_times(width: Width, bytes: &[u8]) -> Option<Vec<Time>> {
    decoded(bytes, |coder| {
        let count = usize::try_from(coder.uniform(0, SLOT_BITS)).ok()?;
        if count > width.slots() {
            return None;
        }
        let mut model = Times::default();
        let times: Vec<Time> = (0..count).map(|_| model.code(coder, Time::default())).collect();
        times.iter().all(|time| usize::from(time.slot) < width.slots()).then_some(times)
    })?
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u64(bytes)?).ok()?;
    let (own, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(own)
}

/// When the readings of a bucket were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Time {
    slot: u16,
    /// Time of the last reading within the bucket.
    offset_ms: i64,
    count: u32,
}

impl Time {
    fn of(columns: &DayColumns, slot: u16, aggregate: &Aggregate) -> Self {
        let start = columns.width.start(columns.day, slot);
        let offset_ms = aggregate.last_at.0.wrapping_sub(start.0);
        Self { slot, offset_ms, count: aggregate.count }
    }
}

/// Model of a list of times.
#[derive(Debug, Default)]
struct Times {
    /// Buckets that were left out.
    gap: Number,
    offset: Number,
    count: Number,
    before: Option<Time>,
}

impl Times {
    fn code(&mut self, coder: &mut impl Coder, time: Time) -> Time {
        let next = self.before.map_or(0, |before| before.slot.saturating_add(1));
        let before = self.before.unwrap_or_default();
        let gap = self.gap.code_size(coder, time.slot.saturating_sub(next).into());
        let offset = self.offset.code(coder, time.offset_ms.wrapping_sub(before.offset_ms));
        let count = self.count.code(coder, i64::from(time.count) - i64::from(before.count));
        let slot = u64::from(next).saturating_add(gap);
        let count = i64::from(before.count).saturating_add(count);
        let time = Time {
            slot: u16::try_from(slot).unwrap_or(u16::MAX),
            offset_ms: before.offset_ms.wrapping_add(offset),
            count: u32::try_from(count).unwrap_or(0),
        };
        self.before = Some(time);
        time
    }
}

/// Model of a point's values: the distance of maximum and minimum; the minimum, which is expected
/// half of it below the last value before; how far the last value is below the maximum; and the
/// distance of the sum from that of readings halfway between minimum and maximum.
#[derive(Debug, Default)]
struct Values {
    range: Number,
    min: Number,
    below: Number,
    sum: Number,
    last: i64,
}

impl Values {
    fn code(&mut self, coder: &mut impl Coder, count: u32, cell: &Aggregate) -> Aggregate {
        let range = cell.max.wrapping_sub(cell.min).cast_unsigned();
        let range = self.range.code_size(coder, range);
        let context = length(range);
        let expected = self.last.wrapping_sub((range >> 1).cast_signed());
        let min = cell.min.wrapping_sub(expected);
        let min = self.min.code_in(context, coder, min).wrapping_add(expected);
        let max = min.wrapping_add(range.cast_signed());
        let flat = min.wrapping_mul(i64::from(count));
        let mut coded = Aggregate { count, sum: flat, min, max, last: min, ..*cell };
        // Readings that are all equal have no more to say.
        if range > 0 {
            let below = max.wrapping_sub(cell.last).cast_unsigned();
            let below = self.below.code_size_in(context, coder, below);
            coded.last = max.wrapping_sub(below.cast_signed());
            let middle = (range.wrapping_mul(u64::from(count)) >> 1).cast_signed();
            let middle = flat.wrapping_add(middle);
            let sum = self.sum.code_in(context, coder, cell.sum.wrapping_sub(middle));
            coded.sum = middle.wrapping_add(sum);
        }
        self.last = coded.last;
        coded
    }
}

#[cfg(test)]
mod tests;
