//! The protocol of our own devices (`docs/wire-protocol.md`): COSE envelopes around CBOR.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::{
    MESSAGE_MAX, REPLY_NONCE_BYTES, REPLY_OVERHEAD_MAX, RequestId, UnverifiedUplink, seal_reply,
};
use ecowatt_model::{DeviceNumber, MonoMs, Sequence};
use ecowatt_store::{
    DeviceReport, Diagnostic, Dropped, InverterReport, InverterState, Store, limits,
};
use ecowatt_wire::{
    AckRange, BootReason, Desired, DesiredLeases, ITEMS_MAX, Reply, ReplyWriter, SectionList,
    SourceState, Status, Uplink,
};
use sha2::{Digest as _, Sha256};

use super::IngestError;
use super::batch::{Batch, Stage, refused, wanted};
use super::commands;
use super::delivery::{Accepted, Delivery, Report};
use super::keyring::{Keyring, Known};
use super::sender::Proof;
use super::streams::Announcement;
use super::{leases, settings};
use crate::entropy::Entropy;

/// The shortest time from message to reply that the reply reports. The device takes the server's
/// time to be from the middle of the exchange, so a delay here would shift its clock by half of it.
const HELD_TOLD_MIN: Duration = Duration::from_millis(100);

/// Opens messages and seals replies.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) clock: Clock,
    entropy: Entropy,
    keyring: Keyring,
}

/// The message that a reply answers, and the keys for it.
#[derive(Debug)]
pub(super) struct ReplyTo {
    known: Arc<Known>,
    request: RequestId,
    /// When the message had arrived.
    began: MonoMs,
}

impl Link {
    pub(super) fn new(store: Store, clock: Clock, entropy: Entropy) -> Self {
        Self { clock, entropy, keyring: Keyring::new(store) }
    }

    /// Opens and parses a message, without decoding its batches.
    ///
    /// # Errors
    /// If it is not the next or last message of an enrolled device, or cannot be read.
    pub(super) async fn open(&self, message: &[u8]) -> Result<(Delivery, ReplyTo), IngestError> {
        let (received_at, began) = (self.clock.now(), self.clock.mono());
        let sealed = UnverifiedUplink::parse(message).map_err(IngestError::Envelope)?;
        let request = sealed.request();
        // The store's counters are signed.
        if i64::try_from(request.counter.0).is_err() {
            return Err(IngestError::Counter);
        }
        let known = self.keyring.find(request.kid, began).await?;
        let known = known.ok_or(IngestError::UnknownKey)?;
        let mut plain = vec![0; message.len().min(MESSAGE_MAX)];
        let plain = sealed.open(&known.keys, &mut plain).map_err(IngestError::Seal)?;
        let digest = Sha256::digest(message).into();
        let proof = Proof { counter: request.counter, digest };
        let sender = Arc::clone(&known.sender);
        let mut delivery = Delivery::begin(sender, proof, received_at, message.len())?;
        delivery.commands_max = limits::COMMANDS_OUT_MAX;
        let uplink = Uplink::parse(plain).map_err(IngestError::Message)?;
        fill(&mut delivery, &uplink);
        if delivery.is_empty() {
            delivery.patience = uplink.patience();
        }
        Ok((delivery, ReplyTo { known, request, began }))
    }

    /// Writes and seals the reply to a message.
    ///
    /// # Errors
    /// If the operating system has no random numbers, or the reply does not fit.
    pub(super) fn reply(&self, to: &ReplyTo, accepted: &Accepted) -> Result<Vec<u8>, IngestError> {
        let mut buffer = [0; Reply::LEN_MAX + REPLY_OVERHEAD_MAX];
        let mut writer = ReplyWriter::new(&mut buffer);
        let acks = acks(accepted);
        if !acks.is_empty() {
            writer.acks(&mut acks.into_iter())?;
        }
        writer.time(accepted.down.time)?;
        let wanted = wanted(&accepted.batches);
        if !wanted.is_empty() {
            writer.wanted(&mut wanted.into_iter())?;
        }
        let refused = refused(&accepted.batches);
        if !refused.is_empty() {
            writer.refused(&mut refused.into_iter())?;
        }
        if let Some(desired) = &accepted.down.desired {
            let values = settings::values(desired);
            let (generation, values) = (desired.generation, SectionList::Given(&values));
            writer.desired(&Desired { generation, values })?;
        }
        let mut commands = accepted.down.commands.iter().filter_map(commands::command).peekable();
        if commands.peek().is_some() {
            writer.commands(&mut commands)?;
        }
        let held = self.clock.mono().since(to.began);
        if held >= HELD_TOLD_MIN {
            writer.held(held)?;
        }
        if let Some(desired) = &accepted.down.leases {
            let leases = leases::leases(desired);
            let (generation, leases) = (desired.generation, SectionList::Given(&leases));
            writer.leases(&DesiredLeases { generation, leases })?;
        }
        let length = writer.finish();
        let mut nonce = [0; REPLY_NONCE_BYTES];
        self.entropy.fill(&mut nonce).map_err(IngestError::Random)?;
        let sealed = seal_reply(&to.known.keys, to.request, &nonce, &mut buffer, length)
            .map_err(|_| IngestError::Reply)?;
        Ok(buffer[..sealed].to_vec())
    }

    /// Forgets the key of a message; it is looked up again at its next use.
    pub(super) fn forget(&self, to: &ReplyTo) {
        self.keyring.forget(to.request.kid);
    }

    /// Forgets the keys of a device; they are looked up again.
    pub(super) fn forget_device(&self, device: DeviceNumber) {
        self.keyring.forget_device(device);
    }

    /// Forgets all keys and the sites of devices; they are looked up again.
    pub(super) fn forget_all(&self) {
        self.keyring.forget_all();
    }
}

fn fill(delivery: &mut Delivery, uplink: &Uplink<'_>) {
    delivery.streams.extend(uplink.streams().map(|stream| Announcement {
        number: stream.number,
        source: stream.source,
        layout: stream.layout.to_vec(),
    }));
    delivery.batches.extend(uplink.batches().map(|batch| Batch {
        id: batch.id,
        stream: batch.stream,
        stage: Stage::Sent(batch.bytes.to_vec(), batch.start),
    }));
    delivery.reports.extend(uplink.clock().map(|clock| Report::Boot(clock.epoch)));
    delivery.reports.extend(uplink.dropped().map(|dropped| {
        let ecowatt_wire::LostSamples { epoch, batches, samples } = dropped;
        Report::Lost(Dropped { epoch, batches, samples })
    }));
    delivery.reports.extend(uplink.status().map(|status| Report::Status(reported(&status))));
    let config = uplink.reported().map(|reported| settings::reported(&reported));
    delivery.reports.extend(config.map(Report::Config));
    let received_at = delivery.received_at;
    let leases = uplink.leases().map(|reported| leases::reported(&reported, received_at));
    delivery.reports.extend(leases.map(Report::Leases));
    let results = uplink.results().map(|result| commands::result(&result));
    delivery.reports.extend(results.map(Report::Result));
}

/// Returns the acknowledged ranges: first those with the batches of this message, then others while
/// there is room.
fn acks(accepted: &Accepted) -> Vec<AckRange> {
    let all = accepted.receipt.received.iter().flat_map(|of| {
        of.sequences.iter().map(|range| AckRange {
            epoch: of.epoch,
            first: Sequence(*range.start()),
            last: Sequence(*range.end()),
        })
    });
    let (mut acks, others): (Vec<_>, Vec<_>) =
        all.partition(|range| accepted.batches.iter().any(|batch| range.contains(batch.id)));
    acks.extend(others);
    acks.truncate(ITEMS_MAX);
    acks
}

fn reported(status: &Status<'_>) -> DeviceReport {
    let boot_reason = match status.boot_reason {
        BootReason::Unknown => "unknown",
        BootReason::Unclean => "unclean",
        BootReason::Clean => "clean",
        BootReason::First => "first",
    };
    let mut diagnostics = vec![
        Diagnostic::new("boot_reason", boot_reason),
        Diagnostic::new("samples", status.samples.to_string()),
        Diagnostic::new("backlog_batches", status.backlog_batches.to_string()),
        Diagnostic::new("spool_bytes", status.spool_bytes.to_string()),
        Diagnostic::new("spool_capacity_bytes", status.spool_capacity_bytes.to_string()),
        Diagnostic::new("link_failures", status.link_failures.to_string()),
        Diagnostic::new("clock_deviation_ms", status.clock_deviation_ms.to_string()),
    ];
    let mut inverters = Vec::new();
    for source in status.sources.iter() {
        let name = |what| format!("inverter_{}_{what}", source.source);
        let of_inverter = |what, count: u32| Diagnostic::new(name(what), count.to_string());
        diagnostics.push(of_inverter("requests", source.requests));
        diagnostics.push(of_inverter("failures", source.failures));
        diagnostics.push(of_inverter("quarantined", source.quarantined.into()));
        let state = match source.state {
            SourceState::Unknown => InverterState::Unknown,
            SourceState::Online => InverterState::Online,
            SourceState::Asleep => InverterState::Asleep,
            SourceState::Offline => InverterState::Offline,
            SourceState::Faulty => InverterState::Faulty,
        };
        inverters.push(InverterReport { source: source.source, state });
    }
    DeviceReport {
        // The text is shown in lists and terminals, so control characters are replaced.
        firmware: Some(status.firmware.replace(|c| !ecowatt_model::is_plain(c), "\u{fffd}")),
        diagnostics: Some(diagnostics),
        inverters: Some(inverters),
        config: None,
        leases: None,
        results: Vec::new(),
    }
}
