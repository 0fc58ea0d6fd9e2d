//! The agent against real sockets and files: a Modbus server of another make, and a link server
//! that keeps what it was sent. Its node and its storage by themselves, on a disk in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod disk;
mod field;
mod inverter;
mod models;
mod node;
mod process;
mod refused;
mod server;
mod slice;
mod storage;
mod sweep;
