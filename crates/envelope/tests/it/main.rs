//! Sealing and enrolment, through the public face.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod spelling;
mod versions {
    mod v1;
}
