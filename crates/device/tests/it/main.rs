//! Tests of the device core with scripts: text in, transcript out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acquire;
mod commands;
mod compose;
mod leases;
mod link;
mod memory;
mod power;
mod reads;
mod rig;
mod settings;
mod waits;

mod versions {
    mod v1;
    mod v2;
}
mod writes;
