//! The newest edges of each inverter, so that a block which follows all others finds the one before it
//! without asking the database.
//!
//! What is held is what the database would answer: of all blocks of the inverter, those of the
//! transaction at hand included, the last by name that has readings of the counter, and the last by
//! time that has some of power. A group that fails clears everything.

use std::collections::HashMap;

use ecowatt_model::{BatchId, UnixMs};

use crate::counter::Link;
use crate::energy::PowerEdges;
use crate::limits::ROWS_HELD_MAX;

/// A batch of the counter's readings as the next one needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CounterEdge {
    pub(super) id: BatchId,
    /// How many steps in a row up to it were continued, at the least; no more than
    /// [`crate::counter::CALM`] are counted, and the first batch of all has that many.
    pub(super) calm: u32,
    pub(super) link: Link,
}

/// Where a block stands among those of its inverter by time.
pub(super) type Place = (UnixMs, BatchId);

/// The last of each kind; absent while it is not known.
#[derive(Debug, Default)]
pub(super) struct Newest {
    pub(super) counter: Option<CounterEdge>,
    pub(super) power: Option<(Place, PowerEdges)>,
}

#[derive(Debug, Default)]
pub(super) struct NewestEdges {
    held: HashMap<(u32, u8), Newest>,
}

impl NewestEdges {
    pub(super) fn of(&mut self, device: u32, source: u8) -> &mut Newest {
        self.held.entry((device, source)).or_default()
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
