//! What a device brings and what it is told, whatever protocol it speaks.
//!
//! A protocol is a module that opens its messages, makes a [`Delivery`] of each, and says in its own
//! words what became of it ([`Accepted`]). [`super::intake`] takes deliveries and knows no protocol.
//! A protocol whose batches have no names gives them some: of a device that sends one batch with each
//! message, the message's number is one.

use std::sync::Arc;

use ecowatt_model::{BatchId, BootEpoch, Counter, SourceNumber, StreamNumber, UnixMs};
use ecowatt_store::{Dropped, NewBlock, Receipt, Reported};
use ecowatt_wire::{EpochStart, Refusal, Refused};

use super::IngestError;
use super::decode::{Encoded, Newest};
use super::sender::{Sender, Turn};

/// Shows which of its sender's messages one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    /// A number that grows with every message under one key.
    pub(super) counter: Counter,
    /// Tells two messages of one number apart.
    pub(super) digest: [u8; 32],
}

/// A message of a device, opened and found to be its own, with nothing of it decoded.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) sender: Arc<Sender>,
    pub(super) proof: Proof,
    pub(super) turn: Turn,
    pub(super) received_at: UnixMs,
    /// What it took on the way.
    pub(super) size_bytes: usize,
    pub(super) streams: Vec<Announcement>,
    pub(super) batches: Vec<Batch>,
    pub(super) reports: Vec<Report>,
}

impl Delivery {
    /// Begins one, to be filled by whoever reads the message.
    ///
    /// # Errors
    /// If the message is not its sender's next and not its last one again: nothing else of it need be
    /// read then.
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

    /// Every boot epoch that it speaks of.
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

/// What a stream number stands for, as the device says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) number: StreamNumber,
    pub(super) source: SourceNumber,
    /// The layout's CBOR.
    pub(super) layout: Vec<u8>,
}

/// What a device says of itself; it moves in the transaction of the message that brings it.
#[derive(Debug)]
pub(super) enum Report {
    /// The boot epoch that it is in.
    Boot(BootEpoch),
    /// Batches that it gave up.
    Lost(Dropped),
    /// How it is.
    Status(Reported),
}

/// A batch on its way from the message into the store and into the answer.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) stream: StreamNumber,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// As it came, in our codec, with the start of its epoch as the device knows it.
    Sent(Vec<u8>, Option<EpochStart>),
    /// With its layout.
    Sorted(Box<Encoded>),
    Decoded(Box<NewBlock>, Samples),
    /// With the store.
    Given(Samples),
    /// Part of a message that was taken before.
    Repeated,
    /// More than the message may bring; it may come again.
    PutOff,
    /// Its layout is not known.
    Wanted,
    Refused(Refusal),
}

/// What live views and counters want of a batch once it is stored.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) rows: u64,
    /// Its newest sample, in the message's newest batch of each inverter and if anybody watches.
    pub(super) live: Option<Newest>,
}

impl Batch {
    pub(super) fn refuse(&mut self, reason: Refusal) {
        self.stage = Stage::Refused(reason);
    }

    /// The batch as it came, if nobody has taken it; until it is sorted, it is put off.
    pub(super) fn take_sent(&mut self) -> Option<(Vec<u8>, Option<EpochStart>)> {
        match std::mem::replace(&mut self.stage, Stage::PutOff) {
            Stage::Sent(bytes, start) => Some((bytes, start)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// What is to be decoded, if anything is; until it has been, the batch is put off.
    pub(super) fn take_sorted(&mut self) -> Option<Encoded> {
        match std::mem::replace(&mut self.stage, Stage::PutOff) {
            Stage::Sorted(encoded) => Some(*encoded),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// The block for the store, if it was decoded.
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

/// The batches that were refused, each once.
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

/// The streams whose layouts are wanted, each once.
pub(super) fn wanted(batches: &[Batch]) -> Vec<StreamNumber> {
    let mut wanted = Vec::new();
    for batch in batches {
        if matches!(batch.stage, Stage::Wanted) && !wanted.contains(&batch.stream) {
            wanted.push(batch.stream);
        }
    }
    wanted
}

/// What became of a delivery, after the commit that holds it.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Whether it is the last message again.
    pub(super) is_duplicate: bool,
    pub(super) receipt: Receipt,
    pub(super) batches: Vec<Batch>,
    pub(super) down: Down,
}

/// What the server has for the device beside the acknowledgement. A protocol says as much of it as it
/// has words for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Down {
    /// The server's time when the message was stored.
    pub(super) time: UnixMs,
}
