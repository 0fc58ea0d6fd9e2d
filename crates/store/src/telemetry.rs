//! Data from devices and results of queries: uploads, blocks, points and their roll-ups.

use std::ops::RangeInclusive;

use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, Unit, UnixMs,
};

use crate::energy::EnergyFigure;
use crate::fleet::InverterState;
use crate::rollup::{Aggregate, LocalDate};
use crate::summary::Summary;

/// Number of a point in the dictionary, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(pub u32);

/// What a point's integers mean: `value × 10^exponent` in `unit`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PointDef {
    /// Canonical name such as `ac.power`.
    pub name: String,
    pub unit: Unit,
    pub exponent: i8,
}

/// A point of the dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub id: PointId,
    pub def: PointDef,
}

/// Names a stream of a device: the number that the device chose and the key it was announced under.
/// Devices number their streams themselves, so streams announced with a stolen key do not affect
/// the numbers under the next key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    #[must_use]
    pub const fn new(generation: KeyGeneration, number: StreamNumber) -> Self {
        let ([a, b], [c, d]) = (generation.0.to_be_bytes(), number.0.to_be_bytes());
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// The generation of the key that it was announced under.
    #[must_use]
    pub fn generation(self) -> KeyGeneration {
        let [a, b, _, _] = self.0.to_be_bytes();
        KeyGeneration(u16::from_be_bytes([a, b]))
    }

    pub(crate) fn code(self) -> u32 {
        self.0
    }

    pub(crate) fn from_code(code: u32) -> Self {
        Self(code)
    }

    /// The ids of all streams of the same key.
    pub(crate) fn of_same_key(self) -> std::ops::RangeInclusive<u32> {
        self.0 & 0xffff_0000..=self.0 | 0xffff
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of key {}", self.0 & 0xffff, self.0 >> 16)
    }
}

/// A stream that a device announces.
#[derive(Debug, Clone)]
pub struct NewStream {
    pub id: StreamId,
    pub source: SourceNumber,
    /// The layout's CBOR bytes, checked by the caller.
    pub layout: Vec<u8>,
    /// The layout's points, in the caller's order.
    pub points: Vec<PointDef>,
    pub at: UnixMs,
}

/// How well a block's times are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeQuality {
    /// The device stamped it by a clock that the server had confirmed.
    Device,
    /// It was taken before the server confirmed the clock and dated afterwards, from the time since
    /// the device's start.
    Anchored,
    /// The device's clock was never confirmed before its power was cut. Order and distances within
    /// the boot epoch are right; the epoch as a whole may be shifted.
    Estimated,
    /// The device's own time, which is implausible.
    Suspect,
}

impl TimeQuality {
    const ALL: [Self; 4] = [Self::Device, Self::Anchored, Self::Estimated, Self::Suspect];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// One message of a device, decrypted, decoded and summarised.
#[derive(Debug, Clone)]
pub struct Upload {
    pub device: DeviceNumber,
    pub generation: KeyGeneration,
    pub counter: Counter,
    /// SHA-256 of the message as received.
    pub digest: [u8; 32],
    pub received_at: UnixMs,
    pub size_bytes: u32,
    /// The boot epoch that the device is in.
    pub epoch: BootEpoch,
    /// Streams that the device announces and has not announced before.
    pub streams: Vec<NewStream>,
    pub batches: Vec<NewBlock>,
    /// Batches that can never be read: acknowledged and counted, not stored.
    pub refused: Vec<BatchId>,
    /// Data that the device has lost for good. Losses in epochs that it has not reached are
    /// ignored.
    pub dropped: Vec<Dropped>,
    /// Further epochs whose received batches the receipt must list.
    pub ask: Vec<BootEpoch>,
    pub reported: Reported,
}

/// Samples that a device has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub epoch: BootEpoch,
    /// First and last of the batches that contained them, without holes in between; `None` if they
    /// were in no batch.
    pub batches: Option<(Sequence, Sequence)>,
    /// All samples in these batches; without batches, all that the epoch has lost so far.
    pub samples: u32,
}

/// A device's report about itself; absent parts keep what is stored.
#[derive(Debug, Clone, Default)]
pub struct Reported {
    pub firmware: Option<String>,
    pub diagnostics: Option<Vec<(String, String)>>,
    pub inverters: Option<Vec<(SourceNumber, InverterState)>>,
}

/// A new batch.
#[derive(Debug, Clone)]
pub struct NewBlock {
    pub id: BatchId,
    pub stream: StreamId,
    pub source: SourceNumber,
    pub rows: u16,
    pub first: UnixMs,
    pub last: UnixMs,
    /// Add it to the times in `bytes` to get Unix milliseconds.
    pub time_offset_ms: i64,
    pub time_quality: TimeQuality,
    /// The batch as the device encoded it.
    pub bytes: Vec<u8>,
    pub summary: Summary,
}

/// Outcome of an upload, returned after its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Stored(Receipt),
    /// The same message as the last one accepted under this key; nothing changed.
    Duplicate(Receipt),
    /// Its counter was passed and it is not the last message; nothing changed.
    Stale {
        last: Counter,
    },
    /// The device, or this generation of its key, is unknown or revoked; nothing changed.
    UnknownDevice,
}

/// What the store has received of the epochs that an upload mentions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Sequences received, per epoch: ascending, disjoint, not touching.
    pub received: Vec<(BootEpoch, Vec<RangeInclusive<u32>>)>,
    /// The batches that this upload added.
    pub stored: Vec<BatchId>,
    /// Batches that were stored before.
    pub duplicates: u32,
    /// Batches not accepted, because the epoch would have more holes than the store tracks; the
    /// device sends them again when some are filled.
    pub deferred: Vec<BatchId>,
    /// Streams that could not be announced, because another layout or too many others were
    /// announced meanwhile; their batches are among the deferred.
    pub unannounced: Vec<StreamId>,
}

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

/// Samples of an inverter that are stored encoded together: one batch, or several of a past day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its batches with their row counts, in the order of their first samples; at least one.
    pub batches: Vec<(BatchId, u16)>,
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
    /// Newest good value and its time; absent if there was none yet.
    pub good: Option<(UnixMs, i64)>,
    /// Time and quality of the newest attempt.
    pub tried: (UnixMs, Quality),
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
    /// Start of the quarter hour and mean AC power of all inverters, milliwatts, ascending.
    pub power_mw: Vec<(UnixMs, i64)>,
}

/// How much data the store has, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub devices: u64,
    /// Size of the database without the write-ahead log.
    pub database_bytes: u64,
}

/// What the bytes of a database are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Batches as devices sent them, alone or packed.
    Samples,
    Minutes,
    Days,
    /// What energy is derived from, and its gaps.
    Energy,
    /// What a device's next message is checked against and added to.
    States,
    Rest,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Samples, Self::Minutes, Self::Days, Self::Energy, Self::States, Self::Rest];
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
    pub samples: u64,
    /// Local days of all inverters with stored data.
    pub inverter_days: u64,
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
