//! The agent against real sockets and files: a Modbus server of another make, and a link server
//! that keeps what it was sent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod commands;
mod delivery;
mod field;
mod http_front;
mod models;
mod original;
mod original_server;
mod process;
mod refused;
mod rig;
mod settings;
