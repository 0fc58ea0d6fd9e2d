//! The messages, through their public face.

mod messages;
mod versions {
    mod v1;
}
