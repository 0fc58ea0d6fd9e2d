//! What the tests of the command line run: its processes, and a device made by hand.

pub(crate) mod link;
pub(crate) mod run;
pub(crate) mod server;
