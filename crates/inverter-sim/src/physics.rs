//! From sunlight to AC power, as pure arithmetic.
//!
//! Everything here is a function of a seed, a start and the inputs since then: no clock is read and
//! no thread runs. The state advances in whole steps of [`STEP`], aligned to the Unix second, so
//! the values at an instant do not depend on when or how often they were read.

pub mod clouds;
pub mod diode;
pub mod energy;
pub mod grid;
pub mod limit;
pub mod plant;
pub mod random;
pub mod sky;
pub mod sun;

use std::time::Duration;

/// The only step of the physics. Cloud edges and the tracker's lag last seconds, so a longer step
/// would not show them, and a day of 86,400 steps costs less than half a second.
pub const STEP: Duration = Duration::from_millis(STEP_MS.unsigned_abs());

/// [`STEP`] in milliseconds.
pub const STEP_MS: i64 = 1_000;

/// [`STEP`] in seconds.
pub const STEP_S: f64 = 1.0;

/// The fraction of the remaining difference that a first-order lag with `tau_s` covers in one step.
#[must_use]
pub fn lag(tau_s: f64) -> f64 {
    1.0 - (-STEP_S / tau_s).exp()
}
