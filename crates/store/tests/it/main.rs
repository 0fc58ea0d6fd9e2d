//! Tests of the store's public interface, each on a database of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod audit;
mod backup;
mod command;
mod config_template;
mod configuration;
mod counter;
mod crash;
mod disk_full;
mod energy;
mod exactly_once;
mod fixture;
mod fleet;
mod lease;
mod open;
mod overload;
mod queries;
mod removal;
mod retention;
mod revocation;
mod row_packs;
mod stepped;
