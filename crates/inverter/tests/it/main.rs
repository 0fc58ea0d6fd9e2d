//! The simulated inverter from outside: real sockets, a real pty.
