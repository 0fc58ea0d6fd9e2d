//! Which images a device may be offered at all, after the ideas of TUF (The Update Framework 1.0).
//!
//! A signed manifest alone leaves questions open: which keys count, and for how long? Is this the
//! newest manifest, or an old one that a stolen server goes on showing?
//! Three documents answer them:
//!
//! - the *root* names the keys of every role and how many of them must sign; only keys of the
//!   previous root can replace it;
//! - the *targets* list the manifests that may be installed; their keys are offline;
//! - the *timestamp* names the newest targets; its key is online and its life is short.
//!
//! [`Trust`] is what a device remembers. It is pure: documents, state and time are arguments, and a
//! document that is refused changes nothing.

mod role;
mod root;
mod state;
mod targets;
mod timestamp;

pub use role::{KEYS_MAX, Role};
pub use root::Root;
pub use state::{Current, Document, STATE_MAX, Standing, Trust, TrustError};
pub use targets::{TARGETS_MAX, Target, Targets};
pub use timestamp::Timestamp;
