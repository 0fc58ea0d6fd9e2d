//! The plain messages between device and server.
//!
//! Both messages are one CBOR map (RFC 8949) from small integers to sections, with definite lengths
//! and shortest heads only, so each message has exactly one encoding. Reading does not allocate: a
//! message is checked as a whole when it is parsed, borrows its bytes and returns items on demand.
//!
//! # How the messages may grow
//!
//! Either side may be upgraded first. So a reader skips a section whose key it does not know and
//! items after the known ones in an array, and treats an unknown code as *unknown* (a certainty as
//! *estimated*; a refusal as one like any other).
//!
//! A later version may:
//!
//! - add sections, with keys below 65,536 that [`UPLINK_KEYS`] and [`REPLY_KEYS`] do not
//!   assign otherwise;
//! - add items at the end of an array. The items of an array keep their order for ever, so an
//!   optional item is `null` if another one follows it;
//! - add codes below 256.
//!
//! It never removes a section or item of version 1, changes the meaning of a key, position or code,
//! or exceeds this crate's limits on what version 1 has. What it sends to a peer of version 1 must
//! also make sense without the parts that this peer skips.
//!
//! An addition gets a `LEN_MAX`, so that a message has room for it before batches fill the rest;
//! golden bytes in `tests/it/versions`, where existing bytes are never edited; a description in
//! `docs/wire-protocol.md`; and in `tests/it/later.rs` a test of what an old reader does with it.
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

mod canonical;
mod command;
mod desired;
mod encoding;
mod lease;
mod list;
mod reply;
mod section_keys;
mod status;
mod uplink;

pub use command::{
    ARGUMENTS_MAX, COMMANDS_MAX, Command, CommandAction, CommandFailure, CommandResult,
    CommandState, POINT_MAX, REGISTERS_MAX, RESULTS_MAX,
};
pub use desired::{ConfigState, Desired, RefusedSetting, Reported, SettingRefusal, SettingValue};
pub use encoding::{ParseError, ParsedItems, WriteError};
pub use lease::{
    CHANGES_MAX, DesiredLeases, Lease, LeaseCause, LeaseRefusal, Limit, LimitChange, RefusedLease,
    ReportedLeases, reported_leases_len_max,
};
pub use list::SectionList;
pub use reply::{AckRange, BatchRefusal, RefusedBatch, Reply, ReplyWriter};
pub use section_keys::{Key, REPLY_KEYS, UPLINK_KEYS};
pub use status::{BootReason, SourceState, SourceStatus, Status};
pub use uplink::{
    Batch, Certainty, ClockReport, EpochStart, LostSamples, PATIENCE_LEN_MAX, Stream, Uplink,
    UplinkWriter, list_len_max, reported_len_max, uplink_fixed_len_max,
};

/// Maximum number of items in any list of a message; also the most that a one-byte CBOR array head
/// can express.
pub const ITEMS_MAX: usize = 23;

/// Maximum length of the firmware name and version in a status.
pub const FIRMWARE_MAX: usize = 32;

/// Maximum length of a layout that a device may announce.
pub const LAYOUT_MAX: usize = 4096;
