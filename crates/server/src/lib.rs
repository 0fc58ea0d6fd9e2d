//! The server: takes and stores what devices send, and answers operators.
//!
//! Layers: `http` (extract, authorise, call, convert) over the subject modules (`ingest`,
//! `enrolment`, `fleet`, `history`, `desired`, `access`, `live`; `subjects` builds them) over `ecowatt-store`.
//! Subject modules know neither axum nor status codes; only `http` does. `state_reconciler`,
//! `packing` and `retention` are reconcilers: they take no input and may run at any time.

pub mod access;
mod audit;
mod command;
mod config;
mod corrections;
mod desired;
mod disk_space;
mod enrolment;
mod entered_name;
mod entropy;
mod fleet;
mod history;
mod http;
pub mod ingest;
mod lease;
pub mod limits;
pub mod live;
mod log_limit;
pub mod metrics;
mod original_request;
pub mod packing;
pub mod retention;
mod serve;
mod state_reconciler;
mod stop;
mod subjects;
#[cfg(test)]
mod test_layout;
mod throttle;
mod time;
mod trouble;
mod waiting_devices;

pub use config::{Config, ConfigError};
pub use entropy::Entropy;
pub use http::document as openapi;
pub use retention::{Keep, Retention};
pub use serve::{Running, ServeError, StoreFailed, serve};
