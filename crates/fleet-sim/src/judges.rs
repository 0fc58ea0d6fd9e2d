//! What must hold, and whether it does.
//!
//! [`truth`] remembers what a device sampled, [`audit`] compares it with the store at the end, and
//! [`violation`] lists the promises.

pub(crate) mod audit;
pub(crate) mod records;
pub(crate) mod reports;
pub(crate) mod states;
pub(crate) mod truth;
pub(crate) mod violation;
