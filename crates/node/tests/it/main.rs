//! A node and its storage alone, on a disk in memory that can be cut at every byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod node;
mod nor;
mod pair;
mod rig;
mod storage;
mod sweep;
