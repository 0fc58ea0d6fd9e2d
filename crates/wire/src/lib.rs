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
//! know for *unknown* (of a certainty: for *estimated*; of a refusal: for a refusal like any other).
//!
//! A later version may:
//! - add sections, with keys below 65,536 that [`UPLINK_KEYS`] and [`REPLY_KEYS`] do not give to
//!   something else;
//! - add items at the end of an array. Those of one array come in one order for ever, so an item that
//!   may be left out is `null` where another follows it;
//! - add codes below 256.
//!
//! It never takes a section or item of version 1 away, gives a key, place or code another meaning, or
//! exceeds this crate's limits on what version 1 has. What it sends to a peer of version 1 must also
//! make sense without what that peer passes over.
//!
//! Whoever adds something gives it a `LEN_MAX`, so that a message has room for it before batches fill
//! the rest; adds golden bytes in `tests/it/versions`, and never edits those that are there; adds it
//! to `docs/wire-protocol.md`; and adds to `tests/it/later.rs` what an old reader makes of it.
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

mod keys;
mod reply;
mod section;
mod shortest;
mod status;
mod uplink;

pub use keys::{Key, REPLY_KEYS, UPLINK_KEYS};
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
