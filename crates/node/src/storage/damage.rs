//! What storage lost, or set aside because it could not be read.

use ecowatt_device::Slot;
use ecowatt_model::{BootEpoch, SourceNumber, StreamNumber};

use super::Dropped;

/// Something that people should know; each is said once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One copy of the ledger could not be read. The other counts, and numbers that the lost one may
    /// have used are passed over.
    Ledger,
    /// One copy of what the core keeps could not be read. The other counts, which may be older.
    Slot(Slot),
    /// A part of the spool could not be read; what was lost follows.
    Segment(u64),
    /// A journal of samples could not be read in part.
    Journal { epoch: BootEpoch, source: SourceNumber },
    /// A layout could not be read. If its inverter still has it, it was written again.
    Layout(StreamNumber),
    /// Batches that will never be sent.
    Lost(Dropped),
}
