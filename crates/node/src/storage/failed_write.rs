//! Failed writes that will be retried.

use super::StorageError;

/// A write that failed. It is retried before or with the next batch; until then nothing is lost
/// unless the power fails.
#[derive(Debug)]
pub enum Postponed {
    /// Samples that an earlier epoch left in the draft are not in batches yet.
    Recovery(StorageError),
    /// The start of the current epoch is only in memory.
    Start(StorageError),
    /// The draft may still hold samples that are in batches, which are not sent until then.
    Emptying(StorageError),
}
