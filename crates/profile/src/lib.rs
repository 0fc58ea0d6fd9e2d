//! Inverter models as data: which registers to read, and what their words mean.
//!
//! A *profile* is a TOML file (feature `std`). Compiling it yields a [`Plan`] of reads for the
//! device, which does not allocate, and a [`Layout`] (feature `alloc`) that turns the words of a
//! sample into readings. Device and server use the same layout code on the same raw words, so
//! neither has to trust values that the other scaled.
#![no_std]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod names;
pub mod sunspec;

#[cfg(feature = "std")]
pub mod catalogue;
#[cfg(feature = "std")]
mod compile;
mod control;
mod decimal;
#[cfg(feature = "alloc")]
mod layout;
mod number_type;
mod plan;
#[cfg(feature = "std")]
mod profile;
#[cfg(feature = "std")]
mod toml_reader;
#[cfg(feature = "std")]
mod write;
#[cfg(feature = "std")]
mod write_rule;

#[cfg(feature = "std")]
pub use compile::{CompileError, Compiled};
#[cfg(feature = "alloc")]
pub use control::NamedControl;
pub use control::{
    Control, ControlError, ControlPlace, ONE_OF_MAX, PartLimit, Setpoint, SetpointError, Verify,
    WRITE_REGISTERS_MAX, Write, WriteFunction,
};
pub use decimal::{ParseScaledError, Scaled};
#[cfg(feature = "alloc")]
pub use layout::{
    Column, CounterKind, KnownPoints, LABEL_BYTES_MAX, LABELS_MAX, LAYOUT_BYTES_MAX, Label, Layout,
    LayoutError, NAME_BYTES_MAX, POINTS_MAX, POINTS_PER_COLUMN_MAX, Point, Reading, SENTINELS_MAX,
};
pub use number_type::{Kind, RawWords, Table, WordOrder};
pub use plan::{
    GROUPS_MAX, GUARDS_MAX, Group, ModelGuard, Plan, PlanError, READ_REGISTERS_MAX, READS_MAX,
    Read, SLEEP_CONDITIONS_MAX, SLEEP_WORDS_MAX, SleepCondition, SleepRule, SleepScale, SleepTest,
    Transport,
};
#[cfg(feature = "std")]
pub use profile::{
    Barrier, NamedGroup, PlausibleRange, PointSpec, Profile, ProfileError, RATED_W, RegisterPlace,
    ResolveError, SerialFormat, SerialSpec, SunSpecPoint, TransportKind, TransportSpec,
};
#[cfg(feature = "std")]
pub use write::{WriteError, WriteRequest};
#[cfg(feature = "std")]
pub use write_rule::WriteRule;
