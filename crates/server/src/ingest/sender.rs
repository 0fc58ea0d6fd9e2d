//! A device under one of its keys, as ingest knows it: the time zone of its site, its last message,
//! and what is left of its quota.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, StreamNumber};
use ecowatt_store::StreamId;
use ecowatt_wire::RefusedBatch;
use jiff::tz::TimeZone;

use super::IngestError;
use super::quota::Account;
use crate::limits::REFUSED_LAYOUT_LINE_EVERY;
use crate::log_limit::LogLimit;

/// Identifies a message among those of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// A number that grows with every message under one key.
    pub(super) counter: Counter,
    /// Tells two messages with the same number apart.
    pub(super) digest: [u8; 32],
}

/// The device and key that sealed a message.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) device: DeviceNumber,
    pub(super) generation: KeyGeneration,
    /// The time zone of its site.
    pub(super) zone: TimeZone,
    /// The first boot epoch that the device cannot be in under this key.
    pub(super) end_epoch: BootEpoch,
    /// Limits the log line about its refused announcements.
    pub(super) refused_line: LogLimit,
    /// Shared with the device's other keys.
    pub(super) account: Arc<Account>,
    last: Mutex<Last>,
}

/// What is remembered of the last message that was accepted under the key.
#[derive(Debug, Clone, Default)]
struct Last {
    counter: Counter,
    digest: Option<[u8; 32]>,
    /// The refused batches of that message; unknown after a start.
    refused: Option<Vec<RefusedBatch>>,
}

/// Whether a message is new, judging by its counter and digest. The store decides for good when it
/// takes the message; this check saves the store and the decoder the obvious cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may be the next one.
    Next,
    /// It is the last one repeated, of which these batches were refused.
    Repeated(Vec<RefusedBatch>),
}

impl Sender {
    pub(super) fn new(
        key: &ecowatt_store::DeviceKey,
        zone: TimeZone,
        account: Arc<Account>,
    ) -> Self {
        let last = Last { counter: key.counter, digest: key.digest, refused: None };
        Self {
            device: key.device,
            generation: key.generation,
            zone,
            end_epoch: key.end_epoch(),
            refused_line: LogLimit::new(REFUSED_LAYOUT_LINE_EVERY),
            account,
            last: Mutex::new(last),
        }
    }

    /// Returns the store's id of a stream of the device.
    pub(super) fn stream(&self, number: StreamNumber) -> StreamId {
        StreamId::new(self.generation, number)
    }

    /// # Errors
    /// If a later message was accepted, or another one of this number.
    pub(super) fn turn(&self, proof: &Proof) -> Result<Turn, IngestError> {
        let last = self.lock();
        match proof.counter.cmp(&last.counter) {
            Ordering::Greater => Ok(Turn::Next),
            Ordering::Less => Err(IngestError::Stale),
            Ordering::Equal => match (&last.digest, &last.refused) {
                (Some(held), _) if *held != proof.digest => Err(IngestError::Stale),
                (Some(_), Some(refused)) => Ok(Turn::Repeated(refused.clone())),
                _ => Ok(Turn::Next),
            },
        }
    }

    /// Notes that the store has accepted a message.
    pub(super) fn accepted(&self, proof: &Proof, refused: Vec<RefusedBatch>) {
        let mut last = self.lock();
        if proof.counter >= last.counter {
            let digest = Some(proof.digest);
            *last = Last { counter: proof.counter, digest, refused: Some(refused) };
        }
    }

    /// Notes that the store has accepted a message with this counter through another server
    /// process.
    pub(super) fn passed(&self, counter: Counter) {
        let mut last = self.lock();
        if counter > last.counter {
            *last = Last { counter, ..Last::default() };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
