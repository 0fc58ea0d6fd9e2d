//! Energy of one inverter as exact integers, whatever the order in which batches arrive.
//!
//! Each block brings what happened inside it and its *edges*: its first and last reading of the
//! lifetime counter and of the AC power. Between two blocks that follow each other in time lies a
//! *join*, a function of their edges alone. The energy of a day is the sum of the insides and of the
//! joins; a block that arrives late between two others replaces their join by two. An energy belongs
//! to the local day of the later of the two readings that it lies between.
//!
//! Blocks of one inverter do not overlap in time, and times within a block ascend, unless the
//! device's clock was set back. A counter's energy stays right even then; an integrated figure counts
//! the overlap twice.
//!
//! Within a block, a reading of the counter that cannot follow the last one believed was misread, and
//! is passed over; between blocks, the counter may have been replaced, and goes on
//! (`docs/decisions/0006-a-counter-that-falls.md`).

use ecowatt_model::UnixMs;

use crate::rollup::LocalDate;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u32};

/// Shortest distance between two readings of power that counts as a gap.
pub const GAP_MIN_MS: i64 = 60_000;

/// Two readings of power further apart than this many typical intervals have a gap between them.
pub const GAP_INTERVALS: i64 = 10;

/// Longest distance between two readings of a sleeping inverter that is not a gap: devices look in
/// on it less often.
pub const ASLEEP_GAP_MIN_MS: i64 = 60 * 60_000;

/// Counters of many inverters move only every few minutes, so a step may hold the energy of a longer
/// time than has passed between its two readings; 15 minutes is the slowest we know of.
const COUNTER_LAG_MS: i64 = 15 * 60_000;

/// Rated power to judge a counter's step by when the profile gives none: 10 MW, above any single
/// inverter. It stops the millions of kilowatt-hours of a counter that reads zero for a moment.
const RATED_W_DEFAULT: u32 = 10_000_000;

/// A reading of the lifetime counter, which is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CounterReading {
    pub(crate) at: UnixMs,
    pub(crate) date: LocalDate,
    pub(crate) mwh: i64,
}

/// An observation of AC power: a good reading, or the knowledge that the inverter sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PowerReading {
    pub(crate) at: UnixMs,
    pub(crate) date: LocalDate,
    /// Absent for inverters without a power point; then only gaps are watched.
    pub(crate) mw: Option<i64>,
    pub(crate) is_asleep: bool,
}

/// Readings of the counter that are believed, as far as a block's neighbours need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CounterEdges {
    pub(crate) first: CounterReading,
    /// The first above `first`: it tells whether `first` was misread.
    pub(crate) second: Option<CounterReading>,
    pub(crate) last: CounterReading,
}

/// First and last readings of a block and what is needed to judge them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Edges {
    pub(crate) counter: Option<CounterEdges>,
    pub(crate) power: Option<(PowerReading, PowerReading)>,
    /// Median distance of two observations of power, without those where the clock was set back.
    pub(crate) typical_ms: u32,
    pub(crate) rated_w: Option<u32>,
    /// One step of the counter.
    pub(crate) quantum_mwh: i64,
}

/// Energy of a day, or a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EnergySums {
    /// By the lifetime counter, milliwatt-hours.
    pub(crate) counter_mwh: i64,
    /// Readings of the counter.
    pub(crate) counter_readings: i64,
    /// By integration, 2 × milliwatt × millisecond (the 2 spares the trapezoid its half).
    pub(crate) integrated: i64,
    /// Observations of power.
    pub(crate) power_readings: i64,
    /// Steps of the counter that were not counted: backwards, or more than the inverter can make.
    pub(crate) refused_steps: i64,
}

/// 2 × milliwatt × millisecond in a milliwatt-hour.
const INTEGRATED_PER_MWH: i64 = 2 * 3_600_000;

impl EnergySums {
    pub(crate) fn add(&mut self, other: &Self) {
        self.counter_mwh = self.counter_mwh.wrapping_add(other.counter_mwh);
        self.counter_readings = self.counter_readings.wrapping_add(other.counter_readings);
        self.integrated = self.integrated.wrapping_add(other.integrated);
        self.power_readings = self.power_readings.wrapping_add(other.power_readings);
        self.refused_steps = self.refused_steps.wrapping_add(other.refused_steps);
    }

    /// A step of the counter, or one that was refused.
    fn of_step(mwh: Option<i64>) -> Self {
        let refused_steps = i64::from(mwh.is_none());
        Self { counter_mwh: mwh.unwrap_or(0), refused_steps, ..Self::default() }
    }

    fn negated(&self) -> Self {
        Self {
            counter_mwh: self.counter_mwh.wrapping_neg(),
            counter_readings: self.counter_readings.wrapping_neg(),
            integrated: self.integrated.wrapping_neg(),
            power_readings: self.power_readings.wrapping_neg(),
            refused_steps: self.refused_steps.wrapping_neg(),
        }
    }

    pub(crate) fn figure(&self) -> EnergyFigure {
        if self.counter_readings > 0 {
            EnergyFigure::Counter { mwh: self.counter_mwh, refused_steps: self.refused_steps }
        } else if self.power_readings > 0 {
            EnergyFigure::Integrated { mwh: self.integrated.div_euclid(INTEGRATED_PER_MWH) }
        } else {
            EnergyFigure::Nothing
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for value in [
            self.counter_mwh,
            self.counter_readings,
            self.integrated,
            self.power_readings,
            self.refused_steps,
        ] {
            put_i64(out, value);
        }
    }

    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            counter_mwh: take_i64(bytes)?,
            counter_readings: take_i64(bytes)?,
            integrated: take_i64(bytes)?,
            power_readings: take_i64(bytes)?,
            refused_steps: take_i64(bytes)?,
        })
    }
}

/// Energy of one inverter in one local day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnergyFigure {
    /// Differences of the lifetime counter. Steps that were refused (backwards, or more than the
    /// inverter can make) add nothing.
    Counter { mwh: i64, refused_steps: i64 },
    /// Power over time, rounded down to whole milliwatt-hours.
    Integrated { mwh: i64 },
    /// Neither counter nor power was read.
    Nothing,
}

impl EnergyFigure {
    /// Milliwatt-hours; `None` if nothing was read.
    #[must_use]
    pub fn mwh(&self) -> Option<i64> {
        match self {
            Self::Counter { mwh, .. } | Self::Integrated { mwh } => Some(*mwh),
            Self::Nothing => None,
        }
    }
}

/// What lies between two blocks that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) days: Vec<(LocalDate, EnergySums)>,
    pub(crate) gap: Option<(UnixMs, UnixMs)>,
}

impl Change {
    pub(crate) fn negated_days(&self) -> impl Iterator<Item = (LocalDate, EnergySums)> {
        self.days.iter().map(|(date, sums)| (*date, sums.negated()))
    }
}

/// The join of counters between two blocks.
pub(crate) fn counter_join(earlier: &Edges, later: &Edges) -> Change {
    let (Some(before), Some(after)) = (earlier.counter, later.counter) else {
        return Change::default();
    };
    let (last, first) = (before.last, after.first);
    let (date, sums) = if first.at > last.at {
        let limits = earlier.limits().or(&later.limits());
        let step = limits.step(last, first);
        let comes_back = |second: &CounterReading| limits.step(last, *second).is_some();
        match after.second.filter(|second| step.is_none() && comes_back(second)) {
            None => (first.date, EnergySums::of_step(step)),
            // The later block took its first reading for right; on its way to the second it counted
            // what is below `last` again.
            Some(second) => {
                let counter_mwh = first.mwh.saturating_sub(last.mwh);
                (second.date, EnergySums { counter_mwh, ..EnergySums::of_step(None) })
            }
        }
    } else {
        // The blocks overlap: what both saw grow is taken out once, and no more than the earlier
        // one saw.
        let seen_twice = last.mwh.saturating_sub(first.mwh).max(0);
        let inside = last.mwh.saturating_sub(before.first.mwh).max(0);
        let counter_mwh = -seen_twice.min(inside);
        (first.date, EnergySums { counter_mwh, ..EnergySums::default() })
    };
    Change { days: vec![(date, sums)], gap: None }
}

/// The join of powers between two blocks.
pub(crate) fn power_join(earlier: &Edges, later: &Edges) -> Change {
    let (Some((_, last)), Some((next, _))) = (earlier.power, later.power) else {
        return Change::default();
    };
    match stretch(last, next, earlier.typical_ms.max(later.typical_ms)) {
        Stretch::Covered(sums) => Change { days: vec![(next.date, sums)], gap: None },
        Stretch::Gap => Change { days: Vec::new(), gap: Some((last.at, next.at)) },
    }
}

/// What an inverter's counter can do.
#[derive(Debug, Clone, Copy)]
struct CounterLimits {
    rated_w: Option<u32>,
    quantum_mwh: i64,
}

impl CounterLimits {
    /// The wider ones of both.
    fn or(&self, other: &Self) -> Self {
        Self {
            rated_w: self.rated_w.max(other.rated_w),
            quantum_mwh: self.quantum_mwh.max(other.quantum_mwh),
        }
    }

    /// Milliwatt-hours of a step; none if it goes backwards, or is more than the inverter can make.
    fn step(&self, from: CounterReading, to: CounterReading) -> Option<i64> {
        let mwh = to.mwh.saturating_sub(from.mwh);
        (mwh >= 0 && self.are_near(from, to)).then_some(mwh)
    }

    /// Whether two readings are no further apart than the inverter can make.
    fn are_near(&self, from: CounterReading, to: CounterReading) -> bool {
        // Where the clock was set back the time between the two is unknown; it was not less than none.
        let dt_ms = to.at.0.saturating_sub(from.at.0).max(0).saturating_add(COUNTER_LAG_MS);
        // W × ms / 3600 is milliwatt-hours; a fifth more than rated, as inverters can.
        let rated_w = i128::from(self.rated_w.unwrap_or(RATED_W_DEFAULT));
        let possible = rated_w * i128::from(dt_ms) * 12 / 36_000 + 2 * i128::from(self.quantum_mwh);
        i128::from(to.mwh.abs_diff(from.mwh)) <= possible
    }
}

enum Stretch {
    Covered(EnergySums),
    Gap,
}

fn stretch(from: PowerReading, to: PowerReading, typical_ms: u32) -> Stretch {
    let dt_ms = to.at.0.saturating_sub(from.at.0);
    let shortest_gap = if from.is_asleep && to.is_asleep {
        ASLEEP_GAP_MIN_MS
    } else {
        GAP_MIN_MS.max(i64::from(typical_ms).saturating_mul(GAP_INTERVALS))
    };
    if dt_ms <= 0 {
        return Stretch::Covered(EnergySums::default());
    }
    if dt_ms > shortest_gap {
        return Stretch::Gap;
    }
    let (Some(from_mw), Some(to_mw)) = (from.mw, to.mw) else {
        return Stretch::Covered(EnergySums::default());
    };
    let integrated = from_mw.saturating_add(to_mw).saturating_mul(dt_ms);
    Stretch::Covered(EnergySums { integrated, ..EnergySums::default() })
}

/// What happened inside a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Inside {
    pub(crate) days: Vec<(LocalDate, EnergySums)>,
    pub(crate) gaps: Vec<(UnixMs, UnixMs)>,
    pub(crate) edges: Edges,
}

/// Everything that a block's readings say about energy. Readings are in the order in which they were
/// taken.
pub(crate) fn inside(
    counters: &[CounterReading],
    powers: &[PowerReading],
    rated_w: Option<u32>,
    quantum_mwh: i64,
) -> Inside {
    let distances = powers.windows(2).map(|pair| pair[1].at.0.saturating_sub(pair[0].at.0));
    let mut distances: Vec<i64> = distances.filter(|distance| *distance >= 0).collect();
    let middle = distances.len() / 2;
    let typical_ms = if distances.is_empty() {
        0
    } else {
        u32::try_from(*distances.select_nth_unstable(middle).1).unwrap_or(u32::MAX)
    };
    let limits = CounterLimits { rated_w, quantum_mwh };
    let mut days = Vec::with_capacity(2);
    let counter = inside_counter(counters, limits, &mut days);
    let mut inside = Inside {
        days,
        gaps: Vec::new(),
        edges: Edges {
            counter,
            power: powers.first().copied().zip(powers.last().copied()),
            typical_ms,
            rated_w,
            quantum_mwh,
        },
    };
    for (i, to) in powers.iter().enumerate() {
        let observed = i64::from(to.mw.is_some());
        let mut sums = EnergySums { power_readings: observed, ..EnergySums::default() };
        if let Some(from) = i.checked_sub(1).map(|i| powers[i]) {
            match stretch(from, *to, typical_ms) {
                Stretch::Covered(covered) => sums.add(&covered),
                Stretch::Gap => inside.gaps.push((from.at, to.at)),
            }
        }
        add_day(&mut inside.days, to.date, &sums);
    }
    inside
}

/// Adds up the counter's steps inside a block.
fn inside_counter(
    counters: &[CounterReading],
    limits: CounterLimits,
    days: &mut Vec<(LocalDate, EnergySums)>,
) -> Option<CounterEdges> {
    let mut edges: Option<CounterEdges> = None;
    for (i, to) in counters.iter().enumerate() {
        let step = match &mut edges {
            Some(edges) => {
                let step = limits.step(edges.last, *to);
                if step.is_some() {
                    edges.last = *to;
                    if to.mwh > edges.first.mwh {
                        edges.second.get_or_insert(*to);
                    }
                }
                step
            }
            // A leap at the beginning would stand above all that follows.
            None if counters.get(i + 1).map_or(i == 0, |next| limits.are_near(*to, *next)) => {
                edges = Some(CounterEdges { first: *to, second: None, last: *to });
                Some(0)
            }
            None => None,
        };
        let sums = EnergySums { counter_readings: 1, ..EnergySums::of_step(step) };
        add_day(days, to.date, &sums);
    }
    edges
}

fn add_day(days: &mut Vec<(LocalDate, EnergySums)>, date: LocalDate, sums: &EnergySums) {
    // The day at hand is nearly always the last one.
    if let Some((_, held)) = days.iter_mut().rev().find(|(held, _)| *held == date) {
        held.add(sums);
    } else {
        days.push((date, *sums));
    }
}

/// First byte of stored edges: format 1 with these parts present.
const EDGES_FORMAT: u8 = 0x10;
const HAS_COUNTER: u8 = 1;
const HAS_POWER: u8 = 2;
const HAS_RATED: u8 = 4;
const HAS_SECOND: u8 = 8;

impl Edges {
    fn limits(&self) -> CounterLimits {
        CounterLimits { rated_w: self.rated_w, quantum_mwh: self.quantum_mwh }
    }

    /// Bytes relative to the block's first sample; empty if there is neither counter nor power.
    pub(crate) fn encode(&self, start: UnixMs) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        if self.counter.is_none() && self.power.is_none() {
            return out;
        }
        let mut format = EDGES_FORMAT;
        format |= if self.counter.is_some() { HAS_COUNTER } else { 0 };
        format |= if self.power.is_some() { HAS_POWER } else { 0 };
        format |= if self.rated_w.is_some() { HAS_RATED } else { 0 };
        let second = self.counter.and_then(|counter| counter.second);
        format |= if second.is_some() { HAS_SECOND } else { 0 };
        out.push(format);
        put_u64(&mut out, u64::from(self.typical_ms));
        if let Some(rated_w) = self.rated_w {
            put_u64(&mut out, u64::from(rated_w));
        }
        if let Some(CounterEdges { first, second, last }) = self.counter {
            put_i64(&mut out, self.quantum_mwh);
            let zero = CounterReading { at: start, date: LocalDate(0), mwh: 0 };
            put_counter(&mut out, zero, first);
            put_counter(&mut out, zero, last);
            if let Some(second) = second {
                put_counter(&mut out, first, second);
            }
        }
        if let Some((first, last)) = self.power {
            for reading in [first, last] {
                put_i64(&mut out, reading.at.0.wrapping_sub(start.0));
                put_i64(&mut out, i64::from(reading.date.0));
                let kind = u8::from(reading.is_asleep) << 1 | u8::from(reading.mw.is_some());
                out.push(kind);
                put_i64(&mut out, reading.mw.unwrap_or(0));
            }
        }
        out
    }

    pub(crate) fn decode(start: UnixMs, mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let format = take_u8(bytes)?;
        if format & 0xf0 != EDGES_FORMAT {
            return None;
        }
        let mut edges = Self { typical_ms: take_u32(bytes)?, ..Self::default() };
        if format & HAS_RATED != 0 {
            edges.rated_w = Some(take_u32(bytes)?);
        }
        if format & HAS_COUNTER != 0 {
            edges.quantum_mwh = take_i64(bytes)?;
            let zero = CounterReading { at: start, date: LocalDate(0), mwh: 0 };
            let first = take_counter(bytes, zero)?;
            let last = take_counter(bytes, zero)?;
            let second = match format & HAS_SECOND {
                0 => None,
                _ => Some(take_counter(bytes, first)?),
            };
            edges.counter = Some(CounterEdges { first, second, last });
        }
        if format & HAS_POWER != 0 {
            let mut take = || {
                let at = UnixMs(take_i64(bytes)?.wrapping_add(start.0));
                let date = take_date(bytes)?;
                let kind = take_u8(bytes)?;
                let mw = take_i64(bytes)?;
                Some(PowerReading {
                    at,
                    date,
                    mw: (kind & 1 != 0).then_some(mw),
                    is_asleep: kind & 2 != 0,
                })
            };
            edges.power = Some((take()?, take()?));
        }
        Some(edges)
    }
}

/// A reading as its distance from another.
fn put_counter(out: &mut Vec<u8>, from: CounterReading, to: CounterReading) {
    put_i64(out, to.at.0.wrapping_sub(from.at.0));
    put_i64(out, i64::from(to.date.0).wrapping_sub(i64::from(from.date.0)));
    put_i64(out, to.mwh.wrapping_sub(from.mwh));
}

fn take_counter(bytes: &mut &[u8], from: CounterReading) -> Option<CounterReading> {
    Some(CounterReading {
        at: UnixMs(take_i64(bytes)?.wrapping_add(from.at.0)),
        date: LocalDate(take_i64(bytes)?.checked_add(i64::from(from.date.0))?.try_into().ok()?),
        mwh: take_i64(bytes)?.wrapping_add(from.mwh),
    })
}

fn take_date(bytes: &mut &[u8]) -> Option<LocalDate> {
    take_i64(bytes)?.try_into().ok().map(LocalDate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counter() -> impl Strategy<Value = CounterReading> {
        (any::<i64>(), any::<i32>(), any::<i64>()).prop_map(|(at, date, mwh)| CounterReading {
            at: UnixMs(at),
            date: LocalDate(date),
            mwh,
        })
    }

    fn power() -> impl Strategy<Value = PowerReading> {
        (any::<i64>(), any::<i32>(), any::<Option<i64>>(), any::<bool>()).prop_map(
            |(at, date, mw, is_asleep)| PowerReading {
                at: UnixMs(at),
                date: LocalDate(date),
                mw,
                is_asleep,
            },
        )
    }

    proptest! {
        #[test]
        fn edges_come_back(
            counter in proptest::option::of((counter(), proptest::option::of(counter()), counter())),
            power in proptest::option::of((power(), power())),
            typical_ms: u32,
            rated_w: Option<u32>,
            quantum_mwh: i64,
            start: i64,
        ) {
            let counter = counter.map(|(first, second, last)| CounterEdges { first, second, last });
            let is_empty = counter.is_none() && power.is_none();
            let edges = if is_empty {
                Edges::default()
            } else {
                let quantum_mwh = if counter.is_some() { quantum_mwh } else { 0 };
                Edges { counter, power, typical_ms, rated_w, quantum_mwh }
            };
            let bytes = edges.encode(UnixMs(start));
            prop_assert_eq!(bytes.is_empty(), is_empty);
            prop_assert_eq!(Edges::decode(UnixMs(start), &bytes), Some(edges));
        }
    }

    fn reading(seconds: i64, mwh: i64) -> CounterReading {
        CounterReading { at: UnixMs(seconds * 1000), date: LocalDate(0), mwh }
    }

    fn edges(first: CounterReading, last: CounterReading) -> Edges {
        Edges { counter: Some(CounterEdges { first, second: None, last }), ..Edges::default() }
    }

    #[test]
    fn overlap_of_two_blocks_counts_once() {
        // The device's clock was set back by a minute between the blocks.
        let earlier = edges(reading(0, 1000), reading(100, 1100));
        let later = edges(reading(40, 1040), reading(140, 1140));
        let (_, sums) = counter_join(&earlier, &later).days[0];
        assert_eq!(sums.counter_mwh, -60, "100 inside each, 140 in all");
    }

    #[test]
    fn step_is_judged_by_what_the_inverter_can_make() {
        // 5 kW for the 15 minutes that a counter may lag, and a fifth: 1,500 Wh.
        let limits = CounterLimits { rated_w: Some(5000), quantum_mwh: 0 };
        let mwh = |to| limits.step(reading(0, 0), reading(0, to));
        assert_eq!((mwh(1_500_000), mwh(1_500_001)), (Some(1_500_000), None));
    }
}
