//! What storage has lost, or set aside because it could not be read.

use ecowatt_device::Slot;
use ecowatt_model::{BootEpoch, SourceNumber, StreamNumber};

use super::Dropped;

/// A loss that the operator should know about; each is reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One copy of the ledger could not be read. The other one is used, and numbers that the lost
    /// copy may have used are skipped.
    Ledger,
    /// One copy of a slot could not be read. The other one is used, which may be older.
    Slot(Slot),
    /// A part of the spool could not be read; the batches lost with it follow as `Lost`.
    Segment(u64),
    /// A part of a journal of samples could not be read.
    Journal { epoch: BootEpoch, source: SourceNumber },
    /// A layout could not be read. If its inverter still uses it, it was written again.
    Layout(StreamNumber),
    /// Batches that will never be sent.
    Lost(Dropped),
}
