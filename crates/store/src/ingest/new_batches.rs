//! Finds the batches of an upload that are new.
//!
//! Received ranges are kept per key. For epochs from before a key was given, those of earlier keys
//! count as well, so that a device which is enrolled again can send the rest of its spool. After a
//! reset they do not, because the earlier key may have been used by another device: a batch is then
//! known if the very same bytes are stored, and is otherwise stored under a new id.

use ecowatt_model::{BatchId, BootEpoch, Sequence};

use super::{Wants, name};
use crate::loaded::{IdSpan, KeyState, LoadedDevice};
use crate::received_set::{Added, Received};
use crate::upload::{ReceivedEpoch, Upload};

/// The epochs that an upload mentions, as copies until it is decided.
pub(super) struct Epochs {
    key: KeyState,
    epochs: Vec<Epoch>,
    /// What was received under the key of epochs in which another device may have used ids.
    doubtful: Option<IdSpan>,
}

/// Where a renamed batch belongs among those renamed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// The sequence of the first renamed batch. A backlog arrives from either end, so there is as much
/// room below it as above.
const MIDDLE: u32 = 1 << 31;

#[derive(Default)]
struct Epoch {
    number: BootEpoch,
    /// Received under the key of this upload.
    received: Received,
    /// Received under earlier keys; empty unless the epoch began before this key was given.
    former: Vec<Received>,
    lost_before: u64,
    is_touched: bool,
}

impl Epochs {
    pub(super) fn of(
        held: &LoadedDevice,
        upload: &Upload,
        key: &KeyState,
    ) -> Result<Self, Box<Wants>> {
        let mut numbers: Vec<BootEpoch> = (upload.batches.iter().map(|block| block.id.epoch))
            .chain(upload.refused.iter().map(|id| id.epoch))
            .chain(upload.dropped.iter().map(|dropped| dropped.epoch))
            .chain(upload.ask.iter().copied())
            .collect();
        let doubtful = held.doubtful.flatten();
        let epochs = Self { key: *key, epochs: Vec::new(), doubtful };
        let mut wants = Wants::default();
        if numbers.iter().any(|epoch| epochs.may_be_anybodys(*epoch)) {
            numbers.push(epochs.spare());
            let is_held = held.doubtful.is_some();
            wants.doubtful = (!is_held).then_some((upload.generation, key.forgotten.1));
            let batches = upload.batches.iter();
            let doubtful = batches.filter(|block| epochs.may_be_anybodys(block.id.epoch)).map(name);
            wants.bytes = doubtful.filter(|name| !held.bytes.has(name)).collect();
        }
        numbers.sort_unstable();
        numbers.dedup();
        let mut loaded = Vec::with_capacity(numbers.len());
        for number in numbers {
            let place = (number, upload.generation);
            let received = held.received(place);
            let former = if number < key.first_epoch {
                held.former.get(&place).cloned()
            } else {
                Some(Vec::new())
            };
            match (received, former) {
                (Some(received), Some(former)) => {
                    let lost_before = received.lost_samples();
                    loaded.push(Epoch { number, received, former, lost_before, is_touched: false });
                }
                (received, former) => {
                    wants.received.extend(received.is_none().then_some(place));
                    wants.former.extend(former.is_none().then_some(place));
                }
            }
        }
        wants.or(Self { epochs: loaded, ..epochs })
    }

    fn of_number(&mut self, number: BootEpoch) -> &mut Epoch {
        let place = match self.epochs.binary_search_by_key(&number, |epoch| epoch.number) {
            Ok(place) => place,
            Err(place) => {
                self.epochs.insert(place, Epoch { number, ..Epoch::default() });
                place
            }
        };
        let epoch = &mut self.epochs[place];
        epoch.is_touched = true;
        epoch
    }

    pub(super) fn add(&mut self, id: BatchId, rows: u16) -> Added {
        let epoch = self.of_number(id.epoch);
        let is_known = epoch.former.iter().any(|former| former.has(id.sequence.0));
        let added = epoch.received.add(id.sequence.0, rows);
        if added == Added::New && self.may_be_anybodys(id.epoch) {
            self.doubtful = Some(self.doubtful.map_or(IdSpan::of(id), |span| span.with(id)));
        }
        if is_known && added == Added::New { Added::Known } else { added }
    }

    /// Returns the first and last batch received under the key, as far as held, of epochs in which
    /// another device may have used ids.
    pub(super) fn doubtful(&self) -> Option<IdSpan> {
        self.doubtful
    }

    /// Adds the reported losses of epochs up to the present one.
    pub(super) fn lose(&mut self, upload: &Upload, present: BootEpoch) {
        for dropped in upload.dropped.iter().filter(|dropped| dropped.epoch <= present) {
            let received = &mut self.of_number(dropped.epoch).received;
            match dropped.batches {
                Some(lost) => received.lose(lost.first.0, lost.last.0, dropped.samples),
                None => received.lose_unbatched(dropped.samples),
            }
        }
    }

    /// Returns whether another device may have used the ids of batches of this epoch.
    pub(super) fn may_be_anybodys(&self, epoch: BootEpoch) -> bool {
        epoch < self.key.forgotten.1
    }

    /// Returns the next id at an end of those in the epoch that is kept free below the first of a
    /// key: for a batch from before the device was reset, whose own id another device may have used.
    /// The ids have no hole, so that they are one range.
    pub(super) fn name_anew(&mut self, side: Side, rows: u16) -> BatchId {
        let epoch = self.spare();
        let received = &mut self.of_number(epoch).received;
        let sequence = Sequence(match (received.bounds(), side) {
            (None, _) => MIDDLE,
            (Some(held), Side::Before) if *held.start() > 1 => held.start() - 1,
            (Some(held), _) => held.end().saturating_add(1),
        });
        received.add(sequence.0, rows);
        BatchId { epoch, sequence }
    }

    /// The epoch that is kept free below the first of the key.
    fn spare(&self) -> BootEpoch {
        BootEpoch(self.key.first_epoch.0.saturating_sub(1))
    }

    pub(super) fn received(&self) -> Vec<ReceivedEpoch> {
        let of_epoch = |epoch: &Epoch| ReceivedEpoch {
            epoch: epoch.number,
            sequences: epoch.received.ranges(),
        };
        self.epochs.iter().map(of_epoch).collect()
    }

    /// Samples that will never arrive: before this upload and after it.
    pub(super) fn lost_samples(&self) -> (u64, u64) {
        let before = self.epochs.iter().map(|epoch| epoch.lost_before).sum();
        (before, self.epochs.iter().map(|epoch| epoch.received.lost_samples()).sum())
    }

    /// The epochs that have changed, or may have.
    pub(super) fn touched(self) -> Vec<(BootEpoch, Received)> {
        let touched = self.epochs.into_iter().filter(|epoch| epoch.is_touched);
        touched.map(|epoch| (epoch.number, epoch.received)).collect()
    }
}
