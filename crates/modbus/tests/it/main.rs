//! Frames against the specification, against noise, and against two independent implementations.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bank;
mod damage;
mod golden;
mod ours;
mod pymodbus;
mod round_trip;
mod tokio_oracle;
