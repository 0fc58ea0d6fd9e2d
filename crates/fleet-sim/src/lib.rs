//! Simulates a whole fleet under one seed: devices, their inverters, disks and network, and the
//! server with its store, in one process and in virtual time.
//!
//! A device is the real `node`, the server is the real ingest on the real store; disks, clocks,
//! power, network and inverters are simulated. Besides the simulated inverter and tests, this is
//! the only place of the product where anything may fail on purpose.

mod audit;
pub mod bus;
mod device;
pub mod disk;
mod fleetwide;
mod network;
mod operator;
pub mod plant;
pub mod random;
mod report;
pub mod scenario;
mod server;
mod trace;
mod truth;
mod violation;
mod world;

pub use audit::EnergyCounts;
pub use device::DeviceCounts;
pub use network::NetworkCounts;
pub use report::{Counts, Report};
pub use scenario::Threads;
pub use server::ServerCounts;
pub use truth::Verdict;
pub use violation::{Invariant, Violation};
pub use world::{Progress, run};
