//! Rebuilds what the spool knows: from its segments at a start, from the journals, from unreadable
//! places, and from acknowledgements.

use alloc::vec;
use alloc::vec::Vec;

use ecowatt_model::{BatchId, BootEpoch, Sequence, StreamNumber};

use super::damage_extent::Survey;
use super::freed::linear;
use super::gaps::Dropped;
use super::record::{self, Record};
use super::segment::{self, Mark, Segment, hull};
use super::{
    Batch, BatchRange, READ_FAILURES_MAX, STREAMS_MAX, SendOrder, Spool, SpoolError, SpoolWitness,
};
use crate::storage::areas::{Area, Areas, Fault};
use crate::storage::bad_reads::{Reading, answers_elsewhere};
use crate::storage::damage::Damage;

impl<D: Areas> Spool<D> {
    /// Takes what a journal shows about the spool. If the spool knows less, the difference is lost.
    pub fn hear(&mut self, witness: SpoolWitness) {
        let SpoolWitness { source, ordinal, id, samples } = witness;
        // A journal that was only begun knows of batches of other sources and epochs. Which of them
        // is lost shows only if the spool has something left to compare with.
        let is_begun_only = ordinal == 0;
        if is_begun_only && self.head.last.is_none() {
            return;
        }
        if self.head.last.is_none_or(|last| last < id) {
            let mut survey = Survey::from(self.end());
            survey.break_off();
            let mark = Mark { id, samples };
            match self.end() {
                Some(_) => survey.reach(Some(mark)),
                // Nothing is left to compare with, so the whole epoch is reported. The server does
                // not count the batches that it has.
                None => self.lose(Dropped::run(id.epoch, (1, id.sequence.0), samples)),
            }
            for gap in survey.losses(&self.freed) {
                self.lose(gap);
            }
            self.head.last = Some(id);
            self.head.samples = samples;
        }
        if !is_begun_only {
            self.head.cover(source, id.epoch, ordinal);
        }
    }

    /// Forgets acknowledged batches, all of these ranges.
    pub fn free(&mut self, ranges: &[BatchRange]) -> Result<(), SpoolError> {
        self.reopen()?;
        let newly: Vec<(u64, u64)> = ranges
            .iter()
            .map(|range| (linear(range.first), linear(range.last)))
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
            // If the limit leaves no room, a forgotten acknowledgement costs less than a dropped
            // batch.
            if self.has_room(record.encode(0).len()) {
                self.append_record(|number| record.encode(number), false).map_err(failed)?;
            }
        }
        counted.and(removed)
    }

    pub(super) fn mark_freed(&mut self, range: (u64, u64)) {
        self.freed.mark(range);
        for segment in self.segments.iter_mut().filter(|segment| segment.overlaps(range)) {
            segment.is_stale = true;
        }
    }

    /// Removes a segment; on an error it stays and is removed later.
    pub(super) fn remove(&mut self, place: usize) -> Result<(), Fault> {
        let segment = &self.segments[place];
        let area = segment.area();
        let removed = match segment.is_damaged {
            true => self.disk.set_aside(area),
            false => self.disk.erase(area),
        };
        match removed {
            Ok(()) => {}
            Err(_) if matches!(self.disk.len(area), Ok(None)) => {}
            Err(error) => return Err(error),
        }
        self.segments.remove(place);
        Ok(())
    }

    /// Removes all segments without waiting batches, except the active one.
    pub(super) fn remove_empty(&mut self) -> Result<(), Fault> {
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

    /// Recounts the waiting batches in segments of which batches were freed. An unreadable segment
    /// keeps its count and is examined when it is sent.
    pub(super) fn recount(&mut self) -> Result<(), Fault> {
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

    /// Examines a segment that cannot be read completely. What stays unreadable is lost.
    pub(super) fn examine(&mut self, number: u64) {
        let Some(place) = self.segments.iter().position(|s| s.number == number) else { return };
        let reading = segment::read(&self.disk, number);
        let segment = &mut self.segments[place];
        if !reading.as_ref().is_ok_and(Reading::is_whole) {
            // The whole disk may be failing for a while.
            segment.failures = segment.failures.saturating_add(1);
            let is_tried_again = segment.failures < READ_FAILURES_MAX;
            if is_tried_again || !answers_elsewhere(&self.disk, Some(Area::Segment(number))) {
                return;
            }
        }
        let mut reading = reading.unwrap_or_default();
        reading.truncate(usize::try_from(segment.bytes_whole()).unwrap_or(usize::MAX));
        // The readable records around the damaged places show which batches were in them.
        let mut survey = Survey::from(segment.start);
        let mut readable = Vec::new();
        for placed in record::parse(&reading.bytes, number, 0).records {
            if placed.is_after_damage() {
                survey.break_off();
            }
            if let Record::Batch(batch, before) = placed.record {
                readable.push((placed.offset, batch.id, batch.rows));
                survey.pass(batch.id, batch.rows, before.samples);
            }
        }
        survey.break_off();
        survey.reach(segment.end());
        let losses = match readable.is_empty() {
            true => {
                // A gap names batches of one epoch only, the segment's last.
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
        // Counted from this reading: another one may fail, and batches already reported as lost
        // would then count as waiting for ever.
        readable.retain(|(_, id, _)| !self.freed.contains(*id));
        let left: Vec<(u64, u16)> = readable.into_iter().map(|(at, _, rows)| (at, rows)).collect();
        if let Some(segment) = self.segments.iter_mut().find(|s| s.number == number) {
            segment.count(&left);
        }
        // If the disk fails here, both are tried again later.
        let _ = self.recount();
        let _ = self.remove_empty();
    }

    pub(super) fn recover(&mut self) -> Result<(), Fault> {
        let areas = self.disk.list()?;
        let mut numbers: Vec<u64> = areas.into_iter().filter_map(segment::number).collect();
        numbers.sort_unstable();
        // There was nothing before the first segment.
        let nothing = BatchId { epoch: BootEpoch(0), sequence: Sequence(0) };
        let is_complete = numbers.first() == Some(&1);
        let mut survey = Survey::from(is_complete.then_some(Mark { id: nothing, samples: 0 }));
        for (place, number) in numbers.iter().copied().enumerate() {
            let next = numbers.get(place + 1).copied();
            self.recover_segment(number, next, &mut survey)?;
            // The number of an area that could not be moved away is not used again.
            self.head.segment = self.head.segment.max(number);
        }
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
        let (area, is_newest) = (Area::Segment(number), next.is_none());
        let mut reading = segment::read(&self.disk, number).unwrap_or_default();
        let bytes_all = u64::try_from(reading.bytes.len()).unwrap_or(u64::MAX);
        // The next segment's head may limit how many bytes of this one count.
        let cut = next.and_then(|next| segment::read_head(&self.disk, next)).and_then(|h| h.cut);
        if let Some((_, bytes)) = cut.filter(|(segment, _)| *segment == number) {
            reading.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        let is_readable = reading.is_whole() && self.disk.len(area).is_ok_and(|len| len.is_some());
        let bytes = u64::try_from(reading.bytes.len()).unwrap_or(u64::MAX);
        let parsed = record::parse(&reading.bytes, number, 0);
        let is_torn = parsed.end < bytes;
        if parsed.records.is_empty() {
            if is_newest && is_readable && (is_torn || self.disk.len(area)? == Some(0)) {
                // The power failed while the segment was being created; nothing had been appended
                // to it.
                self.torn_bytes += bytes;
                return self.disk.erase(area);
            }
            survey.break_off();
            self.damage.push(Damage::Segment(number));
            // A segment that cannot be moved stays in place.
            let _ = self.disk.set_aside(area);
            return Ok(());
        }
        let first = parsed.records.first();
        let has_head = first.is_some_and(|p| p.offset == 0 && matches!(p.record, Record::Head(_)));
        // A power cut can only tear the end of the newest segment; anything else is damage.
        let is_damaged = !is_readable || parsed.is_damaged || !has_head || (is_torn && !is_newest);
        if !has_head {
            survey.break_off();
        }
        let mut segment = Segment::empty(number, bytes_all, None);
        if is_damaged {
            segment.torn_from = Some(bytes).filter(|bytes| *bytes < bytes_all);
        } else {
            segment.torn_from = Some(parsed.end).filter(|end| *end < bytes_all);
            self.torn_bytes += bytes.saturating_sub(parsed.end);
        }
        for placed in parsed.records {
            if placed.is_after_damage() {
                survey.break_off();
            }
            match placed.record {
                Record::Head(head) => {
                    segment.start = head.last.map(|id| Mark { id, samples: head.samples });
                    survey.reach(segment.start);
                    self.head.merge(&head);
                    // The head repeats the gaps of earlier segments, or the server knows them.
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
                    segment.add(placed.offset, &batch, before.samples);
                }
                Record::Freed(ranges) => {
                    ranges.into_iter().for_each(|range| self.freed.mark(range))
                }
                Record::Dropped(gap) => self.note_dropped(gap),
                // The bytes that it cancels were skipped when the segment was parsed.
                Record::Cut(_) => {}
            }
        }
        if is_damaged {
            survey.break_off();
            segment.is_damaged = true;
            segment.is_sealed = true;
            self.damage.push(Damage::Segment(number));
        } else {
            // The segment is appended to and relied on, so what was read must be durable.
            segment.is_sealed = self.disk.sync(area).is_err();
        }
        segment.is_stale = true;
        self.segments.push(segment);
        Ok(())
    }

    /// Remembers the layouts that the server may ask for.
    fn remember_streams(&mut self) {
        let mut streams = Vec::new();
        let note = |batch: Batch<&[u8]>| {
            if !streams.contains(&batch.stream) && streams.len() < STREAMS_MAX {
                streams.push(batch.stream);
            }
            true
        };
        match self.walk(SendOrder::BacklogNewestFirst, note, &mut Vec::new()) {
            Ok(()) => self.streams = streams,
            // Unknown, so all layouts are kept.
            Err(_) => self.streams = vec![StreamNumber(0); STREAMS_MAX],
        }
    }
}
