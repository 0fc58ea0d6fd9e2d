//! The vocabulary that device and server share: identifiers, instants, marks and units.
//!
//! A type enters this crate only when two other crates need it. Nothing here allocates, does IO
//! or knows how it is encoded on the wire or in the store.
#![no_std]

pub mod command;
mod id;
mod instant;
pub mod lease;
mod mark;
pub mod setting;
mod text;
mod unit;

pub use id::{
    BatchId, BootEpoch, CommandId, ConfigGeneration, Counter, DeviceNumber, KeyGeneration,
    LeaseGeneration, LeaseId, ParseDeviceIdError, Sequence, SequenceRange, SourceNumber,
    StreamNumber,
};
pub use instant::{MonoMs, UnixMs};
pub use mark::{Mark, Quality};
pub use setting::{SETTINGS, Setting, SettingKind, SettingScope};
pub use text::is_plain;
pub use unit::{ParseUnitError, Unit};

/// Maximum number of 16-bit columns that one stream (one register layout of one inverter) can have.
pub const COLUMNS_MAX: usize = 128;

/// Maximum number of samples that one batch can hold.
pub const ROWS_MAX: usize = 1024;

/// Maximum number of inverters that one device polls.
pub const SOURCES_MAX: usize = 8;
