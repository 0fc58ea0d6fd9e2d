//! Profiles from text to readings: what a user of the crate sees.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_profiles;
mod catalogue;
mod layouts;
mod limits;
mod plans;
mod writes;
