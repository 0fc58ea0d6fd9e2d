//! The server: takes and stores what devices send, and answers operators.
//!
//! Layers: `http` (extract, authorise, call, convert) over the subject modules (`ingest`,
//! `enrolment`, `fleet`, `telemetry`, `access`, `live`) over `ecowatt-store`. Subject modules know
//! neither axum nor status codes; only `http` does. `presence` and `packing` are reconcilers: they
//! take no input and may run at any time.

pub mod access;
mod config;
mod edit;
mod enrolment;
mod entropy;
mod fleet;
mod http;
pub mod ingest;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod packing;
mod presence;
mod running;
mod sparing;
mod stopping;
mod telemetry;
mod text;
mod throttle;
mod time;
mod trouble;

pub use config::{Config, ConfigError};
pub use entropy::Entropy;
pub use http::document as openapi;
pub use running::{Running, ServeError, StoreLost, serve};
