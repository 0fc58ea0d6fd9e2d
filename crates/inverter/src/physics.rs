//! What happens between the sun and the socket, as pure arithmetic.
//!
//! Everything here is a function of a seed, a start and the inputs given since: no clock is read and
//! no thread runs. The state moves in whole steps of [`STEP`], aligned to the Unix second, so what an
//! instant shows does not depend on when or how often it was looked at.

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

/// The one step of the physics. Cloud edges and the tracker's lag are seconds long, so nothing
/// slower would show them, and a day of 86,400 steps costs less than half a second.
pub const STEP: Duration = Duration::from_millis(STEP_MS.unsigned_abs());

/// [`STEP`] in milliseconds.
pub const STEP_MS: i64 = 1_000;

/// [`STEP`] in seconds.
pub const STEP_S: f64 = 1.0;

/// The share of its way that a first-order lag of `tau_s` goes in one step.
#[must_use]
pub fn lag(tau_s: f64) -> f64 {
    1.0 - (-STEP_S / tau_s).exp()
}
