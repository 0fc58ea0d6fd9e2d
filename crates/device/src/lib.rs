//! The device as a pure state machine.
//!
//! [`Device`] decides when to read which registers, when to cut a batch, when to send a message and
//! what a reply means. It takes events (`handle_*`) and the time, and returns [`Action`]s
//! ([`Device::poll_action`]) for a shell to carry out: Linux, a microcontroller and the simulation
//! are three shells around this crate. Nothing here reads a clock, draws a random number, does IO
//! or allocates; capacities are constants.
//!
//! The order of actions makes a restart safe: a sample is drafted before it is in a batch, a batch
//! is persisted before it is sent, a counter is reserved before it seals a message, and a batch is
//! freed only after the server's sealed acknowledgement.
#![no_std]
#![deny(clippy::wildcard_enum_match_arm)]

#[cfg(test)]
extern crate std;

mod acquire;
mod buffer;
mod commands;
mod cycle;
mod desired_slot;
mod device;
mod errand;
mod event;
mod exchange;
mod inverter_state;
mod lease;
mod leases;
mod limiter;
pub mod limits;
mod quarantine;
mod read_length;
mod schedule;
mod settings;
mod settings_trial;
mod silent_reads;
mod slot;
mod slot_writes;
mod uplink;
mod wall_clock;

pub use acquire::SourceConfig;
pub use buffer::{EncodeBatchError, EncodedBatch, Sample};
pub use device::{
    Action, Config, Controls, Device, Ending, Inverter, Permissions, SpoolContents, StartError,
    StartInfo,
};
pub use event::{Event, LinkFailure};
pub use exchange::{CompletedRead, ReadResult, WriteResult};
pub use settings::LogLevel;
pub use slot::Slot;
pub use uplink::{
    Acknowledged, ComposeError, Credentials, ReplyError, SealedMessage, UplinkConfig,
    batch_bytes_max, batch_rows_max,
};
pub use wall_clock::WallClock;
