//! What devices deliver and what queries give back: uploads, blocks, points and their roll-ups.

use std::ops::RangeInclusive;

use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, Unit, UnixMs,
};

use crate::energy::EnergyFigure;
use crate::fleet::InverterState;
use crate::rollup::{Aggregate, LocalDate};
use crate::summary::Summary;

/// Names a point of the dictionary for ever.
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

/// Names a stream of a device: the number that the device gave it and the key that it did so under.
/// Devices count their streams themselves, so what a stolen key announced says nothing about the
/// numbers of the next key.
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

    /// All streams of the key of this one.
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
    /// Its device stamped it by a clock that the server had confirmed.
    Device,
    /// It was taken before the server confirmed the clock and placed afterwards, by the time that had
    /// passed since the device's start.
    Anchored,
    /// Nobody confirmed the device's clock before its power went. Order and distances within the boot
    /// epoch are right; the epoch as a whole may lie elsewhere.
    Estimated,
    /// The device's, and outside what can be.
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

/// One message of a device, opened, decoded and summarised.
#[derive(Debug, Clone)]
pub struct Upload {
    pub device: DeviceNumber,
    pub generation: KeyGeneration,
    pub counter: Counter,
    /// SHA-256 of the message as it came.
    pub digest: [u8; 32],
    pub received_at: UnixMs,
    pub size_bytes: u32,
    /// The boot epoch that the device is in.
    pub epoch: BootEpoch,
    /// Streams that the device announces and has not announced before.
    pub streams: Vec<NewStream>,
    pub batches: Vec<NewBlock>,
    /// Batches that cannot be read and never will: acknowledged and counted, not stored.
    pub refused: Vec<BatchId>,
    /// What the device has lost for good. Of epochs that it has not reached, nothing is believed.
    pub dropped: Vec<Dropped>,
    /// Further epochs whose received batches the receipt must name.
    pub ask: Vec<BootEpoch>,
    pub reported: Reported,
}

/// Samples that a device has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub epoch: BootEpoch,
    /// First and last of the batches that they were in, none missing in between; none if they were in
    /// no batch.
    pub batches: Option<(Sequence, Sequence)>,
    /// All samples in these batches; of those in no batch, all that the epoch has lost so far.
    pub samples: u32,
}

/// What a device said of itself in a message; absent parts keep what is stored.
#[derive(Debug, Clone, Default)]
pub struct Reported {
    pub firmware: Option<String>,
    pub diagnostics: Option<Vec<(String, String)>>,
    pub inverters: Option<Vec<(SourceNumber, InverterState)>>,
}

/// A batch that is to be stored.
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

/// What became of an upload. Returned after the commit that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Stored(Receipt),
    /// The same message as the last one accepted under this key; nothing changed.
    Duplicate(Receipt),
    /// A message with a counter that was passed, and not the last one; nothing changed.
    Stale {
        last: Counter,
    },
    /// The device, or this generation of its key, is unknown or revoked; nothing changed.
    UnknownDevice,
}

/// What the store holds of the epochs that an upload speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Sequences received, per epoch: ascending, disjoint, not touching.
    pub received: Vec<(BootEpoch, Vec<RangeInclusive<u32>>)>,
    /// The batches that this upload brought.
    pub stored: Vec<BatchId>,
    /// Batches that were there before.
    pub duplicates: u32,
    /// Batches not taken, because the epoch would have more holes than the store keeps track of;
    /// the device sends them again when some are filled.
    pub deferred: Vec<BatchId>,
    /// Streams that could not be announced, because another layout or too many others were announced
    /// meanwhile; their batches are among the deferred.
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

/// Samples of an inverter that the store keeps encoded together: one batch, or several of a time that
/// is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The batches in it with their rows, in the order of their first samples; at least one.
    pub batches: Vec<(BatchId, u16)>,
    pub stream: StreamId,
    pub first: UnixMs,
    pub last: UnixMs,
    pub time_offset_ms: i64,
    pub time_quality: TimeQuality,
    /// As the codec encodes a batch of all rows.
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
    /// Newest good value and its time; absent if there never was one.
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

/// How much the store holds, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub devices: u64,
    /// Size of the database, the write-ahead log aside.
    pub database_bytes: u64,
}

/// What the bytes of a database are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As devices sent them, alone or packed.
    Samples,
    Minutes,
    Days,
    /// What energy is derived from, and its gaps.
    Energy,
    /// What the next message of a device is judged by and added to.
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

/// How much space a database takes, its write-ahead log aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReport {
    pub kinds: Vec<KindBytes>,
    /// In pages that hold nothing and are filled next.
    pub free_bytes: u64,
    pub samples: u64,
    /// Local days of all inverters of which something is stored.
    pub inverter_days: u64,
}

/// What came of making a device's roll-ups again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebuilt {
    pub blocks: u64,
    /// Blocks that cannot be decoded; nothing of them is in the roll-ups.
    pub unreadable: u64,
    /// Rows of roll-ups that were not as they are.
    pub rows_changed: u64,
}
