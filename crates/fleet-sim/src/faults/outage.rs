//! Troubles that many devices share: a grid that fails, a carrier that goes down.
//!
//! They are drawn before the simulation begins, so that all devices see the same ones although they
//! are simulated one after the other.

use ecowatt_model::UnixMs;

use super::kinds::{Fault, Occasion, OutageFault};
use super::weights::{Weights, lasting_ms};
use crate::random::Random;
use crate::scenario::{START, Scenario};
use crate::streams;
use crate::time::after;

/// One shared trouble.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) from: UnixMs,
    /// When power or network are back, within a few seconds for all devices.
    pub(crate) until: UnixMs,
    pub(crate) what: OutageFault,
    /// Share of the devices concerned, in millionths.
    share: u32,
    salt: u64,
}

impl Outage {
    /// Draws all shared troubles of a simulation, in order of time.
    pub(crate) fn all(scenario: &Scenario, weights: &Weights) -> Vec<Self> {
        let mut random = Random::new(scenario.seed, streams::OUTAGES);
        let mut troubles = Vec::new();
        let mut from = START;
        loop {
            from = weights.next(Occasion::FleetOutage, from, &mut random);
            if from >= scenario.calm_at() {
                return troubles;
            }
            let fault = weights.pick(Occasion::FleetOutage, &mut random);
            let Fault::Outage(what) = fault else { return troubles };
            let until = after(from, lasting_ms(fault, &mut random)).min(scenario.calm_at());
            let share = if random.happens(400_000) { 1_000_000 } else { 300_000 };
            troubles.push(Self { from, until, what, share, salt: random.draw() });
        }
    }

    pub(crate) fn concerns(&self, device: u32) -> bool {
        Random::new(self.salt, u64::from(device)).happens(self.share)
    }
}
