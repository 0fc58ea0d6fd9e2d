//! Batches that the server has not acknowledged, in segment files of bounded total size.
//!
//! A segment is a run of records, each with length and checksum; the first repeats what must outlive
//! older segments. A batch counts as persisted when [`Spool::append`] has returned: the record and
//! its name are durable. Batches are appended in the order of their ids. An acknowledgement is
//! remembered on a best effort only: forgetting one leads to a resend, which the server stores once.
//! When the limit is reached the oldest segment goes, and what was in it is counted. The gap is
//! repeated at the head of each later segment until the server has heard of it, for the segment that
//! tells of it first may go too.

mod record;
mod segment;

use std::io;

use ecowatt_model::{BatchId, BootEpoch, SOURCES_MAX, Sequence, SourceNumber, StreamNumber};
use ecowatt_wire::ITEMS_MAX;

use self::record::{Covered, Head, Record, encode_batch};
use self::segment::{Segment, file_name, file_number};
use super::disk::Disk;
use super::{grown, held};

/// Intervals of acknowledged batches that are remembered; beyond that the oldest is forgotten.
const FREED_INTERVALS_MAX: usize = 256;
/// Gaps that wait to be told to the server: starts of the device in one outage, with drops in each.
/// Beyond that the oldest is counted, and told to nobody. A segment begins with all of them.
const UNREPORTED_MAX: usize = 64;
/// Segments that the limit is divided into: what is dropped at a time when the spool is full.
const SEGMENTS_PER_LIMIT: u64 = 64;
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
const SEGMENT_BYTES_MAX: u64 = 256 * 1024;
/// Smallest limit that leaves room for whole segments.
pub const SPOOL_BYTES_MIN: u64 = 8 * SEGMENT_BYTES_MIN;

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

/// A gap: batches of one epoch that were dropped because the limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub first: BatchId,
    pub last: BatchId,
    pub batches: u32,
    pub samples: u32,
}

impl Dropped {
    /// Takes a later gap of the same epoch in.
    fn extend(&mut self, later: &Self) {
        self.last = later.last;
        self.batches = self.batches.saturating_add(later.batches);
        self.samples = self.samples.saturating_add(later.samples);
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
    /// Dropped because the limit was reached, since the data folder was made.
    pub dropped_batches: u64,
    pub dropped_samples: u64,
    /// Bytes at the end of segments that were no whole record when the spool was opened.
    pub torn_bytes: u64,
}

/// Why the spool cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("spool cannot be {0}")]
    Disk(&'static str, #[source] io::Error),
    #[error("batch {id} does not follow {last}")]
    OutOfOrder { id: BatchId, last: BatchId },
    #[error("batch of {0} bytes is too large for the spool")]
    TooLarge(usize),
}

/// The spool on its disk.
#[derive(Debug)]
pub struct Spool<D> {
    disk: D,
    limit_bytes: u64,
    segment_bytes: u64,
    /// Oldest first; the last one is appended to.
    segments: Vec<Segment>,
    /// A failed append left bytes that could not be removed; nothing is appended before they are.
    is_tail_dirty: bool,
    freed: Vec<(u64, u64)>,
    head: Head,
    /// Gaps that the server has not heard of, as far as memory keeps them.
    unreported: Vec<Dropped>,
    /// How many of them, from the first, are in the message under way.
    offered: usize,
    torn_bytes: u64,
}

impl<D: Disk> Spool<D> {
    /// Opens or creates the spool and removes what a power cut left of unfinished writes.
    pub fn open(disk: D, limit_bytes: u64) -> Result<Self, SpoolError> {
        let (limit_bytes, segment_bytes) = sizes(limit_bytes);
        let mut spool = Self {
            disk,
            limit_bytes,
            segment_bytes,
            segments: Vec::new(),
            is_tail_dirty: false,
            freed: Vec::new(),
            head: Head::default(),
            unreported: Vec::new(),
            offered: 0,
            torn_bytes: 0,
        };
        spool.recover().map_err(|error| SpoolError::Disk("opened", error))?;
        Ok(spool)
    }

    /// Makes a batch durable.
    ///
    /// On an error it is not in the spool and the same id may be tried again.
    pub fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        if let Some(last) = self.head.last
            && batch.id <= last
        {
            return Err(SpoolError::OutOfOrder { id: batch.id, last });
        }
        let bytes = encode_batch(batch);
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if bytes.len() > record::RECORD_BYTES_MAX || len > self.limit_bytes / 4 {
            return Err(SpoolError::TooLarge(bytes.len()));
        }
        self.make_room(bytes.len()).map_err(|error| SpoolError::Disk("cut to its limit", error))?;
        self.append_record(&bytes, true).map_err(|error| SpoolError::Disk("written", error))?;
        self.head.last = Some(batch.id);
        self.head.cover(batch);
        if let Some(active) = self.segments.last_mut() {
            active.add(active.bytes - len, batch);
        }
        Ok(())
    }

    /// Forgets acknowledged batches, given as intervals with both ends included.
    pub fn free(&mut self, intervals: &[(BatchId, BatchId)]) -> Result<(), SpoolError> {
        let newly: Vec<(u64, u64)> = intervals
            .iter()
            .map(|(first, last)| (linear(*first), linear(*last)))
            .filter(|(first, last)| first <= last && !self.is_wholly_freed(*first, *last))
            .collect();
        for interval in &newly {
            self.mark_freed(*interval);
            for segment in self.segments.iter_mut().filter(|s| s.overlaps(*interval)) {
                segment.is_stale = true;
            }
        }
        let failed = |error| SpoolError::Disk("freed", error);
        self.recount().map_err(failed)?;
        self.remove_empty().map_err(failed)?;
        let is_worth_noting =
            newly.iter().any(|interval| self.segments.iter().any(|s| s.overlaps(*interval)));
        if is_worth_noting {
            let bytes = Record::Freed(newly).encode();
            // Where the limit leaves no room, forgetting costs less than dropping a batch.
            if self.has_room(bytes.len()) {
                self.append_record(&bytes, false).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Hands batches that are not freed to `take` until it returns false.
    ///
    /// In [`Order::OldestFirst`] the newest batch leads; it is not given a second time.
    pub fn offer(
        &mut self,
        order: Order,
        mut take: impl FnMut(Batch<&[u8]>) -> bool,
    ) -> Result<(), SpoolError> {
        let failed = |error| SpoolError::Disk("read", error);
        let mut live: Vec<&Segment> = self.segments.iter().filter(|s| s.live_batches > 0).collect();
        let Some(newest) = live.pop() else { return Ok(()) };
        let (mut newest_bytes, mut bytes) = (Vec::new(), Vec::new());
        let newest = self.live_batches(newest, &mut newest_bytes).map_err(failed)?;
        let mut newest: Vec<_> = newest.map(|(_, batch)| batch).collect();
        match order {
            Order::NewestFirst => {
                if !newest.into_iter().rev().all(&mut take) {
                    return Ok(());
                }
                for segment in live.into_iter().rev() {
                    let batches = self.live_batches(segment, &mut bytes).map_err(failed)?;
                    let batches: Vec<_> = batches.map(|(_, batch)| batch).collect();
                    if !batches.into_iter().rev().all(&mut take) {
                        return Ok(());
                    }
                }
            }
            Order::OldestFirst => {
                let Some(leading) = newest.pop() else { return Ok(()) };
                if !take(leading) {
                    return Ok(());
                }
                for segment in live {
                    let mut batches = self.live_batches(segment, &mut bytes).map_err(failed)?;
                    if !batches.all(|(_, batch)| take(batch)) {
                        return Ok(());
                    }
                }
                newest.into_iter().all(take);
            }
        }
        Ok(())
    }

    /// The newest batch that was ever appended.
    pub fn last(&self) -> Option<BatchId> {
        self.head.last
    }

    /// The sequence that the next batch of an epoch gets; epochs never go back.
    pub fn next_sequence(&self, epoch: BootEpoch) -> Sequence {
        match self.head.last {
            Some(last) if last.epoch == epoch => Sequence(last.sequence.0.saturating_add(1)),
            Some(_) | None => Sequence(1),
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

    /// Gaps that the server has not been told of, oldest first, as many as a message can list: those of
    /// one epoch as one.
    pub fn offer_drops(&mut self) -> &[Dropped] {
        self.unreported.dedup_by(|gap, former| {
            let is_same_epoch = gap.first.epoch == former.first.epoch;
            if is_same_epoch {
                former.extend(gap);
            }
            is_same_epoch
        });
        self.offered = self.unreported.len().min(ITEMS_MAX);
        &self.unreported[..self.offered]
    }

    /// The server knows of the first `count` gaps that [`Spool::offer_drops`] gave, not of later ones.
    pub fn drops_are_known(&mut self, count: usize) {
        self.unreported.drain(..count.min(self.offered));
        self.offered = 0;
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

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        held(&self.segments) + held(&self.freed) + held(&self.unreported) + held(&self.head.covered)
    }

    /// Most of [`Spool::memory_bytes`] under a limit.
    pub(super) const fn memory_bytes_max(limit_bytes: u64) -> usize {
        let (limit_bytes, segment_bytes) = sizes(limit_bytes);
        // All but the last are at least half full.
        #[expect(clippy::cast_possible_truncation, reason = "the quotient is at most 2^45")]
        let segments = (limit_bytes / (segment_bytes / 2)) as usize + 2;
        grown::<Segment>(segments)
            + grown::<(u64, u64)>(FREED_INTERVALS_MAX + 1)
            + grown::<Dropped>(UNREPORTED_MAX + 1)
            + grown::<Covered>(SOURCES_MAX)
    }

    /// Whether the limit has room for a record, and for the head of a segment that it may begin.
    fn has_room(&self, len: usize) -> bool {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let head = self.head.len(self.unreported.len() + 1);
        self.bytes().saturating_add(len).saturating_add(head) <= self.limit_bytes
    }

    /// Drops oldest segments until `len` more bytes fit the limit.
    fn make_room(&mut self, len: usize) -> io::Result<()> {
        while !self.has_room(len) && self.segments.len() > 1 {
            let gaps = gaps(self.live_batches(&self.segments[0], &mut Vec::new())?);
            for gap in gaps {
                // Said before it is done: after a cut in between, recovery finishes the removal. On
                // a full disk the removal comes first, for it is what makes room.
                let noted = self.append_record(&Record::Dropped(gap).encode(), true);
                self.note_dropped(gap);
                self.segments[0].is_stale = true;
                if let Err(error) = noted
                    && error.kind() != io::ErrorKind::StorageFull
                {
                    return Err(error);
                }
            }
            self.remove(0)?;
        }
        Ok(())
    }

    /// Removes a segment; on an error it stays and is removed later.
    fn remove(&mut self, place: usize) -> io::Result<()> {
        match self.disk.remove(&file_name(self.segments[place].number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.segments.remove(place);
        Ok(())
    }

    fn note_dropped(&mut self, gap: Dropped) {
        self.head.dropped_batches += u64::from(gap.batches);
        self.head.dropped_samples += u64::from(gap.samples);
        self.mark_freed((linear(gap.first), linear(gap.last)));
        match self.unreported[self.offered..].last_mut() {
            Some(last) if last.first.epoch == gap.first.epoch => last.extend(&gap),
            Some(_) | None => self.unreported.push(gap),
        }
        if self.unreported.len() > UNREPORTED_MAX {
            self.unreported.remove(0);
            self.offered = self.offered.saturating_sub(1);
        }
    }

    fn append_record(&mut self, bytes: &[u8], is_synced: bool) -> io::Result<()> {
        self.clean_tail()?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // A segment is left at least half full, so that their number is bounded by their bytes.
        let has_room = self.segments.last().is_some_and(|active| {
            active.bytes + len <= self.segment_bytes || active.bytes < self.segment_bytes / 2
        });
        if !has_room {
            self.roll()?;
        }
        let Some(active) = self.segments.last_mut() else { return Ok(()) };
        let name = file_name(active.number);
        let written = self
            .disk
            .write_at(&name, active.bytes, bytes)
            .and_then(|()| if is_synced { self.disk.sync(&name) } else { Ok(()) });
        match written {
            Ok(()) => {
                active.bytes += len;
                Ok(())
            }
            Err(error) => {
                // A whole record may be on the disk although the sync failed. It must go before the
                // same id is used for other contents.
                self.is_tail_dirty = true;
                let _ = self.clean_tail();
                Err(error)
            }
        }
    }

    fn clean_tail(&mut self) -> io::Result<()> {
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
    fn roll(&mut self) -> io::Result<()> {
        let number = self.segments.last().map_or(self.head.segment, |s| s.number) + 1;
        let mut head = Head { segment: number, gaps: self.unreported.clone(), ..self.head.clone() };
        let bytes = Record::Head(head.clone()).encode();
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
        head.gaps = Vec::new();
        self.head = head;
        self.segments.push(Segment::empty(number, u64::try_from(bytes.len()).unwrap_or(0)));
        self.remove_empty()
    }

    /// Removes segments, the active one excepted, in which nothing is left to send.
    fn remove_empty(&mut self) -> io::Result<()> {
        let mut place = 0;
        while place + 1 < self.segments.len() {
            if self.segments[place].live_batches == 0 {
                self.remove(place)?;
            } else {
                place += 1;
            }
        }
        let oldest =
            self.segments.iter().filter_map(|s| s.ids).map(|(first, _)| linear(first)).min();
        match oldest {
            Some(oldest) => self.freed.retain(|(_, last)| *last >= oldest),
            None => self.freed.clear(),
        }
        Ok(())
    }

    /// Counts what is left in segments of which batches were freed.
    fn recount(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for place in 0..self.segments.len() {
            let segment = &self.segments[place];
            if !segment.is_stale {
                continue;
            }
            let is_all_freed = segment
                .ids
                .is_some_and(|(first, last)| self.is_wholly_freed(linear(first), linear(last)));
            let mut live = Vec::new();
            if !is_all_freed {
                let batches = self.live_batches(segment, &mut bytes)?;
                live.extend(batches.map(|(offset, batch)| (offset, batch.rows)));
            }
            self.segments[place].count(&live);
        }
        Ok(())
    }

    /// The batches of a segment that are not freed, with their offsets; `bytes` is room to read them.
    fn live_batches<'a>(
        &'a self,
        segment: &'a Segment,
        bytes: &'a mut Vec<u8>,
    ) -> io::Result<impl Iterator<Item = (u64, Batch<&'a [u8]>)>> {
        segment::read_live(&self.disk, segment, bytes)?;
        let offset = |at| segment.live_from + u64::try_from(at).unwrap_or(0);
        Ok(record::parse(bytes).filter_map(move |(at, record)| match record {
            Record::Batch(batch) => {
                (!self.is_freed(linear(batch.id))).then_some((offset(at), batch))
            }
            Record::Head(_) | Record::Freed(_) | Record::Dropped(_) => None,
        }))
    }

    fn recover(&mut self) -> io::Result<()> {
        let mut numbers: Vec<u64> =
            self.disk.list()?.iter().filter_map(|name| file_number(name)).collect();
        numbers.sort_unstable();
        for number in numbers {
            let name = file_name(number);
            let bytes = segment::read(&self.disk, number)?;
            let mut parsed = record::parse(&bytes);
            let records: Vec<_> = parsed.by_ref().collect();
            let whole = parsed.whole();
            self.torn_bytes += u64::try_from(bytes.len() - whole).unwrap_or(0);
            let Some((_, Record::Head(head))) = records.first() else {
                // Cut while the segment was being started; nothing had been appended to it.
                self.disk.remove(&name)?;
                continue;
            };
            self.head.merge(head);
            // Those that earlier segments speak of are among them, or known to the server.
            self.unreported.clone_from(&head.gaps);
            head.gaps.iter().for_each(|gap| self.mark_freed((linear(gap.first), linear(gap.last))));
            let mut segment = Segment::empty(number, u64::try_from(whole).unwrap_or(0));
            for (at, record) in records {
                match record {
                    Record::Head(_) => {}
                    Record::Batch(batch) => {
                        self.head.last = self.head.last.max(Some(batch.id));
                        self.head.cover(&batch);
                        segment.add(u64::try_from(at).unwrap_or(0), &batch);
                    }
                    Record::Freed(intervals) => {
                        intervals.into_iter().for_each(|interval| self.mark_freed(interval));
                    }
                    Record::Dropped(gap) => self.note_dropped(gap),
                }
            }
            if whole < bytes.len() {
                self.disk.truncate(&name, u64::try_from(whole).unwrap_or(0))?;
            }
            // What was read is appended to or relied on; it must be as durable as it looks.
            self.disk.sync(&name)?;
            segment.is_stale = true;
            self.segments.push(segment);
        }
        self.disk.sync_names()?;
        self.recount()?;
        self.remove_empty()
    }

    fn is_freed(&self, id: u64) -> bool {
        self.freed.iter().any(|(first, last)| (*first..=*last).contains(&id))
    }

    fn is_wholly_freed(&self, from: u64, to: u64) -> bool {
        self.freed.iter().any(|(first, last)| *first <= from && to <= *last)
    }

    fn mark_freed(&mut self, interval: (u64, u64)) {
        self.freed.push(interval);
        self.freed.sort_unstable();
        self.freed.dedup_by(|(first, last), (_, former_last)| {
            let is_joined = *first <= former_last.saturating_add(1);
            if is_joined {
                *former_last = (*former_last).max(*last);
            }
            is_joined
        });
        if self.freed.len() > FREED_INTERVALS_MAX {
            self.freed.remove(0);
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

/// Ids in one dimension, in their order.
fn linear(id: BatchId) -> u64 {
    (u64::from(id.epoch.0) << 32) | u64::from(id.sequence.0)
}

/// One gap per epoch.
fn gaps<'a>(batches: impl Iterator<Item = (u64, Batch<&'a [u8]>)>) -> Vec<Dropped> {
    let mut gaps: Vec<Dropped> = Vec::new();
    for (_, batch) in batches {
        match gaps.last_mut() {
            Some(gap) if gap.last.epoch == batch.id.epoch => {
                gap.last = batch.id;
                gap.batches += 1;
                gap.samples += u32::from(batch.rows);
            }
            Some(_) | None => gaps.push(Dropped {
                first: batch.id,
                last: batch.id,
                batches: 1,
                samples: batch.rows.into(),
            }),
        }
    }
    gaps
}

impl Head {
    fn cover<B>(&mut self, batch: &Batch<B>) {
        let covered =
            Covered { source: batch.source, epoch: batch.id.epoch, ordinal: batch.last_ordinal };
        match self.covered.iter_mut().find(|known| known.source == batch.source) {
            Some(known) if (known.epoch, known.ordinal) < (covered.epoch, covered.ordinal) => {
                *known = covered;
            }
            Some(_) => {}
            None => self.covered.push(covered),
        }
    }

    /// Takes over what a later head says; counts of losses are totals there.
    fn merge(&mut self, later: &Self) {
        let covered = std::mem::take(&mut self.covered);
        let last = self.last.max(later.last);
        *self = Self { last, gaps: Vec::new(), ..later.clone() };
        for known in covered {
            if !self.covered.iter().any(|other| other.source == known.source) {
                self.covered.push(known);
            }
        }
    }
}
