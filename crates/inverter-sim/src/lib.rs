//! A simulated inverter: physics, register maps, Modbus fronts and faults on request.
//!
//! [`physics`] and the registers are pure and seeded: the same seed yields the same values at the
//! same instants. Sockets, files and the clock are only at the edge. Apart from the fleet
//! simulation and tests, this is the only place in the product where anything may misbehave on
//! purpose.

pub mod config;
mod control;
pub mod fault;
mod inverter;
pub mod journal;
pub mod listeners;
pub mod physics;
pub mod precompute;
mod register_table;
mod registers;
mod replayed;
mod scale;
pub mod series;
mod serve;
pub mod slave;

pub use config::{Config, ConfigError, PvString, RegisterMap, Site};
pub use inverter::{Inverter, RegisterSource, Table};
pub use physics::plant::{OperatingState, Reading, Weather};
pub use register_table::Tabulation;
pub use registers::RegisterRange;
pub use serve::{
    Addresses, HttpConfig, Running, SerialConfig, ServeConfig, ServeError, Simulation, serve,
};
