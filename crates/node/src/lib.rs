//! The device core together with what it keeps across power cuts: the same node for the Linux agent,
//! the simulation of a fleet and a microcontroller.
//!
//! A shell gives it [`Areas`](storage::Areas) and the time, carries out its reads and sends its
//! messages. It logs nothing: what people should know comes out as values.
#![no_std]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod node;
pub mod nor;
pub mod storage;

pub use node::{
    Core, Done, Freed, Message, Next, Node, NodeConfig, ROWS, SourceSetup, StartError, Work,
};
