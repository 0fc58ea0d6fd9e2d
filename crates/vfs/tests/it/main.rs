//! SQLite on files that a test provides.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod database;
mod memory;
mod process;
