//! Outcomes of a node's work: enough to send a message, to log the outcome and to check it.

use alloc::vec::Vec;
use core::time::Duration;

use ecowatt_device::{ComposeError, EncodeBatchError, Slot};
use ecowatt_envelope::RequestId;
use ecowatt_model::{BatchId, Counter, SourceNumber, StreamNumber};
use ecowatt_wire::AckRange;

use crate::storage::{Batch, BatchRange, Dropped, StorageError};

/// Outcome of [`DiskWork`](super::DiskWork).
#[derive(Debug)]
pub enum WorkOutcome {
    /// The slot is durable, or has its former contents.
    Kept { slot: Slot, result: Result<(), StorageError> },
    /// The newest sample is durable, or only in memory; [`Node::newest`](super::Node::newest)
    /// returns it until the next call.
    Drafted { source: SourceNumber, result: Result<(), StorageError> },
    /// A batch is durable, or its samples stay in the buffer.
    Persisted { batch: Batch, result: Result<(), StorageError> },
    /// No batch could be made.
    NotCut(EncodeBatchError),
    /// Counters below `limit` may be used, or may not yet.
    Reserved { limit: Counter, result: Result<(), StorageError> },
    /// A message is ready to be sent. It carries no batches if the spool could not be read.
    Composed { message: Message, offered: Result<(), StorageError> },
    /// No message could be composed. It counts as a failed one.
    NotComposed { error: ComposeError, offered: Result<(), StorageError> },
}

/// A sealed message and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub request: RequestId,
    pub batches: Vec<BatchId>,
    pub layouts: Vec<StreamNumber>,
    /// Gaps that it reports.
    pub dropped: Vec<Dropped>,
    /// How long the server may hold the reply, in addition to the time that an exchange takes.
    pub patience: Duration,
    pub bytes: Vec<u8>,
}

/// What a reply has acknowledged.
#[derive(Debug)]
pub struct FreedBatches {
    /// Refused batches are among them.
    pub ranges: Vec<BatchRange>,
    /// How many of the message's gaps the server knows about.
    pub drops_known: usize,
    /// On an error the batches are not sent again in this epoch, but may be in the next.
    pub result: Result<(), StorageError>,
}

impl WorkOutcome {
    /// The result of the storage operation, if there was one.
    #[must_use]
    pub fn storage(&self) -> Option<&Result<(), StorageError>> {
        match self {
            Self::Kept { result, .. }
            | Self::Drafted { result, .. }
            | Self::Persisted { result, .. }
            | Self::Reserved { result, .. }
            | Self::Composed { offered: result, .. }
            | Self::NotComposed { offered: result, .. } => Some(result),
            Self::NotCut(_) => None,
        }
    }
}

pub(super) fn batches(range: &AckRange) -> BatchRange {
    let id = |sequence| BatchId { epoch: range.epoch, sequence };
    BatchRange { first: id(range.first), last: id(range.last) }
}
