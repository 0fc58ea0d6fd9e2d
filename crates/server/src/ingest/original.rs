//! The protocol of the earlier EcoWatt's devices (`docs/original-devices.md`): JSON with a nonce
//! and an HMAC.
//!
//! The nonce plus one is the message's counter, since nonce 0 exists and counter 0 means none. What
//! an upload brings is decoded against what the one before it left, so a device's uploads take
//! turns from the look-up to the commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ecowatt_clock::Clock;
use ecowatt_envelope::original::{DecryptError, NoncePlace, OriginalKey};
use ecowatt_model::{Counter, DeviceNumber, SourceNumber};
use ecowatt_original::from_base64;
use ecowatt_store::{
    DeviceReport, Diagnostic, InverterReport, InverterState, OriginalDevice, Store, StoreError,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::IngestError;
use super::delivery::{Delivery, Report};
use super::intake::Intake;
use super::original_packets::{Content, Kept, LAYOUT, NoPackets, STREAM, TakenPackets};
use super::original_remarks::{OriginalRemarks, Remarks};
use super::quota::Account;
use super::sender::{Proof, Sender};
use super::streams::Announcement;
use crate::time::zone_of;

/// Turns for uploads; devices whose numbers are equal modulo this share one.
const TURNS: usize = 64;

/// Devices whose quotas are remembered, about 100 bytes each; beyond that all are forgotten.
const ACCOUNTS_MAX: usize = 131_072;

/// Their one inverter.
const INVERTER: SourceNumber = SourceNumber(0);

/// Why an upload is not taken for the device's. The texts are the original's, but tell nothing of the
/// right tag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unproven {
    #[error("Invalid JSON in secured payload")]
    Json,
    #[error("Missing required security fields. Required: ['nonce', 'payload', 'mac']")]
    Missing,
    #[error("Replay attack detected! Nonce {nonce} <= last valid nonce {last}")]
    Replay { nonce: u32, last: u64 },
    /// A sender without the key does not learn the last nonce.
    #[error("Replay attack detected!")]
    UsedNonce,
    #[error("Failed to decode base64 payload: Incorrect padding")]
    Base64,
    #[error("AES decryption failed: Data must be padded to 16 byte boundary in CBC mode")]
    Length,
    #[error("HMAC verification failed!")]
    Tag,
    #[error("Unexpected error during verification: {0} of the wrong type or size")]
    Field(&'static str),
}

/// Why nothing of an upload was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Unproven(#[from] Unproven),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl From<StoreError> for UploadError {
    fn from(error: StoreError) -> Self {
        Self::Ingest(error.into())
    }
}

/// An upload as it arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UploadMessage<'a> {
    /// JSON with nonce, text and tag.
    Envelope(&'a [u8]),
    /// The first generation: the body is the text, and headers have its number and tag.
    Headers { nonce: u32, tag: &'a str, body: &'a [u8] },
}

/// An upload whose nonce is used, with what it brought.
#[derive(Debug)]
pub(crate) struct TakenUpload {
    /// Samples stored.
    pub(crate) samples: usize,
    /// Packets that need not be sent again.
    pub(crate) packets: usize,
    /// Why it brought no packets.
    pub(crate) problem: Option<NoPackets>,
}

/// Takes uploads.
#[derive(Debug)]
pub(super) struct Original {
    store: Store,
    clock: Clock,
    accounts: Mutex<HashMap<DeviceNumber, Arc<Account>>>,
    turns: [tokio::sync::Mutex<()>; TURNS],
}

impl Original {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { store, clock, accounts: Mutex::default(), turns }
    }

    /// Verifies an upload and stores what it brings, in one transaction with its nonce.
    pub(super) async fn take(
        &self,
        intake: &Intake,
        remarks: &OriginalRemarks,
        id: &str,
        message: UploadMessage<'_>,
    ) -> Result<TakenUpload, UploadError> {
        let received_at = self.clock.now();
        let (envelope, body) = match message {
            UploadMessage::Envelope(body) => (Envelope::parse(body)?, body),
            UploadMessage::Headers { nonce, tag, body } => {
                (Envelope::of_headers(nonce, tag, body), body)
            }
        };
        // Only who has the key waits for a turn.
        let found = self.find(id).await?;
        let text = envelope.open(&found)?;
        let device = found.key.device;
        let turn = usize::try_from(device.0).unwrap_or_default() % TURNS;
        let _turn = self.turns[turn].lock().await;
        let now = self.find(id).await?;
        if (now.key.device, now.key.generation) != (device, found.key.generation) {
            return Err(Unproven::Tag.into());
        }
        envelope.check_nonce(&now)?;
        let mut kept = match &now.memory {
            None => Kept::default(),
            Some(bytes) => Kept::from_bytes(bytes).ok_or(StoreError::Corrupt("upload memory"))?,
        };
        let content = match envelope.is_binary {
            true => Err(NoPackets::Binary),
            false => Content::parse(&text, received_at),
        };
        let (taken, problem) = match content {
            Ok(content) => (kept.take(&content, now.key.first_epoch), None),
            Err(problem) => (TakenPackets::default(), Some(problem)),
        };
        let answer = TakenUpload {
            samples: taken.samples,
            packets: taken.batches.len() + taken.repeated,
            problem,
        };
        let sender = Arc::new(self.sender(&now).await?);
        let proof = Proof { counter: envelope.counter(), digest: Sha256::digest(body).into() };
        let mut delivery = Delivery::begin(sender, proof, received_at, body.len())?;
        fill(&mut delivery, taken, &now, remarks.take_new(device));
        delivery.memory = Some(kept.to_bytes());
        match intake.accept(delivery).await {
            Ok(_) => Ok(answer),
            Err(error) if !matches!(error, IngestError::Stale | IngestError::UnknownKey) => {
                remarks.keep(device);
                Err(error.into())
            }
            // Another process of the server was faster, or the key was revoked meanwhile.
            Err(IngestError::Stale) => {
                Err(Unproven::Replay { nonce: envelope.nonce, last: envelope.nonce.into() }.into())
            }
            Err(IngestError::UnknownKey) => Err(Unproven::Tag.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// A device that does not exist fails like a wrong tag.
    async fn find(&self, id: &str) -> Result<OriginalDevice, UploadError> {
        Ok(self.store.find_original(id.into()).await?.ok_or(Unproven::Tag)?)
    }

    async fn sender(&self, found: &OriginalDevice) -> Result<Sender, UploadError> {
        let device = self.store.find_device(found.key.device).await?.ok_or(Unproven::Tag)?;
        let account = {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            if accounts.len() >= ACCOUNTS_MAX {
                accounts.clear();
            }
            let new = || Arc::new(Account::full(self.clock.mono()));
            Arc::clone(accounts.entry(device.number).or_insert_with(new))
        };
        Ok(Sender::new(&found.key, zone_of(&device.site), account))
    }
}

fn fill(
    delivery: &mut Delivery,
    taken: TakenPackets,
    found: &OriginalDevice,
    remarks: Option<Remarks>,
) {
    let layout = LAYOUT.cbor.clone();
    delivery.streams.push(Announcement { number: STREAM, source: INVERTER, layout });
    delivery.batches = taken.batches;
    delivery.reports.push(Report::Boot(found.key.first_epoch));
    let online = InverterReport { source: INVERTER, state: InverterState::Online };
    let inverters = (taken.samples > 0).then(|| vec![online]);
    let refused = taken.refusal.map(|reason| Diagnostic::new("last_refused_packet", reason));
    let firmware = remarks.as_ref().and_then(|remarks| remarks.firmware.clone());
    let remarks = remarks.map(|remarks| remarks.values()).unwrap_or_default();
    let diagnostics: Vec<_> = remarks.into_iter().chain(refused).collect();
    let diagnostics = (!diagnostics.is_empty()).then_some(diagnostics);
    let report = DeviceReport { firmware, inverters, diagnostics, ..DeviceReport::default() };
    delivery.reports.push(Report::Status(report));
}

/// The text of an upload.
enum Payload {
    Base64(String),
    Plain(Vec<u8>),
}

/// A secured upload.
struct Envelope {
    nonce: u32,
    payload: Payload,
    tag: String,
    is_encrypted: bool,
    /// Whether the text is meant to be no JSON.
    is_binary: bool,
}

impl Envelope {
    fn parse(body: &[u8]) -> Result<Self, Unproven> {
        let outer: Value = serde_json::from_slice(body).map_err(|_| Unproven::Json)?;
        let field = |name| outer.get(name).ok_or(Unproven::Missing);
        let (nonce, payload, tag) = (field("nonce")?, field("payload")?, field("mac")?);
        let nonce = match nonce {
            // The original counts it as 1.
            Value::Bool(true) => Some(1),
            nonce => nonce.as_u64().and_then(|nonce| nonce.try_into().ok()),
        };
        let flag = |name| outer.get(name).is_some_and(|flag| *flag == Value::Bool(true));
        Ok(Self {
            nonce: nonce.ok_or(Unproven::Field("nonce"))?,
            payload: Payload::Base64(payload.as_str().ok_or(Unproven::Field("payload"))?.into()),
            tag: tag.as_str().ok_or(Unproven::Field("mac"))?.into(),
            is_encrypted: flag("encrypted"),
            is_binary: flag("compressed"),
        })
    }

    fn of_headers(nonce: u32, tag: &str, body: &[u8]) -> Self {
        let (payload, tag) = (Payload::Plain(body.to_vec()), tag.into());
        Self { nonce, payload, tag, is_encrypted: false, is_binary: false }
    }

    fn counter(&self) -> Counter {
        Counter(u64::from(self.nonce) + 1)
    }

    fn check_nonce(&self, found: &OriginalDevice) -> Result<(), Unproven> {
        match found.key.counter.0.checked_sub(1) {
            Some(last) if u64::from(self.nonce) <= last => {
                Err(Unproven::Replay { nonce: self.nonce, last })
            }
            _ => Ok(()),
        }
    }

    /// Returns the text, once its nonce is checked and its tag is verified.
    fn open(&self, found: &OriginalDevice) -> Result<Vec<u8>, Unproven> {
        let text = self.verified_text(found);
        self.check_nonce(found).map_err(|replay| match text {
            Ok(_) => replay,
            Err(_) => Unproven::UsedNonce,
        })?;
        text
    }

    /// Wrong padding counts as a wrong tag, or the answer would tell something of the text.
    fn verified_text(&self, found: &OriginalDevice) -> Result<Vec<u8>, Unproven> {
        let key = OriginalKey::new(found.key.secret);
        let (mut text, place) = match &self.payload {
            Payload::Base64(text) => {
                (from_base64(text).ok_or(Unproven::Base64)?, NoncePlace::Before)
            }
            Payload::Plain(text) => (text.clone(), NoncePlace::After),
        };
        if self.is_encrypted {
            let length = key.decrypt(&mut text).map_err(|error| match error {
                DecryptError::Length(_) => Unproven::Length,
                DecryptError::Padding => Unproven::Tag,
            })?;
            text.truncate(length);
        }
        let is_right = key.verifies(place, self.nonce, &text, &self.tag);
        if is_right { Ok(text) } else { Err(Unproven::Tag) }
    }
}
