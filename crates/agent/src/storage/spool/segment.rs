//! One file of the spool: its name, and what is in it as far as memory keeps it.

use std::io;

use ecowatt_model::BatchId;

use super::{Batch, Disk, SEGMENT_BYTES_MAX, record};

/// What is known about a segment without reading it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Length of its whole records.
    pub(super) bytes: u64,
    /// First and last batch, freed ones included.
    pub(super) ids: Option<(BatchId, BatchId)>,
    pub(super) live_batches: u32,
    pub(super) live_samples: u64,
}

impl Segment {
    pub(super) fn empty(number: u64, bytes: u64) -> Self {
        Self { number, bytes, ids: None, live_batches: 0, live_samples: 0 }
    }

    /// Counts a batch that was appended.
    pub(super) fn add(&mut self, batch: &Batch) {
        self.ids = Some((self.ids.map_or(batch.id, |(first, _)| first), batch.id));
        self.live_batches += 1;
        self.live_samples += u64::from(batch.rows);
    }

    /// Counts again after batches were freed.
    pub(super) fn count(&mut self, live: &[Batch]) {
        self.live_batches = u32::try_from(live.len()).unwrap_or(u32::MAX);
        self.live_samples = live.iter().map(|batch| u64::from(batch.rows)).sum();
    }
}

const PREFIX: &str = "spool-";

pub(super) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

pub(super) fn file_number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

pub(super) fn read(disk: &impl Disk, number: u64) -> io::Result<Vec<u8>> {
    // A segment exceeds its size by at most the one record that did not fit an empty one.
    let limit = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX) + record::RECORD_BYTES_MAX;
    Ok(disk.read(&file_name(number), limit)?.unwrap_or_default())
}
