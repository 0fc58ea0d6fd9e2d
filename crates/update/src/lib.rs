//! The update of a device's program: two slots, and a record that says which of them starts.
//!
//! A pure state machine, like the device core: it takes events and the time and returns actions, it
//! reads no clock, does no IO and allocates nothing. It takes manifests that were verified and
//! admitted ([`ecowatt_artifact::Admitted`]), and keeps one promise whatever is cut off when: a device starts
//! the confirmed image or a whole, verified one that is on trial, and nothing else.
//!
//! The order makes it so. The record says that nothing in the other slot counts before that slot is
//! erased; it names the other slot for a start only after the whole image was read back from it;
//! and each start of an image on trial is counted before it happens, so an image that hangs,
//! crashes or never becomes healthy runs out of starts.
#![no_std]
#![deny(clippy::wildcard_enum_match_arm)]
#![warn(missing_docs)]

mod action;
mod machine;
mod record;

pub use action::{Action, Health, OfferError, Progress};
pub use machine::{TRIAL_MAX, Update};
pub use record::{
    Boot, FAILED_MAX, FailedImages, ImageSlot, Phase, RECORD_BYTES, Record, Revert, TRIAL_STARTS,
    boot,
};
