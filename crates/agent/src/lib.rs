//! The Linux shell around the device core: buses, network, and what survives a power cut.
//!
//! [`run()`] carries out what `ecowatt-device` decides. It decides nothing itself but how: which
//! task owns a bus, which file holds a batch, when to give up on a socket. What needs neither tasks
//! nor sockets is a [`node`], which the simulation of a fleet drives as well.

mod bus;
mod config;
mod enrol;
mod link;
pub mod node;
mod rated;
mod run;
mod sample_log;
mod standing;
pub mod storage;
mod survey;

pub use bus::{Address, ParseAddressError, Serial};
pub use config::{Config, ConfigError, Document, InverterConfig, Problem, list as list_problems};
pub use enrol::EnrolError;
pub use link::{ParseServerUrlError, ServerUrl};
pub use run::{RunError, run, run_and_tell};
pub use standing::{Standing, Trouble};
