//! The server through its sockets, each test with a store and an address of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod admission;
mod answers;
mod audit;
mod bad_input;
mod commands;
mod configuration;
mod device_address;
mod disk;
mod document;
mod events;
mod fleet;
mod hosts;
mod limits;
mod log;
mod misread;
mod original;
mod original_calls;
mod original_day;
mod original_generations;
mod pages;
mod rebuild;
mod recovery;
mod retention;
mod rig;
mod templates;
mod waits;
mod zones;
