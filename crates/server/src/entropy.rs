//! Where nonces come from: the operating system, or a simulation that must be repeatable.

use std::fmt;
use std::sync::Arc;

type Fill = dyn Fn(&mut [u8]) -> Result<(), getrandom::Error> + Send + Sync;

/// A source of random bytes; clones share it.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

impl Entropy {
    /// Takes bytes from the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(getrandom::fill))
    }

    /// Takes bytes from a simulation. Two replies under one key must not get the same bytes.
    #[must_use]
    pub fn simulated(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |bytes| {
            fill(bytes);
            Ok(())
        }))
    }

    /// Fills `bytes`.
    ///
    /// # Errors
    /// If the operating system has no random bytes.
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        (self.0)(bytes)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}
