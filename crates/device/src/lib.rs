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
mod decision;
mod desired;
mod device;
mod event;
mod keeping;
mod kept;
mod lengths;
pub mod limits;
mod link_state;
mod mute;
mod quarantine;
mod schedule;
mod settings;
mod uplink;
mod wall;

pub use acquire::{ReadOutcome, ReadResult, SourceConfig};
pub use buffer::{Cut, CutError, Sample};
pub use device::{
    Action, Config, Device, Ending, Inverter, Permissions, Spooled, StartError, Started,
};
pub use event::{Event, LinkFailure};
pub use kept::Slot;
pub use settings::LogLevel;
pub use uplink::{
    Acknowledged, ComposeError, Credentials, Outgoing, ReplyError, UplinkConfig, batch_bytes_max,
    batch_rows_max,
};
pub use wall::Wall;
