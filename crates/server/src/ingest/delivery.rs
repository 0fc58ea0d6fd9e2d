//! What a device delivers and what it is answered, independent of its protocol.
//!
//! A protocol is a module that opens its messages, makes a [`Delivery`] of each, and translates the
//! outcome ([`Accepted`]) into its own reply. [`super::intake`] takes deliveries and knows no
//! protocol. A protocol whose batches have no names must assign them: if each message has one
//! batch, the message's number can be the name.

use std::sync::Arc;

use ecowatt_model::{BatchId, BootEpoch, Counter, SourceNumber, StreamNumber, UnixMs};
use ecowatt_store::{Dropped, NewBlock, Receipt, Reported};
use ecowatt_wire::{EpochStart, Refusal, Refused};

use super::IngestError;
use super::decode::{Encoded, Newest};
use super::sender::{Sender, Turn};

/// Identifies a message among those of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// A number that grows with every message under one key.
    pub(super) counter: Counter,
    /// Tells two messages with the same number apart.
    pub(super) digest: [u8; 32],
}

/// An opened and authenticated message of a device, with no batch decoded yet.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) sender: Arc<Sender>,
    pub(super) proof: Proof,
    pub(super) turn: Turn,
    pub(super) received_at: UnixMs,
    /// Length of the message on the wire.
    pub(super) size_bytes: usize,
    pub(super) streams: Vec<Announcement>,
    pub(super) batches: Vec<Batch>,
    pub(super) reports: Vec<Report>,
}

impl Delivery {
    /// Begins a delivery, to be filled by the module that reads the message.
    ///
    /// # Errors
    /// If the message is neither its sender's next nor its last one repeated. The rest of it need
    /// not be read then.
    pub(super) fn begin(
        sender: Arc<Sender>,
        proof: Proof,
        received_at: UnixMs,
        size_bytes: usize,
    ) -> Result<Self, IngestError> {
        let turn = sender.turn(&proof)?;
        let (streams, batches, reports) = Default::default();
        Ok(Self { sender, proof, turn, received_at, size_bytes, streams, batches, reports })
    }

    /// Returns every boot epoch that it names.
    pub(super) fn epochs(&self) -> impl Iterator<Item = BootEpoch> {
        let batches = self.batches.iter().map(|batch| batch.id.epoch);
        let reports = self.reports.iter().filter_map(|report| match report {
            Report::Boot(epoch) => Some(*epoch),
            Report::Lost(dropped) => Some(dropped.epoch),
            Report::Status(_) => None,
        });
        batches.chain(reports)
    }
}

/// A device's announcement of what a stream number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) number: StreamNumber,
    pub(super) source: SourceNumber,
    /// The layout's CBOR.
    pub(super) layout: Vec<u8>,
}

/// What a device reports of itself; stored in the transaction of its message.
#[derive(Debug)]
pub(super) enum Report {
    /// Its current boot epoch.
    Boot(BootEpoch),
    /// Batches that it has dropped.
    Lost(Dropped),
    /// Its condition.
    Status(Reported),
}

/// A batch on its way from the message to the store and to the reply.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) stream: StreamNumber,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// As received, in our codec, with the start of its epoch if the device reported it.
    Sent(Vec<u8>, Option<EpochStart>),
    /// Its layout was found.
    Sorted(Box<Encoded>),
    Decoded(Box<NewBlock>, Samples),
    /// Handed to the store.
    Given(Samples),
    /// Part of a message that was stored before.
    Repeated,
    /// Beyond the message's allowance; the device sends it again.
    PutOff,
    /// Its layout is unknown.
    Wanted,
    Refused(Refusal),
}

/// What live views and metrics need of a batch once it is stored.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) rows: u64,
    /// Its newest sample; only in the message's newest batch of each inverter, and only if there
    /// are live readers.
    pub(super) live: Option<Newest>,
}

impl Batch {
    pub(super) fn refuse(&mut self, reason: Refusal) {
        self.stage = Stage::Refused(reason);
    }

    /// Takes the batch as received; none if it was taken. Until it is sorted, it counts as
    /// deferred.
    pub(super) fn take_sent(&mut self) -> Option<(Vec<u8>, Option<EpochStart>)> {
        match std::mem::replace(&mut self.stage, Stage::PutOff) {
            Stage::Sent(bytes, start) => Some((bytes, start)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes what is to be decoded, if anything. Until it is decoded, the batch counts as deferred.
    pub(super) fn take_sorted(&mut self) -> Option<Encoded> {
        match std::mem::replace(&mut self.stage, Stage::PutOff) {
            Stage::Sorted(encoded) => Some(*encoded),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes the block for the store, if it was decoded.
    pub(super) fn give(&mut self) -> Option<NewBlock> {
        match std::mem::replace(&mut self.stage, Stage::PutOff) {
            Stage::Decoded(block, samples) => {
                self.stage = Stage::Given(samples);
                Some(*block)
            }
            other => {
                self.stage = other;
                None
            }
        }
    }
}

/// Returns the refused batches, each once.
pub(super) fn refused(batches: &[Batch]) -> Vec<Refused> {
    let mut refused: Vec<Refused> = Vec::new();
    for batch in batches {
        if let Stage::Refused(reason) = batch.stage
            && !refused.iter().any(|known| known.id == batch.id)
        {
            refused.push(Refused { id: batch.id, reason });
        }
    }
    refused
}

/// Returns the streams whose layouts are unknown, each once.
pub(super) fn wanted(batches: &[Batch]) -> Vec<StreamNumber> {
    let mut wanted = Vec::new();
    for batch in batches {
        if matches!(batch.stage, Stage::Wanted) && !wanted.contains(&batch.stream) {
            wanted.push(batch.stream);
        }
    }
    wanted
}

/// Outcome of a delivery, after its commit.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Whether it is the last message repeated.
    pub(super) is_duplicate: bool,
    pub(super) receipt: Receipt,
    pub(super) batches: Vec<Batch>,
    pub(super) down: Down,
}

/// What the server has for the device besides the acknowledgement. A protocol sends the part that
/// it can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Down {
    /// The server's time when the message was stored.
    pub(super) time: UnixMs,
}
