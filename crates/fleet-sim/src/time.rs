//! Instants of virtual time.

use ecowatt_model::UnixMs;

/// An instant that is never reached.
pub(crate) const FAR: UnixMs = UnixMs(i64::MAX);

/// Returns the instant `ms` milliseconds later.
pub(crate) fn after(at: UnixMs, ms: u64) -> UnixMs {
    UnixMs(at.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
}
