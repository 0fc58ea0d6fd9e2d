//! The packets of the earlier EcoWatt's devices ↔ register values.
//!
//! A *packet* is what such a device uploads for one period: the raw 16-bit registers of some
//! samples, row after row, in one of several forms, which the first byte names. [`Shape::decode`]
//! returns exactly the values that the device read, or an error: no value is guessed, and none is
//! cut off. Two forms need more than the packet: [`History`] holds what a temporal delta counts
//! from, and the semantic form has lost values for good ([`PacketError::Lossy`]).
//!
//! [`Sending`] says when the samples were taken. [`Memory`] is what a server keeps of a device between
//! uploads: it recognises what is sent again, and notices what is missing.
//!
//! [`Encoder`] makes packets as the firmware does, and [`exact`] those that restore every value.
//!
//! Nothing here knows of HTTP or envelopes.
#![no_std]

extern crate alloc;

mod aggregate;
mod base64;
mod bits;
mod encode;
mod error;
mod floats;
mod history;
mod memory;
mod packet;
mod times;

pub use aggregate::Aggregate;
pub use base64::from_base64;
pub use encode::{Encoder, Method, exact};
pub use error::PacketError;
pub use history::History;
pub use memory::{DIGEST_BYTES, Memory, PacketDigest};
pub use packet::{Shape, VALUES_MAX};
pub use times::{Dating, Sending, Times};
