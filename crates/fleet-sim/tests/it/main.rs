//! The fleet simulation as a whole.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod faults;
mod promises;
mod store_sweep;
