//! How likely each fault is in one run: by level.

use std::array;

use ecowatt_model::UnixMs;

use super::kinds::{DeviceFault, Fault, Occasion};
use super::table::{
    Disturbance, FAULTS, HIGH_DISTURBANCE, LOW_DISTURBANCE, NO_DISTURBANCE, OCCASIONS, Row, Rule,
};
use crate::random::Random;
use crate::scenario::FaultLevel;
use crate::streams;
use crate::time::{FAR, after};

/// The weights of all faults in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// By place in [`FAULTS`].
    faults: [u32; FAULTS.len()],
    /// By place in [`OCCASIONS`]: the mean time between two of them; 0 for those that never come,
    /// and for those that come by themselves.
    means_ms: [u64; OCCASIONS.len()],
    pub(crate) disturbance: Disturbance,
}

/// A heavy fault gets this many times its share: it happens most of the time.
const HEAVY_SHARE: u32 = 8;
/// A heavy occasion comes this many times as often as at the level high. At more, a device would
/// hardly get anything done in between.
const HEAVY_OFTEN: u64 = 3;

impl Weights {
    /// Returns the weights of a level; those of [`FaultLevel::Swarm`] follow from the seed.
    #[must_use]
    pub fn of(level: FaultLevel, seed: u64) -> Self {
        match level {
            FaultLevel::None => Self::calm(),
            FaultLevel::Low => Self {
                faults: array::from_fn(|place| FAULTS[place].low),
                means_ms: array::from_fn(|place| OCCASIONS[place].rule.low_ms()),
                disturbance: LOW_DISTURBANCE,
            },
            FaultLevel::High => Self {
                faults: array::from_fn(|place| FAULTS[place].high),
                means_ms: array::from_fn(|place| OCCASIONS[place].rule.high_ms()),
                disturbance: HIGH_DISTURBANCE,
            },
            FaultLevel::Swarm => Self::swarm(&mut Random::new(seed, streams::SWARM)),
        }
    }

    /// Draws for each fault whether it is off, as likely as at a level, or heavy.
    ///
    /// Faults that are always all there hide what happens when one of them is alone or reigns.
    fn swarm(random: &mut Random) -> Self {
        let means_ms = array::from_fn(|place| {
            let rule = OCCASIONS[place].rule;
            match random.below(4) {
                0 => 0,
                1 => rule.low_ms(),
                2 => rule.high_ms(),
                _ => rule.high_ms() / HEAVY_OFTEN,
            }
        });
        let faults = array::from_fn(|place| {
            let row = &FAULTS[place];
            let heavy = match rule(row.fault.occasion()) {
                Rule::Every { .. } | Rule::One => row.high * HEAVY_SHARE,
                Rule::Each => row.heavy(),
            };
            match random.below(4) {
                0 => 0,
                1 => row.low,
                2 => row.high,
                _ => heavy,
            }
        });
        let disturbance = if random.below(2) == 0 { LOW_DISTURBANCE } else { HIGH_DISTURBANCE };
        let mut drawn = Self { faults, means_ms, disturbance };
        for (place, draw) in OCCASIONS.iter().enumerate() {
            if drawn.total(draw.occasion) > 0 {
                continue;
            }
            match draw.rule {
                Rule::Every { .. } => drawn.means_ms[place] = 0,
                // One of them must happen.
                Rule::One => drawn.restore(draw.occasion),
                Rule::Each => {}
            }
        }
        drawn
    }

    /// Sets the faults of an occasion to their usual weights.
    fn restore(&mut self, occasion: Occasion) {
        for (weight, row) in self.faults.iter_mut().zip(&FAULTS) {
            if row.fault.occasion() == occasion {
                *weight = row.high;
            }
        }
    }

    /// Returns the weights without any fault. Where one is drawn among several for another reason,
    /// such as what a planned power cut leaves, it is drawn as ever.
    pub(crate) fn calm() -> Self {
        Self {
            faults: array::from_fn(|place| match rule(FAULTS[place].fault.occasion()) {
                Rule::One => FAULTS[place].high,
                Rule::Every { .. } | Rule::Each => 0,
            }),
            means_ms: [0; OCCASIONS.len()],
            disturbance: NO_DISTURBANCE,
        }
    }

    /// Returns the weight of a fault: its share among those of its occasion or, where each is drawn
    /// for itself, its probability in millionths.
    pub(crate) fn of_fault(&self, fault: Fault) -> u32 {
        FAULTS.iter().position(|row| row.fault == fault).map_or(0, |place| self.faults[place])
    }

    /// Draws whether a fault happens that is drawn for itself.
    pub(crate) fn happens(&self, fault: Fault, random: &mut Random) -> bool {
        random.happens(self.of_fault(fault))
    }

    /// Whether inverters are ever disturbed.
    pub(crate) fn disturb_inverters(&self) -> bool {
        let disturbed = self.of_fault(Fault::Device(DeviceFault::InverterDisturbed));
        disturbed > 0 && self.mean_ms(Occasion::DeviceTrouble) > 0
    }

    /// Draws when an occasion comes next, which may be never; that draws nothing.
    pub(crate) fn next(&self, occasion: Occasion, now: UnixMs, random: &mut Random) -> UnixMs {
        match self.mean_ms(occasion) {
            0 => FAR,
            mean_ms => after(now, random.waiting_ms(mean_ms)),
        }
    }

    /// Draws one of the faults of an occasion.
    pub(crate) fn pick(&self, occasion: Occasion, random: &mut Random) -> Fault {
        let rows = || self.rows(occasion);
        let mut left = random.below(self.total(occasion));
        let drawn = rows().find(|(_, weight)| {
            let is_it = left < u64::from(*weight);
            left = left.saturating_sub(u64::from(*weight));
            is_it
        });
        // A run in which none of them has a weight does not draw them.
        drawn.map_or(FAULTS[0].fault, |(row, _)| row.fault)
    }

    /// Returns the mean time between two occasions; 0 if it never comes or comes by itself.
    pub(super) fn mean_ms(&self, occasion: Occasion) -> u64 {
        let place = OCCASIONS.iter().position(|draw| draw.occasion == occasion);
        place.map_or(0, |place| self.means_ms[place])
    }

    /// Returns the faults of an occasion with their weights.
    fn rows(&self, occasion: Occasion) -> impl Iterator<Item = (&'static Row, u32)> {
        let all = FAULTS.iter().zip(self.faults);
        all.filter(move |(row, _)| row.fault.occasion() == occasion)
    }

    pub(super) fn total(&self, occasion: Occasion) -> u64 {
        self.rows(occasion).map(|(_, weight)| u64::from(weight)).sum()
    }
}

/// Draws how long a fault lasts, in milliseconds.
pub(crate) fn lasting_ms(fault: Fault, random: &mut Random) -> u64 {
    let row = FAULTS.iter().find(|row| row.fault == fault);
    random.waiting_ms(row.map_or(0, |row| row.lasts_s) * 1_000)
}

/// Returns how the faults of an occasion are drawn.
pub(super) fn rule(occasion: Occasion) -> Rule {
    let draw = OCCASIONS.iter().find(|draw| draw.occasion == occasion);
    draw.map_or(Rule::Each, |draw| draw.rule)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::faults::kinds::ServerFault;

    #[test]
    fn swarm_turns_every_fault_off_and_makes_every_fault_heavy_under_some_seed() {
        let swarms: Vec<Weights> =
            (0..64).map(|seed| Weights::of(FaultLevel::Swarm, seed)).collect();
        assert_eq!(swarms[7], Weights::of(FaultLevel::Swarm, 7));
        for (place, row) in FAULTS.iter().enumerate() {
            let drawn: BTreeSet<u32> = swarms.iter().map(|weights| weights.faults[place]).collect();
            assert!(drawn.contains(&row.low) && drawn.contains(&row.high), "{}", row.name);
            let is_certain = row.high == row.heavy();
            assert!(drawn.contains(&0), "{} is never off: {drawn:?}", row.name);
            assert!(is_certain || drawn.last() > Some(&row.high), "{}: {drawn:?}", row.name);
        }
        for (place, draw) in OCCASIONS.iter().enumerate() {
            let drawn: BTreeSet<u64> =
                swarms.iter().map(|weights| weights.means_ms[place]).collect();
            let expected = if matches!(draw.rule, Rule::Every { .. }) { 4 } else { 1 };
            assert_eq!(drawn.len(), expected, "{}", draw.name);
        }
    }

    #[test]
    fn faults_are_picked_by_their_weights() {
        let weights = Weights::of(FaultLevel::High, 0);
        let mut random = Random::new(1, 0);
        let mut killed = 0;
        for _ in 0..10_000 {
            let fault = weights.pick(Occasion::ServerTrouble, &mut random);
            assert_eq!(fault.occasion(), Occasion::ServerTrouble);
            killed += u32::from(fault == Fault::Server(ServerFault::Killed));
        }
        assert!((1_800..2_200).contains(&killed), "{killed} of 10,000 are to be 2,000");
    }
}
