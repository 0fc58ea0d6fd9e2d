//! The fleet simulation as a whole.
