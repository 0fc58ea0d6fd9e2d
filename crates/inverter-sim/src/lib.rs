//! A simulated inverter: physics, register maps, Modbus fronts and faults on request.
//!
//! [`physics`] and the registers are pure and seeded: the same seed yields the same values at the
//! same instants. Sockets, files and the clock are only at the edge. Apart from the fleet
//! simulation and tests, this is the only place in the product where anything may misbehave on
//! purpose.

pub mod config;
mod control;
pub mod fault;
pub mod front;
mod inverter;
pub mod journal;
pub mod physics;
mod registers;
mod replayed;
mod scale;
pub mod series;
mod serve;
pub mod station;
pub mod tabulate;
mod tabulation;

pub use config::{Config, ConfigError, Map, PvString, Site};
pub use inverter::{Inverter, RegisterSource, Table};
pub use physics::plant::{OperatingState, Reading, Weather};
pub use registers::Image;
pub use serve::{Addresses, Running, SerialConfig, ServeConfig, ServeError, Simulation, serve};
pub use tabulation::Tabulation;
