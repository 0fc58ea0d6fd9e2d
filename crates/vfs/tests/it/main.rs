//! SQLite on files that are somebody else's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod database;
mod memory;
mod process;
