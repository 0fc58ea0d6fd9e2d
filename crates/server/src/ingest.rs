//! What devices send: opened, checked, stored, acknowledged.
//!
//! One message makes one transaction, and the reply is made from what that transaction committed.
//! A message that comes again is opened and answered again and changes nothing. What cannot be read
//! is refused batch by batch, never the whole message for one of them. Nothing here knows of HTTP.

mod anchors;
mod calendar;
mod decode;
mod keyring;
mod streams;

use std::sync::Arc;

use ecowatt_clock::Clock;
use ecowatt_envelope::{MESSAGE_MAX, OpenError, REPLY_NONCE_BYTES, RequestId, Sealed, seal_reply};
use ecowatt_model::{BatchId, Sequence, StreamNumber, UnixMs};
use ecowatt_store::{
    Dropped, InverterState, Outcome, Receipt, Reported, Store, StoreError, StreamId, Upload,
};
use ecowatt_wire::{
    AckRange, BootReason, ITEMS_MAX, ParseError, Refusal, Refused, ReplyWriter, SourceState,
    Status, Uplink, WriteError,
};
use sha2::{Digest as _, Sha256};

use crate::entropy::Entropy;
use crate::live::Live;
use crate::metrics::Metrics;
use anchors::Anchors;
use decode::{Decoded, Encoded, Scratch};
use keyring::{Keyring, Known};
use streams::Streams;

/// Messages with more values than this are decoded on a thread of their own; so many take about a
/// millisecond, which an executor's thread can spare.
const DECODE_INLINE_VALUES_MAX: usize = 16_000;

/// Room for a reply: four lists of at most 23 small items.
const REPLY_BYTES_MAX: usize = 2048;

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
    #[error("the counter is not above the last")]
    Stale,
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
            Self::Stale => "stale",
            Self::Store(StoreError::Busy) => "busy",
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

/// The way of every device message, with what it remembers of keys, layouts and clocks.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    live: Live,
    metrics: Arc<Metrics>,
    keyring: Keyring,
    streams: Streams,
    anchors: Anchors,
    scratch: Arc<Scratch>,
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
            streams: Streams::new(store.clone()),
            anchors: Anchors::new(store.clone()),
            scratch: Arc::default(),
            store,
            clock,
            entropy,
            live,
            metrics,
        }
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
        let received_at = self.clock.now();
        let sealed = Sealed::parse(message).map_err(IngestError::Envelope)?;
        let request = sealed.request();
        let device = request.kid.device;
        let known = self.keyring.find(request.kid).await?.ok_or(IngestError::UnknownKey)?;
        let mut plain = vec![0; message.len().min(MESSAGE_MAX)];
        let plain = sealed.open(&known.keys, &mut plain).map_err(IngestError::Seal)?;
        let uplink = Uplink::parse(plain).map_err(IngestError::Message)?;
        let epochs = uplink.batches().map(|batch| batch.id.epoch);
        let epochs = epochs.chain(uplink.clock().map(|clock| clock.epoch));
        let mut epochs = epochs.chain(uplink.dropped().map(|dropped| dropped.epoch));
        if epochs.any(|epoch| epoch >= known.end_epoch) {
            return Err(IngestError::Epoch);
        }

        let mut bad_streams = Vec::new();
        for stream in uplink.streams() {
            if !self.streams.announce(request.kid, stream, received_at).await? {
                bad_streams.push(stream.number);
            }
        }
        let Sorted { encoded, wanted, mut refused } =
            self.sort(request, &uplink, &bad_streams, received_at).await?;
        let decoded = self.decode(encoded, &known, received_at).await?;
        refused.extend(&decoded.refused);

        let newest_epoch = || uplink.batches().map(|batch| batch.id.epoch).max();
        let upload = Upload {
            device,
            generation: request.kid.generation,
            counter: request.counter,
            digest: Sha256::digest(message).into(),
            received_at,
            size_bytes: u32::try_from(message.len()).unwrap_or(u32::MAX),
            epoch: uplink.clock().map(|c| c.epoch).or_else(newest_epoch).unwrap_or_default(),
            batches: decoded.blocks,
            refused: refused.iter().map(|refused| refused.id).collect(),
            dropped: uplink.dropped().map(dropped).collect(),
            ask: uplink.batches().map(|batch| batch.id.epoch).collect(),
            reported: uplink.status().as_ref().map(reported).unwrap_or_default(),
        };
        let (receipt, outcome) = match self.store.ingest(upload).await? {
            Outcome::Stored(receipt) => {
                self.metrics.storage_full.set(false);
                self.count(&receipt, &refused, &wanted);
                self.live.heard(device);
                for batch in decoded.samples {
                    if receipt.stored.contains(&batch.id) {
                        self.metrics.samples.add(batch.rows);
                        if let Some(live) = batch.live {
                            self.live.publish_sample(device, live);
                        }
                    }
                }
                (receipt, "stored")
            }
            Outcome::Duplicate(receipt) => (receipt, "duplicate"),
            Outcome::Stale { .. } => return Err(IngestError::Stale),
            Outcome::UnknownDevice => {
                self.keyring.forget(request.kid);
                return Err(IngestError::UnknownKey);
            }
        };
        let sent: Vec<BatchId> = uplink.batches().map(|batch| batch.id).collect();
        let answer = Answer { receipt: &receipt, sent: &sent, wanted: &wanted, refused: &refused };
        let mut nonce = [0; REPLY_NONCE_BYTES];
        self.entropy.fill(&mut nonce).map_err(IngestError::Random)?;
        Ok((answer.seal(&known, request, &nonce, self.clock.now())?, outcome))
    }

    /// Parts the batches into those with a known layout and those without.
    async fn sort(
        &self,
        request: RequestId,
        uplink: &Uplink<'_>,
        bad_streams: &[StreamNumber],
        received_at: UnixMs,
    ) -> Result<Sorted, IngestError> {
        let device = request.kid.device;
        let mut sorted = Sorted::default();
        for batch in uplink.batches() {
            let id = StreamId::new(request.kid.generation, batch.stream);
            if bad_streams.contains(&batch.stream) {
                sorted.refused.push(Refused { id: batch.id, reason: Refusal::BadLayout });
            } else if let Some(stream) = self.streams.find(device, id).await? {
                sorted.encoded.push(Encoded::new(&batch, id, stream, &self.scratch));
            } else if !sorted.wanted.contains(&batch.stream) {
                sorted.wanted.push(batch.stream);
            }
        }
        let clock = uplink.clock();
        self.anchors.place(device, clock, received_at, &self.scratch, &mut sorted.encoded).await?;
        Ok(sorted)
    }

    async fn decode(
        &self,
        encoded: Vec<Encoded>,
        known: &Arc<Known>,
        received_at: UnixMs,
    ) -> Result<Decoded, IngestError> {
        let is_watched = self.live.has_readers();
        let values: usize = encoded.iter().map(Encoded::values).sum();
        let (scratch, known) = (Arc::clone(&self.scratch), Arc::clone(known));
        let decode = move || decode::decode(encoded, &scratch, &known, received_at, is_watched);
        if values <= DECODE_INLINE_VALUES_MAX {
            return Ok(decode());
        }
        tokio::task::spawn_blocking(decode).await.map_err(|_| IngestError::Cut)
    }

    fn count(&self, receipt: &Receipt, refused: &[Refused], wanted: &[StreamNumber]) {
        let batches = |outcome, count: usize| {
            if count > 0 {
                self.metrics.batches.add([outcome], u64::try_from(count).unwrap_or(u64::MAX));
            }
        };
        batches("stored", receipt.stored.len());
        batches("duplicate", usize::try_from(receipt.duplicates).unwrap_or(usize::MAX));
        batches("deferred", receipt.deferred.len());
        batches("refused", refused.len());
        batches("layout_wanted", wanted.len());
    }
}

/// A message's batches by what can be done with them.
#[derive(Debug, Default)]
struct Sorted {
    encoded: Vec<Encoded>,
    wanted: Vec<StreamNumber>,
    refused: Vec<Refused>,
}

/// What the device is told.
struct Answer<'a> {
    receipt: &'a Receipt,
    sent: &'a [BatchId],
    wanted: &'a [StreamNumber],
    refused: &'a [Refused],
}

impl Answer<'_> {
    fn seal(
        &self,
        known: &Known,
        request: RequestId,
        nonce: &[u8; REPLY_NONCE_BYTES],
        now: UnixMs,
    ) -> Result<Vec<u8>, IngestError> {
        let mut buffer = [0; REPLY_BYTES_MAX];
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
        firmware: Some(status.firmware.to_owned()),
        diagnostics: Some(diagnostics),
        inverters: Some(inverters),
    }
}

#[cfg(test)]
mod tests;
