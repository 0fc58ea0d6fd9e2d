//! The increase of an inverter's own counter between the first and the last reading in the store.
//!
//! The simulated plant knows the true counter at each sample, so no rule of the product is used
//! here. A reading is *true* if it shows the plant's counter at its time. The energy must be
//! exactly the last true reading minus the first, except in two cases that readings alone cannot
//! decide: repeated old answers at the very end, which may or may not be taken back, and a false
//! reading at the very beginning or end, which no neighbour contradicts.

use std::collections::BTreeMap;

use ecowatt_model::BatchId;

/// Most energy that the plant produces between the reading of a register and the end of its sample,
/// in seconds at rated power: the longest cycle, plus the step of the plant's table.
const SAMPLE_MAX_S: i64 = 120;

/// Largest error of a false reading at either end that may still be believed, in seconds at rated
/// power: the product allows a counter that lags by 15 minutes, and a fifth above rated power.
const BELIEVED_MAX_S: i64 = 15 * 60 * 6 / 5;

/// Batches at either end in which a false reading may be uncontradicted.
const ENDS: usize = 2;

/// A reading of the counter, and the plant's counter at that time, in milliwatt-hours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) shown_mwh: i64,
    pub(super) plant_mwh: i64,
}

/// The energy that the store must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) least_mwh: i64,
    pub(super) most_mwh: i64,
}

/// The batches of one inverter by name.
#[derive(Default)]
pub(super) struct Energy {
    batches: BTreeMap<BatchId, Vec<Reading>>,
}

impl Energy {
    /// Adds the readings of a batch, in the order in which they were taken.
    pub(super) fn add(&mut self, id: BatchId, readings: &[Reading]) {
        if !readings.is_empty() {
            self.batches.insert(id, readings.to_vec());
        }
    }

    /// Whether a reading follows a higher one.
    pub(super) fn falls(&self) -> bool {
        let shown: Vec<i64> = self.batches.values().flatten().map(|r| r.shown_mwh).collect();
        !shown.is_sorted()
    }

    /// Returns the energy that the store must have; none without a true reading.
    pub(super) fn expected(&self, rated_w: u32) -> Option<Expected> {
        // Watts times seconds divided by 3.6 are milliwatt-hours.
        let made_mwh = |seconds: i64| i64::from(rated_w) * seconds * 10 / 36;
        let is_true = |reading: &&Reading| {
            (-made_mwh(SAMPLE_MAX_S)..=1_000).contains(&(reading.shown_mwh - reading.plant_mwh))
        };
        let all = || self.batches.values().flatten();
        let first = all().find(is_true)?.shown_mwh;
        let last = all().rev().find(is_true)?.shown_mwh;
        let highest = all().filter(is_true).map(|reading| reading.shown_mwh).max()?;
        let ends = self.batches.values().take(ENDS).chain(self.batches.values().rev().take(ENDS));
        let is_doubtful = ends.flatten().any(|reading| !is_true(&reading));
        let doubt = if is_doubtful { made_mwh(BELIEVED_MAX_S) } else { 0 };
        Some(Expected { least_mwh: last - first - doubt, most_mwh: highest - first + doubt })
    }
}
