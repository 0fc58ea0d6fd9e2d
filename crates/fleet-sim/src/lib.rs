//! Simulates a whole fleet under one seed: devices, their inverters, disks and network, and the
//! server with its store, in one process and in virtual time.
//!
//! A device is the real `node`, the server is the real ingest on the real store; disks, clocks,
//! power, network and inverters are simulated. Besides the simulated inverter and tests, this is
//! the only place of the product where anything may fail on purpose.

pub mod faults;
mod judges;
pub mod plant;
pub mod random;
mod report;
pub mod scenario;
mod streams;
mod time;
mod trace;
mod world;

pub use judges::audit::EnergyCounts;
pub use judges::audit::commands::CommandCounts;
pub use judges::promises::{Invariant, Violation};
pub use judges::truth::SampleAudit;
pub use report::{Counts, Report};
pub use scenario::Threads;
pub use world::device::DeviceCounts;
pub use world::fleet::{Progress, run};
pub use world::network::NetworkCounts;
pub use world::server::ServerCounts;
pub use world::{bus, disk};
