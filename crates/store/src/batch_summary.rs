//! Summary of one decoded batch for the store's roll-ups.
//!
//! Pure. The caller decodes a batch and passes its samples in the order in which they were taken,
//! which is that of their times unless the device's clock was set back; the store merges the result
//! into its rows in the transaction that stores the batch. Only good readings count.

use ecowatt_model::{Quality, UnixMs};

use crate::energy::{self, Inside, PowerReading};
use crate::energy_counter::{CounterBatch, CounterLimits, CounterReading};
use crate::ids::LocalDate;
use crate::ids::PointId;
use crate::latest::{Attempt, Latest, PointLatest, Reading};
use crate::rollup::{Aggregate, Day, Quarter, merge, quarter_of};
use crate::sorted_map::SortedMap;

/// A point of a layout from which energy is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnergyPoint {
    /// Its place among the layout's points.
    pub index: usize,
    /// The power of ten that turns its integers into watts or watt-hours.
    pub exponent: i8,
}

/// The points of a layout from which energy is derived.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnergyPoints {
    /// AC power.
    pub power: Option<EnergyPoint>,
    /// Lifetime energy counter.
    pub counter: Option<EnergyPoint>,
    /// Rated power of the inverter, if its layout has it.
    pub rated_w: Option<u32>,
}

/// What the store keeps of a batch besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    pub(crate) quarters: SortedMap<i64, Quarter>,
    pub(crate) days: SortedMap<LocalDate, Day>,
    pub(crate) latest: Latest,
    pub(crate) power: Inside,
    pub(crate) counter: Option<CounterBatch>,
}

impl Summary {
    /// Number of cells that the batch adds to the store's roll-ups; space and work are proportional
    /// to it.
    #[must_use]
    pub fn cells(&self) -> usize {
        let quarters: usize = self.quarters.iter().map(|(_, quarter)| quarter.cells()).sum();
        let days: usize = self.days.iter().map(|(_, day)| day.cells()).sum();
        quarters + days + self.power.gaps.len()
    }

    /// Number of rows of roll-ups that the batch is merged with. The store reads and writes each of
    /// them whole, however little the batch adds.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.quarters.len() + self.days.len()
    }
}

/// The buckets that a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    quarter: i64,
    minute: u8,
    date: LocalDate,
}

/// For one point of the layout: its index among the ids, and the minute and day that further
/// samples may belong to.
#[derive(Debug, Clone, Default)]
struct Open {
    rank: usize,
    minute: Option<Aggregate>,
    day: Option<Aggregate>,
    latest: Option<PointLatest>,
}

/// Summarises the samples of one batch. Its memory can be reused for the next batch.
#[derive(Debug, Default)]
pub struct Summariser {
    /// SortedMap.
    ids: Vec<PointId>,
    energy: EnergyPoints,
    /// The current minute, quarter hour and day.
    bucket: Option<Bucket>,
    open: Vec<Open>,
    quarter: Quarter,
    counters: Vec<CounterReading>,
    powers: Vec<PowerReading>,
    power_sum: (i64, u32),
    /// Cells of the quarter hours and days that are closed.
    cells: usize,
    summary: Summary,
}

impl Summariser {
    /// Begins a batch of a layout with these points.
    #[must_use]
    pub fn new(points: &[PointId], energy: EnergyPoints) -> Self {
        let mut summarise = Self::default();
        summarise.begin(points, energy);
        summarise
    }

    /// Begins another batch; an unfinished one before it is discarded.
    pub fn begin(&mut self, points: &[PointId], energy: EnergyPoints) {
        self.ids.clear();
        self.ids.extend_from_slice(points);
        self.ids.sort_unstable();
        self.ids.dedup();
        let ids = &self.ids;
        let rank = |point| Open { rank: ids.partition_point(|id| id < point), ..Open::default() };
        self.open.clear();
        self.open.extend(points.iter().map(rank));
        self.quarter = Quarter::default();
        self.energy = energy;
        self.bucket = None;
        self.counters.clear();
        self.powers.clear();
        self.power_sum = (0, 0);
        self.cells = 0;
        self.summary = Summary::default();
    }

    /// Cells that the samples so far have filled, so that the caller can give up a batch that fills
    /// too many. Samples that alternate between quarter hours count each time, as the work does.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells + self.quarter.cells()
    }

    /// Adds one sample: a quality and, if good, a value for each point of the layout in order.
    pub fn sample(
        &mut self,
        at: UnixMs,
        date: LocalDate,
        readings: impl IntoIterator<Item = (Quality, Option<i64>)>,
    ) {
        let (quarter, minute) = quarter_of(at);
        let bucket = Bucket { quarter, minute, date };
        if self.bucket != Some(bucket) {
            self.turn(Some(bucket));
        }
        for (place, (quality, value)) in readings.into_iter().enumerate().take(self.open.len()) {
            let good = match (quality, value) {
                (Quality::Good, Some(value)) => Some(value),
                (Quality::NotDue | Quality::Good, _) => continue,
                _ => None,
            };
            let open = &mut self.open[place];
            if let Some(value) = good {
                merge(&mut open.minute, &Aggregate::of(at, value));
            }
            let before = open.latest.and_then(|held| held.good);
            open.latest = Some(PointLatest {
                good: good.map(|value| Reading { at, value }).or(before),
                tried: Attempt { at, quality },
            });
            self.note_energy(place, at, date, quality, good);
        }
    }

    fn note_energy(
        &mut self,
        place: usize,
        at: UnixMs,
        date: LocalDate,
        quality: Quality,
        value: Option<i64>,
    ) {
        let is_asleep = quality == Quality::Asleep;
        if let Some(EnergyPoint { index, exponent }) = self.energy.power
            && index == place
        {
            let mw = if is_asleep { Some(0) } else { value.and_then(|v| milli(v, exponent)) };
            if let Some(mw) = mw {
                self.powers.push(PowerReading { at, date, mw: Some(mw), is_asleep });
                self.power_sum.0 = self.power_sum.0.wrapping_add(mw);
                self.power_sum.1 += 1;
            }
        }
        if let Some(EnergyPoint { index, exponent }) = self.energy.counter
            && index == place
        {
            // Ignore a lifetime counter of zero: inverters return it before they have read their
            // memory, or because they have none.
            if let Some(mwh) = value.and_then(|v| milli(v, exponent)).filter(|mwh| *mwh != 0) {
                self.counters.push(CounterReading { at, date, mwh });
            }
            if self.energy.power.is_none() && (value.is_some() || is_asleep) {
                self.powers.push(PowerReading { at, date, mw: None, is_asleep });
            }
        }
    }

    /// Ends the current minute, and the quarter hour and day if the next sample is in others.
    fn turn(&mut self, next: Option<Bucket>) {
        let Some(Bucket { quarter, minute, date }) = std::mem::replace(&mut self.bucket, next)
        else {
            return;
        };
        if self.open.iter().any(|open| open.minute.is_some()) {
            if self.quarter.is_empty() {
                self.quarter = Quarter::new(self.ids.clone());
            }
            let cells = self.quarter.minute(minute);
            for open in &mut self.open {
                if let Some(aggregate) = open.minute.take() {
                    merge(&mut cells[open.rank], &aggregate);
                    merge(&mut open.day, &aggregate);
                }
            }
        }
        if next.is_none_or(|next| next.quarter != quarter) && !self.quarter.is_empty() {
            let closed = std::mem::take(&mut self.quarter);
            self.cells += closed.cells();
            self.summary.quarters.add(quarter, closed, Quarter::merge);
        }
        let mut day = Day::default();
        if next.is_none_or(|next| next.date != date) {
            day.points = SortedMap::with_capacity(self.ids.len());
            for open in &mut self.open {
                if let Some(aggregate) = open.day.take() {
                    day.points.add(self.ids[open.rank], aggregate, |held, more| held.merge(&more));
                }
            }
        }
        let (sum_mw, count) = std::mem::take(&mut self.power_sum);
        if count > 0 {
            day.add_power(quarter, sum_mw, count);
        }
        self.cells += day.points.len();
        self.summary.days.add(date, day, Day::merge);
    }

    /// Ends the batch.
    #[must_use]
    pub fn finish(&mut self) -> Summary {
        self.turn(None);
        let mut summary = std::mem::take(&mut self.summary);
        let mut latest = SortedMap::with_capacity(self.ids.len());
        // One batch has one clock, so its latest reading is its newest.
        let join = |held: &mut PointLatest, other| held.join(other, UnixMs(i64::MAX));
        for open in &mut self.open {
            if let Some(newest) = open.latest.take() {
                latest.add(self.ids[open.rank], newest, join);
            }
        }
        summary.latest = Latest { points: latest };
        let quantum_mwh =
            self.energy.counter.and_then(|point| milli(1, point.exponent)).unwrap_or(0);
        let limits = CounterLimits { rated_w: self.energy.rated_w, quantum_mwh };
        summary.counter = CounterBatch::new(&self.counters, limits);
        summary.power = energy::inside(&self.powers);
        for (date, sums) in &summary.power.days {
            let day = Day { energy: *sums, ..Day::default() };
            summary.days.add(*date, day, Day::merge);
        }
        self.counters.clear();
        self.powers.clear();
        summary
    }
}

/// Returns `value × 10^exponent` in thousandths; `None` if that is not a whole number of 64 bits.
///
/// A power or counter finer than a thousandth of a watt or watt-hour is not used for energy.
pub(crate) fn milli(value: i64, exponent: i8) -> Option<i64> {
    let power = u32::try_from(i32::from(exponent) + 3).ok()?;
    value.checked_mul(10i64.checked_pow(power)?)
}
