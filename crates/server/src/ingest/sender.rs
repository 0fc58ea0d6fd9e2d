//! A device under one of its keys, as ingest knows it: the time zone of its site, its last message,
//! and what is left of its quota.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_model::{BootEpoch, Counter, DeviceNumber, KeyGeneration, MonoMs, StreamNumber};
use ecowatt_store::StreamId;
use ecowatt_wire::Refused;
use jiff::tz::TimeZone;

use super::IngestError;
use super::delivery::Proof;
use super::quota::Quota;
use crate::limits::{REFUSED_LAYOUT_LINE_EVERY, TURNS_OF_DEVICE_MAX};
use crate::sparing::Sparing;

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
    pub(super) refused_line: Sparing,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    last: Last,
    quota: Quota,
    turns: u32,
}

/// What is remembered of the last message that was accepted under the key.
#[derive(Debug, Clone, Default)]
struct Last {
    counter: Counter,
    digest: Option<[u8; 32]>,
    /// The refused batches of that message; unknown after a start.
    refused: Option<Vec<Refused>>,
}

/// Whether a message is new, judging by its counter and digest. The store decides for good when it
/// takes the message; this check saves the store and the decoder the obvious cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may be the next one.
    Next,
    /// It is the last one repeated, of which these batches were refused.
    Repeated(Vec<Refused>),
}

impl Sender {
    pub(super) fn new(key: &ecowatt_store::DeviceKey, zone: TimeZone, now: MonoMs) -> Self {
        let last = Last { counter: key.counter, digest: key.digest, refused: None };
        Self {
            device: key.device,
            generation: key.generation,
            zone,
            end_epoch: key.end_epoch(),
            refused_line: Sparing::new(REFUSED_LAYOUT_LINE_EVERY),
            standing: Mutex::new(Standing { last, quota: Quota::full(now), turns: 0 }),
        }
    }

    /// Returns the store's id of a stream of the device.
    pub(super) fn stream(&self, number: StreamNumber) -> StreamId {
        StreamId::new(self.generation, number)
    }

    /// # Errors
    /// If a later message was accepted, or another one of this number.
    pub(super) fn turn(&self, proof: &Proof) -> Result<Turn, IngestError> {
        let last = &self.lock().last;
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
    pub(super) fn accepted(&self, proof: &Proof, refused: Vec<Refused>) {
        let last = &mut self.lock().last;
        if proof.counter >= last.counter {
            let digest = Some(proof.digest);
            *last = Last { counter: proof.counter, digest, refused: Some(refused) };
        }
    }

    /// Notes that the store has accepted a message with this counter through another server
    /// process.
    pub(super) fn passed(&self, counter: Counter) {
        let last = &mut self.lock().last;
        if counter > last.counter {
            *last = Last { counter, ..Last::default() };
        }
    }

    /// Spends quota for decoding this many values.
    ///
    /// # Errors
    /// The time that the device has to wait, if its quota is used up.
    pub(super) fn spend(&self, now: MonoMs, values: usize) -> Result<(), Duration> {
        self.lock().quota.spend(now, values)
    }

    /// Charges the quota for the cells that a message brought.
    pub(super) fn charge(&self, cells: usize) {
        self.lock().quota.charge(cells);
    }

    /// Takes one of the device's turns, until the guard is dropped; none if all are taken.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Begun> {
        let turns = &mut self.lock().turns;
        if *turns >= TURNS_OF_DEVICE_MAX {
            return None;
        }
        *turns += 1;
        Some(Begun(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Sender::begin`].
#[derive(Debug)]
pub(super) struct Begun(Arc<Sender>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.lock().turns -= 1;
    }
}
