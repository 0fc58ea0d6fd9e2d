//! Roll-ups: exact aggregates per minute and per local day, and the bytes they are stored as.
//!
//! Pure. Merging aggregates in any order and any split gives the same result, so it does not matter
//! in which order batches arrive. Sums are exact modulo 2^64; the readings of a day of any real
//! point stay far below that.

use ecowatt_model::UnixMs;

use crate::energy::EnergySums;
use crate::ids::{LocalDate, PointId};
use crate::sorted_map::SortedMap;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u32, take_u64};

/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;

/// Milliseconds of a quarter hour.
pub const QUARTER_MS: i64 = 15 * MINUTE_MS;

/// Minutes of a quarter hour.
pub(crate) const MINUTES: usize = 15;

/// Good readings of one point in one bucket, as the point's integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregate {
    pub count: u32,
    pub sum: i64,
    pub min: i64,
    pub max: i64,
    pub last: i64,
    pub last_at: UnixMs,
}

impl Aggregate {
    /// Returns the aggregate of a single reading.
    #[must_use]
    pub fn of(at: UnixMs, value: i64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, last: value, last_at: at }
    }

    /// Merges another aggregate of the same point.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        // Of two readings at one instant the larger counts as the last, in whichever order they
        // arrived.
        (self.last_at, self.last) = (self.last_at, self.last).max((other.last_at, other.last));
    }

    fn encode(&self, start: i64, out: &mut Vec<u8>) {
        put_u64(out, u64::from(self.count));
        put_i64(out, self.last_at.0.wrapping_sub(start));
        put_i64(out, self.last);
        put_i64(out, self.last.wrapping_sub(self.min));
        put_i64(out, self.max.wrapping_sub(self.last));
        // Small if the readings are similar: the distance of the sum from count times the last.
        let flat = self.last.wrapping_mul(i64::from(self.count));
        put_i64(out, self.sum.wrapping_sub(flat));
    }

    fn decode(start: i64, bytes: &mut &[u8]) -> Option<Self> {
        let count = take_u32(bytes)?;
        let last_at = UnixMs(take_i64(bytes)?.wrapping_add(start));
        let last = take_i64(bytes)?;
        let min = last.wrapping_sub(take_i64(bytes)?);
        let max = last.wrapping_add(take_i64(bytes)?);
        let sum = take_i64(bytes)?.wrapping_add(last.wrapping_mul(i64::from(count)));
        Some(Self { count, sum, min, max, last, last_at })
    }
}

/// One UTC quarter hour of one inverter: for each point up to 15 one-minute aggregates.
///
/// A grid, because nearly all of its points are read in nearly all of its minutes; uploads of one
/// stream have the same points every time and are then merged cell by cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Quarter {
    /// SortedMap.
    points: Vec<PointId>,
    /// The first minute of the grid.
    first: u8,
    /// Minute by minute, one cell for each point.
    cells: Vec<Option<Aggregate>>,
}

/// A point's aggregates by minute within a quarter hour, ascending.
pub(crate) type Minutes = Vec<(u8, Aggregate)>;

impl Quarter {
    /// Creates an empty quarter hour for these points, which ascend.
    pub(crate) fn new(points: Vec<PointId>) -> Self {
        Self { points, first: 0, cells: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Number of cells of the grid.
    pub(crate) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of_val(&self.points[..]) + size_of_val(&self.cells[..])
    }

    /// The cells of a minute, one for each point.
    pub(crate) fn minute(&mut self, minute: u8) -> &mut [Option<Aggregate>] {
        let width = self.points.len();
        if self.cells.is_empty() {
            self.first = minute;
        }
        let before = usize::from(self.first.saturating_sub(minute)) * width;
        if before > 0 {
            self.cells.splice(..0, std::iter::repeat_n(None, before));
            self.first = minute;
        }
        let from = usize::from(minute - self.first) * width;
        if self.cells.len() < from + width {
            self.cells.resize(from + width, None);
        }
        &mut self.cells[from..from + width]
    }

    pub(crate) fn merge(&mut self, other: Self) {
        if self.cells.is_empty() {
            *self = other;
            return;
        }
        self.widen(&other.points);
        let width = other.points.len().max(1);
        let places: Vec<usize> = if self.points == other.points {
            (0..width).collect()
        } else {
            other.points.iter().filter_map(|point| self.place(*point)).collect()
        };
        for (minute, cells) in (other.first..).zip(other.cells.chunks_exact(width)) {
            let held = self.minute(minute);
            for (place, cell) in places.iter().zip(cells) {
                if let Some(aggregate) = cell {
                    merge(&mut held[*place], aggregate);
                }
            }
        }
    }

    /// Returns the aggregates, minute by minute.
    pub(crate) fn minutes(&self) -> impl Iterator<Item = (PointId, u8, &Aggregate)> {
        let width = self.points.len().max(1);
        let rows = (self.first..).zip(self.cells.chunks_exact(width));
        rows.flat_map(move |(minute, cells)| {
            let cells = self.points.iter().zip(cells);
            cells.filter_map(move |(point, cell)| Some((*point, minute, cell.as_ref()?)))
        })
    }

    fn place(&self, point: PointId) -> Option<usize> {
        self.points.binary_search(&point).ok()
    }

    /// Adds columns for further points.
    fn widen(&mut self, points: &[PointId]) {
        if points == self.points || points.iter().all(|point| self.place(*point).is_some()) {
            return;
        }
        let mut wider = [&self.points[..], points].concat();
        wider.sort_unstable();
        wider.dedup();
        let narrow = std::mem::replace(self, Self { first: self.first, ..Self::new(wider) });
        for (minute, cells) in (narrow.first..).zip(narrow.cells.chunks_exact(narrow.points.len()))
        {
            self.minute(minute);
            for (point, cell) in narrow.points.iter().zip(cells) {
                if let Some(place) = self.place(*point) {
                    self.minute(minute)[place] = *cell;
                }
            }
        }
    }

    /// Encodes entries of points, ascending: id (as distance from the one before), length, and
    /// minutes as [`put_minutes`] writes them.
    pub(crate) fn encode(&self, number: i64) -> Vec<u8> {
        let start = number * QUARTER_MS;
        let width = self.points.len();
        let mut out = Vec::with_capacity(16 + self.cells.len() * 12);
        let mut entry = Vec::with_capacity(256);
        let mut before = 0;
        let mut shared = Vec::new();
        for (place, point) in self.points.iter().enumerate() {
            entry.clear();
            let column = (self.first..).zip(self.cells.iter().skip(place).step_by(width));
            let held = column.filter_map(|(minute, cell)| Some((minute, cell.as_ref()?)));
            let (times, values): (Vec<_>, Vec<_>) =
                held.map(|(minute, cell)| (MinuteTimes::of(start, minute, cell), cell)).unzip();
            if values.is_empty() {
                continue;
            }
            put_minutes(times, &values, &mut shared, &mut entry);
            put_u64(&mut out, u64::from(point.0 - before));
            put_u64(&mut out, length(&entry));
            out.extend_from_slice(&entry);
            before = point.0;
        }
        out
    }

    pub(crate) fn decode(number: i64, bytes: &[u8]) -> Option<Self> {
        let start = number * QUARTER_MS;
        let mut columns = Vec::new();
        let mut shared = Vec::new();
        for entry in Entries::new(bytes) {
            let (point, mut entry) = entry?;
            take_times(&mut entry, &mut shared)?;
            columns.push((point, take_values(start, &shared, entry)?));
        }
        if !columns.is_sorted_by(|(before, _), (after, _)| before < after) {
            return None;
        }
        let mut quarter = Self::new(columns.iter().map(|(point, _)| *point).collect());
        for (place, (_, minutes)) in columns.into_iter().enumerate() {
            for (minute, aggregate) in minutes {
                quarter.minute(minute)[place] = Some(aggregate);
            }
        }
        Some(quarter)
    }

    /// Decodes only the minutes of the wanted points, in their order; other entries are skipped.
    pub(crate) fn decode_points(
        number: i64,
        bytes: &[u8],
        wanted: &[PointId],
    ) -> Option<Vec<Minutes>> {
        let start = number * QUARTER_MS;
        let mut found = vec![Vec::new(); wanted.len()];
        let mut shared = Vec::new();
        for entry in Entries::new(bytes) {
            let (point, mut entry) = entry?;
            take_times(&mut entry, &mut shared)?;
            if let Some(place) = wanted.iter().position(|w| *w == point) {
                found[place] = take_values(start, &shared, entry)?;
            }
        }
        Some(found)
    }
}

/// When the readings of one minute were taken. Points that are read together share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct MinuteTimes {
    minute: u8,
    /// Time of the last reading within the minute.
    offset: i64,
    /// `None` for a single reading, which is minimum, maximum and sum as well.
    count: Option<u32>,
}

impl MinuteTimes {
    fn of(start: i64, minute: u8, aggregate: &Aggregate) -> Self {
        let is_one = *aggregate == Aggregate::of(aggregate.last_at, aggregate.last);
        let minute_start = start + i64::from(minute) * MINUTE_MS;
        let offset = aggregate.last_at.0.wrapping_sub(minute_start);
        Self { minute, offset, count: (!is_one).then_some(aggregate.count) }
    }
}

/// Writes the minutes of a point: zero if their times are those of the point before (`shared`),
/// otherwise their number and times; then the values of each.
///
/// The times of a minute are: twice the distance from the minute before, plus one if it has more
/// than one reading; the offset of the last reading within the minute, as distance from that of the
/// minute before; and the count, if it is more than one. Its values are: the distance of the last
/// value from that of the minute before; and, for more than one reading, how far the minimum is
/// below it and the maximum above it, and the distance of the sum from [`middle_sum`].
fn put_minutes(
    times: Vec<MinuteTimes>,
    values: &[&Aggregate],
    shared: &mut Vec<MinuteTimes>,
    out: &mut Vec<u8>,
) {
    if times == *shared {
        put_u64(out, 0);
    } else {
        put_u64(out, u64::try_from(times.len()).unwrap_or(u64::MAX));
        let mut before = MinuteTimes::default();
        for at in &times {
            let distance = u64::from(at.minute.wrapping_sub(before.minute));
            put_u64(out, distance << 1 | u64::from(at.count.is_some()));
            put_i64(out, at.offset.wrapping_sub(before.offset));
            if let Some(count) = at.count {
                put_u64(out, u64::from(count));
            }
            before = *at;
        }
        *shared = times;
    }
    let mut last_before = 0i64;
    for (at, aggregate) in shared.iter().zip(values) {
        let Aggregate { min, max, last, sum, .. } = **aggregate;
        put_i64(out, last.wrapping_sub(last_before));
        if let Some(count) = at.count {
            put_u64(out, last.wrapping_sub(min).cast_unsigned());
            put_u64(out, max.wrapping_sub(last).cast_unsigned());
            put_i64(out, sum.wrapping_sub(middle_sum(min, max, count)));
        }
        last_before = last;
    }
}

/// Returns the sum of `count` readings that are all halfway between minimum and maximum.
fn middle_sum(min: i64, max: i64, count: u32) -> i64 {
    let middle = min.wrapping_add(max.wrapping_sub(min) / 2);
    middle.wrapping_mul(i64::from(count))
}

/// Reads the times of a point's minutes into `shared`, or keeps those of the point before.
fn take_times(bytes: &mut &[u8], shared: &mut Vec<MinuteTimes>) -> Option<()> {
    let number = usize::try_from(take_u64(bytes)?).ok()?;
    if number == 0 {
        return (!shared.is_empty()).then_some(());
    }
    shared.clear();
    let mut before = MinuteTimes::default();
    for _ in 0..number {
        let head = take_u64(bytes)?;
        let minute = before.minute.checked_add(u8::try_from(head >> 1).ok()?)?;
        if usize::from(minute) >= MINUTES || shared.len() >= MINUTES {
            return None;
        }
        let offset = before.offset.wrapping_add(take_i64(bytes)?);
        let count = if head & 1 == 1 { Some(take_u32(bytes)?) } else { None };
        before = MinuteTimes { minute, offset, count };
        shared.push(before);
    }
    Some(())
}

fn take_values(start: i64, times: &[MinuteTimes], mut bytes: &[u8]) -> Option<Minutes> {
    let mut minutes = Vec::with_capacity(times.len());
    let mut last = 0i64;
    for MinuteTimes { minute, offset, count } in times {
        last = last.wrapping_add(take_i64(&mut bytes)?);
        let last_at = (start + i64::from(*minute) * MINUTE_MS).wrapping_add(*offset);
        let mut aggregate = Aggregate::of(UnixMs(last_at), last);
        if let Some(count) = *count {
            let min = last.wrapping_sub(take_u64(&mut bytes)?.cast_signed());
            let max = last.wrapping_add(take_u64(&mut bytes)?.cast_signed());
            let sum = middle_sum(min, max, count).wrapping_add(take_i64(&mut bytes)?);
            aggregate = Aggregate { count, sum, min, max, ..aggregate };
        }
        minutes.push((*minute, aggregate));
    }
    bytes.is_empty().then_some(minutes)
}

/// Returns the number of the UTC quarter hour that contains an instant, and the minute within it.
pub(crate) fn quarter_of(at: UnixMs) -> (i64, u8) {
    let number = at.0.div_euclid(QUARTER_MS);
    let minute = at.0.rem_euclid(QUARTER_MS) / MINUTE_MS;
    (number, u8::try_from(minute).unwrap_or(0))
}

/// Merges an aggregate into a cell that may be empty.
pub(crate) fn merge(held: &mut Option<Aggregate>, more: &Aggregate) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(*more),
    }
}

/// Sum in milliwatts and number of readings, by UTC quarter hour.
pub(crate) type QuarterPower = SortedMap<i64, (i64, u32)>;

/// One local day of one inverter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Day {
    pub(crate) points: SortedMap<PointId, Aggregate>,
    pub(crate) energy: EnergySums,
    /// AC power.
    pub(crate) power: QuarterPower,
}

/// First byte of a day's bytes.
const DAY_FORMAT: u8 = 1;

impl Day {
    /// Number of its figures.
    pub(crate) fn cells(&self) -> usize {
        self.points.len() + self.power.len() + 1
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        let point = size_of::<(PointId, Aggregate)>();
        self.points.len() * point + self.power.len() * size_of::<(i64, (i64, u32))>()
    }

    pub(crate) fn add_power(&mut self, quarter: i64, sum_mw: i64, count: u32) {
        self.power.add(quarter, (sum_mw, count), add_power);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.points.merge(other.points, |held, more| held.merge(&more));
        self.power.merge(other.power, add_power);
        self.energy.add(&other.energy);
    }

    /// Encodes format, energy, power by quarter (length first), then points as in a quarter's
    /// entries.
    pub(crate) fn encode(&self, date: LocalDate) -> Vec<u8> {
        let start = date_ms(date);
        let mut out = Vec::with_capacity(64 + self.power.len() * 6 + self.points.len() * 24);
        out.push(DAY_FORMAT);
        self.energy.encode(&mut out);
        put_u64(&mut out, u64::try_from(self.power.len()).unwrap_or(u64::MAX));
        let mut before = start / QUARTER_MS;
        for (quarter, (sum_mw, count)) in self.power.iter() {
            put_i64(&mut out, quarter - before);
            put_i64(&mut out, *sum_mw);
            put_u64(&mut out, u64::from(*count));
            before = *quarter;
        }
        let mut entry = Vec::with_capacity(32);
        let mut before = 0;
        for (point, aggregate) in self.points.iter() {
            entry.clear();
            aggregate.encode(start, &mut entry);
            put_u64(&mut out, u64::from(point.0 - before));
            put_u64(&mut out, length(&entry));
            out.extend_from_slice(&entry);
            before = point.0;
        }
        out
    }

    pub(crate) fn decode(date: LocalDate, bytes: &[u8]) -> Option<Self> {
        let (energy, power, rest) = Self::decode_head(date, bytes)?;
        let mut points = SortedMap::default();
        for entry in Entries::new(rest) {
            let (point, mut entry) = entry?;
            let aggregate = Aggregate::decode(date_ms(date), &mut entry)?;
            points.add(point, aggregate, |held, later| *held = later);
        }
        Some(Self { points, energy, power })
    }

    /// Decodes energy and power only.
    pub(crate) fn decode_head(
        date: LocalDate,
        bytes: &[u8],
    ) -> Option<(EnergySums, QuarterPower, &[u8])> {
        let mut bytes = bytes;
        if take_u8(&mut bytes)? != DAY_FORMAT {
            return None;
        }
        let energy = EnergySums::decode(&mut bytes)?;
        let mut power = QuarterPower::default();
        let mut quarter = date_ms(date) / QUARTER_MS;
        for _ in 0..take_u64(&mut bytes)? {
            quarter = quarter.wrapping_add(take_i64(&mut bytes)?);
            let sum_and_count = (take_i64(&mut bytes)?, take_u32(&mut bytes)?);
            power.add(quarter, sum_and_count, |held, later| *held = later);
        }
        Some((energy, power, bytes))
    }

    pub(crate) fn point(&self, point: PointId) -> Option<Aggregate> {
        self.points.get(&point).copied()
    }
}

fn add_power(held: &mut (i64, u32), (sum_mw, count): (i64, u32)) {
    *held = (held.0.wrapping_add(sum_mw), held.1.saturating_add(count));
}

/// Midnight of the date in UTC, precise enough as a base for offsets.
fn date_ms(date: LocalDate) -> i64 {
    i64::from(date.0) * 24 * 60 * MINUTE_MS
}

/// Entries of points: id as distance from the one before, length, bytes.
struct Entries<'a> {
    bytes: &'a [u8],
    point: u32,
}

impl<'a> Entries<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, point: 0 }
    }

    fn take(&mut self) -> Option<(PointId, &'a [u8])> {
        self.point = self.point.checked_add(take_u32(&mut self.bytes)?)?;
        let length = usize::try_from(take_u64(&mut self.bytes)?).ok()?;
        let (entry, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some((PointId(self.point), entry))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<(PointId, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let entry = self.take();
        if entry.is_none() {
            // An unreadable entry ends the iteration; the caller sees the inner `None`.
            self.bytes = &[];
        }
        Some(entry)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (point, seconds from the quarter's start, value)
    type Read = (u32, i64, i64);

    const NUMBER: i64 = 1_980_000;

    fn reads() -> impl Strategy<Value = Vec<Read>> {
        let value = prop_oneof![8 => -5_000i64..5_000, 1 => any::<i64>()];
        proptest::collection::vec((0u32..300, 0i64..900, value), 0..80)
    }

    fn quarter(reads: &[Read]) -> Quarter {
        let mut quarter = Quarter::default();
        for (point, seconds, value) in reads {
            let at = UnixMs(NUMBER * QUARTER_MS + seconds * 1000);
            let (number, minute) = quarter_of(at);
            assert_eq!(number, NUMBER);
            let mut one = Quarter::new(vec![PointId(*point)]);
            one.minute(minute)[0] = Some(Aggregate::of(at, *value));
            quarter.merge(one);
        }
        quarter
    }

    fn day(reads: &[Read]) -> Day {
        let mut day = Day::default();
        for (point, seconds, value) in reads {
            let at = UnixMs(NUMBER * QUARTER_MS + seconds * 1000);
            let mut one = Day::default();
            one.points.add(PointId(*point), Aggregate::of(at, *value), |_, _| ());
            day.merge(one);
            day.add_power(NUMBER + seconds % 5, *value, 1);
        }
        day
    }

    const DATE: LocalDate = LocalDate(20_625);

    proptest! {
        #[test]
        fn any_split_and_order_merges_to_the_same(mut reads in reads(), parts in 1usize..9) {
            let (whole, whole_day) = (quarter(&reads), day(&reads));
            reads.reverse();
            let (mut merged, mut merged_day) = (Quarter::default(), Day::default());
            for part in reads.chunks(parts) {
                merged.merge(quarter(part));
                merged_day.merge(day(part));
            }
            prop_assert_eq!(merged, whole);
            prop_assert_eq!(merged_day, whole_day);
        }

        #[test]
        fn what_is_encoded_comes_back(reads in reads(), wanted in 0u32..300) {
            let (whole, whole_day) = (quarter(&reads), day(&reads));
            let bytes = whole.encode(NUMBER);
            prop_assert_eq!(Quarter::decode(NUMBER, &bytes), Some(whole.clone()));
            let wanted = PointId(wanted);
            let found = Quarter::decode_points(NUMBER, &bytes, &[wanted]).unwrap();
            let expected: Minutes = (0..15)
                .filter_map(|minute| Some((minute, whole.clone().minute(minute)[whole.place(wanted)?]?)))
                .collect();
            prop_assert_eq!(&found[0], &expected);
            prop_assert_eq!(Day::decode(DATE, &whole_day.encode(DATE)), Some(whole_day));
        }

        #[test]
        fn damaged_bytes_do_not_panic(reads in reads(), at: prop::sample::Index, byte: u8) {
            for mut bytes in [quarter(&reads).encode(NUMBER), day(&reads).encode(DATE)] {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                    let _ = Quarter::decode(NUMBER, &bytes);
                    let _ = Day::decode(DATE, &bytes);
                }
            }
        }
    }

    #[test]
    fn sums_are_exact() {
        let reads: Vec<Read> = (0..900).map(|s| (1, s, 1_000_000_000_000 + s)).collect();
        let quarter = quarter(&reads);
        let sum: i64 = quarter.cells.iter().flatten().map(|a| a.sum).sum();
        assert_eq!(sum, 900 * 1_000_000_000_000 + 899 * 900 / 2);
        // A point read every second costs a dozen bytes per minute.
        assert!(quarter.encode(NUMBER).len() < 15 * 16);
    }
}
