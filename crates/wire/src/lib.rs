//! What device and server say to each other, once opened.
//!
//! Both messages are one CBOR map (RFC 8949) from small integers to sections, with definite lengths
//! and shortest heads only: each message has one spelling. Reading allocates nothing: a parsed message
//! borrows its bytes, was checked as a whole, and hands out items.
//!
//! # How the messages may grow
//!
//! Either side may learn something first. So a reader passes over a section whose key it does not
//! know and over items that follow the ones it knows in an array, and takes a code that it does not
//! know for *unknown* (of a refusal: for a refusal like any other). A later version may therefore
//! add sections, add items at the end of an array, and add codes below 256. It never removes an
//! item, gives a key, place or code another meaning, or exceeds the limits of this crate on what
//! version 1 has. Keys in use and keys set aside are listed in `docs/wire-protocol.md`.
//!
//! ```
//! use ecowatt_model::{BatchId, BootEpoch, Sequence, StreamNumber};
//! use ecowatt_wire::{Batch, Uplink, UplinkWriter};
//!
//! let batch = Batch {
//!     id: BatchId { epoch: BootEpoch(3), sequence: Sequence(41) },
//!     stream: StreamNumber(1),
//!     bytes: b"encoded",
//!     start: None,
//! };
//! let mut buffer = [0; 64];
//! let mut writer = UplinkWriter::new(&mut buffer);
//! writer.batches(&mut core::iter::once(batch), 0)?;
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
pub use uplink::{
    Batch, Certainty, ClockReport, Dropped, EpochStart, Stream, Uplink, UplinkWriter, list_len_max,
    uplink_fixed_len_max,
};

/// Most items in any list of a message; also what a one-byte CBOR array head can say.
pub const ITEMS_MAX: usize = 23;

/// Longest firmware name and version in a status.
pub const FIRMWARE_MAX: usize = 32;

/// Longest layout that a device may announce.
pub const LAYOUT_MAX: usize = 4096;
