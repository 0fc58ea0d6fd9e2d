//! What the tests of a node run against.

pub(crate) mod disk;
pub(crate) mod kept;
