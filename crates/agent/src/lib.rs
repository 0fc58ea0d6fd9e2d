//! The Linux shell around a node: buses, network, and the folder that serves as its disk.
//!
//! [`run()`] carries out the actions of `ecowatt-node`. It decides only how: which task owns a bus,
//! when to give up on a socket, what is logged.

mod bus;
mod config;
mod enrol;
mod folder;
mod link;
mod log_control;
mod rated;
mod run;
mod sample_log;
mod standing;
mod survey;

pub use bus::{Address, ParseAddressError, Serial};
pub use config::{Config, ConfigError, InverterConfig, Permits};
pub use ecowatt_device::LogLevel;
pub use enrol::EnrolError;
pub use folder::{Folder, FolderError};
pub use link::{ParseServerUrlError, ServerUrl};
pub use log_control::LogControl;
pub use run::{RunError, run, run_and_tell};
pub use standing::{Standing, Trouble};
