//! Images against what the original's own tool made, and against openssl's idea of signatures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod recorded;
mod round_trip;
