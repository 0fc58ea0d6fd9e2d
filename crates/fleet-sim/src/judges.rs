//! What must hold, and whether it does.
//!
//! [`device`] judges a device at each of its actions, [`truth`] remembers what it sampled, [`audit`]
//! compares that with the store at the end, and [`promises`] lists the promises. Nothing here
//! knows how the world is simulated, and nothing in the world depends on a judgement.

pub(crate) mod audit;
pub(crate) mod commands;
pub(crate) mod device;
pub(crate) mod limit;
pub(crate) mod orders;
pub(crate) mod promises;
pub(crate) mod records;
pub(crate) mod reports;
pub(crate) mod states;
pub(crate) mod truth;
