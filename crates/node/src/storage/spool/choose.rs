//! Selects batches to send, in the requested order.

use alloc::vec::Vec;

use super::gaps::{Dropped, runs};
use super::record::{self, Record};
use super::{Batch, RUNS_PER_SEGMENT_MAX, SendOrder, Spool, SpoolError, segment};
use crate::storage::areas::{Areas, Fault};

/// A batch that waits, and the offset of its record.
type Live<'a> = (u64, Batch<&'a [u8]>);

impl<D: Areas> Spool<D> {
    /// Passes batches that are not freed to `take` until it returns false.
    ///
    /// In [`SendOrder::BacklogOldestFirst`] the newest batch comes first, and only once. Unreadable batches
    /// are skipped.
    ///
    /// # Errors
    /// If batches wait and none of them can be read.
    pub fn offer(
        &mut self,
        order: SendOrder,
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

    pub(super) fn walk(
        &self,
        order: SendOrder,
        mut take: impl FnMut(Batch<&[u8]>) -> bool,
        hurt: &mut Vec<u64>,
    ) -> Result<(), Fault> {
        let places =
            (0..self.segments.len()).filter(|place| self.segments[*place].live_batches > 0);
        let mut bytes = Vec::new();
        let mut outcome = Ok(());
        let mut is_any_read = false;
        let mut leading = None;
        // The newest readable batch.
        if order == SendOrder::BacklogOldestFirst {
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
        // Then all batches in the requested order, without the one that was passed already.
        let forwards: Vec<usize> = match order {
            SendOrder::BacklogOldestFirst => places.collect(),
            SendOrder::BacklogNewestFirst => places.rev().collect(),
        };
        for place in forwards {
            match self.live(place, &mut bytes, hurt) {
                Ok(mut batches) => {
                    is_any_read = true;
                    if order == SendOrder::BacklogNewestFirst {
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

    /// Drops the matching batches, which can never be sent, and returns them as gaps.
    pub fn give_up(
        &mut self,
        is_hopeless: impl Fn(&Batch<&[u8]>) -> bool,
    ) -> Result<Vec<Dropped>, SpoolError> {
        self.reopen()?;
        let mut lost = Vec::new();
        let walked = self.walk(
            SendOrder::BacklogNewestFirst,
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

    /// Returns the batches of a segment that are not freed, with their offsets; `bytes` is a buffer
    /// for them. If some are unreadable and not yet recorded as lost, the segment is added to
    /// `hurt`.
    pub(super) fn live<'a>(
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
        let parsed = record::parse(bytes, segment.number, segment.live_from);
        let is_complete = parsed.end == segment.bytes_whole();
        let is_sound = is_whole && is_complete && !parsed.is_damaged;
        let live: Vec<Live<'_>> = parsed
            .records
            .into_iter()
            .filter_map(|placed| match placed.record {
                Record::Batch(batch, _) if !self.freed.contains(batch.id) => {
                    Some((placed.offset, batch))
                }
                Record::Batch(..)
                | Record::Head(_)
                | Record::Freed(_)
                | Record::Dropped(_)
                | Record::Cut(_) => None,
            })
            .collect();
        let found = u32::try_from(live.len()).unwrap_or(u32::MAX);
        let is_known = segment.is_damaged && (segment.is_stale || found >= segment.live_batches);
        if !is_sound && !is_known {
            hurt.push(segment.number);
        }
        Ok(live)
    }
}
