//! What device and server say to each other, once opened.
//!
//! Both messages are one CBOR map (RFC 8949) from small integers to sections, with definite lengths
//! and shortest heads only: each message has one spelling. A section that a reader does not know is
//! passed over, so either side may learn new ones first; keys in use and keys set aside are listed in
//! `docs/wire-protocol.md`. Reading allocates nothing: a parsed message borrows its bytes, was checked
//! as a whole, and hands out items.
//!
//! ```
//! use ecowatt_model::{BatchId, BootEpoch, Sequence, StreamNumber};
//! use ecowatt_wire::{Batch, Uplink, UplinkWriter};
//!
//! let batch = Batch {
//!     id: BatchId { epoch: BootEpoch(3), sequence: Sequence(41) },
//!     stream: StreamNumber(1),
//!     bytes: b"encoded",
//! };
//! let mut buffer = [0; 64];
//! let mut writer = UplinkWriter::new(&mut buffer);
//! writer.batches(&mut core::iter::once(batch))?;
//! let length = writer.finish();
//!
//! let uplink = Uplink::parse(&buffer[..length])?;
//! assert_eq!(uplink.batches().next(), Some(batch));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

mod reply;
mod section;
mod shortest;
mod status;
mod uplink;

pub use reply::{AckRange, Refusal, Refused, Reply, ReplyWriter};
pub use section::{Items, ParseError, WriteError};
pub use status::{BootReason, SourceState, SourceStatus, Sources, Status};
pub use uplink::{Batch, ClockReport, Dropped, Stream, Uplink, UplinkWriter};

/// Most items in any list of a message; also what a one-byte CBOR array head can say.
pub const ITEMS_MAX: usize = 23;

/// Longest firmware name and version in a status.
pub const FIRMWARE_MAX: usize = 32;

/// Longest layout that a device may announce.
pub const LAYOUT_MAX: usize = 4096;
