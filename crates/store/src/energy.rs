//! Energy of one inverter as exact integers, independent of the order in which batches arrive.
//!
//! The energy of a day comes from the lifetime counter (`counter`), or from power over time
//! without a counter. Power is ordered by time: each block has the energy inside it and its *edges*,
//! its first and last observation. Between two blocks that follow each other in time there is a
//! *join*, a function of their edges alone. A block that arrives late between two others replaces
//! their join by two. Energy between two readings belongs to the local day of the later one.
//!
//! Blocks of one inverter do not overlap in time, and times within a block ascend, unless the
//! device's clock was set back; integration then counts the overlap twice.

use ecowatt_model::UnixMs;

use crate::ids::LocalDate;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u32};

/// Shortest distance between two readings of power that counts as a gap.
pub const GAP_MIN_MS: i64 = 60_000;

/// Two readings of power further apart than this many typical intervals have a gap between them.
pub const GAP_INTERVALS: i64 = 10;

/// Longest distance between two readings of a sleeping inverter that is not a gap: devices poll it
/// less often.
pub const ASLEEP_GAP_MIN_MS: i64 = 60 * 60_000;

/// An observation of AC power: a good reading, or the knowledge that the inverter is asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PowerReading {
    pub(crate) at: UnixMs,
    pub(crate) date: LocalDate,
    /// Absent for inverters without a power point; then only gaps are tracked.
    pub(crate) mw: Option<i64>,
    pub(crate) is_asleep: bool,
}

/// First and last observation of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PowerEdges {
    pub(crate) first: PowerReading,
    pub(crate) last: PowerReading,
    /// Median distance of two observations, ignoring those where the clock was set back.
    pub(crate) typical_ms: u32,
}

/// Energy of a day, or a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EnergySums {
    /// From the lifetime counter, milliwatt-hours.
    pub(crate) counter_mwh: i64,
    /// Believed readings of the counter.
    pub(crate) counter_readings: i64,
    /// From integration, 2 × milliwatt × millisecond (the factor 2 avoids halving each trapezoid).
    pub(crate) integrated: i64,
    /// Observations of power.
    pub(crate) power_readings: i64,
    /// Readings of the counter that were not believed, and steps at which another counter began.
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

    pub(crate) fn negated(&self) -> Self {
        Self {
            counter_mwh: self.counter_mwh.wrapping_neg(),
            counter_readings: self.counter_readings.wrapping_neg(),
            integrated: self.integrated.wrapping_neg(),
            power_readings: self.power_readings.wrapping_neg(),
            refused_steps: self.refused_steps.wrapping_neg(),
        }
    }

    pub(crate) fn figure(&self) -> EnergyFigure {
        // A dead counter returns zero, which is no reading of it. The only reading of a day may be a
        // misread zero: it shows no energy, and hides none that power shows.
        let is_alone = self.counter_readings == 1 && self.counter_mwh == 0;
        if self.counter_readings > 0 && !(is_alone && self.power_readings > 0) {
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
    /// Differences of the lifetime counter. Readings that were not believed add nothing.
    Counter { mwh: i64, refused_steps: i64 },
    /// Power over time, rounded down to whole milliwatt-hours.
    Integrated { mwh: i64 },
    /// Neither counter nor power was read.
    Nothing,
}

impl EnergyFigure {
    /// Returns milliwatt-hours; `None` if nothing was read.
    #[must_use]
    pub fn mwh(&self) -> Option<i64> {
        match self {
            Self::Counter { mwh, .. } | Self::Integrated { mwh } => Some(*mwh),
            Self::Nothing => None,
        }
    }
}

/// The energy and the gap between two blocks that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) days: Vec<(LocalDate, EnergySums)>,
    pub(crate) gap: Option<(UnixMs, UnixMs)>,
}

/// Returns the join of the powers of two blocks.
pub(crate) fn power_join(earlier: &PowerEdges, later: &PowerEdges) -> Change {
    let (last, next) = (earlier.last, later.first);
    match stretch(last, next, earlier.typical_ms.max(later.typical_ms)) {
        Stretch::Covered(sums) => Change { days: vec![(next.date, sums)], gap: None },
        Stretch::Gap => Change { days: Vec::new(), gap: Some((last.at, next.at)) },
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

/// Energy and gaps of power inside a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Inside {
    pub(crate) days: Vec<(LocalDate, EnergySums)>,
    pub(crate) gaps: Vec<(UnixMs, UnixMs)>,
    pub(crate) edges: Option<PowerEdges>,
}

/// Evaluates a block's readings of power, which are in the order in which they were taken.
pub(crate) fn inside(powers: &[PowerReading]) -> Inside {
    let distances = powers.windows(2).map(|pair| pair[1].at.0.saturating_sub(pair[0].at.0));
    let mut distances: Vec<i64> = distances.filter(|distance| *distance >= 0).collect();
    let middle = distances.len() / 2;
    let typical_ms = if distances.is_empty() {
        0
    } else {
        u32::try_from(*distances.select_nth_unstable(middle).1).unwrap_or(u32::MAX)
    };
    let edges = powers.first().zip(powers.last());
    let edges = edges.map(|(first, last)| PowerEdges { first: *first, last: *last, typical_ms });
    let mut inside = Inside { edges, ..Inside::default() };
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

fn add_day(days: &mut Vec<(LocalDate, EnergySums)>, date: LocalDate, sums: &EnergySums) {
    // The wanted day is nearly always the last one.
    if let Some((_, held)) = days.iter_mut().rev().find(|(held, _)| *held == date) {
        held.add(sums);
    } else {
        days.push((date, *sums));
    }
}

/// First byte of stored edges.
const EDGES_FORMAT: u8 = 0x20;

impl PowerEdges {
    /// Encodes times relative to the block's first sample.
    pub(crate) fn encode(&self, start: UnixMs) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(EDGES_FORMAT);
        put_u64(&mut out, u64::from(self.typical_ms));
        for reading in [self.first, self.last] {
            put_i64(&mut out, reading.at.0.wrapping_sub(start.0));
            put_i64(&mut out, i64::from(reading.date.0));
            let kind = u8::from(reading.is_asleep) << 1 | u8::from(reading.mw.is_some());
            out.push(kind);
            put_i64(&mut out, reading.mw.unwrap_or(0));
        }
        out
    }

    pub(crate) fn decode(start: UnixMs, mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take_u8(bytes)? != EDGES_FORMAT {
            return None;
        }
        let typical_ms = take_u32(bytes)?;
        let mut take = || {
            let at = UnixMs(take_i64(bytes)?.wrapping_add(start.0));
            let date = LocalDate(take_i64(bytes)?.try_into().ok()?);
            let kind = take_u8(bytes)?;
            let mw = take_i64(bytes)?;
            let mw = (kind & 1 != 0).then_some(mw);
            Some(PowerReading { at, date, mw, is_asleep: kind & 2 != 0 })
        };
        Some(Self { first: take()?, last: take()?, typical_ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn edges_come_back((first, last) in (power(), power()), typical_ms: u32, start: i64) {
            let edges = PowerEdges { first, last, typical_ms };
            let bytes = edges.encode(UnixMs(start));
            prop_assert_eq!(PowerEdges::decode(UnixMs(start), &bytes), Some(edges));
        }
    }
}
