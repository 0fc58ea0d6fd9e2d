//! The server: takes what devices send, keeps it, and answers operators.
//!
//! Layers: `http` (extract, authorise, call, convert) over the subject modules (`ingest`, `fleet`,
//! `telemetry`, `access`, `live`) over `ecowatt-store`. Subject modules know neither axum nor status
//! codes; only `http` does.

pub mod limits;
pub mod live;
