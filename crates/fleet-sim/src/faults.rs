//! What goes wrong on purpose: the table of all faults, the weights of one run, and the outages that
//! a whole fleet shares.
//!
//! The places where faults take effect are in [`crate::world`]: they ask a run's [`Weights`] whether,
//! when and which.

pub(crate) mod kinds;
pub(crate) mod outage;
pub(crate) mod print;
pub(crate) mod table;
pub(crate) mod weights;

pub use kinds::UnsyncedDamage;
pub use print::table;
pub use weights::Weights;
