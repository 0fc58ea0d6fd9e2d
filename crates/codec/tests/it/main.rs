//! The codec seen from outside: what goes in comes out, and nothing else is believed.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod malformed;
mod owned;
mod pv;
mod round_trip;
