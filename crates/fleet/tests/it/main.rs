//! The fleet simulation as a whole.

mod promises;
