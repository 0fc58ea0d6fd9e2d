//! The newest edges of each inverter, so that a block which follows all others in time finds the one
//! before it without asking the database.
//!
//! What is held is what the database would answer: of all blocks of the inverter, those of the
//! transaction at hand included, the last that has readings of a counter, and of power. A late block
//! changes nothing of that. A group that fails clears everything.

use std::collections::HashMap;

use ecowatt_model::{BootEpoch, Sequence, UnixMs};

use crate::energy::Edges;
use crate::limits::ROWS_HELD_MAX;
use crate::telemetry::NewBlock;

/// Where a block stands among those of its inverter: the order of the table's key.
type Place = (UnixMs, BootEpoch, Sequence);

/// Blocks beside a block in time that have counter readings, and that have power readings.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    pub(super) counter: Option<Edges>,
    pub(super) power: Option<Edges>,
}

/// The last block that has readings of a kind; absent while it is not known.
#[derive(Debug, Default)]
struct Newest {
    counter: Option<(Place, Edges)>,
    power: Option<(Place, Edges)>,
}

#[derive(Debug, Default)]
pub(super) struct Ends {
    held: HashMap<(u32, u8), Newest>,
}

impl Ends {
    /// The neighbours before a block that has none after it; `None` if that is not known of all the
    /// kinds that it has.
    pub(super) fn before(&self, device: u32, block: &NewBlock) -> Option<Neighbours> {
        let newest = self.held.get(&(device, block.source.0))?;
        let wanted = block.summary.inside.edges;
        let follows = |held: &(Place, Edges)| held.0 < place(block);
        let counter = newest.counter.filter(follows).map(|(_, edges)| edges);
        let power = newest.power.filter(follows).map(|(_, edges)| edges);
        let is_known = (wanted.counter.is_none() || counter.is_some())
            && (wanted.power.is_none() || power.is_some());
        is_known.then_some(Neighbours { counter, power })
    }

    /// Notes a block and what comes after it.
    pub(super) fn note(&mut self, device: u32, block: &NewBlock, after: &Neighbours) {
        let edges = block.summary.inside.edges;
        let newest = self.held.entry((device, block.source.0)).or_default();
        if edges.counter.is_some() && after.counter.is_none() {
            newest.counter = Some((place(block), edges));
        }
        if edges.power.is_some() && after.power.is_none() {
            newest.power = Some((place(block), edges));
        }
    }

    /// After a failed group.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Between groups.
    pub(super) fn bound(&mut self) {
        if self.held.len() > ROWS_HELD_MAX {
            self.held.clear();
        }
    }
}

fn place(block: &NewBlock) -> Place {
    (block.first, block.id.epoch, block.id.sequence)
}
