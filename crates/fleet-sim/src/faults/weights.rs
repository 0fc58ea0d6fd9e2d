//! How likely each fault is in one run: by level.

use std::array;

use ecowatt_model::UnixMs;

use super::kinds::{DeviceFault, Fault, Occasion};
use super::table::{
    Disturbance, FAULTS, HIGH_DISTURBANCE, LOW_DISTURBANCE, NO_DISTURBANCE, OCCASIONS, Row, Rule,
};
use crate::random::Random;
use crate::scenario::Level;
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

impl Weights {
    /// Returns the weights of a level.
    #[must_use]
    pub fn of(level: Level) -> Self {
        match level {
            Level::None => Self::calm(),
            Level::Low => Self {
                faults: array::from_fn(|place| FAULTS[place].low),
                means_ms: array::from_fn(|place| match OCCASIONS[place].rule {
                    Rule::Every { low_ms, .. } => low_ms,
                    Rule::One | Rule::Each => 0,
                }),
                disturbance: LOW_DISTURBANCE,
            },
            Level::High => Self {
                faults: array::from_fn(|place| FAULTS[place].high),
                means_ms: array::from_fn(|place| match OCCASIONS[place].rule {
                    Rule::Every { high_ms, .. } => high_ms,
                    Rule::One | Rule::Each => 0,
                }),
                disturbance: HIGH_DISTURBANCE,
            },
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
