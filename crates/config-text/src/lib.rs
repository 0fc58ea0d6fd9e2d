//! Reading configuration from text: files, the API and the command line.
//!
//! A TOML [`Document`] reports all of its [`Problem`]s at once, each with its key and line.
//! Durations and sizes have one spelling.

mod document;
mod duration;
mod problem;
mod size;

pub use document::Document;
pub use duration::{DURATION_EXAMPLES, duration, duration_text};
pub use problem::{Problem, list_problems};
pub use size::{SIZE_EXAMPLES, size};
