//! The small durable state: identity, boot epoch, reserved counters, streams.
//!
//! It is one [`Pair`] of bytes with a version ([`bytes`]). A copy that cannot be read, or is gone, may be the newer one, damaged later: the
//! other counts then, and what one write may have given out is passed over. If copies exist and neither can be
//! read, the ledger refuses to open: starting afresh could use a counter or a batch number twice.

mod bytes;

use alloc::string::String;
use alloc::vec::Vec;

use ecowatt_device::limits::COUNTERS_PER_RESERVATION;
use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, SourceNumber, StreamNumber};

use super::areas::{Area, Areas, Fault, Thing};
use super::pair::Pair;
use super::{Starts, grown, held};

/// Room for every stream with its hash and an identity many times over.
const SIZE_MAX: usize = 64 * 1024;
/// Layouts that are remembered; beyond that the oldest that no batch needs is forgotten, and announced
/// again if it returns, under a number of its own.
const STREAMS_MAX: usize = 64;
/// Layouts that are remembered while batches need them.
pub(super) const STREAMS_IN_USE_MAX: usize = 512;

/// Most bytes of a claim code's public part, a key or a secret.
const TEXT_BYTES_MAX: usize = 64;

/// What the ledger holds.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Number of the latest start.
    pub epoch: u32,
    /// Whether the latest epoch was ended in good order.
    pub is_stopped: bool,
    /// Every counter below this one may have been used under the present key.
    pub reserved: u64,
    /// The number that the next stream gets.
    pub next_stream: u16,
    /// Where boot epochs began of which samples may wait.
    pub starts: Starts,
    pub identity: Option<Identity>,
    pub enrolment: Option<PendingEnrolment>,
    pub streams: Vec<Stream>,
}

/// Who the device is to its server.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub device: u32,
    pub key_generation: u16,
    /// The claim code's public part that was redeemed for it; another one in the configuration
    /// means that the operator wants the device enrolled again.
    pub claim_id: String,
    pub key: Vec<u8>,
}

/// An enrolment whose answer has not arrived; repeated with the same bytes until it does.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingEnrolment {
    pub claim_id: String,
    pub secret: Vec<u8>,
}

/// A layout that has been given a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub number: u16,
    pub source: u8,
    /// Fingerprint of the layout.
    pub layout: i64,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity")
            .field("device", &self.device)
            .field("key_generation", &self.key_generation)
            .field("claim_id", &self.claim_id)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for PendingEnrolment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PendingEnrolment").field("claim_id", &self.claim_id).finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Record {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Record")
            .field("epoch", &self.epoch)
            .field("reserved", &self.reserved)
            .field("identity", &self.identity)
            .field("enrolment", &self.enrolment)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The number that the server gave.
    #[must_use]
    pub fn device(&self) -> DeviceNumber {
        DeviceNumber(self.device)
    }

    /// Which of the device's keys this is.
    #[must_use]
    pub fn key_generation(&self) -> KeyGeneration {
        KeyGeneration(self.key_generation)
    }
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("ledger cannot be {0}")]
    Disk(&'static str, #[source] Fault),
    #[error(
        "both copies of the ledger are damaged: remove ledger.0 and ledger.1 from the data folder and \
         enrol the device again under its name (ecowatt device enrol --device dev-N)"
    )]
    Damaged,
    #[error("ledger would exceed {SIZE_MAX} bytes")]
    TooLarge,
    #[error("no number is left for another {0}")]
    Exhausted(&'static str),
}

/// The ledger on its disk.
#[derive(Debug)]
pub struct Ledger<D> {
    pair: Pair<D>,
    record: Record,
    /// Number of the last start before the ledger was opened.
    opened_after: u32,
    /// Whether a copy could not be read when the ledger was opened.
    is_damaged: bool,
}

impl<D: Areas> Ledger<D> {
    /// Reads the newer whole copy; an empty record if there has never been one.
    pub fn open(disk: D) -> Result<Self, LedgerError> {
        let (pair, opened) = Pair::open(disk, Thing::Ledger, SIZE_MAX, Record::decode);
        let is_damaged = opened.value.is_some() && opened.damaged > 0;
        let record = match (opened.value, opened.failure) {
            (Some(mut record), _) => {
                if is_damaged {
                    record.pass_over();
                }
                record
            }
            // The first write ever was torn: nothing had been decided before it.
            (None, None) if opened.found == 0 => Record::default(),
            (None, None) if opened.found == 1 && is_untouched(pair.disk())? => Record::default(),
            // It may be the disk that does not work for a while.
            (None, Some(error)) => return Err(LedgerError::Disk("read", error)),
            (None, None) => return Err(LedgerError::Damaged),
        };
        let opened_after = record.epoch;
        Ok(Self { pair, record, opened_after, is_damaged })
    }

    /// Whether a copy could not be read when the ledger was opened. The other one counts, with the
    /// numbers passed over that a later write may have given out.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// What is durable.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        let Record { identity, enrolment, streams, starts, .. } = &self.record;
        let identity = identity.iter().map(|i| i.claim_id.capacity() + i.key.capacity());
        let enrolment = enrolment.iter().map(|e| e.claim_id.capacity() + e.secret.capacity());
        held(streams) + starts.memory_bytes() + identity.chain(enrolment).sum::<usize>()
    }

    /// Most of [`Ledger::memory_bytes`].
    pub(super) const fn memory_bytes_max() -> usize {
        grown::<Stream>(STREAMS_IN_USE_MAX)
            + Starts::memory_bytes_max()
            + 4 * grown::<u8>(TEXT_BYTES_MAX)
    }

    /// Makes a changed record durable; on an error the former one still counts.
    pub fn store(&mut self, record: Record) -> Result<(), LedgerError> {
        let bytes = record.encode().filter(|bytes| bytes.len() <= SIZE_MAX);
        let bytes = bytes.ok_or(LedgerError::TooLarge)?;
        self.pair.store(&bytes).map_err(|error| LedgerError::Disk("written", error))?;
        self.record = record;
        Ok(())
    }

    /// The first epoch since the ledger was opened. Those that follow have their monotonic clock in
    /// common with it.
    pub fn first_epoch(&self) -> BootEpoch {
        BootEpoch(self.opened_after.saturating_add(1))
    }

    /// Starts a boot epoch, above `known` and all before, and returns its number.
    pub fn start_epoch(&mut self, known: Option<BootEpoch>) -> Result<BootEpoch, LedgerError> {
        let mut record = self.record.clone();
        let last = record.epoch.max(known.unwrap_or_default().0);
        record.epoch = last.checked_add(1).ok_or(LedgerError::Exhausted("start"))?;
        record.is_stopped = false;
        self.store(record)?;
        Ok(BootEpoch(self.record.epoch))
    }

    /// Makes it durable that every counter below `limit` may be used.
    pub fn reserve(&mut self, limit: Counter) -> Result<(), LedgerError> {
        let mut record = self.record.clone();
        record.reserved = limit.0.max(record.reserved);
        self.store(record)
    }

    /// Notes that the epoch ends in good order.
    pub fn stop(&mut self) -> Result<(), LedgerError> {
        let record = Record { is_stopped: true, ..self.record.clone() };
        self.store(record)
    }

    /// Remembers an enrolment before its first message leaves.
    pub fn set_enrolment(&mut self, enrolment: PendingEnrolment) -> Result<(), LedgerError> {
        let mut record = self.record.clone();
        record.enrolment = Some(enrolment);
        self.store(record)
    }

    /// Gives a number to a layout of a source and makes that durable. One that `is_needed` is not
    /// forgotten for it, as long as there is room.
    pub fn add_stream(
        &mut self,
        source: SourceNumber,
        layout: i64,
        is_needed: impl Fn(StreamNumber) -> bool,
    ) -> Result<StreamNumber, LedgerError> {
        let mut record = self.record.clone();
        let number = record.next_stream.max(1);
        record.next_stream = number.checked_add(1).ok_or(LedgerError::Exhausted("layout"))?;
        if record.streams.len() >= STREAMS_MAX {
            let free = record.streams.iter().position(|s| !is_needed(StreamNumber(s.number)));
            let is_full = record.streams.len() >= STREAMS_IN_USE_MAX;
            if let Some(place) = free.or(is_full.then_some(0)) {
                record.streams.remove(place);
            }
        }
        record.streams.push(Stream { number, source: source.0, layout });
        self.store(record)?;
        Ok(StreamNumber(number))
    }
}

impl Record {
    /// Passes over what one write may have given out that is not known of.
    fn pass_over(&mut self) {
        self.reserved = self.reserved.saturating_add(COUNTERS_PER_RESERVATION);
        self.epoch = self.epoch.saturating_add(1);
        self.next_stream = self.next_stream.saturating_add(1);
        // Nobody knows how the last epoch ended.
        self.is_stopped = false;
    }
}

/// Whether there is nothing that a device leaves after its first start.
fn is_untouched(disk: &impl Areas) -> Result<bool, LedgerError> {
    let areas = disk.list().map_err(|error| LedgerError::Disk("read", error))?;
    Ok(areas.iter().all(|area| matches!(area, Area::Copy(..))))
}
