//! The device core together with its durable state. The Linux agent, the fleet simulation and a
//! microcontroller run the same node.
//!
//! A shell provides [`Areas`](storage::Areas) and the time, carries out the node's reads and sends
//! its messages. The node logs nothing: events for the log are returned as values.
#![no_std]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod node;
pub mod nor;
pub mod storage;

pub use node::{
    Core, DiskWork, FreedBatches, Message, Node, NodeAction, NodeConfig, ROWS, SourceControls,
    SourceSetup, StartError, WorkOutcome,
};
