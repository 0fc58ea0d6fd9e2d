//! Writes that failed and will be retried.

use super::StorageError;

/// A write that failed. It is retried before or with the next batch; nothing is lost meanwhile unless
/// the power fails.
#[derive(Debug)]
pub enum Postponed {
    /// Samples that an earlier epoch left in the draft are in no batch yet.
    Recovery(StorageError),
    /// Where the present epoch began is known in memory alone.
    Start(StorageError),
    /// The draft still holds samples that are in a batch. They take up room and nothing else.
    Emptying(StorageError),
}
