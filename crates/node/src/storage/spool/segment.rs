//! One file of the spool: its name, and what is in it as far as memory keeps it.

use alloc::format;
use alloc::string::String;

use ecowatt_model::{BatchId, SOURCES_MAX};

use super::freed::linear;
use super::gaps::GAPS_MAX;
use super::{Batch, Disk, Fault, SEGMENT_BYTES_MAX, record};
use crate::storage::media::{self, Reading};

/// A place in the run of all batches: after this one, with so many samples up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: BatchId,
    /// Wraps around.
    pub(super) samples: u32,
}

/// What is known about a segment without reading it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Length of its whole records.
    pub(super) bytes: u64,
    /// Where the first batch that is not freed begins, or an earlier record.
    pub(super) live_from: u64,
    /// The last batch before its first, if there is one and it is known.
    pub(super) start: Option<Mark>,
    /// First and last batch, freed ones included.
    pub(super) ids: Option<(BatchId, BatchId)>,
    /// After its last batch.
    pub(super) end_samples: u32,
    pub(super) live_batches: u32,
    pub(super) live_samples: u64,
    /// Batches were freed since it was counted.
    pub(super) is_stale: bool,
    /// Something in it cannot be read, and is accounted for.
    pub(super) is_damaged: bool,
    /// Nothing more is appended to it.
    pub(super) is_sealed: bool,
    /// How often in a row something in it could not be read that is not accounted for.
    pub(super) failures: u8,
}

impl Segment {
    pub(super) fn empty(number: u64, bytes: u64, start: Option<Mark>) -> Self {
        Self {
            number,
            bytes,
            live_from: bytes,
            start,
            ids: None,
            end_samples: start.map_or(0, |start| start.samples),
            live_batches: 0,
            live_samples: 0,
            is_stale: false,
            is_damaged: false,
            is_sealed: false,
            failures: 0,
        }
    }

    /// Counts a batch that was appended at `offset` after so many samples.
    pub(super) fn add<B>(&mut self, offset: u64, batch: &Batch<B>, samples_before: u32) {
        if self.live_batches == 0 && !self.is_stale {
            self.live_from = offset;
        }
        self.ids = Some((self.ids.map_or(batch.id, |(first, _)| first), batch.id));
        self.end_samples = samples_before.wrapping_add(batch.rows.into());
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

    /// The place after its last batch.
    pub(super) fn end(&self) -> Option<Mark> {
        self.ids.map(|(_, id)| Mark { id, samples: self.end_samples })
    }
}

/// Room for a head with all sources and gaps.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!(record::head_len(SOURCES_MAX, GAPS_MAX + 1) <= HEAD_BYTES_MAX);

const PREFIX: &str = "spool-";

pub(super) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

pub(super) fn file_number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// All of a segment, whatever its length, around what cannot be read.
pub(super) fn read(disk: &impl Disk, number: u64) -> Result<Reading, Fault> {
    // A segment exceeds its size by at most the one record that it had no room for.
    let limit = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX) + record::RECORD_BYTES_MAX;
    let name = file_name(number);
    let len = disk.len(&name)?.unwrap_or(0);
    media::read_around(disk, &name, 0, usize::try_from(len).unwrap_or(limit).min(limit))
}

/// The record that a segment begins with.
pub(super) fn read_head(disk: &impl Disk, number: u64) -> Option<record::Head> {
    let reading = media::read_around(disk, &file_name(number), 0, HEAD_BYTES_MAX).ok()?;
    match record::parse(&reading.bytes, number).next()? {
        (0, record::Record::Head(head), _) => Some(head),
        _ => None,
    }
}

/// Reads the part of a segment that may hold batches which are not freed.
pub(super) fn read_live(disk: &impl Disk, segment: &Segment) -> Result<Reading, Fault> {
    let len = segment.bytes.saturating_sub(segment.live_from);
    let len = usize::try_from(len).unwrap_or(0);
    media::read_around(disk, &file_name(segment.number), segment.live_from, len)
}
