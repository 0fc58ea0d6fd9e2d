//! Troubles that many devices share: a grid that fails, a carrier that goes down.
//!
//! They are drawn before the simulation begins, so that all devices see the same ones although they
//! are simulated one after the other.

use ecowatt_model::UnixMs;

use crate::random::Random;
use crate::scenario::{START, Scenario};
use crate::time::after;

/// What happens to many devices at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutageKind {
    PowerCut,
    Partition,
}

/// One shared trouble.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) from: UnixMs,
    /// When power or network are back, within a few seconds for all devices.
    pub(crate) until: UnixMs,
    pub(crate) what: OutageKind,
    /// Share of the devices concerned, in millionths.
    share: u32,
    salt: u64,
}

/// Number of the random stream for shared troubles.
const STREAM: u64 = 1 << 41;

impl Outage {
    /// Draws all shared troubles of a simulation, in order of time.
    pub(crate) fn all(scenario: &Scenario) -> Vec<Self> {
        let mean_ms = scenario.rates().fleet_trouble_ms;
        let mut random = Random::new(scenario.seed, STREAM);
        let mut troubles = Vec::new();
        let mut from = START;
        if mean_ms == 0 {
            return troubles;
        }
        loop {
            from = after(from, random.waiting_ms(mean_ms));
            if from >= scenario.calm_at() {
                break;
            }
            let (what, mean_ms) = if random.happens(500_000) {
                (OutageKind::PowerCut, 10 * 60_000)
            } else {
                (OutageKind::Partition, 60 * 60_000)
            };
            let until = after(from, random.waiting_ms(mean_ms)).min(scenario.calm_at());
            let share = if random.happens(400_000) { 1_000_000 } else { 300_000 };
            troubles.push(Self { from, until, what, share, salt: random.draw() });
        }
        troubles
    }

    pub(crate) fn concerns(&self, device: u32) -> bool {
        Random::new(self.salt, u64::from(device)).happens(self.share)
    }
}
