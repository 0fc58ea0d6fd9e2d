//! The small durable state: identity, boot epoch, reserved counters, streams.
//!
//! It is one [`TwoCopies`] of bytes with a version ([`bytes`]). A copy that cannot be read or is missing
//! may be the newer one, damaged later. The other copy is then used, and the numbers that one write
//! may have given out are skipped. If copies exist and neither can be read, the ledger refuses to
//! open: starting from zero could use a counter or a batch number twice.

mod bytes;

use alloc::string::String;
use alloc::vec::Vec;

use ecowatt_device::limits::COUNTERS_PER_RESERVATION;
use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, SourceNumber, StreamNumber};

use super::areas::{Area, Areas, Fault, SmallArea};
use super::two_copies::TwoCopies;
use super::{EpochStarts, grown, held};

/// Room for every stream with its fingerprint, and for an identity many times over.
const SIZE_MAX: usize = 64 * 1024;
/// Layouts that are remembered. Beyond that the oldest that no batch needs is forgotten; if it
/// returns it is announced again, with another number.
const STREAMS_MAX: usize = 64;
/// Layouts that are remembered while batches need them.
pub(super) const STREAMS_IN_USE_MAX: usize = 512;

/// Maximum length of a claim code's public part, a key or a secret.
const TEXT_BYTES_MAX: usize = 64;

/// Contents of the ledger.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Number of the latest start.
    pub epoch: u32,
    /// Whether the latest epoch ended in good order.
    pub is_stopped: bool,
    /// Every counter below this one may have been used under the current key.
    pub reserved: u64,
    /// The number of the next stream.
    pub next_stream: u16,
    /// Starts of the boot epochs that may have waiting samples.
    pub starts: EpochStarts,
    pub identity: Option<Identity>,
    pub enrolment: Option<PendingEnrolment>,
    pub streams: Vec<Stream>,
}

/// The device's identity at its server.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub device: u32,
    pub key_generation: u16,
    /// The public part of the claim code that was redeemed for it. A different one in the
    /// configuration means that the operator wants the device enrolled again.
    pub claim_id: String,
    pub key: Vec<u8>,
}

/// An enrolment without an answer yet; repeated with the same bytes until the answer arrives.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingEnrolment {
    pub claim_id: String,
    pub secret: Vec<u8>,
}

/// A layout that has a number.
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
    /// The number that the server assigned.
    #[must_use]
    pub fn device(&self) -> DeviceNumber {
        DeviceNumber(self.device)
    }

    /// The generation of the device's key.
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
    pair: TwoCopies<D>,
    record: Record,
    /// Number of the last start before the ledger was opened.
    opened_after: u32,
    /// Whether a copy could not be read when the ledger was opened.
    is_damaged: bool,
}

impl<D: Areas> Ledger<D> {
    /// Reads the newer complete copy; returns an empty record if there has never been one.
    pub fn open(disk: D) -> Result<Self, LedgerError> {
        let (pair, opened) = TwoCopies::open(disk, SmallArea::Ledger, SIZE_MAX, Record::decode);
        let is_damaged = opened.value.is_some() && opened.damaged > 0;
        let record = match (opened.value, opened.failure) {
            (Some(mut record), _) => {
                if is_damaged {
                    record.pass_over();
                }
                record
            }
            // The very first write was torn, so no number had been given out before it.
            (None, None) if opened.found == 0 => Record::default(),
            (None, None) if opened.found == 1 && is_untouched(pair.disk())? => Record::default(),
            // The disk may be failing only for a while.
            (None, Some(error)) => return Err(LedgerError::Disk("read", error)),
            (None, None) => return Err(LedgerError::Damaged),
        };
        let opened_after = record.epoch;
        Ok(Self { pair, record, opened_after, is_damaged })
    }

    /// Whether a copy could not be read when the ledger was opened. The other one is used, and the
    /// numbers that a later write may have given out are skipped.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// The durable record.
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

    /// Upper limit of [`Ledger::memory_bytes`].
    pub(super) const fn memory_bytes_max() -> usize {
        grown::<Stream>(STREAMS_IN_USE_MAX)
            + EpochStarts::memory_bytes_max()
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

    /// The first epoch since the ledger was opened. The epochs after it share its monotonic clock.
    pub fn first_epoch(&self) -> BootEpoch {
        BootEpoch(self.opened_after.saturating_add(1))
    }

    /// Starts a boot epoch above `known` and all earlier ones, and returns its number.
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

    /// Records that the epoch ended in good order.
    pub fn stop(&mut self) -> Result<(), LedgerError> {
        let record = Record { is_stopped: true, ..self.record.clone() };
        self.store(record)
    }

    /// Remembers an enrolment before its first message is sent.
    pub fn set_enrolment(&mut self, enrolment: PendingEnrolment) -> Result<(), LedgerError> {
        let mut record = self.record.clone();
        record.enrolment = Some(enrolment);
        self.store(record)
    }

    /// Assigns a number to a layout of a source and makes that durable. Layouts for which
    /// `is_needed` returns true are kept as long as there is room.
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
    /// Skips the numbers that one lost write may have given out.
    fn pass_over(&mut self) {
        self.reserved = self.reserved.saturating_add(COUNTERS_PER_RESERVATION);
        self.epoch = self.epoch.saturating_add(1);
        self.next_stream = self.next_stream.saturating_add(1);
        // It is unknown how the last epoch ended.
        self.is_stopped = false;
    }
}

/// Whether the disk holds nothing that a device leaves after its first start.
fn is_untouched(disk: &impl Areas) -> Result<bool, LedgerError> {
    let areas = disk.list().map_err(|error| LedgerError::Disk("read", error))?;
    Ok(areas.iter().all(|area| matches!(area, Area::Copy(..))))
}
