//! The command line as its users meet it: the real binary, its exit codes and its words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod check_config;
mod corrections;
mod demo;
mod operator;
mod run;
mod serve;
mod store;
mod token;
