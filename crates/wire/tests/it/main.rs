//! The messages, through their public face.

mod later;
mod messages;
mod versions {
    mod v1;
}
