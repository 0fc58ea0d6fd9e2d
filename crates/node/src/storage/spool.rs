//! Batches that the server has not acknowledged, in segments of bounded total size.
//!
//! A segment is a run of records, each with length and checksum; the first one repeats what must
//! outlive older segments. A batch is durable when [`Spool::append`] returns. Batches are appended
//! in the order of their ids. Acknowledgements are only recorded as far as that succeeds: after a
//! lost one the batch is sent again, and the server stores it once. At the limit the oldest segment
//! is dropped and its batches are counted as a gap. The gap is repeated at the head of each later
//! segment until the server knows it, because the segment that recorded it first may be dropped
//! too.
//!
//! Only what is unreadable is lost: the records around it show which batches it held and how many
//! samples ([`damage_extent`]), so it becomes a gap like any other. A damaged segment is not appended to,
//! and is set aside once none of its batches waits.

mod choose;
mod damage_extent;
mod freed;
mod gaps;
mod record;
mod recover;
mod segment;
mod sequence;
mod write;

use alloc::vec::Vec;

use ecowatt_model::{BatchId, BootEpoch, SOURCES_MAX, Sequence, SourceNumber, StreamNumber};

use self::freed::FreedRanges;
use self::gaps::Gaps;
use self::record::{Covered, Head};
use self::segment::{Mark, Segment};
use super::areas::{Areas, Fault};
use super::damage::Damage;
use super::{grown, held};

pub use self::gaps::Dropped;

/// Gaps recorded separately for one segment; beyond that batches of different size share one.
const RUNS_PER_SEGMENT_MAX: usize = 8;
/// Segments that the limit is divided into; one of them is dropped at a time when the spool is
/// full.
const SEGMENTS_PER_LIMIT: u64 = 64;
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
const SEGMENT_BYTES_MAX: u64 = 256 * 1024;
/// The smallest limit with room for whole segments.
pub const SPOOL_BYTES_MIN: u64 = 8 * SEGMENT_BYTES_MIN;
/// A batch may take at most one of this many shares of the limit.
const BATCHES_PER_LIMIT_MIN: u64 = 4;
/// Failed reads in a row, with the rest of the disk readable, before the unreadable part counts as
/// lost. Fewer could be a passing fault.
const READ_FAILURES_MAX: u8 = 3;
/// Segments that are abandoned early because a write to them failed.
const SEALED_MAX: usize = 16;
/// Streams remembered as having waiting batches; there are at most as many layouts.
const STREAMS_MAX: usize = super::ledger::STREAMS_IN_USE_MAX;

/// The smallest limit under which batches of this many bytes can be kept.
#[must_use]
pub const fn spool_bytes_min(batch_bytes: usize) -> u64 {
    let needed = record::batch_record_len(batch_bytes) as u64 * BATCHES_PER_LIMIT_MIN;
    if needed > SPOOL_BYTES_MIN { needed } else { SPOOL_BYTES_MIN }
}

/// All batches from the first to the last, both included, in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    pub first: BatchId,
    pub last: BatchId,
}

/// One encoded batch and its samples; `B` is owned bytes, or a slice of what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<B = Vec<u8>> {
    pub id: BatchId,
    pub source: SourceNumber,
    pub stream: StreamNumber,
    pub rows: u16,
    /// Ordinal of its last sample; the draft forgets the samples up to it.
    pub last_ordinal: u32,
    pub bytes: B,
}

impl Batch<&[u8]> {
    /// Copies the bytes.
    #[must_use]
    pub fn into_owned(self) -> Batch {
        let Self { id, source, stream, rows, last_ordinal, bytes } = self;
        Batch { id, source, stream, rows, last_ordinal, bytes: bytes.to_vec() }
    }
}

/// A batch that was appended, and the samples in all batches up to it; wraps around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub id: BatchId,
    pub samples: u32,
}

impl Written {
    /// No batch: their sequences begin with 1.
    pub const NONE: Self =
        Self { id: BatchId { epoch: BootEpoch(0), sequence: Sequence(0) }, samples: 0 };
}

/// The order in which batches are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendOrder {
    /// The newest batch, so that the server has the current values, then the backlog from its
    /// oldest end.
    #[default]
    BacklogOldestFirst,
    /// From the newest batch backwards.
    BacklogNewestFirst,
}

/// Contents and losses of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolReport {
    pub batches: u64,
    pub samples: u64,
    pub bytes: u64,
    /// Lost because the limit was reached or the disk is damaged, since the data folder was
    /// created.
    pub dropped_batches: u64,
    pub dropped_samples: u64,
    /// Bytes of incomplete records at the end of segments when the spool was opened.
    pub torn_bytes: u64,
}

/// Why the spool cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("spool cannot be {0}")]
    Disk(&'static str, #[source] Fault),
    #[error("batch {id} does not follow {last}")]
    OutOfOrder { id: BatchId, last: BatchId },
    #[error("batch of {0} bytes is too large for the spool")]
    TooLarge(usize),
}

/// What a journal of samples shows about the spool: up to which sample and batch it was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolWitness {
    pub source: SourceNumber,
    pub ordinal: u32,
    pub id: BatchId,
    /// Samples in all batches up to that one; wraps around.
    pub samples: u32,
}

/// The spool on its disk.
#[derive(Debug)]
pub struct Spool<D> {
    disk: D,
    limit_bytes: u64,
    segment_bytes: u64,
    /// Oldest first; the last one is appended to, unless it is sealed.
    segments: Vec<Segment>,
    /// Whether the disk has been read. False after a failed attempt; each use of the spool retries
    /// it.
    is_open: bool,
    freed: FreedRanges,
    /// Head of the next segment, without its gaps.
    head: Head,
    gaps: Gaps,
    /// Gaps of a dropped segment that a full disk had no room to record before the removal. Emptied
    /// as soon as there is room.
    unnoted: Vec<Dropped>,
    /// Streams of batches that wait, or waited when the spool was opened.
    streams: Vec<StreamNumber>,
    torn_bytes: u64,
    damage: Vec<Damage>,
}

impl<D: Areas> Spool<D> {
    /// Opens or creates the spool; writes that a power cut left unfinished are ignored. If the disk
    /// cannot be read, that is retried before the next use of the spool.
    pub fn open(disk: D, limit_bytes: u64) -> (Self, Result<(), SpoolError>) {
        let (limit_bytes, segment_bytes) = sizes(limit_bytes);
        let mut spool = Self {
            disk,
            limit_bytes,
            segment_bytes,
            segments: Vec::new(),
            is_open: false,
            freed: FreedRanges::default(),
            head: Head::default(),
            gaps: Gaps::default(),
            unnoted: Vec::new(),
            streams: Vec::new(),
            torn_bytes: 0,
            damage: Vec::new(),
        };
        let opened = spool.reopen();
        (spool, opened)
    }

    /// Reads the disk, unless that has already succeeded.
    pub fn reopen(&mut self) -> Result<(), SpoolError> {
        if self.is_open {
            return Ok(());
        }
        self.segments.clear();
        self.freed = FreedRanges::default();
        self.head = Head::default();
        self.gaps = Gaps::default();
        self.unnoted.clear();
        self.recover().map_err(|error| SpoolError::Disk("opened", error))?;
        self.is_open = true;
        Ok(())
    }

    /// Whether batches of this stream wait, or waited when the spool was opened; true if that is
    /// unknown.
    pub fn may_need(&self, stream: StreamNumber) -> bool {
        !self.is_open || self.streams.len() >= STREAMS_MAX || self.streams.contains(&stream)
    }

    /// Returns what was lost or set aside since the last call.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        core::mem::take(&mut self.damage)
    }

    /// The newest batch that was ever appended.
    pub fn last(&self) -> Option<BatchId> {
        self.head.last
    }

    /// Samples in all batches up to the last; wraps around.
    pub fn samples(&self) -> u32 {
        self.head.samples
    }

    /// The id of the next batch of samples that an earlier epoch took, made by the start of epoch
    /// `by`.
    pub fn next_recovered(&self, epoch: BootEpoch, by: BootEpoch) -> BatchId {
        let begin = BatchId { epoch, sequence: sequence::first_recovered(by) };
        match self.head.last {
            Some(last) if last.epoch == epoch && last >= begin => {
                BatchId { epoch, sequence: Sequence(last.sequence.0.saturating_add(1)) }
            }
            Some(_) | None => begin,
        }
    }

    /// The last sample of an epoch that is in an appended batch, or 0.
    pub fn covered(&self, source: SourceNumber, epoch: BootEpoch) -> u32 {
        let mut covered = self.head.covered.iter();
        let its = covered.find(|covered| covered.source == source && covered.epoch == epoch);
        its.map_or(0, |covered| covered.ordinal)
    }

    /// Whether a sample is in a batch that was appended, freed or not.
    pub fn covers(&self, source: SourceNumber, epoch: BootEpoch, ordinal: u32) -> bool {
        self.head.covered.iter().any(|covered| {
            covered.source == source && (epoch, ordinal) <= (covered.epoch, covered.ordinal)
        })
    }

    /// The losses that the server does not know yet, oldest first, as many as a message can list.
    pub fn offer_drops(&mut self) -> &[Dropped] {
        self.gaps.offer()
    }

    /// The server knows the first `count` losses that [`Spool::offer_drops`] returned, but no later
    /// ones.
    pub fn drops_are_known(&mut self, count: usize) {
        self.gaps.are_known(count);
    }

    /// Contents and losses.
    pub fn report(&self) -> SpoolReport {
        SpoolReport {
            batches: self.segments.iter().map(|s| u64::from(s.live_batches)).sum(),
            samples: self.segments.iter().map(|s| s.live_samples).sum(),
            bytes: self.bytes(),
            dropped_batches: self.head.dropped_batches,
            dropped_samples: self.head.dropped_samples,
            torn_bytes: self.torn_bytes,
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes on the heap, without what [`Spool::take_damage`] will return.
    pub(super) fn memory_bytes(&self) -> usize {
        held(&self.segments)
            + self.freed.memory_bytes()
            + self.gaps.memory_bytes()
            + held(&self.head.covered)
            + held(&self.unnoted)
            + held(&self.streams)
    }

    /// Upper limit of [`Spool::memory_bytes`] with this limit of the spool.
    pub(super) const fn memory_bytes_max(limit_bytes: u64) -> usize {
        let (limit_bytes, segment_bytes) = sizes(limit_bytes);
        // All segments but the last are at least half full.
        #[expect(clippy::cast_possible_truncation, reason = "the quotient is at most 2^45")]
        let segments = (limit_bytes / (segment_bytes / 2)) as usize + 2 + SEALED_MAX;
        grown::<Segment>(segments)
            + FreedRanges::memory_bytes_max()
            + Gaps::memory_bytes_max()
            + grown::<Covered>(SOURCES_MAX)
            + grown::<Dropped>(RUNS_PER_SEGMENT_MAX)
            + grown::<StreamNumber>(STREAMS_MAX)
    }

    /// The newest batch that was appended, freed or not.
    pub fn newest(&self) -> Option<Written> {
        self.head.last.map(|id| Written { id, samples: self.head.samples })
    }

    /// The position after the newest batch.
    fn end(&self) -> Option<Mark> {
        self.head.last.map(|id| Mark { id, samples: self.head.samples })
    }
}

/// The limit, at least the smallest one, and the segment size under it.
const fn sizes(limit_bytes: u64) -> (u64, u64) {
    let limit = if limit_bytes > SPOOL_BYTES_MIN { limit_bytes } else { SPOOL_BYTES_MIN };
    let share = limit / SEGMENTS_PER_LIMIT;
    let segment = match share {
        0..=SEGMENT_BYTES_MIN => SEGMENT_BYTES_MIN,
        SEGMENT_BYTES_MAX.. => SEGMENT_BYTES_MAX,
        between => between,
    };
    (limit, segment)
}
