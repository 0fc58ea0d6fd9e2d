//! What a device says or asks without a proof.
//!
//! Only the protocol of the earlier EcoWatt has such calls. They move no counter, store no samples,
//! and do not count as a message of the device: anyone who knows its name can make them.

use ecowatt_model::{DeviceNumber, KeyGeneration, UnixMs};

use crate::{CommandResult, MovedCommand, ReportedConfig, SentCommand};

/// A call of a device that is taken for the owner of a key without having proved it.
#[derive(Debug, Clone)]
pub struct UnprovenCall {
    pub device: DeviceNumber,
    pub generation: KeyGeneration,
    pub at: UnixMs,
    pub about: CallAbout,
}

/// What a call is about.
#[derive(Debug, Clone)]
pub enum CallAbout {
    /// The settings that the device has.
    Config(ReportedConfig),
    /// How a command ended.
    Result(CommandResult),
    /// The device asks for its next command. It has ended the one before, so if it has not reported
    /// on it, the outcome of that one is unknown.
    NextCommand,
}

/// Outcome of a call, returned after its commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallReceipt {
    /// The command that the device asked for, if there is one.
    pub command: Option<SentCommand>,
    /// Commands that changed their state, in order.
    pub moved: Vec<MovedCommand>,
}

/// Why nothing changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    #[error("the device, or this generation of its key, is unknown or revoked")]
    UnknownDevice,
    #[error("no command of the device has the number")]
    UnknownCommand,
    #[error(transparent)]
    Store(#[from] crate::StoreError),
}
