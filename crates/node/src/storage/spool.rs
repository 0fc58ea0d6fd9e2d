//! Batches that the server has not acknowledged, in segment files of bounded total size.
//!
//! A segment is a run of records, each with length and checksum; the first repeats what must outlive
//! older segments. A batch counts as persisted when [`Spool::append`] has returned: the record and
//! its name are durable. Batches are appended in the order of their ids. An acknowledgement is
//! remembered on a best effort only: forgetting one leads to a resend, which the server stores once.
//! When the limit is reached the oldest segment goes, and what was in it is counted. The gap is
//! repeated at the head of each later segment until the server has heard of it, for the segment that
//! tells of it first may go too.
//!
//! What cannot be read is lost alone: the records around it tell which batches it held and how many
//! samples ([`survey`]), which makes it a gap like any other, and everything else goes on. A damaged
//! segment is not appended to, and is put aside once nothing in it waits.

mod freed;
mod gaps;
mod record;
mod segment;
mod series;
mod survey;

use alloc::vec;
use alloc::vec::Vec;

use ecowatt_model::{BatchId, BootEpoch, SOURCES_MAX, Sequence, SourceNumber, StreamNumber};

use self::freed::{Freed, linear};
use self::gaps::{Gaps, runs};
use self::record::{Before, Covered, Head, Record, encode_batch};
use self::segment::{Mark, Segment, file_name, file_number};
use self::survey::Survey;
use super::damage::Damage;
use super::disk::{Disk, Fault};
use super::media::{Reading, answers_elsewhere, put_aside};
use super::{grown, held};

pub use self::gaps::Dropped;

/// Gaps of one segment that are told apart; beyond that batches of different size share one.
const RUNS_PER_SEGMENT_MAX: usize = 8;
/// Segments that the limit is divided into: what is dropped at a time when the spool is full.
const SEGMENTS_PER_LIMIT: u64 = 64;
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
const SEGMENT_BYTES_MAX: u64 = 256 * 1024;
/// Smallest limit that leaves room for whole segments.
pub const SPOOL_BYTES_MIN: u64 = 8 * SEGMENT_BYTES_MIN;
/// Shares of the limit that one batch may take.
const BATCHES_PER_LIMIT_MIN: u64 = 4;
/// How often in a row something may be unreadable, while the rest of the disk is not, before it counts
/// as lost.
const READ_FAILURES_MAX: u8 = 3;
/// Segments that are left early because something could not be written to them.
const SEALED_MAX: usize = 16;
/// Streams that waiting batches are known to belong to; there are as many layouts at most.
const STREAMS_MAX: usize = super::ledger::STREAMS_IN_USE_MAX;

/// The smallest limit under which batches of so many bytes can be kept.
#[must_use]
pub const fn spool_bytes_min(batch_bytes: usize) -> u64 {
    let needed = record::batch_record_len(batch_bytes) as u64 * BATCHES_PER_LIMIT_MIN;
    if needed > SPOOL_BYTES_MIN { needed } else { SPOOL_BYTES_MIN }
}

/// One encoded batch and the samples that it holds; `B` are bytes, its own or where they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<B = Vec<u8>> {
    pub id: BatchId,
    pub source: SourceNumber,
    pub stream: StreamNumber,
    pub rows: u16,
    /// Ordinal of the last sample of its source that it holds; the draft forgets up to it.
    pub last_ordinal: u32,
    pub bytes: B,
}

impl Batch<&[u8]> {
    /// The same with bytes of its own.
    #[must_use]
    pub fn into_owned(self) -> Batch {
        let Self { id, source, stream, rows, last_ordinal, bytes } = self;
        Batch { id, source, stream, rows, last_ordinal, bytes: bytes.to_vec() }
    }
}

/// Which batches are offered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The newest batch, so that the server shows the present, then the backlog from its oldest end.
    #[default]
    OldestFirst,
    /// From the newest backwards.
    NewestFirst,
}

/// What the spool holds and has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolReport {
    pub batches: u64,
    pub samples: u64,
    pub bytes: u64,
    /// Lost because the limit was reached or the disk is damaged, since the data folder was made.
    pub dropped_batches: u64,
    pub dropped_samples: u64,
    /// Bytes at the end of segments that were no whole record when the spool was opened.
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

/// Up to which sample and batch a journal of samples was emptied: what it says of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    pub source: SourceNumber,
    pub ordinal: u32,
    pub id: BatchId,
    /// Samples in all batches up to that one; wraps around.
    pub samples: u32,
}

/// A batch that waits, and where its record begins.
type Live<'a> = (u64, Batch<&'a [u8]>);

/// The spool on its disk.
#[derive(Debug)]
pub struct Spool<D> {
    disk: D,
    limit_bytes: u64,
    segment_bytes: u64,
    /// Oldest first; the last one is appended to, unless it is damaged.
    segments: Vec<Segment>,
    /// A failed append left bytes that could not be removed; nothing is appended before they are.
    is_tail_dirty: bool,
    /// Whether what is on the disk has been read.
    is_open: bool,
    freed: Freed,
    /// What the next segment will begin with, its gaps aside.
    head: Head,
    gaps: Gaps,
    /// Those of a segment that a full disk had no room to note before it was removed.
    unnoted: Vec<Dropped>,
    /// Streams that batches belong to which wait, or waited when the spool was opened.
    streams: Vec<StreamNumber>,
    torn_bytes: u64,
    damage: Vec<Damage>,
}

impl<D: Disk> Spool<D> {
    /// Opens or creates the spool and removes what a power cut left of unfinished writes. If its disk
    /// cannot be read, that is tried again before anything else is done with it.
    pub fn open(disk: D, limit_bytes: u64) -> (Self, Result<(), SpoolError>) {
        let (limit_bytes, segment_bytes) = sizes(limit_bytes);
        let mut spool = Self {
            disk,
            limit_bytes,
            segment_bytes,
            segments: Vec::new(),
            is_tail_dirty: false,
            is_open: false,
            freed: Freed::default(),
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

    /// Reads what is on the disk, unless that was done.
    pub fn reopen(&mut self) -> Result<(), SpoolError> {
        if self.is_open {
            return Ok(());
        }
        self.segments.clear();
        self.freed = Freed::default();
        self.head = Head::default();
        self.gaps = Gaps::default();
        self.unnoted.clear();
        self.recover().map_err(|error| SpoolError::Disk("opened", error))?;
        self.is_open = true;
        Ok(())
    }

    /// What a journal says of the spool. If the spool knows less, the rest is lost.
    pub fn hear(&mut self, witness: Witness) {
        let Witness { source, ordinal, id, samples } = witness;
        if self.head.last.is_none_or(|last| last < id) {
            let mut survey = Survey::from(self.end());
            survey.break_off();
            let mark = Mark { id, samples };
            match self.end() {
                Some(_) => survey.reach(Some(mark)),
                // Nothing is left to compare with. All of the epoch is told; what the server has of it
                // does not count.
                None => self.lose(Dropped::run(id.epoch, (1, id.sequence.0), samples)),
            }
            for gap in survey.losses(&self.freed) {
                self.lose(gap);
            }
            self.head.last = Some(id);
            self.head.samples = samples;
        }
        self.head.cover(source, id.epoch, ordinal);
    }

    /// Samples of an epoch, beyond those that are known, are lost that were in no batch. Durable when
    /// it returns.
    pub fn lose_unbatched(&mut self, epoch: BootEpoch, samples: u32) -> Result<(), SpoolError> {
        if samples == 0 {
            return Ok(());
        }
        let (of, total) = self.head.unbatched;
        let total = if of == epoch { total } else { 0 }.saturating_add(samples);
        let gap = Dropped::unbatched(epoch, total);
        let failed = |error| SpoolError::Disk("written", error);
        self.append_record(|number| Record::Dropped(gap).encode(number), true).map_err(failed)?;
        self.note_unbatched(epoch, total);
        Ok(())
    }

    /// Makes a batch durable.
    ///
    /// On an error it is not in the spool and the same id may be tried again.
    pub fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        self.reopen()?;
        if let Some(last) = self.head.last
            && batch.id <= last
        {
            return Err(SpoolError::OutOfOrder { id: batch.id, last });
        }
        let len = record::batch_record_len(batch.bytes.len());
        let bytes = u64::try_from(len).unwrap_or(u64::MAX);
        if len > record::RECORD_BYTES_MAX || bytes > self.limit_bytes / BATCHES_PER_LIMIT_MIN {
            return Err(SpoolError::TooLarge(batch.bytes.len()));
        }
        self.make_room(len).map_err(|error| SpoolError::Disk("cut to its limit", error))?;
        let epoch = batch.id.epoch;
        let (of, total) = self.head.unbatched;
        let total = if of == epoch { total } else { 0 };
        // What is between the last batch of its source and this one is in no batch, for good.
        let covered = self.covered(batch.source, epoch).saturating_add(batch.rows.into());
        let missing = batch.last_ordinal.saturating_sub(covered);
        let unbatched = total.saturating_add(missing);
        let before = Before { samples: self.head.samples, unbatched };
        self.append_record(|number| encode_batch(number, batch, before), true)
            .map_err(|error| SpoolError::Disk("written", error))?;
        self.head.append(batch, before);
        if missing > 0 {
            self.note_unbatched(epoch, unbatched);
        }
        self.note_stream(batch.stream);
        if let Some(active) = self.segments.last_mut() {
            active.add(active.bytes - bytes, batch, before.samples);
        }
        Ok(())
    }

    /// Forgets acknowledged batches, given as intervals with both ends included.
    pub fn free(&mut self, intervals: &[(BatchId, BatchId)]) -> Result<(), SpoolError> {
        self.reopen()?;
        let newly: Vec<(u64, u64)> = intervals
            .iter()
            .map(|(first, last)| (linear(*first), linear(*last)))
            .filter(|(first, last)| first <= last && !self.freed.covers(*first, *last))
            .collect();
        for interval in &newly {
            self.mark_freed(*interval);
        }
        let failed = |error| SpoolError::Disk("freed", error);
        let counted = self.recount().map_err(failed);
        let removed = self.remove_empty().map_err(failed);
        let is_worth_noting =
            newly.iter().any(|interval| self.segments.iter().any(|s| s.overlaps(*interval)));
        if is_worth_noting {
            let record = Record::Freed(newly);
            // Where the limit leaves no room, forgetting costs less than dropping a batch.
            if self.has_room(record.encode(0).len()) {
                self.append_record(|number| record.encode(number), false).map_err(failed)?;
            }
        }
        counted.and(removed)
    }

    /// Hands batches that are not freed to `take` until it returns false.
    ///
    /// In [`Order::OldestFirst`] the newest batch leads; it is not given a second time. What cannot be
    /// read is passed over.
    ///
    /// # Errors
    /// If batches wait and none of them can be read.
    pub fn offer(
        &mut self,
        order: Order,
        take: impl FnMut(Batch<&[u8]>) -> bool,
    ) -> Result<(), SpoolError> {
        self.reopen()?;
        let mut hurt = Vec::new();
        let walked = self.walk(order, take, &mut hurt);
        hurt.sort_unstable();
        hurt.dedup();
        hurt.into_iter().for_each(|number| self.examine(number));
        walked.map_err(|error| SpoolError::Disk("read", error))
    }

    fn walk(
        &self,
        order: Order,
        mut take: impl FnMut(Batch<&[u8]>) -> bool,
        hurt: &mut Vec<u64>,
    ) -> Result<(), Fault> {
        let places =
            (0..self.segments.len()).filter(|place| self.segments[*place].live_batches > 0);
        let mut bytes = Vec::new();
        let mut outcome = Ok(());
        let mut is_any_read = false;
        let mut leading = None;
        if order == Order::OldestFirst {
            for place in places.clone().rev() {
                match self.live(place, &mut bytes, hurt).map(|mut batches| batches.pop()) {
                    Ok(Some((_, batch))) => {
                        leading = Some(batch.id);
                        if !take(batch) {
                            return Ok(());
                        }
                        break;
                    }
                    Ok(None) => {}
                    Err(error) => outcome = Err(error),
                }
            }
        }
        let forwards: Vec<usize> = match order {
            Order::OldestFirst => places.collect(),
            Order::NewestFirst => places.rev().collect(),
        };
        for place in forwards {
            match self.live(place, &mut bytes, hurt) {
                Ok(mut batches) => {
                    is_any_read = true;
                    if order == Order::NewestFirst {
                        batches.reverse();
                    }
                    let mut rest = batches.into_iter().filter(|(_, b)| Some(b.id) != leading);
                    if !rest.all(|(_, batch)| take(batch)) {
                        return Ok(());
                    }
                }
                Err(error) => outcome = Err(error),
            }
        }
        if is_any_read { Ok(()) } else { outcome }
    }

    /// Gives up batches that can never be sent, and tells which.
    pub fn give_up(
        &mut self,
        is_hopeless: impl Fn(&Batch<&[u8]>) -> bool,
    ) -> Result<Vec<Dropped>, SpoolError> {
        self.reopen()?;
        let mut lost = Vec::new();
        let walked = self.walk(
            Order::NewestFirst,
            |batch| {
                if is_hopeless(&batch) {
                    lost.push((batch.id, batch.rows));
                }
                true
            },
            &mut Vec::new(),
        );
        walked.map_err(|error| SpoolError::Disk("read", error))?;
        lost.reverse();
        let gaps = runs(lost.into_iter(), RUNS_PER_SEGMENT_MAX);
        for gap in &gaps {
            self.lose(*gap);
        }
        let failed = |error| SpoolError::Disk("freed", error);
        self.recount().map_err(failed)?;
        self.remove_empty().map_err(failed)?;
        Ok(gaps)
    }

    /// Whether batches wait that belong to this stream, or waited when the spool was opened; true if
    /// nobody knows.
    pub fn may_need(&self, stream: StreamNumber) -> bool {
        !self.is_open || self.streams.len() >= STREAMS_MAX || self.streams.contains(&stream)
    }

    /// What was lost or put aside since it was last asked.
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

    /// The name of the next batch of samples that an earlier epoch took, made by the start of epoch `by`.
    pub fn next_recovered(&self, epoch: BootEpoch, by: BootEpoch) -> BatchId {
        let begin = BatchId { epoch, sequence: series::first_recovered(by) };
        match self.head.last {
            Some(last) if last.epoch == epoch && last >= begin => {
                BatchId { epoch, sequence: Sequence(last.sequence.0.saturating_add(1)) }
            }
            Some(_) | None => begin,
        }
    }

    /// The last sample of an epoch that is in a batch which was appended; 0 if there is none.
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

    /// Losses that the server has not been told of, oldest first, as many as a message can list.
    pub fn offer_drops(&mut self) -> &[Dropped] {
        self.gaps.offer()
    }

    /// The server knows of the first `count` losses that [`Spool::offer_drops`] gave, not of later
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

    /// Bytes on the heap, what [`Spool::take_damage`] will give aside.
    pub(super) fn memory_bytes(&self) -> usize {
        held(&self.segments)
            + self.freed.memory_bytes()
            + self.gaps.memory_bytes()
            + held(&self.head.covered)
            + held(&self.unnoted)
            + held(&self.streams)
    }

    /// Most of [`Spool::memory_bytes`] under a limit.
    pub(super) const fn memory_bytes_max(limit_bytes: u64) -> usize {
        let (limit_bytes, segment_bytes) = sizes(limit_bytes);
        // All but the last are at least half full.
        #[expect(clippy::cast_possible_truncation, reason = "the quotient is at most 2^45")]
        let segments = (limit_bytes / (segment_bytes / 2)) as usize + 2 + SEALED_MAX;
        grown::<Segment>(segments)
            + Freed::memory_bytes_max()
            + Gaps::memory_bytes_max()
            + grown::<Covered>(SOURCES_MAX)
            + grown::<Dropped>(RUNS_PER_SEGMENT_MAX)
            + grown::<StreamNumber>(STREAMS_MAX)
    }

    /// Whether the limit has room for a record, and for the head of a segment that it may begin.
    fn has_room(&self, len: usize) -> bool {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let head = self.head.len(self.gaps.as_slice().len() + RUNS_PER_SEGMENT_MAX);
        self.bytes().saturating_add(len).saturating_add(head) <= self.limit_bytes
    }

    /// Drops oldest segments until `len` more bytes fit the limit.
    fn make_room(&mut self, len: usize) -> Result<(), Fault> {
        self.note_rest()?;
        while !self.has_room(len) && self.segments.len() > 1 {
            for gap in self.contents(0) {
                // Said before it is done: after a cut in between, recovery finishes the removal. On
                // a full disk the removal comes first, for it is what makes room.
                let noted = self.append_record(|number| Record::Dropped(gap).encode(number), true);
                self.note_dropped(gap);
                match noted {
                    Ok(()) => {}
                    Err(Fault::Full) => self.unnoted.push(gap),
                    Err(error) => return Err(error),
                }
            }
            self.remove(0)?;
            self.note_rest()?;
        }
        Ok(())
    }

    /// Notes what a full disk had no room for. While it has none, nothing more is dropped.
    fn note_rest(&mut self) -> Result<(), Fault> {
        while let Some(gap) = self.unnoted.last().copied() {
            self.append_record(|number| Record::Dropped(gap).encode(number), true)?;
            self.unnoted.pop();
        }
        Ok(())
    }

    /// The batches of a segment that wait, as gaps.
    fn contents(&self, place: usize) -> Vec<Dropped> {
        let segment = &self.segments[place];
        let (mut bytes, mut hurt) = (Vec::new(), Vec::new());
        match self.live(place, &mut bytes, &mut hurt) {
            Ok(live) if hurt.is_empty() => runs(
                live.into_iter().map(|(_, batch)| (batch.id, batch.rows)),
                RUNS_PER_SEGMENT_MAX,
            ),
            Ok(_) | Err(_) => hull(segment).into_iter().collect(),
        }
    }

    /// Removes a segment; on an error it stays and is removed later.
    fn remove(&mut self, place: usize) -> Result<(), Fault> {
        let segment = &self.segments[place];
        let name = file_name(segment.number);
        let removed = match segment.is_damaged {
            true => put_aside(&self.disk, &name),
            false => self.disk.remove(&name),
        };
        match removed {
            Ok(()) => {}
            Err(_) if matches!(self.disk.len(&name), Ok(None)) => {}
            Err(error) => return Err(error),
        }
        self.segments.remove(place);
        Ok(())
    }

    /// Counts a loss and tells it: for good, if the disk plays along; otherwise it is found again at
    /// the next start.
    fn lose(&mut self, gap: Dropped) {
        if !self.damage.contains(&Damage::Lost(gap)) {
            self.damage.push(Damage::Lost(gap));
        }
        let _ = self.append_record(|number| Record::Dropped(gap).encode(number), true);
        self.note_dropped(gap);
    }

    fn note_dropped(&mut self, gap: Dropped) {
        if !gap.is_batched() {
            return self.note_unbatched(gap.first.epoch, gap.samples);
        }
        self.head.dropped_batches += u64::from(gap.batches);
        self.head.dropped_samples += u64::from(gap.samples);
        self.mark_freed((linear(gap.first), linear(gap.last)));
        self.gaps.note(gap);
    }

    fn note_unbatched(&mut self, epoch: BootEpoch, total: u32) {
        if self.head.unbatched.0 <= epoch {
            self.head.unbatched = (epoch, total);
        }
        self.gaps.note(Dropped::unbatched(epoch, total));
    }

    fn note_stream(&mut self, stream: StreamNumber) {
        if self.streams.len() < STREAMS_MAX && !self.streams.contains(&stream) {
            self.streams.push(stream);
        }
    }

    fn mark_freed(&mut self, range: (u64, u64)) {
        self.freed.mark(range);
        for segment in self.segments.iter_mut().filter(|segment| segment.overlaps(range)) {
            segment.is_stale = true;
        }
    }

    /// The place after the newest batch.
    fn end(&self) -> Option<Mark> {
        self.head.last.map(|id| Mark { id, samples: self.head.samples })
    }

    fn append_record(
        &mut self,
        encode: impl Fn(u64) -> Vec<u8>,
        is_synced: bool,
    ) -> Result<(), Fault> {
        if let Err(error) = self.clean_tail()
            && !self.segments.last().is_some_and(|active| active.is_sealed)
        {
            return Err(error);
        }
        let number = self.segments.last().map_or(0, |active| active.number);
        let mut bytes = encode(number);
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // A segment is left at least half full, so that their number is bounded by their bytes.
        let has_room = self.segments.last().is_some_and(|active| {
            let is_filling = active.bytes < self.segment_bytes / 2;
            !active.is_sealed && (active.bytes + len <= self.segment_bytes || is_filling)
        });
        if !has_room {
            self.roll()?;
            bytes = encode(self.segments.last().map_or(0, |active| active.number));
        }
        let is_to_be_sealed = self.may_seal();
        let Some(active) = self.segments.last_mut() else { return Ok(()) };
        let name = file_name(active.number);
        let written = self
            .disk
            .write_at(&name, active.bytes, &bytes)
            .and_then(|()| if is_synced { self.disk.sync(&name) } else { Ok(()) });
        match written {
            Ok(()) => {
                active.bytes += len;
                Ok(())
            }
            Err(error) => {
                // Where the file is damaged, the next one is elsewhere on the disk.
                active.is_sealed |= error != Fault::Full && is_to_be_sealed;
                // A whole record may be on the disk although the sync failed. It must go before the
                // same id is used for other contents.
                self.is_tail_dirty = true;
                let _ = self.clean_tail();
                Err(error)
            }
        }
    }

    /// Whether there may be one more segment that is left before it is half full.
    fn may_seal(&self) -> bool {
        self.segments.iter().filter(|segment| segment.is_sealed).count() < SEALED_MAX
    }

    fn clean_tail(&mut self) -> Result<(), Fault> {
        if let Some(active) = self.segments.last()
            && self.is_tail_dirty
        {
            let name = file_name(active.number);
            self.disk.truncate(&name, active.bytes)?;
            self.disk.sync(&name)?;
        }
        self.is_tail_dirty = false;
        Ok(())
    }

    /// Starts a segment.
    fn roll(&mut self) -> Result<(), Fault> {
        let number = self.segments.last().map_or(0, |s| s.number).max(self.head.segment) + 1;
        let gaps = self.gaps.as_slice().to_vec();
        // What could not be removed from the end of the segment before must not count.
        let end = self.segments.last().filter(|_| self.is_tail_dirty);
        let cut = end.map(|segment| (segment.number, segment.bytes));
        let mut head = Head { segment: number, gaps, cut, ..self.head.clone() };
        let bytes = Record::Head(head.clone()).encode(number);
        let name = file_name(number);
        let created = self
            .disk
            .write_at(&name, 0, &bytes)
            .and_then(|()| self.disk.sync(&name))
            .and_then(|()| self.disk.sync_names());
        if let Err(error) = created {
            let _ = self.disk.remove(&name);
            return Err(error);
        }
        (head.gaps, head.cut) = (Vec::new(), None);
        self.head = head;
        self.is_tail_dirty = false;
        let len = u64::try_from(bytes.len()).unwrap_or(0);
        self.segments.push(Segment::empty(number, len, self.end()));
        self.remove_empty()
    }

    /// Removes segments, the active one excepted, in which nothing is left to send.
    fn remove_empty(&mut self) -> Result<(), Fault> {
        let mut place = 0;
        while place + 1 < self.segments.len() {
            if self.segments[place].live_batches == 0 {
                self.remove(place)?;
            } else {
                place += 1;
            }
        }
        let oldest = self.segments.iter().filter_map(|s| s.ids).map(|(first, _)| linear(first));
        self.freed.forget_below(oldest.min());
        Ok(())
    }

    /// Counts what is left in segments of which batches were freed. What cannot be read is left as it
    /// is, to be looked into when it is to be sent.
    fn recount(&mut self) -> Result<(), Fault> {
        let mut outcome = Ok(());
        let mut bytes = Vec::new();
        for place in 0..self.segments.len() {
            let segment = &self.segments[place];
            if !segment.is_stale {
                continue;
            }
            let is_all_freed = segment
                .ids
                .is_none_or(|(first, last)| self.freed.covers(linear(first), linear(last)));
            let mut counted = Some(Vec::new());
            if !is_all_freed {
                let mut hurt = Vec::new();
                counted = match self.live(place, &mut bytes, &mut hurt) {
                    Ok(live) if hurt.is_empty() => {
                        Some(live.iter().map(|(at, batch)| (*at, batch.rows)).collect())
                    }
                    Ok(_) => None,
                    Err(error) => {
                        outcome = Err(error);
                        None
                    }
                };
            }
            if let Some(live) = counted {
                self.segments[place].count(&live);
            }
        }
        outcome
    }

    /// The batches of a segment that are not freed, with their offsets; `bytes` is room to read them.
    /// If some of them cannot be read, and nobody knows that, the segment is hurt.
    fn live<'a>(
        &self,
        place: usize,
        bytes: &'a mut Vec<u8>,
        hurt: &mut Vec<u64>,
    ) -> Result<Vec<Live<'a>>, Fault> {
        let segment = &self.segments[place];
        let reading = match segment::read_live(&self.disk, segment) {
            Ok(reading) => reading,
            Err(error) => {
                hurt.push(segment.number);
                return Err(error);
            }
        };
        let is_whole = reading.is_whole();
        *bytes = reading.bytes;
        let expected = segment.bytes.saturating_sub(segment.live_from);
        let mut records = record::parse(bytes, segment.number);
        let mut live = Vec::new();
        for (at, record, _) in records.by_ref() {
            if let Record::Batch(batch, _) = record
                && !self.freed.contains(batch.id)
            {
                live.push((segment.live_from + u64::try_from(at).unwrap_or(0), batch));
            }
        }
        let is_complete = u64::try_from(records.whole()).is_ok_and(|whole| whole == expected);
        let is_sound = is_whole && is_complete && !records.is_damaged();
        let found = u32::try_from(live.len()).unwrap_or(u32::MAX);
        let is_known = segment.is_damaged && (segment.is_stale || found >= segment.live_batches);
        if !is_sound && !is_known {
            hurt.push(segment.number);
        }
        Ok(live)
    }

    /// Looks into a segment of which something cannot be read. What stays so is lost.
    fn examine(&mut self, number: u64) {
        let Some(place) = self.segments.iter().position(|s| s.number == number) else { return };
        let reading = segment::read(&self.disk, number);
        let segment = &mut self.segments[place];
        if !reading.as_ref().is_ok_and(Reading::is_whole) {
            // It may be the disk that does not work for a while.
            segment.failures = segment.failures.saturating_add(1);
            let is_tried_again = segment.failures < READ_FAILURES_MAX;
            if is_tried_again || !answers_elsewhere(&self.disk, &file_name(number)) {
                return;
            }
        }
        let bytes = reading.map(|reading| reading.bytes).unwrap_or_default();
        let mut survey = Survey::from(segment.start);
        let mut readable = Vec::new();
        for (at, record, is_after_damage) in record::parse(&bytes, number) {
            if is_after_damage {
                survey.break_off();
            }
            if let Record::Batch(batch, before) = record {
                readable.push((u64::try_from(at).unwrap_or(0), batch.id, batch.rows));
                survey.pass(batch.id, batch.rows, before.samples);
            }
        }
        survey.break_off();
        survey.reach(segment.end());
        let losses = match readable.is_empty() {
            true => {
                // The gap names batches of its last epoch alone.
                let all = segment.ids.map(|(first, last)| (linear(first), linear(last)));
                all.into_iter().for_each(|all| self.freed.mark(all));
                hull(segment).into_iter().collect()
            }
            false => survey.losses(&self.freed),
        };
        segment.failures = 0;
        segment.is_damaged = true;
        segment.is_sealed = true;
        segment.is_stale = true;
        self.damage.push(Damage::Segment(number));
        losses.into_iter().for_each(|gap| self.lose(gap));
        // Counted from what was read: another reading may fail, and what is lost and told would be
        // waited for without end.
        readable.retain(|(_, id, _)| !self.freed.contains(*id));
        let left: Vec<(u64, u16)> = readable.into_iter().map(|(at, _, rows)| (at, rows)).collect();
        if let Some(segment) = self.segments.iter_mut().find(|s| s.number == number) {
            segment.count(&left);
        }
        // A disk that fails here leaves something that is tried again.
        let _ = self.recount();
        let _ = self.remove_empty();
    }

    fn recover(&mut self) -> Result<(), Fault> {
        let mut numbers: Vec<u64> =
            self.disk.list()?.iter().filter_map(|name| file_number(name)).collect();
        numbers.sort_unstable();
        // Before the first segment there was nothing.
        let nothing = BatchId { epoch: BootEpoch(0), sequence: Sequence(0) };
        let is_complete = numbers.first() == Some(&1);
        let mut survey = Survey::from(is_complete.then_some(Mark { id: nothing, samples: 0 }));
        for (place, number) in numbers.iter().copied().enumerate() {
            let next = numbers.get(place + 1).copied();
            self.recover_segment(number, next, &mut survey)?;
            // A number whose file could not be moved out of the way is not used again.
            self.head.segment = self.head.segment.max(number);
        }
        self.disk.sync_names()?;
        self.recount()?;
        let losses = survey.losses(&self.freed);
        losses.into_iter().for_each(|gap| self.lose(gap));
        self.remember_streams();
        self.remove_empty()
    }

    fn recover_segment(
        &mut self,
        number: u64,
        next: Option<u64>,
        survey: &mut Survey,
    ) -> Result<(), Fault> {
        let (name, is_newest) = (file_name(number), next.is_none());
        let mut reading = segment::read(&self.disk, number).unwrap_or_default();
        let cut = next.and_then(|next| segment::read_head(&self.disk, next)).and_then(|h| h.cut);
        if let Some((_, bytes)) = cut.filter(|(segment, _)| *segment == number) {
            reading.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        let is_readable = reading.is_whole() && self.disk.len(&name).is_ok_and(|len| len.is_some());
        let bytes = &reading.bytes;
        let mut parsed = record::parse(bytes, number);
        let records: Vec<_> = parsed.by_ref().collect();
        let whole = parsed.whole();
        let is_torn = whole < bytes.len();
        if records.is_empty() {
            if is_newest && is_readable && (is_torn || self.disk.len(&name)? == Some(0)) {
                // Cut while the segment was being started; nothing had been appended to it.
                self.torn_bytes += u64::try_from(bytes.len()).unwrap_or(0);
                return self.disk.remove(&name);
            }
            survey.break_off();
            self.damage.push(Damage::Segment(number));
            // One that cannot be moved stays where it is.
            let _ = put_aside(&self.disk, &name);
            return Ok(());
        }
        let has_head = matches!(records.first(), Some((0, Record::Head(_), _)));
        let is_damaged =
            !is_readable || parsed.is_damaged() || !has_head || (is_torn && !is_newest);
        if !has_head {
            survey.break_off();
        }
        let len = if is_damaged { bytes.len() } else { whole };
        let mut segment = Segment::empty(number, u64::try_from(len).unwrap_or(0), None);
        for (at, record, is_after_damage) in records {
            if is_after_damage {
                survey.break_off();
            }
            match record {
                Record::Head(head) => {
                    segment.start = head.last.map(|id| Mark { id, samples: head.samples });
                    survey.reach(segment.start);
                    self.head.merge(&head);
                    // Those that earlier segments speak of are among them, or known to the server.
                    self.gaps.restart(&head.gaps);
                    for gap in head.gaps.iter().filter(|gap| gap.is_batched()) {
                        self.freed.mark((linear(gap.first), linear(gap.last)));
                    }
                }
                Record::Batch(batch, before) => {
                    survey.pass(batch.id, batch.rows, before.samples);
                    let has_lost = self.head.append(&batch, before);
                    if has_lost {
                        self.gaps.note(Dropped::unbatched(batch.id.epoch, before.unbatched));
                    }
                    segment.add(u64::try_from(at).unwrap_or(0), &batch, before.samples);
                }
                Record::Freed(ranges) => {
                    ranges.into_iter().for_each(|range| self.freed.mark(range))
                }
                Record::Dropped(gap) => self.note_dropped(gap),
            }
        }
        if is_damaged {
            survey.break_off();
            segment.is_damaged = true;
            segment.is_sealed = true;
            self.damage.push(Damage::Segment(number));
        } else {
            self.torn_bytes += u64::try_from(bytes.len() - whole).unwrap_or(0);
            let cut = match is_torn {
                true => self.disk.truncate(&name, segment.bytes),
                false => Ok(()),
            };
            // What was read is appended to or relied on; it must be as durable as it looks.
            segment.is_sealed = cut.and_then(|()| self.disk.sync(&name)).is_err();
        }
        segment.is_stale = true;
        self.segments.push(segment);
        Ok(())
    }

    /// Which layouts the server may ask for.
    fn remember_streams(&mut self) {
        let mut streams = Vec::new();
        let note = |batch: Batch<&[u8]>| {
            if !streams.contains(&batch.stream) && streams.len() < STREAMS_MAX {
                streams.push(batch.stream);
            }
            true
        };
        match self.walk(Order::NewestFirst, note, &mut Vec::new()) {
            Ok(()) => self.streams = streams,
            // Nobody knows: all of them are kept.
            Err(_) => self.streams = vec![StreamNumber(0); STREAMS_MAX],
        }
    }
}

/// The limit, and the size of a segment under it.
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

/// All batches of a segment as one gap, from what memory knows.
fn hull(segment: &Segment) -> Option<Dropped> {
    let (first, last) = segment.ids?;
    let samples = match segment.start {
        Some(start) => segment.end_samples.wrapping_sub(start.samples),
        None => u32::try_from(segment.live_samples).unwrap_or(u32::MAX),
    };
    let first = first.max(series::first(last)).sequence.0;
    Some(Dropped::run(last.epoch, (first, last.sequence.0), samples))
}

impl Head {
    /// Takes a batch in that was appended; whether its epoch has lost more before it than was known.
    fn append<B>(&mut self, batch: &Batch<B>, before: Before) -> bool {
        self.last = self.last.max(Some(batch.id));
        self.samples = before.samples.wrapping_add(batch.rows.into());
        self.cover(batch.source, batch.id.epoch, batch.last_ordinal);
        let (of, total) = self.unbatched;
        let has_lost = before.unbatched > if of == batch.id.epoch { total } else { 0 };
        if has_lost {
            self.unbatched = (batch.id.epoch, before.unbatched);
        }
        has_lost
    }

    fn cover(&mut self, source: SourceNumber, epoch: BootEpoch, ordinal: u32) {
        match self.covered.iter_mut().find(|known| known.source == source) {
            Some(known) if (known.epoch, known.ordinal) < (epoch, ordinal) => {
                *known = Covered { source, epoch, ordinal };
            }
            Some(_) => {}
            None => self.covered.push(Covered { source, epoch, ordinal }),
        }
    }

    /// Takes over what a later head says; counts of losses are totals there.
    fn merge(&mut self, later: &Self) {
        let covered = core::mem::take(&mut self.covered);
        let (last, samples) = match later.last < self.last {
            true => (self.last, self.samples),
            false => (later.last, later.samples),
        };
        let unbatched = self.unbatched.max(later.unbatched);
        let later = later.clone();
        *self = Self { last, samples, unbatched, cut: None, gaps: Vec::new(), ..later };
        for known in covered {
            self.cover(known.source, known.epoch, known.ordinal);
        }
    }
}
