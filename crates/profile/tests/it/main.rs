//! Profiles from text to readings, as a user of the crate sees them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_profiles;
mod catalogue;
mod layouts;
mod limits;
mod plans;
mod writes;
