//! What goes wrong on purpose.

pub(crate) mod outage;
