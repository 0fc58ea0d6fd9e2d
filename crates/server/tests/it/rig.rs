//! What the tests of the server run: a server with its store, and devices made by hand.

pub(crate) mod device;
pub(crate) mod world;
