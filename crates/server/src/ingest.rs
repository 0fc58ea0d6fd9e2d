//! What devices send: opened, checked, stored, acknowledged.
//!
//! One message makes one transaction, and the reply is made from what that transaction committed.
//! A message that comes again is opened and answered again and changes nothing. What cannot be read
//! is refused batch by batch, never the whole message for one of them. A message that is not the
//! device's next is refused before any of it is decoded, and so is one of a device that has had more
//! than its share. Nothing here knows of HTTP.

mod calendar;
mod decode;
mod keyring;
mod quota;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::{
    Kid, MESSAGE_MAX, OpenError, REPLY_NONCE_BYTES, REPLY_OVERHEAD_MAX, RequestId, Sealed,
    seal_reply,
};
use ecowatt_model::{BatchId, DeviceNumber, Sequence, StreamNumber, UnixMs};
use ecowatt_store::{
    Dropped, InverterState, NewStream, Outcome, Receipt, Reported, Store, StoreError, StreamId,
    Upload,
};
use ecowatt_wire::{
    AckRange, BootReason, ITEMS_MAX, ParseError, Refusal, Refused, Reply, ReplyWriter, SourceState,
    Status, Uplink, WriteError,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::entropy::Entropy;
use crate::limits::{
    CELLS_WAITING_MAX, DECODE_INLINE_VALUES_MAX, TURN_CELLS, TURNS_MAX, TURNS_WAITING_MAX,
};
use crate::live::Live;
use crate::metrics::Metrics;
use decode::{Decoded, Encoded, Scratch};
use keyring::{Keyring, Known, Turn};
use quota::Allowance;
use streams::{Announced, KnownStream, Streams};

/// What a device is told to wait that has too many large messages under way.
const TURN_RETRY: Duration = Duration::from_secs(1);

/// Cells of a quarter hour's grid for each value, at most: two samples may span 15 minutes.
const CELLS_PER_VALUE: usize = 8;

/// What a reply took to be written that is told to the device, whose clock it would put wrong by half.
const HELD_TOLD_MIN: Duration = Duration::from_millis(100);

/// Why a message got no reply. The sender is told nothing of this.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("not an envelope")]
    Envelope(#[source] OpenError),
    #[error("the key is not known, or revoked")]
    UnknownKey,
    #[error("the envelope cannot be opened")]
    Seal(#[source] OpenError),
    #[error("the message cannot be read")]
    Message(#[source] ParseError),
    #[error("it speaks of boot epochs that no device reaches under one key")]
    Epoch,
    #[error("no counter goes that far")]
    Counter,
    #[error("the counter is not above the last")]
    Stale,
    #[error("the device has sent more than its share")]
    OverQuota(Duration),
    #[error("too many messages wait for their turn")]
    Busy,
    #[error("the store has not taken it")]
    Store(#[from] StoreError),
    #[error("no random numbers from the system")]
    Random(#[source] getrandom::Error),
    #[error("decoding was cut short")]
    Cut,
    #[error("the reply has no room")]
    Reply,
}

impl IngestError {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "bad_envelope",
            Self::UnknownKey => "unknown_key",
            Self::Seal(_) => "bad_tag",
            Self::Message(_) => "bad_message",
            Self::Epoch => "bad_epoch",
            Self::Counter => "bad_counter",
            Self::Stale => "stale",
            Self::OverQuota(_) => "over_quota",
            Self::Busy | Self::Store(StoreError::Busy) => "busy",
            Self::Store(_) => "store_failed",
            Self::Random(_) | Self::Cut | Self::Reply => "failed",
        }
    }
}

impl From<WriteError> for IngestError {
    fn from(_: WriteError) -> Self {
        Self::Reply
    }
}

/// The way of every device message, with what it remembers of keys and layouts.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    live: Live,
    metrics: Arc<Metrics>,
    keyring: Keyring,
    streams: Streams,
    scratch: Arc<Scratch>,
    turns: Turns,
}

/// What large messages compete for.
#[derive(Debug)]
struct Turns {
    /// Working memory of those that are decoded.
    decoding: Semaphore,
    /// Places to wait for that.
    waiting: Semaphore,
    /// Memory of what is decoded and waits for the store.
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

/// Cells as permits, at least one and at most all.
fn permits(cells: usize, max: u32) -> u32 {
    u32::try_from(cells.div_ceil(TURN_CELLS)).unwrap_or(max).clamp(1, max)
}

impl Ingest {
    #[must_use]
    pub fn new(
        store: Store,
        clock: Clock,
        entropy: Entropy,
        live: Live,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            keyring: Keyring::new(store.clone()),
            streams: Streams::new(store.clone(), clock),
            scratch: Arc::default(),
            turns: Turns::default(),
            store,
            clock,
            entropy,
            live,
            metrics,
        }
    }

    /// Looks up anew where devices stand and in which time zone.
    pub(crate) fn forget_places(&self) {
        self.keyring.forget_all();
    }

    /// Looks up anew which keys of a device are revoked.
    pub(crate) fn forget_keys(&self, device: DeviceNumber) {
        self.keyring.forget_device(device);
    }

    /// Takes a sealed message and gives the sealed reply, after the commit that holds everything
    /// the message brought.
    ///
    /// # Errors
    /// If nothing was stored.
    pub async fn take(&self, message: &[u8]) -> Result<Vec<u8>, IngestError> {
        let taken = self.take_message(message).await;
        let outcome = match &taken {
            Ok((_, outcome)) => outcome,
            Err(error) => error.as_str(),
        };
        self.metrics.link_messages.add([outcome], 1);
        taken.map(|(reply, _)| reply)
    }

    async fn take_message(&self, message: &[u8]) -> Result<(Vec<u8>, &'static str), IngestError> {
        let (received_at, began) = (self.clock.now(), self.clock.mono());
        let sealed = Sealed::parse(message).map_err(IngestError::Envelope)?;
        let request = sealed.request();
        // The store's counters are signed.
        if i64::try_from(request.counter.0).is_err() {
            return Err(IngestError::Counter);
        }
        let device = request.kid.device;
        let now = self.clock.mono();
        let known = self.keyring.find(request.kid, now).await?.ok_or(IngestError::UnknownKey)?;
        let mut plain = vec![0; message.len().min(MESSAGE_MAX)];
        let plain = sealed.open(&known.keys, &mut plain).map_err(IngestError::Seal)?;
        let digest: [u8; 32] = Sha256::digest(message).into();
        let turn = known.turn(request.counter, &digest);
        if turn == Turn::Stale {
            return Err(IngestError::Stale);
        }
        let uplink = Uplink::parse(plain).map_err(IngestError::Message)?;
        let epochs = uplink.batches().map(|batch| batch.id.epoch);
        let epochs = epochs.chain(uplink.clock().map(|clock| clock.epoch));
        let mut epochs = epochs.chain(uplink.dropped().map(|dropped| dropped.epoch));
        if epochs.any(|epoch| epoch >= known.end_epoch) {
            return Err(IngestError::Epoch);
        }

        let mut prepared = match turn {
            Turn::Repeated(refused) => self.recall(request.kid, &uplink, refused).await?,
            Turn::Next | Turn::Stale => {
                self.prepare(&known, request.kid, &uplink, message.len(), received_at).await?
            }
        };
        let Decoded { blocks, samples, cells, put_off, .. } = std::mem::take(&mut prepared.decoded);
        let waiting = self.turns.decoded.try_acquire_many(permits(cells, CELLS_WAITING_MAX));
        let _waiting = waiting.map_err(|_| IngestError::Busy)?;
        let Prepared { new_streams, wanted, refused, .. } = prepared;

        let newest_epoch = || uplink.batches().map(|batch| batch.id.epoch).max();
        let upload = Upload {
            device,
            generation: request.kid.generation,
            counter: request.counter,
            digest,
            received_at,
            size_bytes: u32::try_from(message.len()).unwrap_or(u32::MAX),
            epoch: uplink.clock().map(|c| c.epoch).or_else(newest_epoch).unwrap_or_default(),
            streams: new_streams.iter().map(|(new, _)| new.clone()).collect(),
            batches: blocks,
            refused: refused.iter().map(|refused| refused.id).collect(),
            dropped: uplink.dropped().map(dropped).collect(),
            ask: uplink.batches().map(|batch| batch.id.epoch).collect(),
            reported: uplink.status().as_ref().map(reported).unwrap_or_default(),
        };
        let (receipt, outcome) = match self.store.ingest(upload).await? {
            Outcome::Stored(receipt) => {
                known.accepted(request.counter, digest, &refused);
                for (new, stream) in new_streams {
                    if !receipt.unannounced.contains(&new.id) {
                        self.streams.accepted(device, new.id, stream);
                    }
                }
                self.metrics.storage_full.set(false);
                self.count(&receipt, &refused, &wanted, put_off);
                self.live.heard(device);
                for batch in samples {
                    if receipt.stored.contains(&batch.id) {
                        self.metrics.samples.add(batch.rows);
                        if let Some(newest) = batch.live {
                            self.live.publish_sample(device, newest.live(device));
                        }
                    }
                }
                (receipt, "stored")
            }
            Outcome::Duplicate(receipt) => {
                known.accepted(request.counter, digest, &refused);
                (receipt, "duplicate")
            }
            Outcome::Stale { last } => {
                known.passed(last);
                return Err(IngestError::Stale);
            }
            Outcome::UnknownDevice => {
                self.keyring.forget(request.kid);
                return Err(IngestError::UnknownKey);
            }
        };
        let sent: Vec<BatchId> = uplink.batches().map(|batch| batch.id).collect();
        let held = self.clock.mono().since(began);
        let answer =
            Answer { receipt: &receipt, sent: &sent, wanted: &wanted, refused: &refused, held };
        let mut nonce = [0; REPLY_NONCE_BYTES];
        self.entropy.fill(&mut nonce).map_err(IngestError::Random)?;
        Ok((answer.seal(&known, request, &nonce, self.clock.now())?, outcome))
    }

    /// The same message again: it is answered as it was, and nothing of it is decoded.
    async fn recall(
        &self,
        kid: Kid,
        uplink: &Uplink<'_>,
        refused: Vec<Refused>,
    ) -> Result<Prepared, StoreError> {
        let mut prepared = Prepared { refused, ..Prepared::default() };
        for batch in uplink.batches() {
            let is_wanted = !prepared.wanted.contains(&batch.stream)
                && !prepared.refused.iter().any(|refused| refused.id == batch.id)
                && self.streams.find(kid, batch.stream).await?.is_none();
            if is_wanted {
                prepared.wanted.push(batch.stream);
            }
        }
        Ok(prepared)
    }

    /// Makes of a message what the store will add.
    async fn prepare(
        &self,
        known: &Arc<Known>,
        kid: Kid,
        uplink: &Uplink<'_>,
        message_bytes: usize,
        received_at: UnixMs,
    ) -> Result<Prepared, IngestError> {
        let mut prepared = Prepared::default();
        let mut bad_streams = Vec::new();
        for stream in uplink.streams() {
            let id = StreamId::new(kid.generation, stream.number);
            let is_new = |(new, _): &&(NewStream, KnownStream)| new.id == id;
            if let Some((new, _)) = prepared.new_streams.iter().find(is_new) {
                if new.layout != stream.layout || new.source != stream.source {
                    bad_streams.push(stream.number);
                }
                continue;
            }
            match self.streams.look(known, kid, stream, received_at).await? {
                Announced::Before => {}
                Announced::New(new, stream) => prepared.new_streams.push((new, stream)),
                Announced::Refused => bad_streams.push(stream.number),
            }
        }
        let allowance = Allowance::of(message_bytes);
        let Sorted { encoded, put_off, values } =
            self.sort(kid, uplink, &bad_streams, allowance, &mut prepared).await?;
        known.spend(self.clock.mono(), values + message_bytes).map_err(IngestError::OverQuota)?;
        let mut decoded = self.decode(encoded, values, allowance, known, received_at).await?;
        decoded.put_off += put_off;
        known.charge(decoded.cells);
        prepared.refused.append(&mut decoded.refused);
        prepared.decoded = decoded;
        Ok(prepared)
    }

    /// Parts the batches into those with a known layout and those without. Of the former it takes as
    /// many as are within the allowance, but at least one.
    async fn sort(
        &self,
        kid: Kid,
        uplink: &Uplink<'_>,
        bad_streams: &[StreamNumber],
        allowance: Allowance,
        prepared: &mut Prepared,
    ) -> Result<Sorted, IngestError> {
        let mut sorted = Sorted::default();
        for batch in uplink.batches() {
            let id = StreamId::new(kid.generation, batch.stream);
            if bad_streams.contains(&batch.stream) {
                prepared.refused.push(Refused { id: batch.id, reason: Refusal::BadLayout });
                continue;
            }
            let new = prepared.new_streams.iter().find(|(new, _)| new.id == id);
            let stream = match new {
                Some((_, stream)) => Some(stream.clone()),
                None => self.streams.find(kid, batch.stream).await?,
            };
            let Some(stream) = stream else {
                if !prepared.wanted.contains(&batch.stream) {
                    prepared.wanted.push(batch.stream);
                }
                continue;
            };
            let batch = Encoded::new(&batch, id, stream, &self.scratch);
            let values = sorted.values + batch.values();
            if values > allowance.values && !sorted.encoded.is_empty() {
                sorted.put_off += 1;
            } else {
                sorted.values = values;
                sorted.encoded.push(batch);
            }
        }
        Ok(sorted)
    }

    async fn decode(
        &self,
        encoded: Vec<Encoded>,
        values: usize,
        allowance: Allowance,
        known: &Arc<Known>,
        received_at: UnixMs,
    ) -> Result<Decoded, IngestError> {
        let is_watched = self.live.has_readers();
        let (scratch, of) = (Arc::clone(&self.scratch), Arc::clone(known));
        let cells_max = allowance.cells;
        let decode =
            move || decode::decode(encoded, &scratch, &of, received_at, is_watched, cells_max);
        if values <= DECODE_INLINE_VALUES_MAX {
            return Ok(decode());
        }
        let _begun = known.begin().ok_or(IngestError::OverQuota(TURN_RETRY))?;
        // A quarter hour's grid has room for 15 minutes even if a batch has two samples in it.
        let cells = values.saturating_mul(CELLS_PER_VALUE).min(2 * cells_max);
        let wanted = permits(cells, TURNS_MAX);
        let _turn = match self.turns.decoding.try_acquire_many(wanted) {
            Ok(turn) => turn,
            Err(_) => {
                let _place = self.turns.waiting.try_acquire().map_err(|_| IngestError::Busy)?;
                self.turns.decoding.acquire_many(wanted).await.map_err(|_| IngestError::Busy)?
            }
        };
        tokio::task::spawn_blocking(decode).await.map_err(|_| IngestError::Cut)
    }

    fn count(
        &self,
        receipt: &Receipt,
        refused: &[Refused],
        wanted: &[StreamNumber],
        put_off: usize,
    ) {
        let batches = |outcome, count: usize| {
            if count > 0 {
                self.metrics.batches.add([outcome], u64::try_from(count).unwrap_or(u64::MAX));
            }
        };
        batches("stored", receipt.stored.len());
        batches("duplicate", usize::try_from(receipt.duplicates).unwrap_or(usize::MAX));
        batches("deferred", receipt.deferred.len() + put_off);
        batches("refused", refused.len());
        batches("layout_wanted", wanted.len());
    }
}

/// What a message comes to before the store has it.
#[derive(Debug, Default)]
struct Prepared {
    new_streams: Vec<(NewStream, KnownStream)>,
    wanted: Vec<StreamNumber>,
    refused: Vec<Refused>,
    decoded: Decoded,
}

/// Batches that are to be decoded.
#[derive(Debug, Default)]
struct Sorted {
    encoded: Vec<Encoded>,
    values: usize,
    put_off: usize,
}

/// What the device is told.
struct Answer<'a> {
    receipt: &'a Receipt,
    sent: &'a [BatchId],
    wanted: &'a [StreamNumber],
    refused: &'a [Refused],
    /// How long its message has been here.
    held: Duration,
}

impl Answer<'_> {
    fn seal(
        &self,
        known: &Known,
        request: RequestId,
        nonce: &[u8; REPLY_NONCE_BYTES],
        now: UnixMs,
    ) -> Result<Vec<u8>, IngestError> {
        let mut buffer = [0; Reply::LEN_MAX + REPLY_OVERHEAD_MAX];
        let mut writer = ReplyWriter::new(&mut buffer);
        let acks = self.acks();
        if !acks.is_empty() {
            writer.acks(&mut acks.into_iter())?;
        }
        writer.time(now)?;
        if !self.wanted.is_empty() {
            writer.wanted(&mut self.wanted.iter().copied())?;
        }
        if !self.refused.is_empty() {
            writer.refused(&mut self.refused.iter().copied())?;
        }
        if self.held >= HELD_TOLD_MIN {
            writer.held(self.held)?;
        }
        let length = writer.finish();
        let sealed = seal_reply(&known.keys, request, nonce, &mut buffer, length)
            .map_err(|_| IngestError::Reply)?;
        Ok(buffer[..sealed].to_vec())
    }

    /// First the ranges that hold what was sent, then the others while there is room.
    fn acks(&self) -> Vec<AckRange> {
        let all = self.receipt.received.iter().flat_map(|(epoch, ranges)| {
            ranges.iter().map(|range| AckRange {
                epoch: *epoch,
                first: Sequence(*range.start()),
                last: Sequence(*range.end()),
            })
        });
        let (mut acks, others): (Vec<_>, Vec<_>) =
            all.partition(|range| self.sent.iter().any(|id| range.contains(*id)));
        acks.extend(others);
        acks.truncate(ITEMS_MAX);
        acks
    }
}

fn dropped(dropped: ecowatt_wire::Dropped) -> Dropped {
    let ecowatt_wire::Dropped { epoch, batches, samples } = dropped;
    Dropped { epoch, batches, samples }
}

fn reported(status: &Status<'_>) -> Reported {
    let boot_reason = match status.boot_reason {
        BootReason::Unknown => "unknown",
        BootReason::Unclean => "unclean",
        BootReason::Clean => "clean",
        BootReason::First => "first",
    };
    let mut diagnostics = vec![
        ("boot_reason".to_owned(), boot_reason.to_owned()),
        ("samples".to_owned(), status.samples.to_string()),
        ("backlog_batches".to_owned(), status.backlog_batches.to_string()),
        ("spool_bytes".to_owned(), status.spool_bytes.to_string()),
        ("spool_capacity_bytes".to_owned(), status.spool_capacity_bytes.to_string()),
        ("link_failures".to_owned(), status.link_failures.to_string()),
        ("clock_deviation_ms".to_owned(), status.clock_deviation_ms.to_string()),
    ];
    let mut inverters = Vec::new();
    for source in status.sources.iter() {
        let name = |what| format!("inverter_{}_{what}", source.source);
        diagnostics.push((name("requests"), source.requests.to_string()));
        diagnostics.push((name("failures"), source.failures.to_string()));
        diagnostics.push((name("quarantined"), source.quarantined.to_string()));
        let state = match source.state {
            SourceState::Unknown => InverterState::Unknown,
            SourceState::Online => InverterState::Online,
            SourceState::Asleep => InverterState::Asleep,
            SourceState::Offline => InverterState::Offline,
            SourceState::Faulty => InverterState::Faulty,
        };
        inverters.push((source.source, state));
    }
    Reported {
        // Shown in lists and terminals; what cannot be shown as it is has no place in it.
        firmware: Some(status.firmware.replace(|c| !ecowatt_model::is_plain(c), "\u{fffd}")),
        diagnostics: Some(diagnostics),
        inverters: Some(inverters),
    }
}

#[cfg(test)]
mod tests;
