//! The Linux shell around a node: buses, network, and the folder that serves as its disk.
//!
//! [`run()`] carries out the actions of `ecowatt-node`. It decides only how: which task owns a bus,
//! when to give up on a socket, what is logged.

mod bus;
mod config;
mod controls;
mod data_folder;
mod enrol;
mod link;
mod log_control;
mod model_search;
mod original;
mod rated_power;
mod run;
mod sample_log;
mod server_contact;

pub use bus::{Address, HttpFront, ParseAddressError, Serial};
pub use config::{Config, ConfigError, InverterConfig, OriginalConfig, Permits};
pub use data_folder::{Folder, FolderError};
pub use ecowatt_device::LogLevel;
pub use enrol::EnrolError;
pub use link::{ParseServerUrlError, ServerUrl};
pub use log_control::LogControl;
pub use original::OriginalError;
pub use run::{RunError, run, run_and_tell};
pub use server_contact::{ContactFailure, ServerContact};
