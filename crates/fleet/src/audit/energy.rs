//! What an inverter's counter moved by, according to the batches that the store holds of it.
//!
//! The inverter never runs its counter backwards, so the first reading and the highest tell the energy,
//! whatever old answers the inverter gave in between. Where that cannot be known, because a clock was
//! wrong and batches do not stand in the order in which they were taken, or because a batch holds old
//! answers alone, the batches one after the other tell it, by the rules of
//! `docs/decisions/0006-a-counter-that-falls.md`. No plant makes so much that a step is too large to be
//! believed.

use ecowatt_model::BatchId;

/// Time and value.
pub(super) type Reading = (i64, i64);

/// Batches of one inverter, in the order of their first samples.
#[derive(Default)]
pub(super) struct Energy {
    first: Option<i64>,
    highest: i64,
    /// The last batch, with the end of its readings.
    before: Option<(BatchId, i64)>,
    /// Whether batches stand in another order than they were taken in, or over one another.
    pub(super) is_disordered: bool,
    /// Whether a reading stands after a higher one.
    pub(super) falls: bool,
    /// Whether all readings of some batch stand after a higher one.
    is_lost: bool,
    /// What the batches one after the other say.
    moved: i64,
    edges: Option<Edges>,
}

/// What a batch's neighbours must know of its readings.
#[derive(Clone, Copy)]
struct Edges {
    first: Reading,
    /// The first above it.
    second: Option<Reading>,
    last: Reading,
}

impl Energy {
    /// Takes the readings of the next batch, in the order in which they were taken.
    pub(super) fn add(&mut self, id: BatchId, readings: &[Reading]) {
        let Some(first) = readings.first().copied() else { return };
        let end = readings.iter().map(|(at, _)| *at).max().unwrap_or(first.0);
        let before = self.before.replace((id, end));
        self.is_disordered |= before.is_some_and(|(before, end)| id < before || first.0 <= end);
        self.first.get_or_insert(first.1);
        self.is_lost |= readings.iter().all(|(_, value)| *value < self.highest);
        for (_, value) in readings {
            self.falls |= *value < self.highest;
            self.highest = self.highest.max(*value);
        }
        let (inside, edges) = inside(first, readings);
        let join = self.edges.replace(edges).map_or(0, |before| join(before, edges));
        self.moved += inside + join;
    }

    /// Counts of the counter; none without a reading.
    pub(super) fn moved(&self) -> Option<i64> {
        let first = self.first?;
        let is_known = !self.is_disordered && !self.is_lost;
        Some(if is_known { self.highest - first } else { self.moved })
    }
}

fn inside(first: Reading, readings: &[Reading]) -> (i64, Edges) {
    let mut edges = Edges { first, second: None, last: first };
    for to in readings.iter().filter(|to| to.1 >= first.1) {
        if to.1 >= edges.last.1 {
            edges.last = *to;
        }
        if to.1 > first.1 {
            edges.second.get_or_insert(*to);
        }
    }
    (edges.last.1 - first.1, edges)
}

fn join(before: Edges, after: Edges) -> i64 {
    let (last, first) = (before.last, after.first);
    if first.0 <= last.0 {
        // What both saw grow counts once.
        return -(last.1 - first.1).max(0).min((last.1 - before.first.1).max(0));
    }
    let comes_back = after.second.is_some_and(|second| second.1 >= last.1);
    if first.1 >= last.1 || comes_back { first.1 - last.1 } else { 0 }
}
