//! The whole fleet under one seed: devices, their inverters, disks and network, and the server with
//! its store, in one process and in virtual time.
//!
//! Devices are real `device` values in the agent's own shell, the server is the real ingest on the
//! real store; what is simulated is the world between them. It is the one place of the product,
//! beside the simulated inverter and tests, where anything may fail on purpose.

mod audit;
pub mod bus;
mod device;
pub mod disk;
mod fleetwide;
mod network;
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
pub use server::ServerCounts;
pub use truth::Verdict;
pub use violation::{Invariant, Violation};
pub use world::{Progress, Threads, run};
