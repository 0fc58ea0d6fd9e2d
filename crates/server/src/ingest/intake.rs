//! Takes deliveries of every protocol: looks up their layouts, decodes as much as the quota allows,
//! and stores everything in one transaction.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::StreamNumber;
use ecowatt_store::{
    DeviceReport, NewBlock, NewStream, Receipt, Store, StoreError, Upload, UploadOutcome,
};
use ecowatt_wire::{BatchRefusal, RefusedBatch};
use tokio::sync::Semaphore;

use super::IngestError;
use super::batch::{self, Batch, Stage, refused, wanted};
use super::decode::{Encoded, Scratch};
use super::delivery::{Accepted, Delivery, Down, Report};
use super::quota::{Allowance, Cost};
use super::sender::{Sender, Turn};
use super::streams::{Announced, KnownStream, Streams};
use crate::limits::{
    CELLS_WAITING_MAX, DECODE_INLINE_VALUES_MAX, TURN_CELLS, TURNS_MAX, TURNS_WAITING_MAX,
};
use crate::live::Live;
use crate::metrics::Metrics;

/// The wait for a device that has too many large messages in progress.
const TURN_RETRY: Duration = Duration::from_secs(1);

/// Most cells of a quarter hour's grid for each value: two samples may span 15 minutes.
const CELLS_PER_VALUE: usize = 8;

/// Takes deliveries; remembers layouts.
#[derive(Debug)]
pub(super) struct Intake {
    store: Store,
    clock: Clock,
    live: Live,
    metrics: Arc<Metrics>,
    streams: Streams,
    scratch: Arc<Scratch>,
    pub(super) turns: Turns,
}

/// The permits that large messages compete for.
#[derive(Debug)]
pub(super) struct Turns {
    /// Working memory of the messages being decoded.
    pub(super) decoding: Semaphore,
    /// Places to wait for that memory.
    pub(super) waiting: Semaphore,
    /// Memory of decoded messages that wait for the store.
    decoded: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        let count = |max: u32| Semaphore::new(usize::try_from(max).unwrap_or(usize::MAX));
        Self {
            decoding: count(TURNS_MAX),
            waiting: Semaphore::new(TURNS_WAITING_MAX),
            decoded: count(CELLS_WAITING_MAX),
        }
    }
}

/// Converts cells to permits, at least one and at most `max`.
fn permits(cells: usize, max: u32) -> u32 {
    u32::try_from(cells.div_ceil(TURN_CELLS)).unwrap_or(max).clamp(1, max)
}

impl Intake {
    pub(super) fn new(store: Store, clock: Clock, live: Live, metrics: Arc<Metrics>) -> Self {
        Self {
            streams: Streams::new(store.clone(), clock),
            scratch: Arc::default(),
            turns: Turns::default(),
            store,
            clock,
            live,
            metrics,
        }
    }

    /// Stores a delivery in one transaction.
    ///
    /// # Errors
    /// If nothing of it was stored.
    pub(super) async fn accept(&self, mut delivery: Delivery) -> Result<Accepted, IngestError> {
        let sender = Arc::clone(&delivery.sender);
        if delivery.epochs().any(|epoch| epoch >= sender.end_epoch) {
            return Err(IngestError::Epoch);
        }
        let mut named = Named::default();
        // A repeated message needs no decoding: the store has its batches already.
        let cells = match std::mem::replace(&mut delivery.turn, Turn::Next) {
            Turn::Repeated(refused) => {
                self.recall(&mut delivery, &mut named, &refused).await?;
                0
            }
            Turn::Next => self.prepare(&mut delivery, &mut named).await?,
        };
        let has_unread =
            delivery.batches.iter().any(|batch| matches!(batch.stage, Stage::Deferred));
        if delivery.memory.is_some() && has_unread {
            return Err(IngestError::OverQuota(TURN_RETRY));
        }
        // The permit is held until the commit, so a slow store bounds what waits for it.
        let waiting = self.turns.decoded.try_acquire_many(permits(cells, CELLS_WAITING_MAX));
        let _waiting = waiting.map_err(|_| IngestError::Busy)?;

        let (proof, upload) = (delivery.proof, upload(&mut delivery, &named));
        let batches = delivery.batches;
        let has_config = upload.reported.config.is_some() || upload.reported.leases.is_some();
        let (mut receipt, is_duplicate) = match self.store.ingest(upload).await? {
            UploadOutcome::Stored(receipt) => {
                // Only committed streams are remembered; the store may have had no place for some.
                for (new, stream) in named.new {
                    if !receipt.unannounced.contains(&new.id) {
                        self.streams.accepted(sender.device, new.id, stream);
                    }
                }
                self.metrics.storage_full.set(false);
                self.count(&receipt, &batches);
                self.show(&sender, &receipt, &batches);
                if has_config {
                    self.live.publish_config(sender.device);
                }
                for moved in &receipt.moved {
                    self.live.publish_command(*moved);
                }
                (receipt, false)
            }
            UploadOutcome::Duplicate(receipt) => (receipt, true),
            UploadOutcome::Stale { last } => {
                sender.passed(last);
                return Err(IngestError::Stale);
            }
            UploadOutcome::UnknownDevice => return Err(IngestError::UnknownKey),
        };
        sender.accepted(&proof, refused(&batches));
        let down = Down {
            time: self.clock.now(),
            desired: receipt.pending.take(),
            leases: receipt.leases.take(),
            commands: std::mem::take(&mut receipt.commands),
        };
        Ok(Accepted { is_duplicate, receipt, batches, down })
    }

    /// Sorts the batches of a repeated message for the same answer as before, without decoding
    /// them.
    async fn recall(
        &self,
        delivery: &mut Delivery,
        named: &mut Named,
        refused: &[RefusedBatch],
    ) -> Result<(), StoreError> {
        for batch in &mut delivery.batches {
            let was_refused = refused.iter().find(|refused| refused.id == batch.id);
            batch.stage = match was_refused {
                Some(refused) => Stage::Refused(refused.reason),
                None => match self.meaning(&delivery.sender, named, batch.stream).await? {
                    Meaning::Unknown => Stage::Wanted,
                    Meaning::Known(_) | Meaning::Refused => Stage::Repeated,
                },
            };
        }
        Ok(())
    }

    /// Prepares what the store will add; returns the cells of roll-ups in it.
    async fn prepare(
        &self,
        delivery: &mut Delivery,
        named: &mut Named,
    ) -> Result<usize, IngestError> {
        // Before anything is looked up or entered, so that a device in debt leaves nothing behind.
        let account = Arc::clone(&delivery.sender.account);
        let spent = account.spend(self.clock.mono(), delivery.size_bytes);
        spent.map_err(IngestError::OverQuota)?;
        self.announce(delivery, named).await?;
        let allowance = Allowance::of(delivery.size_bytes);
        let values = self.sort(delivery, named, allowance).await?;
        account.charge(Cost::of_values(values));
        let cells = self.decode(delivery, values, allowance).await?;
        for block in delivery.batches.iter().filter_map(Batch::decoded) {
            account.charge(Cost::of_block(&block.summary));
        }
        Ok(cells)
    }

    /// Checks the streams that the device announces.
    async fn announce(&self, delivery: &Delivery, named: &mut Named) -> Result<(), StoreError> {
        let sender = &delivery.sender;
        for stream in &delivery.streams {
            let id = sender.stream(stream.number);
            if let Some((new, _)) = named.new.iter().find(|(new, _)| new.id == id) {
                if new.layout != stream.layout || new.source != stream.source {
                    named.note(stream.number, Meaning::Refused);
                }
                continue;
            }
            match self.streams.look(sender, stream, delivery.received_at).await? {
                Announced::Before => {}
                Announced::New(new, known) => {
                    named.note(stream.number, Meaning::Known(known.clone()));
                    named.new.push((new, known));
                }
                Announced::Refused => named.note(stream.number, Meaning::Refused),
            }
        }
        Ok(())
    }

    /// Finds the layouts of the batches. Of the batches with a layout it selects as many as are
    /// within the allowance, but at least one; returns the values to decode in them.
    async fn sort(
        &self,
        delivery: &mut Delivery,
        named: &mut Named,
        allowance: Allowance,
    ) -> Result<usize, StoreError> {
        let mut taken = None;
        for batch in &mut delivery.batches {
            let known = match self.meaning(&delivery.sender, named, batch.stream).await? {
                Meaning::Known(known) => known,
                Meaning::Unknown => {
                    batch.stage = Stage::Wanted;
                    continue;
                }
                Meaning::Refused => {
                    batch.refuse(BatchRefusal::BadLayout);
                    continue;
                }
            };
            let Some(sent) = batch.take_sent() else { continue };
            let stream = delivery.sender.stream(batch.stream);
            let encoded = Encoded::new(batch.id, sent, stream, known, &self.scratch);
            let values = taken.unwrap_or(0) + encoded.values();
            if taken.is_none() || values <= allowance.values {
                taken = Some(values);
                batch.stage = Stage::Sorted(Box::new(encoded));
            }
        }
        Ok(taken.unwrap_or(0))
    }

    /// Returns what a stream number of the message stands for.
    async fn meaning(
        &self,
        sender: &Sender,
        named: &mut Named,
        number: StreamNumber,
    ) -> Result<Meaning, StoreError> {
        if let Some((_, meaning)) = named.meanings.iter().find(|(known, _)| *known == number) {
            return Ok(meaning.clone());
        }
        let found = self.streams.find(sender, number).await?;
        let meaning = found.map_or(Meaning::Unknown, Meaning::Known);
        named.note(number, meaning.clone());
        Ok(meaning)
    }

    async fn decode(
        &self,
        delivery: &mut Delivery,
        values: usize,
        allowance: Allowance,
    ) -> Result<usize, IngestError> {
        let is_watched = self.live.has_readers();
        let (scratch, sender) = (Arc::clone(&self.scratch), Arc::clone(&delivery.sender));
        let (received_at, cells_max) = (delivery.received_at, allowance.cells);
        let mut batches = std::mem::take(&mut delivery.batches);
        let decode = move || {
            let cells =
                batch::decode(&mut batches, &scratch, &sender, received_at, is_watched, cells_max);
            (batches, cells)
        };
        if values <= DECODE_INLINE_VALUES_MAX {
            let (batches, cells) = decode();
            delivery.batches = batches;
            return Ok(cells);
        }
        let _begun = delivery.sender.account.begin().ok_or(IngestError::OverQuota(TURN_RETRY))?;
        // A quarter hour's grid is allocated for 15 minutes even if a batch has two samples in it.
        let cells = values.saturating_mul(CELLS_PER_VALUE).min(2 * cells_max);
        let wanted = permits(cells, TURNS_MAX);
        let _turn = match self.turns.decoding.try_acquire_many(wanted) {
            Ok(turn) => turn,
            Err(_) => {
                let _place = self.turns.waiting.try_acquire().map_err(|_| IngestError::Busy)?;
                self.turns.decoding.acquire_many(wanted).await.map_err(|_| IngestError::Busy)?
            }
        };
        let decoded = tokio::task::spawn_blocking(decode).await;
        let (batches, cells) = decoded.map_err(|_| IngestError::Cut)?;
        delivery.batches = batches;
        Ok(cells)
    }

    fn count(&self, receipt: &Receipt, batches: &[Batch]) {
        let add = |outcome, count: usize| {
            if count > 0 {
                self.metrics.batches.add([outcome], u64::try_from(count).unwrap_or(u64::MAX));
            }
        };
        let put_off = batches.iter().filter(|batch| matches!(batch.stage, Stage::Deferred)).count();
        add("stored", receipt.stored.len());
        add("duplicate", usize::try_from(receipt.duplicates).unwrap_or(usize::MAX));
        add("deferred", receipt.deferred.len() + put_off);
        add("refused", refused(batches).len());
        add("layout_wanted", wanted(batches).len());
        self.metrics.results_ignored.add(u64::from(receipt.ignored_results));
    }

    /// Publishes to live views what was stored.
    fn show(&self, sender: &Sender, receipt: &Receipt, batches: &[Batch]) {
        self.live.heard(sender.device);
        for batch in batches {
            let Stage::Given(samples) = &batch.stage else { continue };
            if receipt.stored.contains(&batch.id) {
                self.metrics.samples.add(samples.rows);
                if let Some(newest) = &samples.live {
                    self.live.publish_sample(sender.device, newest.live());
                }
            }
        }
    }
}

/// What the stream numbers of a message stand for, as far as they were looked up.
#[derive(Debug, Default)]
struct Named {
    meanings: Vec<(StreamNumber, Meaning)>,
    /// Streams that the message announces.
    new: Vec<(NewStream, KnownStream)>,
}

#[derive(Debug, Clone)]
enum Meaning {
    Known(KnownStream),
    Unknown,
    /// The message contradicts itself or the store about it, or its layout is unusable.
    Refused,
}

impl Named {
    /// Notes a meaning. A refusal stays, whatever else the message says of the stream.
    fn note(&mut self, number: StreamNumber, meaning: Meaning) {
        match self.meanings.iter_mut().find(|(known, _)| *known == number) {
            Some((_, Meaning::Refused)) => {}
            Some((_, held)) => *held = meaning,
            None => self.meanings.push((number, meaning)),
        }
    }
}

/// Builds the store's upload of a delivery, moving the blocks out of it.
fn upload(delivery: &mut Delivery, named: &Named) -> Upload {
    let ask: Vec<_> = delivery.batches.iter().map(|batch| batch.id.epoch).collect();
    let blocks: Vec<NewBlock> = delivery.batches.iter_mut().filter_map(Batch::give).collect();
    let (mut boot, mut dropped, mut reported) = (None, Vec::new(), DeviceReport::default());
    for report in std::mem::take(&mut delivery.reports) {
        match report {
            Report::Boot(epoch) => boot = Some(epoch),
            Report::Lost(lost) => dropped.push(lost),
            Report::Status(status) => {
                let DeviceReport { config, leases, results, .. } = reported;
                reported = DeviceReport { config, leases, results, ..status };
            }
            Report::Config(config) => reported.config = Some(config),
            Report::Leases(leases) => reported.leases = Some(leases),
            Report::Result(result) => reported.results.push(result),
        }
    }
    Upload {
        device: delivery.sender.device,
        generation: delivery.sender.generation,
        counter: delivery.proof.counter,
        digest: delivery.proof.digest,
        received_at: delivery.received_at,
        size_bytes: u32::try_from(delivery.size_bytes).unwrap_or(u32::MAX),
        epoch: boot.or(ask.iter().copied().max()).unwrap_or_default(),
        streams: named.new.iter().map(|(new, _)| new.clone()).collect(),
        batches: blocks,
        refused: refused(&delivery.batches).iter().map(|refused| refused.id).collect(),
        dropped,
        ask,
        reported,
        commands_max: delivery.commands_max,
        memory: delivery.memory.take(),
    }
}
