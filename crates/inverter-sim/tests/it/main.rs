//! The simulated inverter from outside: real sockets and a real pseudo terminal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod control;
mod faults;
mod fronts;
mod hostile;
mod http_front;
mod replay;
mod rig;
