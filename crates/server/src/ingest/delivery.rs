//! What a device delivers and what it is answered, independent of its protocol.
//!
//! A protocol is a module that opens its messages, makes a [`Delivery`] of each, and translates the
//! outcome ([`Accepted`]) into its own reply. [`super::intake`] takes deliveries and knows no
//! protocol. A protocol whose batches have no names must assign them: if each message has one
//! batch, the message's number can be the name.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_model::{BootEpoch, UnixMs};
use ecowatt_store::{
    CommandResult, Desired, DesiredLeases, DeviceReport, Dropped, Receipt, ReportedConfig,
    ReportedLeases, SentCommand,
};

use super::IngestError;
use super::batch::Batch;
use super::sender::{Proof, Sender, Turn};
use super::streams::Announcement;

/// An opened and authenticated message of a device, with no batch decoded yet.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) sender: Arc<Sender>,
    pub(super) proof: Proof,
    pub(super) turn: Turn,
    pub(super) received_at: UnixMs,
    /// How long it may wait before it is taken: it reports nothing.
    pub(super) patience: Duration,
    /// Length of the message on the wire.
    pub(super) size_bytes: usize,
    pub(super) streams: Vec<Announcement>,
    pub(super) batches: Vec<Batch>,
    pub(super) reports: Vec<Report>,
    /// Commands that the device may have out after the reply; 0 if the reply carries none.
    pub(super) commands_max: usize,
    /// What the protocol keeps for the next message. It counts every batch of this one, so with it
    /// a delivery is taken whole or not at all.
    pub(super) memory: Option<Vec<u8>>,
}

impl Delivery {
    /// Begins a delivery, to be filled by the module that reads the message.
    ///
    /// # Errors
    /// If the message is neither its sender's next nor its last one repeated. The rest of it need
    /// not be read then.
    pub(super) fn begin(
        sender: Arc<Sender>,
        proof: Proof,
        received_at: UnixMs,
        size_bytes: usize,
    ) -> Result<Self, IngestError> {
        let turn = sender.turn(&proof)?;
        let (streams, batches, reports, memory) = Default::default();
        let patience = Duration::ZERO;
        Ok(Self {
            sender,
            proof,
            turn,
            received_at,
            patience,
            size_bytes,
            streams,
            batches,
            reports,
            commands_max: 0,
            memory,
        })
    }

    /// Whether it reports nothing and brings nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.batches.is_empty() && self.reports.is_empty()
    }

    /// Returns every boot epoch that it names.
    pub(super) fn epochs(&self) -> impl Iterator<Item = BootEpoch> {
        let batches = self.batches.iter().map(|batch| batch.id.epoch);
        let reports = self.reports.iter().filter_map(|report| match report {
            Report::Boot(epoch) => Some(*epoch),
            Report::Lost(dropped) => Some(dropped.epoch),
            Report::Status(_) | Report::Config(_) | Report::Leases(_) | Report::Result(_) => None,
        });
        batches.chain(reports)
    }
}

/// What a device reports of itself; stored in the transaction of its message.
#[derive(Debug)]
pub(super) enum Report {
    /// Its current boot epoch.
    Boot(BootEpoch),
    /// Batches that it has dropped.
    Lost(Dropped),
    /// Its condition.
    Status(DeviceReport),
    /// Its settings.
    Config(ReportedConfig),
    /// Its leases.
    Leases(ReportedLeases),
    /// How far a command is.
    Result(CommandResult),
}

/// Outcome of a delivery, after its commit.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Whether it is the last message repeated.
    pub(super) is_duplicate: bool,
    pub(super) receipt: Receipt,
    pub(super) batches: Vec<Batch>,
    pub(super) down: Down,
}

/// What the server has for the device besides the acknowledgement. A protocol sends the part that
/// it can express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Down {
    /// The server's time when the message was stored.
    pub(super) time: UnixMs,
    /// The desired configuration, if the device has yet to report it.
    pub(super) desired: Option<Desired>,
    /// The leases, if the device has yet to report them.
    pub(super) leases: Option<Box<DesiredLeases>>,
    /// The commands that the device has yet to report on, the most urgent first.
    pub(super) commands: Vec<SentCommand>,
}
