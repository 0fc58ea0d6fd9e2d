//! The codec as its users see it: batches round-trip, and anything else is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod malformed;
mod owned;
mod pv;
mod round_trip;
