//! What one device sampled, and whether the store holds exactly that.
//!
//! Every sample leaves a hash of its time, words and marks. At the end each stored row must match
//! one of them, once; each durable sample must be stored, unless its device reported to the server
//! that its batch was dropped.

use std::collections::BTreeMap;

use ecowatt_codec::{CodecMemory, Decoder, TimeBase};
use ecowatt_model::{BatchId, BootEpoch, COLUMNS_MAX, Mark, Sequence, SourceNumber, UnixMs};
use ecowatt_node::storage::{Batch, Dropped};
use ecowatt_store::{Block, TimeQuality};

use crate::trace::Digest;

/// When an epoch of a device truly began, and how fast its clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) boot: UnixMs,
    pub(crate) drift_ppm: i64,
}

impl Birth {
    /// Returns the true time of a monotonic instant of the epoch.
    pub(crate) fn true_time(&self, mono_ms: i64) -> UnixMs {
        let elapsed = i128::from(mono_ms) * 1_000_000 / i128::from(1_000_000 + self.drift_ppm);
        UnixMs(self.boot.0 + i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

/// All samples of one inverter in one epoch, by ordinal.
#[derive(Debug, Default)]
struct Samples {
    hashes: Vec<u64>,
    /// Hashes of words and marks without the time, to tell a re-stamped row from an invented one.
    contents: Vec<u32>,
    /// The plant's lifetime counter, in watt-hours.
    plant_wh: Vec<u32>,
    is_durable: Vec<bool>,
    /// Whether a medium destroyed its last durable copy.
    ends: Vec<End>,
    is_stored: Vec<bool>,
    /// By place: when the device believed it took a sample, in Unix milliseconds, where the start
    /// of the epoch was confirmed by then. Until it hears from the server again it cannot know
    /// better.
    believed: BTreeMap<usize, i64>,
    /// Ordinals by hash, built when the epoch is first audited.
    by_hash: Vec<(u64, u32)>,
}

/// What a medium did to a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Spared,
    Destroyed,
    /// Destroyed, together with every record that could report it.
    Untellable,
}

/// Samples in a batch, by their first and last ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batched {
    first: u32,
    last: u32,
    sequence: Sequence,
}

/// One device's samples.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    births: BTreeMap<u32, Birth>,
    samples: BTreeMap<(u32, u8), Samples>,
    /// Samples in batches, by epoch and inverter. One sequence may be tried twice with different
    /// content.
    batches: BTreeMap<(u32, u8), Vec<Batched>>,
    /// By epoch, at its last durable sample: whether the server had confirmed where the epoch
    /// began, and whether the clock it was derived from was right.
    places: BTreeMap<u32, (bool, bool)>,
    /// Whether a server whose clock was wrong ever sent its time.
    is_misled: bool,
    /// For epochs up to this one, a damaged medium may have lost where they began.
    displaced_to: Option<u32>,
    /// Gaps reported to the server, by epoch and first sequence.
    gaps: BTreeMap<(u32, u32), Dropped>,
    acknowledged: BTreeMap<u32, Vec<(u32, u32)>>,
    /// The first batch that was found at a wrong time, and by how many milliseconds it is late.
    pub(crate) misplaced: Option<(BatchId, i64)>,
    /// The first sample that is missing without a gap.
    pub(crate) lost: Option<Missing>,
    /// The first sample that a medium destroyed without a gap.
    pub(crate) untold: Option<Missing>,
    /// The first sample that is missing with a gap although no medium destroyed it.
    pub(crate) needless: Option<Missing>,
}

/// An epoch with missing samples, and one of the samples if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) epoch: BootEpoch,
    pub(crate) first: Option<(SourceNumber, u32)>,
}

/// The stored samples of a device, compared with those it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct SampleAudit {
    /// Samples that the device took.
    pub taken: u64,
    /// Of them, durable ones.
    pub durable: u64,
    /// Rows in the store.
    pub stored: u64,
    /// Durable samples that are not stored, although no gap was reported for them.
    pub lost: u64,
    /// Durable samples in reported gaps.
    pub dropped: u64,
    /// Of them, those that a medium destroyed.
    pub destroyed: u64,
    /// Durable samples that a medium destroyed together with every record that could report them.
    pub untellable: u64,
    /// Durable samples that a medium destroyed and for which no gap was reported.
    pub untold: u64,
    /// Durable samples in reported gaps although neither a medium nor a full spool lost them.
    pub needless: u64,
    /// Rows stored more than once.
    pub doubled: u64,
    /// Rows with the words of a sample and another time.
    pub restamped: u64,
    /// Rows that were never sampled.
    pub invented: u64,
    /// Rows whose epoch the server placed in time with too large an error.
    pub misplaced: u64,
    /// Acknowledged batches that are not stored.
    pub unkept: u64,
}

impl SampleAudit {
    /// Whether every comparison succeeded.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let wrong = [
            self.lost,
            self.untold,
            self.needless,
            self.doubled,
            self.restamped,
            self.invented,
            self.misplaced,
            self.unkept,
        ];
        wrong.iter().all(|count| *count == 0)
    }

    /// Adds the verdict on another device.
    pub fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.durable += other.durable;
        self.stored += other.stored;
        self.lost += other.lost;
        self.dropped += other.dropped;
        self.destroyed += other.destroyed;
        self.untellable += other.untellable;
        self.untold += other.untold;
        self.needless += other.needless;
        self.doubled += other.doubled;
        self.restamped += other.restamped;
        self.invented += other.invented;
        self.misplaced += other.misplaced;
        self.unkept += other.unkept;
    }
}

/// A sample as the device or the store holds it.
pub(crate) struct Row<'a> {
    pub(crate) epoch: u32,
    pub(crate) source: SourceNumber,
    pub(crate) is_unix: bool,
    pub(crate) t_ms: i64,
    pub(crate) words: &'a [u16],
    pub(crate) marks: &'a [Mark],
}

impl Row<'_> {
    fn hashes(&self) -> (u64, u32) {
        let mut digest = Digest::default();
        for (words, marks) in self.words.chunks(4).zip(self.marks.chunks(4)) {
            let mut packed = 0;
            for (word, mark) in words.iter().zip(marks) {
                packed = (packed << 16) | u64::from(*word);
                digest.add(u64::from(mark.code()));
            }
            digest.add(packed);
        }
        let content = u32::try_from(digest.0 >> 32).unwrap_or(0);
        digest.add(
            (u64::from(self.epoch) << 9)
                | (u64::from(self.source.0) << 1)
                | u64::from(self.is_unix),
        );
        digest.add(self.t_ms.cast_unsigned());
        (digest.0, content)
    }
}

/// Largest error of the time of samples taken before the server was heard from: half of the longest
/// exchange twice, the deviation that a clock may have, and the drift of a crystal over the longest
/// time without a server.
pub(crate) const ANCHOR_ERROR_MAX_MS: i64 = 45_000;

/// A period in which the server's own clock was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockError {
    pub(crate) until: UnixMs,
    pub(crate) by_ms: i64,
}

/// Whether the stored time is right, or wrong only because the server's clock was.
fn is_well_placed(placed: i64, truth: i64, server: &[ClockError]) -> bool {
    let is_near = |by_ms: i64| placed.abs_diff(truth + by_ms) <= ANCHOR_ERROR_MAX_MS.unsigned_abs();
    // A sample is placed after it was taken, so errors that ended before it do not count.
    is_near(0) || server.iter().any(|error| error.until.0 >= truth && is_near(error.by_ms))
}

impl Truth {
    pub(crate) fn born(&mut self, epoch: u32, birth: Birth) {
        self.births.insert(epoch, birth);
    }

    /// Notes that the start of an epoch is durable, together with one of its samples.
    pub(crate) fn placed(&mut self, epoch: u32, is_confirmed: bool, is_right: bool) {
        if self.displaced_to.is_some_and(|to| epoch <= to) {
            return;
        }
        let place = self.places.entry(epoch).or_default();
        *place = (place.0 || is_confirmed, is_right);
    }

    /// Notes that a server whose clock is wrong sent its time.
    pub(crate) fn misled(&mut self) {
        self.is_misled = true;
    }

    /// Notes that the durable starts of epochs may be older ones.
    pub(crate) fn displace(&mut self) {
        self.displaced_to = self.births.keys().next_back().copied();
        self.places.clear();
    }

    /// Notes a sample, taken when the plant's counter was at `plant_wh`; samples of an inverter
    /// come in the order of their ordinals. `confirmed` is the start of the epoch as the device has
    /// it, if the server has confirmed it. Returns the ordinal that the sample should have.
    pub(crate) fn taken(&mut self, row: &Row<'_>, plant_wh: u32, confirmed: Option<UnixMs>) -> u32 {
        let samples = self.samples.entry((row.epoch, row.source.0)).or_default();
        if let Some(start) = confirmed.filter(|_| !row.is_unix) {
            samples.believed.insert(samples.hashes.len(), start.0.saturating_add(row.t_ms));
        }
        let (hash, content) = row.hashes();
        samples.hashes.push(hash);
        samples.contents.push(content);
        samples.plant_wh.push(plant_wh);
        samples.is_durable.push(false);
        samples.ends.push(End::Spared);
        samples.is_stored.push(false);
        u32::try_from(samples.hashes.len()).unwrap_or(u32::MAX)
    }

    /// Notes that a sample is durable.
    pub(crate) fn durable(&mut self, epoch: u32, source: SourceNumber, ordinal: u32) {
        let samples = self.samples.get_mut(&(epoch, source.0));
        let place = usize::try_from(ordinal).ok().and_then(|ordinal| ordinal.checked_sub(1));
        if let Some(is_durable) = samples.zip(place).and_then(|(s, p)| s.is_durable.get_mut(p)) {
            *is_durable = true;
        }
    }

    /// Notes that a batch and its samples are durable. Usually they are those up to its last one
    /// without a hole. Of samples that left memory before they were in a batch, it has only the
    /// durable ones.
    pub(crate) fn persisted(&mut self, batch: &Batch) {
        let (epoch, source) = (batch.id.epoch.0, batch.source);
        let Some(samples) = self.samples.get_mut(&(epoch, source.0)) else { return };
        let last = usize::try_from(batch.last_ordinal).unwrap_or(usize::MAX);
        let first = last.saturating_sub(usize::from(batch.rows));
        let is_safe = |at: usize| samples.is_durable[at] && samples.ends[at] == End::Spared;
        if last > samples.hashes.len() || (first..last).all(is_safe) {
            return;
        }
        for place in samples.places(&hashes(epoch, source, &batch.bytes), last) {
            samples.is_durable[place] = true;
            samples.ends[place] = End::Spared;
        }
    }

    /// Notes that the medium destroyed a batch of a source's samples up to the last; returns how
    /// many were in it.
    pub(crate) fn destroyed_batch(
        &mut self,
        id: BatchId,
        (source, last_ordinal): (SourceNumber, u32),
        bytes: &[u8],
        is_tellable: bool,
    ) -> usize {
        let Some(samples) = self.samples.get_mut(&(id.epoch.0, source.0)) else { return 0 };
        let hashes = hashes(id.epoch.0, source, bytes);
        let end = usize::try_from(last_ordinal).unwrap_or(usize::MAX).min(samples.hashes.len());
        for place in samples.places(&hashes, end) {
            samples.ends[place].worsen(is_tellable);
        }
        hashes.len()
    }

    /// Notes that the medium destroyed a sample that was in no batch.
    pub(crate) fn destroyed_sample(
        &mut self,
        epoch: BootEpoch,
        source: SourceNumber,
        ordinal: u32,
        is_tellable: bool,
    ) {
        let samples = self.samples.get_mut(&(epoch.0, source.0));
        let place = usize::try_from(ordinal).ok().and_then(|ordinal| ordinal.checked_sub(1));
        if let Some(end) = samples.zip(place).and_then(|(s, p)| s.ends.get_mut(p)) {
            end.worsen(is_tellable);
        }
    }

    /// Notes that the medium destroyed records of earlier losses.
    pub(crate) fn destroyed_notes(&mut self) {
        let ends = self.samples.values_mut().flat_map(|samples| &mut samples.ends);
        ends.filter(|end| **end == End::Destroyed).for_each(|end| end.worsen(false));
    }

    /// Notes that the samples from `first` to `last` are in a batch, whether or not it could be
    /// stored.
    pub(crate) fn batched(&mut self, id: BatchId, source: SourceNumber, (first, last): (u32, u32)) {
        let batches = self.batches.entry((id.epoch.0, source.0)).or_default();
        let batched = Batched { first, last, sequence: id.sequence };
        // On a full disk the same batch is tried again and again.
        if batches.last() != Some(&batched) {
            batches.push(batched);
        }
    }

    /// Notes that the server has acknowledged the report of these dropped batches.
    pub(crate) fn dropped(&mut self, gap: Dropped) {
        let key = (gap.first.epoch.0, gap.first.sequence.0);
        let known = self.gaps.entry(key).or_insert(gap);
        if gap.samples > known.samples {
            *known = gap;
        }
    }

    /// Notes that the device got the acknowledgement of these batches and freed them.
    pub(crate) fn acknowledged(&mut self, first: BatchId, last: BatchId) {
        let ranges = self.acknowledged.entry(first.epoch.0).or_default();
        let mut merged = (first.sequence.0, last.sequence.0);
        ranges.retain(|(from, to)| {
            let touches = merged.0 <= to.saturating_add(1) && *from <= merged.1.saturating_add(1);
            if touches {
                merged = (merged.0.min(*from), merged.1.max(*to));
            }
            !touches
        });
        ranges.push(merged);
    }

    /// Returns the acknowledged batches that are neither in `stored` nor in a reported gap;
    /// `stored` ascends. `given` has the last sequence that each epoch ever used.
    pub(crate) fn unkept(&self, stored: &[BatchId], given: &BTreeMap<u32, u32>) -> Vec<BatchId> {
        let mut missing = Vec::new();
        for (epoch, ranges) in &self.acknowledged {
            let existing = given.get(epoch).copied().unwrap_or(0);
            for (first, last) in ranges {
                for sequence in *first..=(*last).min(existing) {
                    let id = BatchId { epoch: BootEpoch(*epoch), sequence: Sequence(sequence) };
                    if stored.binary_search(&id).is_err() && !self.is_in_gap(id) {
                        missing.push(id);
                    }
                }
            }
        }
        missing
    }

    fn is_in_gap(&self, id: BatchId) -> bool {
        let mut gaps = self.gaps.range((id.epoch.0, 0)..=(id.epoch.0, id.sequence.0));
        gaps.any(|(_, gap)| gap.last.epoch == id.epoch && id.sequence <= gap.last.sequence)
    }

    /// Compares one stored block with what was sampled, and passes on the words and marks of its
    /// rows, and the plant's counter at that time.
    pub(crate) fn audit(
        &mut self,
        source: SourceNumber,
        block: &Block,
        server: &[ClockError],
        state: &mut CodecMemory,
        verdict: &mut SampleAudit,
        mut row: impl FnMut(&[u16], &[Mark], u32),
    ) -> Result<(), &'static str> {
        let mut decoder =
            Decoder::new(&block.bytes, state).map_err(|_| "block cannot be decoded")?;
        let is_unix = decoder.base() == TimeBase::Unix;
        let columns = decoder.columns();
        let (mut words, mut marks) = ([0; COLUMNS_MAX], [Mark::Read; COLUMNS_MAX]);
        let epoch = block.id.epoch.0;
        let birth = self.births.get(&epoch).copied();
        let mut samples = self.samples.get_mut(&(epoch, source.0));
        if let Some(samples) = samples.as_deref_mut() {
            samples.index();
        }
        let mut next = None;
        let mut rows = 0u16;
        loop {
            let (words, marks) = (&mut words[..columns], &mut marks[..columns]);
            let time = decoder.next_row(words, marks).map_err(|_| "block is damaged")?;
            let Some(t_ms) = time else { break };
            rows += 1;
            verdict.stored += 1;
            let (hash, content) = Row { epoch, source, is_unix, t_ms, words, marks }.hashes();
            let Some(samples) = samples.as_deref_mut() else {
                verdict.invented += 1;
                continue;
            };
            // Rows of a batch are usually neighbours, so the next place is tried first.
            let place = samples.find(hash, next);
            let plant_wh = place.and_then(|place| samples.plant_wh.get(place));
            row(words, marks, plant_wh.copied().unwrap_or(0));
            let believed = place.and_then(|place| samples.believed.get(&place)).copied();
            match place {
                Some(place) if samples.is_stored[place] => verdict.doubled += 1,
                Some(place) => {
                    samples.is_stored[place] = true;
                    next = Some(place + 1);
                }
                None if samples.contents.contains(&content) => verdict.restamped += 1,
                None => verdict.invented += 1,
            }
            if !is_unix {
                let placed = block.time_offset_ms.saturating_add(t_ms);
                let taken = birth.map(|birth| birth.true_time(t_ms).0);
                let truth = believed.or(taken).unwrap_or(placed);
                let (is_confirmed, is_right) = self.places.get(&epoch).copied().unwrap_or_default();
                let is_sure = match block.time_quality {
                    TimeQuality::Anchored => true,
                    // A server whose clock was wrong may have shifted it.
                    TimeQuality::Estimated => is_right && !self.is_misled,
                    TimeQuality::Device | TimeQuality::Suspect => false,
                };
                let is_demoted = is_confirmed && block.time_quality == TimeQuality::Estimated;
                if is_demoted || (is_sure && !is_well_placed(placed, truth, server)) {
                    verdict.misplaced += 1;
                    self.misplaced.get_or_insert((block.id, placed - truth));
                }
            }
        }
        if rows != block.rows {
            return Err("number of rows in the block differs from the recorded one");
        }
        Ok(())
    }

    /// Completes the verdict once every block has been audited. `may_drop` if the device's spool
    /// was ever full.
    pub(crate) fn finish(&mut self, may_drop: bool, verdict: &mut SampleAudit) {
        let (mut lost, mut untold, mut needless) = (None, None, None);
        // The gap of an epoch's destroyed end may be reported under the next epoch, so surplus and
        // shortage are added up over all epochs.
        let (mut spare, mut short) = (0, 0);
        for (epoch, sources) in by_epoch(&self.samples) {
            let reported: u64 = (self.gaps.range((epoch, 0)..=(epoch, u32::MAX)))
                .map(|(_, gap)| u64::from(gap.samples))
                .sum();
            let (mut excused, mut unknown, mut destroyed) = (0, 0, 0);
            let missing = |first| Missing { epoch: BootEpoch(epoch), first };
            for (source, samples) in sources {
                verdict.taken += u64::try_from(samples.hashes.len()).unwrap_or(0);
                let batches = self.batches.get(&(epoch, source)).map_or(&[][..], Vec::as_slice);
                let stored = samples.is_durable.iter().zip(&samples.is_stored);
                let all = stored.zip(&samples.ends);
                for (ordinal, ((is_durable, is_stored), end)) in (1..).zip(all) {
                    verdict.durable += u64::from(*is_durable);
                    if *is_stored || !*is_durable {
                        continue;
                    }
                    let is_destroyed = *end != End::Spared;
                    destroyed += u64::from(*end == End::Destroyed);
                    let here = missing(Some((SourceNumber(source), ordinal)));
                    let is_reported = self.is_dropped(epoch, batches, ordinal);
                    if !may_drop && !is_destroyed && is_reported != Some(false) {
                        verdict.needless += 1;
                        needless.get_or_insert(here);
                    }
                    match is_reported {
                        Some(true) => excused += 1,
                        Some(false) | None if *end == End::Untellable => verdict.untellable += 1,
                        // It was destroyed in the journal, and the batch was cut without it.
                        Some(false) if is_destroyed => unknown += 1,
                        Some(false) => {
                            verdict.lost += 1;
                            lost.get_or_insert(here);
                        }
                        None => unknown += 1,
                    }
                }
            }
            // A power cut may hide from the simulation which samples a recovery put into which
            // batch, so those are compared by number. A gap also counts samples that were stored
            // although their acknowledgement was lost, so it may count more than is missing, never
            // less.
            let left = reported.saturating_sub(excused);
            verdict.dropped += excused + unknown.min(left);
            spare += left.saturating_sub(unknown);
            let missed = unknown.saturating_sub(left);
            if missed > destroyed {
                verdict.lost += missed - destroyed;
                lost.get_or_insert(missing(None));
            }
            if missed > 0 && destroyed > 0 {
                short += missed.min(destroyed);
                untold.get_or_insert(missing(None));
            }
            verdict.destroyed += destroyed;
        }
        verdict.untold = short.saturating_sub(spare);
        verdict.destroyed -= verdict.untold.min(verdict.destroyed);
        untold = untold.filter(|_| verdict.untold > 0);
        (self.lost, self.untold, self.needless) = (lost, untold, needless);
    }

    /// Whether a sample is in a batch that is in a gap; `None` if its batch is unknown.
    fn is_dropped(&self, epoch: u32, batches: &[Batched], ordinal: u32) -> Option<bool> {
        let mut its = batches.iter().filter(|batch| (batch.first..=batch.last).contains(&ordinal));
        let mut is_known = false;
        let is_dropped = its.any(|batch| {
            is_known = true;
            self.is_in_gap(BatchId { epoch: BootEpoch(epoch), sequence: batch.sequence })
        });
        is_known.then_some(is_dropped)
    }
}

/// Returns the epochs, each with its inverters and their samples.
fn by_epoch(
    samples: &BTreeMap<(u32, u8), Samples>,
) -> impl Iterator<Item = (u32, impl Iterator<Item = (u8, &Samples)>)> {
    let mut epochs: Vec<u32> = samples.keys().map(|(epoch, _)| *epoch).collect();
    epochs.dedup();
    epochs.into_iter().map(|epoch| {
        let sources = samples.range((epoch, 0)..=(epoch, u8::MAX));
        (epoch, sources.map(|((_, source), samples)| (*source, samples)))
    })
}

impl End {
    fn worsen(&mut self, is_tellable: bool) {
        *self = if is_tellable && *self != Self::Untellable {
            Self::Destroyed
        } else {
            Self::Untellable
        };
    }
}

/// Returns the hashes of all samples in a batch.
fn hashes(epoch: u32, source: SourceNumber, bytes: &[u8]) -> Vec<u64> {
    let mut state: Box<CodecMemory> = Box::default();
    let mut hashes = Vec::new();
    if let Ok(mut decoder) = Decoder::new(bytes, &mut state) {
        let (is_unix, columns) = (decoder.base() == TimeBase::Unix, decoder.columns());
        let (mut words, mut marks) = ([0; COLUMNS_MAX], [Mark::Read; COLUMNS_MAX]);
        let (words, marks) = (&mut words[..columns], &mut marks[..columns]);
        while let Ok(Some(t_ms)) = decoder.next_row(words, marks) {
            hashes.push(Row { epoch, source, is_unix, t_ms, words, marks }.hashes().0);
        }
    }
    hashes
}

impl Samples {
    /// Returns the places of the samples with these hashes before `end`, the last first. Both are
    /// in order.
    fn places(&self, hashes: &[u64], end: usize) -> Vec<usize> {
        let mut held = (0..end).rev();
        let place = |hash: &u64| held.find(|place| self.hashes[*place] == *hash);
        hashes.iter().rev().filter_map(place).collect()
    }

    fn index(&mut self) {
        if self.by_hash.len() == self.hashes.len() {
            return;
        }
        self.by_hash = (0..).zip(&self.hashes).map(|(place, hash)| (*hash, place)).collect();
        self.by_hash.sort_unstable();
    }

    /// Returns the place of the sample with this hash; `likely` is tried first.
    fn find(&self, hash: u64, likely: Option<usize>) -> Option<usize> {
        if let Some(place) = likely
            && self.hashes.get(place) == Some(&hash)
        {
            return Some(place);
        }
        let first = self.by_hash.partition_point(|(held, _)| *held < hash);
        let same = self.by_hash[first..].iter().take_while(|(held, _)| *held == hash);
        let places: Vec<usize> =
            same.filter_map(|(_, place)| usize::try_from(*place).ok()).collect();
        // Among equal samples: one that is not stored yet, if possible one that was not destroyed.
        let free = || places.iter().filter(|place| !self.is_stored[**place]);
        let spared = free().find(|place| self.ends[**place] == End::Spared);
        spared.or(free().next()).or(places.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_codec::{encode, encoded_len_max};
    use ecowatt_model::{KeyGeneration, StreamNumber};
    use ecowatt_store::StreamId;

    use super::*;

    const EPOCH: BootEpoch = BootEpoch(1);
    const SOURCE: SourceNumber = SourceNumber(0);

    /// A sample's time and its only word.
    type Sample = (i64, u16);

    fn take(truth: &mut Truth, (t_ms, word): Sample) {
        let (words, marks) = (&[word], &[Mark::Read]);
        let row = Row { epoch: EPOCH.0, source: SOURCE, is_unix: true, t_ms, words, marks };
        truth.taken(&row, 0, None);
    }

    fn batch(sequence: u32, samples: &[Sample], last_ordinal: u32) -> Batch {
        let times: Vec<i64> = samples.iter().map(|(time, _)| *time).collect();
        let words: Vec<u16> = samples.iter().map(|(_, word)| *word).collect();
        let batch = ecowatt_codec::Batch {
            base: TimeBase::Unix,
            columns: 1,
            times: &times,
            words: &words,
            marks: None,
        };
        let mut bytes = vec![0; encoded_len_max(samples.len(), 1)];
        let mut state: Box<CodecMemory> = Box::default();
        let len = encode(&batch, &mut state, &mut bytes).unwrap();
        bytes.truncate(len);
        Batch {
            id: BatchId { epoch: EPOCH, sequence: Sequence(sequence) },
            source: SOURCE,
            stream: StreamNumber(1),
            rows: u16::try_from(samples.len()).unwrap(),
            last_ordinal,
            bytes,
        }
    }

    #[test]
    fn batch_with_a_hole_makes_none_durable_that_is_in_the_hole() {
        let mut truth = Truth::default();
        let sample = |ordinal: u32| (i64::from(ordinal) * 5_000, u16::try_from(ordinal).unwrap());
        (1..=9).for_each(|ordinal| take(&mut truth, sample(ordinal)));
        let ordinals = [2, 3, 7, 8];
        truth.persisted(&batch(1, &ordinals.map(sample), 8));
        let durable = truth.samples[&(EPOCH.0, SOURCE.0)].is_durable.clone();
        let expected = (1..=9).map(|ordinal| ordinals.contains(&ordinal));
        assert_eq!(durable, expected.collect::<Vec<bool>>());
    }

    #[test]
    fn of_two_samples_that_are_alike_the_destroyed_one_is_missing() {
        // A clock that is stepped back shows the same instant twice.
        for destroyed in [1, 2] {
            let mut truth = Truth::default();
            let batches = [1, 2].map(|number| batch(number, &[(60_000, 7)], number));
            batches.iter().for_each(|_| take(&mut truth, (60_000, 7)));
            for (number, batch) in (1..).zip(&batches) {
                truth.batched(batch.id, SOURCE, (number, number));
                truth.persisted(batch);
                if number == destroyed {
                    truth.destroyed_batch(batch.id, (SOURCE, number), &batch.bytes, true);
                }
            }
            let (lost, left) = match destroyed {
                1 => (&batches[0], &batches[1]),
                _ => (&batches[1], &batches[0]),
            };
            let (first, last) = (lost.id, lost.id);
            truth.dropped(Dropped { first, last, batches: 1, samples: 1 });
            let block = Block {
                id: left.id,
                stream: StreamId::new(KeyGeneration(1), StreamNumber(1)),
                rows: 1,
                first: UnixMs(60_000),
                last: UnixMs(60_000),
                time_offset_ms: 0,
                time_quality: TimeQuality::Device,
                bytes: left.bytes.clone(),
            };
            let (mut verdict, mut state) = (SampleAudit::default(), Box::default());
            truth.audit(SOURCE, &block, &[], &mut state, &mut verdict, |_, _, _| ()).unwrap();
            truth.finish(false, &mut verdict);
            assert!(verdict.is_clean(), "{verdict:?}");
            assert_eq!((verdict.destroyed, verdict.dropped), (1, 1));
        }
    }
}
