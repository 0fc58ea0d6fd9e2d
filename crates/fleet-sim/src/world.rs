//! What is simulated around the product: devices with their disks, buses and network, and the server
//! with its disk, its clock and its operator.

pub mod bus;
pub(crate) mod commands;
pub(crate) mod device;
pub mod disk;
pub(crate) mod fleet;
pub(crate) mod network;
pub(crate) mod operator;
pub(crate) mod server;
pub(crate) mod templates;
