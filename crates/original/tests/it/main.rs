//! The packets against bytes recorded from the original encoder (`testdata/original`).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod aggregates;
mod encode;
mod memory;
mod packets;
mod times;
mod vector;
