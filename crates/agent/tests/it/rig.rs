//! What the tests of the agent run against.

pub(crate) mod agents;
pub(crate) mod inverter;
#[path = "../../../node/tests/it/rig/kept.rs"]
pub(crate) mod kept;
pub(crate) mod server;
