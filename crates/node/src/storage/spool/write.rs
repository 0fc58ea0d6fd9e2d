//! Makes batches durable: appends records to the newest segment and makes room for them.

use alloc::vec::Vec;

use ecowatt_model::{BootEpoch, StreamNumber};

use super::freed::linear;
use super::gaps::{Dropped, runs};
use super::record::{self, Before, Head, Record, encode_batch};
use super::segment::{Segment, hull};
use super::{
    BATCHES_PER_LIMIT_MIN, Batch, RUNS_PER_SEGMENT_MAX, SEALED_MAX, STREAMS_MAX, Spool, SpoolError,
};
use crate::storage::areas::{Area, Areas, Fault};
use crate::storage::damage::Damage;

impl<D: Areas> Spool<D> {
    /// Records that an epoch has lost this many more samples, which were in no batch. Durable when
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
    /// On an error the batch is not in the spool, and the same id may be tried again.
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
        // Samples between the last batch of the source and this one will never be in a batch.
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

    /// Whether a record fits the limit, with the head of a segment that it may begin.
    pub(super) fn has_room(&self, len: usize) -> bool {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let head = self.head.len(self.gaps.as_slice().len() + RUNS_PER_SEGMENT_MAX);
        self.bytes().saturating_add(len).saturating_add(head) <= self.limit_bytes
    }

    /// Drops the oldest segments until `len` more bytes fit the limit.
    fn make_room(&mut self, len: usize) -> Result<(), Fault> {
        self.note_rest()?;
        while !self.has_room(len) && self.segments.len() > 1 {
            for gap in self.contents(0) {
                // Recorded before the removal: after a cut in between, recovery completes it. On a
                // full disk the removal must come first, because it makes the room.
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

    /// Records the gaps that a full disk had no room for. While that fails, nothing more is
    /// dropped.
    fn note_rest(&mut self) -> Result<(), Fault> {
        while let Some(gap) = self.unnoted.last().copied() {
            self.append_record(|number| Record::Dropped(gap).encode(number), true)?;
            self.unnoted.pop();
        }
        Ok(())
    }

    /// The waiting batches of a segment, as gaps.
    pub(super) fn contents(&self, place: usize) -> Vec<Dropped> {
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

    /// Counts and reports a loss. If the disk fails, the record of it is missing and the loss is
    /// found again at the next start.
    pub(super) fn lose(&mut self, gap: Dropped) {
        if !self.damage.contains(&Damage::Lost(gap)) {
            self.damage.push(Damage::Lost(gap));
        }
        let _ = self.append_record(|number| Record::Dropped(gap).encode(number), true);
        self.note_dropped(gap);
    }

    pub(super) fn note_dropped(&mut self, gap: Dropped) {
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

    pub(super) fn append_record(
        &mut self,
        encode: impl Fn(u64) -> Vec<u8>,
        is_synced: bool,
    ) -> Result<(), Fault> {
        self.measure_tail()?;
        let mut bytes = self.encode_next(&encode);
        let has_room = self.segments.last().is_some_and(|active| {
            // Every segment is filled at least half, so that the limit also bounds the number of
            // segments.
            let is_filling = active.bytes < self.segment_bytes / 2;
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            !active.is_sealed && (active.bytes + len <= self.segment_bytes || is_filling)
        });
        if !has_room {
            self.roll()?;
            bytes = self.encode_next(&encode);
        }
        let is_to_be_sealed = self.may_seal();
        let Some(active) = self.segments.last_mut() else { return Ok(()) };
        let area = active.area();
        let written = self
            .disk
            .append(area, &bytes)
            .and_then(|()| if is_synced { self.disk.sync(area) } else { Ok(()) });
        match written {
            Ok(()) => {
                active.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                active.torn_from = None;
                Ok(())
            }
            Err(error) => {
                // If the area is damaged, the next segment is elsewhere on the disk.
                active.is_sealed |= error != Fault::Full && is_to_be_sealed;
                // A complete record may be on the disk although the sync failed. It does not count,
                // because the same id may be used for other contents.
                active.torn_from = Some(active.bytes_whole());
                Err(error)
            }
        }
    }

    /// Encodes a record for the end of the active segment, after a cut for its bytes that do not
    /// count.
    fn encode_next(&self, encode: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
        let active = self.segments.last();
        let number = active.map_or(0, |active| active.number);
        let cut =
            active.and_then(|active| active.torn_from).map(|from| Record::Cut(from).encode(number));
        let mut bytes = cut.unwrap_or_default();
        bytes.extend(encode(number));
        bytes
    }

    /// Measures the active segment if an append to it has failed.
    fn measure_tail(&mut self) -> Result<(), Fault> {
        let Some(active) = self.segments.last_mut().filter(|active| active.torn_from.is_some())
        else {
            return Ok(());
        };
        match self.disk.len(active.area()) {
            Ok(len) => {
                active.bytes = len.unwrap_or(0);
                active.torn_from = active.torn_from.filter(|from| *from < active.bytes);
                Ok(())
            }
            // The next segment is used instead.
            Err(_) if active.is_sealed => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether one more segment may be abandoned before it is half full.
    fn may_seal(&self) -> bool {
        self.segments.iter().filter(|segment| segment.is_sealed).count() < SEALED_MAX
    }

    /// Starts a segment.
    fn roll(&mut self) -> Result<(), Fault> {
        let number = self.segments.last().map_or(0, |s| s.number).max(self.head.segment) + 1;
        let gaps = self.gaps.as_slice().to_vec();
        let former = self.segments.last();
        let cut = former.and_then(|former| Some((former.number, former.torn_from?)));
        let mut head = Head { segment: number, gaps, cut, ..self.head.clone() };
        let bytes = Record::Head(head.clone()).encode(number);
        let area = Area::Segment(number);
        // A failed attempt may have left a part of the area.
        if let Err(error) = self.disk.replace(area, &bytes) {
            let _ = self.disk.erase(area);
            return Err(error);
        }
        (head.gaps, head.cut) = (Vec::new(), None);
        self.head = head;
        let len = u64::try_from(bytes.len()).unwrap_or(0);
        self.segments.push(Segment::empty(number, len, self.end()));
        self.remove_empty()
    }
}
