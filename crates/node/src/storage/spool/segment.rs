//! One area of the spool: what memory holds about it, and how it is read.

use ecowatt_model::{BatchId, SOURCES_MAX};

use super::freed::linear;
use super::gaps::{Dropped, GAPS_MAX};
use super::record::Record;
use super::{Batch, SEGMENT_BYTES_MAX, record, sequence};
use crate::storage::areas::{Area, Areas, Fault};
use crate::storage::bad_reads::{self, Reading};

/// A position in the sequence of all batches: the batch before it, and the samples up to there.
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
    /// Length of its area.
    pub(super) bytes: u64,
    /// Start of the bytes that do not count: an append that failed or was cut. The next record in
    /// the segment, or the head of the next segment, records this.
    pub(super) torn_from: Option<u64>,
    /// Offset of the first batch that is not freed, or of an earlier record.
    pub(super) live_from: u64,
    /// The last batch before its first one, if there is one and it is known.
    pub(super) start: Option<Mark>,
    /// First and last batch, freed ones included.
    pub(super) ids: Option<(BatchId, BatchId)>,
    /// Samples up to its last batch; wraps around.
    pub(super) end_samples: u32,
    pub(super) live_batches: u32,
    pub(super) live_samples: u64,
    /// Batches were freed since the last count.
    pub(super) is_stale: bool,
    /// Some of it is unreadable, and the loss has been recorded.
    pub(super) is_damaged: bool,
    /// Nothing more is appended to it.
    pub(super) is_sealed: bool,
    /// Failed reads in a row of a part whose loss has not been recorded. Cleared when it is
    /// recorded.
    pub(super) failures: u8,
}

impl Segment {
    pub(super) fn empty(number: u64, bytes: u64, start: Option<Mark>) -> Self {
        Self {
            number,
            bytes,
            torn_from: None,
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

    /// Counts a batch that was appended at `offset` after this many samples.
    pub(super) fn add<B>(&mut self, offset: u64, batch: &Batch<B>, samples_before: u32) {
        if self.live_batches == 0 && !self.is_stale {
            self.live_from = offset;
        }
        self.ids = Some((self.ids.map_or(batch.id, |(first, _)| first), batch.id));
        self.end_samples = samples_before.wrapping_add(batch.rows.into());
        self.live_batches += 1;
        self.live_samples += u64::from(batch.rows);
    }

    /// Recounts after batches were freed; `live` has the offsets and rows of the remaining ones.
    pub(super) fn count(&mut self, live: &[(u64, u16)]) {
        self.live_batches = u32::try_from(live.len()).unwrap_or(u32::MAX);
        self.live_samples = live.iter().map(|(_, rows)| u64::from(*rows)).sum();
        self.live_from = live.first().map_or(self.bytes_whole(), |(offset, _)| *offset);
        self.is_stale = false;
    }

    /// Whether it has batches between the two ids, both included.
    pub(super) fn overlaps(&self, (from, to): (u64, u64)) -> bool {
        self.ids.is_some_and(|(first, last)| from <= linear(last) && to >= linear(first))
    }

    /// Length of the part that counts.
    pub(super) fn bytes_whole(&self) -> u64 {
        self.torn_from.unwrap_or(self.bytes)
    }

    pub(super) fn area(&self) -> Area {
        Area::Segment(self.number)
    }

    /// The position after its last batch.
    pub(super) fn end(&self) -> Option<Mark> {
        self.ids.map(|(_, id)| Mark { id, samples: self.end_samples })
    }
}

/// All batches of a segment as one gap, as far as memory knows them.
pub(super) fn hull(segment: &Segment) -> Option<Dropped> {
    let (first, last) = segment.ids?;
    let samples = match segment.start {
        Some(start) => segment.end_samples.wrapping_sub(start.samples),
        None => u32::try_from(segment.live_samples).unwrap_or(u32::MAX),
    };
    let first = first.max(sequence::first(last)).sequence.0;
    Some(Dropped::run(last.epoch, (first, last.sequence.0), samples))
}

/// Room for a head with the maximum number of sources and gaps.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!(record::head_len(SOURCES_MAX, GAPS_MAX + 1) <= HEAD_BYTES_MAX);

/// The number of a segment; `None` for other areas.
pub(super) fn number(area: Area) -> Option<u64> {
    match area {
        Area::Segment(number) => Some(number),
        Area::Copy(..) | Area::Journal(_) | Area::Layout(_) => None,
    }
}

/// Reads a whole segment of any length, around what is unreadable.
pub(super) fn read(disk: &impl Areas, number: u64) -> Result<Reading, Fault> {
    // A segment exceeds its size by at most the one record that did not fit.
    let limit = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX) + record::RECORD_BYTES_MAX;
    let area = Area::Segment(number);
    let len = disk.len(area)?.unwrap_or(0);
    bad_reads::read_around(disk, area, 0, usize::try_from(len).unwrap_or(limit).min(limit))
}

/// Reads the first record of a segment, if it is a head.
pub(super) fn read_head(disk: &impl Areas, number: u64) -> Option<record::Head> {
    let reading = bad_reads::read_around(disk, Area::Segment(number), 0, HEAD_BYTES_MAX).ok()?;
    let first = record::parse(&reading.bytes, number, 0).records.into_iter().next()?;
    match first.record {
        Record::Head(head) if first.offset == 0 => Some(head),
        Record::Head(_)
        | Record::Batch(..)
        | Record::Freed(_)
        | Record::Dropped(_)
        | Record::Cut(_) => None,
    }
}

/// Reads the part of a segment that may hold batches which are not freed.
pub(super) fn read_live(disk: &impl Areas, segment: &Segment) -> Result<Reading, Fault> {
    let len = segment.bytes_whole().saturating_sub(segment.live_from);
    let len = usize::try_from(len).unwrap_or(0);
    bad_reads::read_around(disk, segment.area(), segment.live_from, len)
}
