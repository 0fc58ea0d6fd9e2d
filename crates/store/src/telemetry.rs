//! Results of queries: blocks, newest readings, roll-ups, and how much there is.

use ecowatt_model::{BatchId, DeviceNumber, SourceNumber, UnixMs};

use crate::energy::EnergyFigure;
use crate::ids::{LayoutId, LocalDate, StreamId};
use crate::latest::{Attempt, Reading};
use crate::point::Point;
use crate::retention::Resolution;
use crate::rollup::Aggregate;
use crate::upload::TimeQuality;

/// A stored batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub id: BatchId,
    pub stream: StreamId,
    pub rows: u16,
    pub first: UnixMs,
    pub last: UnixMs,
    pub time_offset_ms: i64,
    pub time_quality: TimeQuality,
    pub bytes: Vec<u8>,
}

/// A batch and its number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRows {
    pub id: BatchId,
    pub rows: u16,
}

/// A stored batch, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBatch {
    pub source: SourceNumber,
    pub id: BatchId,
    pub rows: u16,
}

/// Samples of an inverter that are stored encoded together: one batch, or several of a past day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its batches, in the order of their first samples; at least one.
    pub batches: Vec<BatchRows>,
    pub stream: StreamId,
    pub first: UnixMs,
    pub last: UnixMs,
    pub time_offset_ms: i64,
    pub time_quality: TimeQuality,
    /// Encoded like one batch of all rows.
    pub bytes: Vec<u8>,
}

/// The newest readings of one inverter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLatest {
    pub source: SourceNumber,
    pub readings: Vec<LatestReading>,
}

/// The newest reading of a point and the newest attempt to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestReading {
    pub point: Point,
    /// Absent if no value was good yet.
    pub good: Option<Reading>,
    pub tried: Attempt,
}

/// Half-open stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    pub from: UnixMs,
    pub to: UnixMs,
}

/// One bucket of a roll-up; `aggregates` in the order of the points asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub start: UnixMs,
    pub aggregates: Vec<Option<Aggregate>>,
}

/// One local day of one inverter; `aggregates` in the order of the points asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayBucket {
    pub date: LocalDate,
    pub aggregates: Vec<Option<Aggregate>>,
}

/// Energy of one inverter in one local day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnergyDay {
    pub source: SourceNumber,
    pub date: LocalDate,
    pub energy: EnergyFigure,
}

/// A stretch without readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnergyGap {
    pub source: SourceNumber,
    pub from: UnixMs,
    pub to: UnixMs,
}

/// A local day of a device, for lists of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDay {
    pub device: DeviceNumber,
    /// Of all inverters; absent if nothing was received for the day.
    pub energy_wh: Option<i64>,
    /// AC power of all inverters, by quarter hour, ascending.
    pub power: Vec<MeanPower>,
}

/// Mean power of a quarter hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeanPower {
    /// Start of the quarter hour.
    pub start: UnixMs,
    pub mw: i64,
}

/// How much data the store has, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSize {
    pub devices: u64,
    /// Size of the database without the write-ahead log.
    pub database_bytes: u64,
}

/// What the bytes of a database are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Batches as devices sent them, alone or packed.
    Samples,
    /// Minutes of past days, and all quarter hours that are not packed yet.
    Minutes,
    Quarters,
    Days,
    /// What energy is derived from, and its gaps.
    Energy,
    /// What a device's next message is checked against and added to.
    States,
    Rest,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Samples,
        Self::Minutes,
        Self::Quarters,
        Self::Days,
        Self::Energy,
        Self::States,
        Self::Rest,
    ];
}

/// Whole pages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindBytes {
    pub kind: Kind,
    pub bytes: u64,
}

/// How much space a database takes, without its write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReport {
    pub kinds: Vec<KindBytes>,
    /// In free pages, which are filled next.
    pub free_bytes: u64,
    /// Samples received, including those that retention has removed since.
    pub samples: u64,
    /// Local days of all inverters with data.
    pub inverter_days: u64,
    /// What retention has removed so far, of each resolution.
    pub removed: Vec<RemovedRows>,
}

/// What retention has removed of a resolution, of all inverters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedRows {
    pub resolution: Resolution,
    /// Samples, minutes or quarter hours.
    pub rows: u64,
    /// What they took, encoded: somewhat less than the pages that they left.
    pub bytes: u64,
}

/// Result of rebuilding a device's roll-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebuilt {
    pub blocks: u64,
    /// Blocks that cannot be decoded; they are missing in the roll-ups.
    pub unreadable: u64,
    /// Rows of roll-ups that differ after the rebuild.
    pub rows_changed: u64,
}

/// The newest AC power of one inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcePower {
    pub source: SourceNumber,
    /// Newest good reading, milliwatts.
    pub good_mw: Option<Reading>,
    /// Newest attempt.
    pub tried: Attempt,
}

/// The state that an inverter reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateReading {
    pub source: SourceNumber,
    pub code: i64,
    /// The inverter's newest layout, which names the state's code.
    pub layout: LayoutId,
}
