//! The command line as its users see it: the real binary, its exit codes and its output.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod artifact;
mod check_config;
mod command;
mod completions;
mod config;
mod corrections;
mod damaged_database;
mod demo;
mod enrol;
mod expanding_messages;
mod import_original;
mod lease;
mod lists;
mod operator;
mod original;
mod original_agent;
mod original_fault;
mod original_tools;
mod python_client;
mod retention;
mod rig;
mod serve;
mod stolen_key;
mod store;
mod templates;
mod token;
mod trust;
