//! The command line as its users see it: the real binary, its exit codes and its output.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod artifact;
mod bombs;
mod check_config;
mod command;
mod completions;
mod config;
mod corrections;
mod demo;
mod enrol;
mod foreign;
mod lists;
mod medium;
mod operator;
mod original;
mod original_fault;
mod original_tools;
mod retention;
mod rig;
mod serve;
mod store;
mod templates;
mod thief;
mod token;
