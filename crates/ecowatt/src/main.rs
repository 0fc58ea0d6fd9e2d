//! The one binary: it ties agent, inverter, server and client together.

fn main() {}
