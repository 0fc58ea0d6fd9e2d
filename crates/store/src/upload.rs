//! What a device sends, decoded, and the outcome of storing it.

use std::ops::RangeInclusive;

use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, SequenceRange, SourceNumber, UnixMs,
};

use crate::batch_summary::Summary;
use crate::command::{CommandResult, MovedCommand, SentCommand};
use crate::configuration::{Desired, ReportedConfig};
use crate::fleet::{Diagnostic, InverterReport};
use crate::ids::StreamId;
use crate::lease::{DesiredLeases, ReportedLeases};
use crate::point::PointDef;

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
    pub reported: DeviceReport,
    /// Commands that the device may have out after the reply; 0 if the reply carries none.
    pub commands_max: usize,
    /// What the device's protocol keeps for its next message under the same key.
    pub memory: Option<Vec<u8>>,
}

/// Samples that a device has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub epoch: BootEpoch,
    /// The batches that contained them; `None` if they were in no batch.
    pub batches: Option<SequenceRange>,
    /// All samples in these batches; without batches, all that the epoch has lost so far.
    pub samples: u32,
}

/// A device's report about itself; absent parts keep what is stored.
#[derive(Debug, Clone, Default)]
pub struct DeviceReport {
    pub firmware: Option<String>,
    pub diagnostics: Option<Vec<Diagnostic>>,
    pub inverters: Option<Vec<InverterReport>>,
    pub config: Option<ReportedConfig>,
    /// The leases that it holds, and changes of limits.
    pub leases: Option<ReportedLeases>,
    /// Results of commands, in the order in which they came about.
    pub results: Vec<CommandResult>,
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
pub enum UploadOutcome {
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

/// The batches that were received of a boot epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedEpoch {
    pub epoch: BootEpoch,
    /// Their sequences: ascending, disjoint, not touching.
    pub sequences: Vec<RangeInclusive<u32>>,
}

/// What the store has received of the epochs that an upload mentions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    pub received: Vec<ReceivedEpoch>,
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
    /// The desired configuration, if the device has yet to report it.
    pub pending: Option<Desired>,
    /// The leases, if the device has yet to report them.
    pub leases: Option<Box<DesiredLeases>>,
    /// The commands that the device has yet to report on, the most urgent first.
    pub commands: Vec<SentCommand>,
    /// Commands that changed their state, in order.
    pub moved: Vec<MovedCommand>,
    /// Results for numbers that no command of the device has.
    pub ignored_results: u32,
}
