//! One file of the spool: its name, and what is in it as far as memory keeps it.

use std::io;

use ecowatt_model::BatchId;

use super::{Batch, Disk, SEGMENT_BYTES_MAX, linear, record};

/// What is known about a segment without reading it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Length of its whole records.
    pub(super) bytes: u64,
    /// Where the first batch that is not freed begins, or an earlier record.
    pub(super) live_from: u64,
    /// First and last batch, freed ones included.
    pub(super) ids: Option<(BatchId, BatchId)>,
    pub(super) live_batches: u32,
    pub(super) live_samples: u64,
    /// Batches were freed since it was counted.
    pub(super) is_stale: bool,
}

impl Segment {
    pub(super) fn empty(number: u64, bytes: u64) -> Self {
        Self {
            number,
            bytes,
            live_from: bytes,
            ids: None,
            live_batches: 0,
            live_samples: 0,
            is_stale: false,
        }
    }

    /// Counts a batch that was appended at `offset`.
    pub(super) fn add<B>(&mut self, offset: u64, batch: &Batch<B>) {
        if self.live_batches == 0 && !self.is_stale {
            self.live_from = offset;
        }
        self.ids = Some((self.ids.map_or(batch.id, |(first, _)| first), batch.id));
        self.live_batches += 1;
        self.live_samples += u64::from(batch.rows);
    }

    /// Counts again after batches were freed; `live` are the offsets and rows of those that are left.
    pub(super) fn count(&mut self, live: &[(u64, u16)]) {
        self.live_batches = u32::try_from(live.len()).unwrap_or(u32::MAX);
        self.live_samples = live.iter().map(|(_, rows)| u64::from(*rows)).sum();
        self.live_from = live.first().map_or(self.bytes, |(offset, _)| *offset);
        self.is_stale = false;
    }

    /// Whether it has batches between the two ids, both included.
    pub(super) fn overlaps(&self, (from, to): (u64, u64)) -> bool {
        self.ids.is_some_and(|(first, last)| from <= linear(last) && to >= linear(first))
    }
}

const PREFIX: &str = "spool-";

pub(super) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

pub(super) fn file_number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// All of a segment, whatever its length.
pub(super) fn read(disk: &impl Disk, number: u64) -> io::Result<Vec<u8>> {
    // A segment exceeds its size by at most the one record that it had no room for.
    let limit = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX) + record::RECORD_BYTES_MAX;
    Ok(disk.read(&file_name(number), limit)?.unwrap_or_default())
}

/// Reads the part of a segment that may hold batches which are not freed.
pub(super) fn read_live(
    disk: &impl Disk,
    segment: &Segment,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let len = segment.bytes.saturating_sub(segment.live_from);
    bytes.clear();
    bytes.resize(usize::try_from(len).unwrap_or(0), 0);
    if !bytes.is_empty() {
        let read = disk.read_at(&file_name(segment.number), segment.live_from, bytes)?;
        bytes.truncate(read);
    }
    Ok(())
}
