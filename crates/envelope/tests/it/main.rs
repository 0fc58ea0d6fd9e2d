//! Sealing and enrolment through the public API.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod original;
mod spelling;
mod versions {
    mod v1;
}
