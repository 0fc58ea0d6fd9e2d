//! The whole fleet under one seed: devices, their inverters, disks and network, and the server with
//! its store, in one process and in virtual time.
//!
//! Devices are real `device` values in the agent's own shell, the server is the real ingest on the
//! real store; what is simulated is the world between them. It is the one place of the product,
//! beside the simulated inverter and tests, where anything may fail on purpose.

pub mod random;
