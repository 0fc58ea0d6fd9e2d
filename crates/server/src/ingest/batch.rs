//! A batch on its way from the message to the store and to the reply, stage by stage.

use ecowatt_model::{BatchId, StreamNumber, UnixMs};
use ecowatt_store::NewBlock;
use ecowatt_wire::{BatchRefusal, EpochStart, RefusedBatch};

use super::decode::{self, Encoded, Samples, Scratch, Stop};
use super::local_day::Calendar;
use super::sender::Sender;

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
    Deferred,
    /// Its layout is unknown.
    Wanted,
    Refused(BatchRefusal),
}

impl Batch {
    pub(super) fn refuse(&mut self, reason: BatchRefusal) {
        self.stage = Stage::Refused(reason);
    }

    /// Takes the batch as received; none if it was taken. Until it is sorted, it counts as
    /// deferred.
    pub(super) fn take_sent(&mut self) -> Option<(Vec<u8>, Option<EpochStart>)> {
        match std::mem::replace(&mut self.stage, Stage::Deferred) {
            Stage::Sent(bytes, start) => Some((bytes, start)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes what is to be decoded, if anything. Until it is decoded, the batch counts as deferred.
    pub(super) fn take_sorted(&mut self) -> Option<Encoded> {
        match std::mem::replace(&mut self.stage, Stage::Deferred) {
            Stage::Sorted(encoded) => Some(*encoded),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Returns the block for the store, if it was decoded.
    pub(super) fn decoded(&self) -> Option<&NewBlock> {
        match &self.stage {
            Stage::Decoded(block, _) => Some(block),
            _ => None,
        }
    }

    /// Takes the block for the store, if it was decoded.
    pub(super) fn give(&mut self) -> Option<NewBlock> {
        match std::mem::replace(&mut self.stage, Stage::Deferred) {
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

/// Decodes, checks and summarises the sorted batches of a message, as many as bring `cells_max`
/// cells, but at least one. Returns the cells that they bring.
pub(super) fn decode(
    batches: &mut [Batch],
    scratch: &Scratch,
    sender: &Sender,
    received_at: UnixMs,
    is_watched: bool,
    cells_max: usize,
) -> usize {
    let mut calendar = Calendar::new(&sender.zone);
    let mut cells = None;
    for batch in &mut *batches {
        let Some(encoded) = batch.take_sorted() else { continue };
        let left = cells.map_or(usize::MAX, |cells| cells_max.saturating_sub(cells));
        if left == 0 {
            continue;
        }
        let decoded = scratch.with(|working| {
            decode::block(encoded, working, &mut calendar, received_at, is_watched, left)
        });
        match decoded {
            Ok((block, samples)) => {
                cells = Some(cells.unwrap_or(0) + block.summary.cells());
                batch.stage = Stage::Decoded(Box::new(block), samples);
            }
            Err(Stop::Refused(reason)) => batch.refuse(reason),
            Err(Stop::TooMany) => {}
        }
    }
    keep_newest(batches);
    cells.unwrap_or(0)
}

/// Keeps the live sample only in the batch with the newest sample of each inverter.
fn keep_newest(batches: &mut [Batch]) {
    let newest = |batch: &Batch| match &batch.stage {
        Stage::Decoded(_, Samples { live: Some(live), .. }) => Some((live.inverter(), live.at())),
        _ => None,
    };
    for place in 0..batches.len() {
        let Some((inverter, t_ms)) = newest(&batches[place]) else { continue };
        let is_older = batches.iter().enumerate().any(|(other, batch)| {
            newest(batch).is_some_and(|(i, t)| i == inverter && (t, other) > (t_ms, place))
        });
        if is_older && let Stage::Decoded(_, samples) = &mut batches[place].stage {
            samples.live = None;
        }
    }
}

/// Returns the refused batches, each once.
pub(super) fn refused(batches: &[Batch]) -> Vec<RefusedBatch> {
    let mut refused: Vec<RefusedBatch> = Vec::new();
    for batch in batches {
        if let Stage::Refused(reason) = batch.stage
            && !refused.iter().any(|known| known.id == batch.id)
        {
            refused.push(RefusedBatch { id: batch.id, reason });
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
