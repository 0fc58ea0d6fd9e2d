//! Opens, checks, stores and acknowledges what devices send.
//!
//! One message is one transaction, and the reply is built from what that transaction committed. A
//! repeated message is opened and answered again and changes nothing. An unreadable batch is
//! refused alone, never the whole message because of it. A message that is not the device's next is
//! refused before any of it is decoded, and so is one of a device that has exceeded its quota.
//! Nothing here knows of HTTP.
//!
//! [`link`] opens messages and seals replies, [`intake`] does the rest. Another protocol needs only
//! another module like [`link`], which makes a [`delivery::Delivery`] of what it opens.

mod batch;
mod commands;
mod decode;
mod delivery;
mod intake;
mod keyring;
mod leases;
mod link;
mod local_day;
mod original;
mod original_calls;
mod original_packets;
mod original_remarks;
mod quota;
mod rebuild;
mod sender;
mod settings;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::OpenError;
use ecowatt_model::DeviceNumber;
use ecowatt_store::{Store, StoreError};
use ecowatt_wire::{ParseError, WriteError};
use tokio::sync::oneshot;

use crate::entropy::Entropy;
use crate::limits::REPLY_HELD_MAX;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::waiting_devices::WaitingDevices;
use delivery::Delivery;
use intake::Intake;
use link::{Link, ReplyTo};
use original::Original;

pub(crate) use original::{TakenUpload, Unproven, UploadError, UploadMessage};
pub(crate) use original_calls::OriginalCalls;
pub(crate) use original_remarks::{DIAGNOSTICS_BYTES_MAX, PowerReport, Recovery, plain_text};
pub use rebuild::{RebuildError, rebuild};

/// Why a message got no reply. The sender does not learn the reason.
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
    #[error("the message names boot epochs that a device cannot reach under one key")]
    Epoch,
    #[error("the counter is too large")]
    Counter,
    #[error("the counter is not above the last")]
    Stale,
    #[error("the device has sent more than its share")]
    OverQuota(Duration),
    #[error("too many messages wait for their turn")]
    Busy,
    #[error("the store has not taken the message")]
    Store(#[from] StoreError),
    #[error("the operating system has no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("decoding was interrupted")]
    Cut,
    #[error("the reply does not fit")]
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

/// Takes the messages of devices.
#[derive(Debug)]
pub struct Ingest {
    link: Link,
    original: Original,
    /// What devices of the earlier EcoWatt ask and report besides their uploads.
    pub(crate) original_calls: OriginalCalls,
    intake: Intake,
    metrics: Arc<Metrics>,
    waiting: WaitingDevices,
}

/// A message that was opened and is not yet taken.
#[derive(Debug)]
pub(crate) struct OpenedMessage {
    delivery: Delivery,
    reply_to: ReplyTo,
}

/// A device's wait for something that the server wants of it.
#[derive(Debug)]
pub(crate) struct DeviceWait {
    clock: Clock,
    patience: Duration,
    news: oneshot::Receiver<()>,
}

impl DeviceWait {
    /// Waits until there is something, or the device's patience ends.
    pub(crate) async fn ended(self) {
        let Self { clock, patience, news } = self;
        tokio::select! {
            _ = news => {}
            () = clock.sleep(patience) => {}
        }
    }
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
            link: Link::new(store.clone(), clock, entropy),
            original: Original::new(store.clone(), clock),
            original_calls: OriginalCalls::new(store.clone(), clock, live.clone()),
            intake: Intake::new(store, clock, live, Arc::clone(&metrics)),
            metrics,
            waiting: WaitingDevices::default(),
        }
    }

    /// Lets a device wait until `waiting` has something for it.
    pub(crate) fn with_waiting(self, waiting: WaitingDevices) -> Self {
        Self { waiting, ..self }
    }

    /// Forgets the sites and time zones of devices; they are looked up again.
    pub(crate) fn forget_places(&self) {
        self.link.forget_all();
    }

    /// Forgets the keys of a device; they are looked up again.
    pub(crate) fn forget_keys(&self, device: DeviceNumber) {
        self.link.forget_device(device);
    }

    /// Takes a sealed message and returns the sealed reply, after the commit of everything that the
    /// message brought.
    ///
    /// # Errors
    /// If nothing was stored.
    pub async fn take(&self, message: &[u8]) -> Result<Vec<u8>, IngestError> {
        let opened = self.open(message).await?;
        self.take_opened(opened).await
    }

    /// Opens a sealed message.
    ///
    /// # Errors
    /// If it is not the next or last message of an enrolled device, or cannot be read.
    pub(crate) async fn open(&self, message: &[u8]) -> Result<OpenedMessage, IngestError> {
        let opened = self.link.open(message).await;
        if let Err(error) = &opened {
            self.metrics.link_messages.add([error.as_str()], 1);
        }
        let (delivery, reply_to) = opened?;
        Ok(OpenedMessage { delivery, reply_to })
    }

    /// Begins the wait that a message asks for, if there is nothing for its device yet.
    pub(crate) fn wait(&self, opened: &OpenedMessage) -> Option<DeviceWait> {
        let patience = opened.delivery.patience.min(REPLY_HELD_MAX);
        if patience.is_zero() {
            return None;
        }
        let news = self.waiting.wait(opened.delivery.sender.device)?;
        Some(DeviceWait { clock: self.link.clock, patience, news })
    }

    /// Takes an opened message and returns the sealed reply, after the commit of everything that the
    /// message brought.
    ///
    /// # Errors
    /// If nothing was stored.
    pub(crate) async fn take_opened(&self, opened: OpenedMessage) -> Result<Vec<u8>, IngestError> {
        let taken = self.take_delivery(opened).await;
        let outcome = match &taken {
            Ok((_, outcome)) => outcome,
            Err(error) => error.as_str(),
        };
        self.metrics.link_messages.add([outcome], 1);
        taken.map(|(reply, _)| reply)
    }

    /// Takes an upload of a device of the earlier EcoWatt, which calls itself `id`.
    ///
    /// # Errors
    /// If nothing was stored.
    pub(crate) async fn take_upload(
        &self,
        id: &str,
        message: UploadMessage<'_>,
    ) -> Result<TakenUpload, UploadError> {
        let remarks = &self.original_calls.remarks;
        let taken = self.original.take(&self.intake, remarks, id, message).await;
        let outcome = match &taken {
            Ok(_) => "stored",
            Err(UploadError::Unproven(Unproven::Replay { .. } | Unproven::UsedNonce)) => "stale",
            Err(UploadError::Unproven(_)) => "bad_tag",
            Err(UploadError::Ingest(error)) => error.as_str(),
        };
        self.metrics.link_messages.add([outcome], 1);
        taken
    }

    async fn take_delivery(
        &self,
        opened: OpenedMessage,
    ) -> Result<(Vec<u8>, &'static str), IngestError> {
        let OpenedMessage { mut delivery, reply_to } = opened;
        // It may have waited since it arrived.
        delivery.received_at = self.link.clock.now();
        self.waiting.taking(delivery.sender.device);
        let accepted = self.intake.accept(delivery).await;
        if matches!(accepted, Err(IngestError::UnknownKey)) {
            self.link.forget(&reply_to);
        }
        let accepted = accepted?;
        let outcome = if accepted.is_duplicate { "duplicate" } else { "stored" };
        Ok((self.link.reply(&reply_to, &accepted)?, outcome))
    }
}

#[cfg(test)]
mod tests;
