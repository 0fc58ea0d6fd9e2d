//! What one device sampled, and whether the store holds exactly that.
//!
//! Every sample leaves a hash of its time, words and marks. At the end each stored row must be one of
//! them, once; each sample that was durable must be stored, unless the server was told that its batch
//! was dropped because the spool was full.

use std::collections::BTreeMap;

use ecowatt_agent::storage::{Batch, Dropped};
use ecowatt_codec::{Decoder, State, TimeBase};
use ecowatt_model::{BatchId, BootEpoch, COLUMNS_MAX, Mark, Sequence, SourceNumber, UnixMs};
use ecowatt_store::{Block, TimeQuality};

use crate::trace::Digest;

/// The simulation's view of when an epoch of a device began and how fast its clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) boot: UnixMs,
    pub(crate) drift_ppm: i64,
}

impl Birth {
    /// True time of a monotonic instant of the epoch.
    pub(crate) fn true_time(&self, mono_ms: i64) -> UnixMs {
        let elapsed = i128::from(mono_ms) * 1_000_000 / i128::from(1_000_000 + self.drift_ppm);
        UnixMs(self.boot.0 + i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

/// All samples of one inverter in one epoch, by ordinal.
#[derive(Debug, Default)]
struct Samples {
    hashes: Vec<u64>,
    /// Of words and marks without the time, to tell a re-stamped row from an invented one.
    contents: Vec<u32>,
    /// What the plant's lifetime counter was, in watt-hours.
    plant_wh: Vec<u32>,
    is_durable: Vec<bool>,
    is_stored: Vec<bool>,
    /// Ordinals by hash, made when the epoch is first audited.
    by_hash: Vec<(u64, u32)>,
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
    /// What went into batches, by epoch and inverter. One sequence may be tried twice with other
    /// contents.
    batches: BTreeMap<(u32, u8), Vec<Batched>>,
    /// By epoch, what was durable with its last durable sample: whether the server had confirmed where
    /// the epoch began, and whether the clock that said so was right.
    places: BTreeMap<u32, (bool, bool)>,
    /// Whether a server whose clock was wrong ever told the time.
    is_misled: bool,
    /// What the server was told of dropped batches, by epoch and first sequence.
    gaps: BTreeMap<(u32, u32), Dropped>,
    acknowledged: BTreeMap<u32, Vec<(u32, u32)>>,
    /// The first batch that was found at another time, and how many milliseconds after its own.
    pub(crate) misplaced: Option<(BatchId, i64)>,
    /// The first epoch from which samples are missing, with the first of them if that is known.
    pub(crate) lost: Option<(BootEpoch, Option<(SourceNumber, u32)>)>,
}

/// What the store has of a device, compared with what was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Verdict {
    /// Samples that the device took.
    pub taken: u64,
    /// Of them, those that it had made durable.
    pub durable: u64,
    /// Rows in the store.
    pub stored: u64,
    /// Durable samples that the store has not, although no gap was reported for them.
    pub lost: u64,
    /// Durable samples in reported gaps.
    pub dropped: u64,
    /// Rows stored more than once.
    pub doubled: u64,
    /// Rows with the words of a sample and another time.
    pub restamped: u64,
    /// Rows that were never sampled.
    pub invented: u64,
    /// Rows whose epoch was placed in time by the server further off than it may be.
    pub misplaced: u64,
    /// Batches that were acknowledged and are not stored.
    pub unkept: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let wrong =
            [self.lost, self.doubled, self.restamped, self.invented, self.misplaced, self.unkept];
        wrong.iter().all(|count| *count == 0)
    }

    /// Takes another device's in.
    pub fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.durable += other.durable;
        self.stored += other.stored;
        self.lost += other.lost;
        self.dropped += other.dropped;
        self.doubled += other.doubled;
        self.restamped += other.restamped;
        self.invented += other.invented;
        self.misplaced += other.misplaced;
        self.unkept += other.unkept;
    }
}

/// A sample as device or store holds it.
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

/// How far off samples may be placed that were taken before the server was heard: by half of the
/// longest exchange twice over, by the deviation that a clock is permitted, and by the drift of a
/// crystal over the longest time without a server.
pub(crate) const ANCHOR_ERROR_MAX_MS: i64 = 45_000;

/// The server's own clock was off for a while, and what it placed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockError {
    pub(crate) until: UnixMs,
    pub(crate) by_ms: i64,
}

/// Whether a sample of this instant was put there in good faith.
fn is_well_placed(placed: i64, truth: i64, server: &[ClockError]) -> bool {
    let is_near = |by_ms: i64| placed.abs_diff(truth + by_ms) <= ANCHOR_ERROR_MAX_MS.unsigned_abs();
    // What is placed was sampled before.
    is_near(0) || server.iter().any(|error| error.until.0 >= truth && is_near(error.by_ms))
}

impl Truth {
    pub(crate) fn born(&mut self, epoch: u32, birth: Birth) {
        self.births.insert(epoch, birth);
    }

    /// Where an epoch began is durable, with a sample of it.
    pub(crate) fn placed(&mut self, epoch: u32, is_confirmed: bool, is_right: bool) {
        let place = self.places.entry(epoch).or_default();
        *place = (place.0 || is_confirmed, is_right);
    }

    /// A server whose clock is wrong told the time.
    pub(crate) fn misled(&mut self) {
        self.is_misled = true;
    }

    /// A sample was taken when the plant's counter was at `plant_wh`; samples of an inverter come in
    /// the order of their ordinals. Gives the ordinal that it should have.
    pub(crate) fn taken(&mut self, row: &Row<'_>, plant_wh: u32) -> u32 {
        let samples = self.samples.entry((row.epoch, row.source.0)).or_default();
        let (hash, content) = row.hashes();
        samples.hashes.push(hash);
        samples.contents.push(content);
        samples.plant_wh.push(plant_wh);
        samples.is_durable.push(false);
        samples.is_stored.push(false);
        u32::try_from(samples.hashes.len()).unwrap_or(u32::MAX)
    }

    /// A sample is durable.
    pub(crate) fn durable(&mut self, epoch: u32, source: SourceNumber, ordinal: u32) {
        let samples = self.samples.get_mut(&(epoch, source.0));
        let place = usize::try_from(ordinal).ok().and_then(|ordinal| ordinal.checked_sub(1));
        if let Some(is_durable) = samples.zip(place).and_then(|(s, p)| s.is_durable.get_mut(p)) {
            *is_durable = true;
        }
    }

    /// A batch is durable, and so are its samples: most often those up to its last one, without a gap.
    /// Of samples that left memory before they were in a batch, it has those that were durable.
    pub(crate) fn persisted(&mut self, batch: &Batch) {
        let (epoch, source) = (batch.id.epoch.0, batch.source);
        let Some(samples) = self.samples.get_mut(&(epoch, source.0)) else { return };
        let last = usize::try_from(batch.last_ordinal).unwrap_or(usize::MAX);
        let first = last.saturating_sub(usize::from(batch.rows));
        if samples.is_durable.get(first..last).is_none_or(|all| all.iter().all(|it| *it)) {
            return;
        }
        let mut state: Box<State> = Box::default();
        let mut hashes = Vec::with_capacity(usize::from(batch.rows));
        if let Ok(mut decoder) = Decoder::new(&batch.bytes, &mut state) {
            let (is_unix, columns) = (decoder.base() == TimeBase::Unix, decoder.columns());
            let (mut words, mut marks) = ([0; COLUMNS_MAX], [Mark::Read; COLUMNS_MAX]);
            let (words, marks) = (&mut words[..columns], &mut marks[..columns]);
            while let Ok(Some(t_ms)) = decoder.next_row(words, marks) {
                hashes.push(Row { epoch, source, is_unix, t_ms, words, marks }.hashes().0);
            }
        }
        let mut held = samples.hashes[..last].iter().zip(&mut samples.is_durable).rev();
        for hash in hashes.iter().rev() {
            if let Some((_, is_durable)) = held.find(|(held, _)| *held == hash) {
                *is_durable = true;
            }
        }
    }

    /// Samples from `first` to `last` went into a batch, whether or not it could be kept.
    pub(crate) fn batched(&mut self, id: BatchId, source: SourceNumber, (first, last): (u32, u32)) {
        let batches = self.batches.entry((id.epoch.0, source.0)).or_default();
        let batched = Batched { first, last, sequence: id.sequence };
        // A disk that is full is tried with the same batch again and again.
        if batches.last() != Some(&batched) {
            batches.push(batched);
        }
    }

    /// The server was told that these batches are gone, and said that it knows.
    pub(crate) fn dropped(&mut self, gap: Dropped) {
        let key = (gap.first.epoch.0, gap.first.sequence.0);
        let known = self.gaps.entry(key).or_insert(gap);
        if gap.samples > known.samples {
            *known = gap;
        }
    }

    /// The device was told that these are stored, and has forgotten them.
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

    /// Acknowledged batches that are neither in `stored` nor in a reported gap; `stored` ascends.
    /// `given` says up to which sequence batches of an epoch ever existed.
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

    /// Compares one stored block with what was sampled, and hands on the words and marks of its rows,
    /// and what the plant's counter was then.
    pub(crate) fn audit(
        &mut self,
        source: SourceNumber,
        block: &Block,
        server: &[ClockError],
        state: &mut State,
        verdict: &mut Verdict,
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
            let time = decoder.next_row(words, marks).map_err(|_| "block breaks off")?;
            let Some(t_ms) = time else { break };
            rows += 1;
            verdict.stored += 1;
            let (hash, content) = Row { epoch, source, is_unix, t_ms, words, marks }.hashes();
            let Some(samples) = samples.as_deref_mut() else {
                verdict.invented += 1;
                continue;
            };
            let place = samples.find(hash, next);
            let plant_wh = place.and_then(|place| samples.plant_wh.get(place));
            row(words, marks, plant_wh.copied().unwrap_or(0));
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
                let truth = birth.map_or(placed, |birth| birth.true_time(t_ms).0);
                let (is_confirmed, is_right) = self.places.get(&epoch).copied().unwrap_or_default();
                let is_sure = match block.time_quality {
                    TimeQuality::Anchored => true,
                    // A server whose clock was wrong may have moved it.
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
            return Err("block holds another number of rows than it says");
        }
        Ok(())
    }

    /// What remains to be said once every block has been audited.
    pub(crate) fn finish(&mut self, verdict: &mut Verdict) {
        let mut lost = None;
        for (epoch, sources) in by_epoch(&self.samples) {
            let told: u64 = (self.gaps.range((epoch, 0)..=(epoch, u32::MAX)))
                .map(|(_, gap)| u64::from(gap.samples))
                .sum();
            let (mut excused, mut unknown) = (0, 0);
            for (source, samples) in sources {
                verdict.taken += u64::try_from(samples.hashes.len()).unwrap_or(0);
                let batches = self.batches.get(&(epoch, source)).map_or(&[][..], Vec::as_slice);
                let stored = samples.is_durable.iter().zip(&samples.is_stored);
                for (ordinal, (is_durable, is_stored)) in (1..).zip(stored) {
                    verdict.durable += u64::from(*is_durable);
                    if *is_stored || !*is_durable {
                        continue;
                    }
                    match self.is_dropped(epoch, batches, ordinal) {
                        Some(true) => excused += 1,
                        Some(false) => {
                            verdict.lost += 1;
                            let first = Some((SourceNumber(source), ordinal));
                            lost.get_or_insert((BootEpoch(epoch), first));
                        }
                        None => unknown += 1,
                    }
                }
            }
            // The power may go before anybody hears which samples a recovery put into which batch.
            // A gap counts those that were stored and acknowledged in vain too, so it may count more
            // than is missing, never less.
            let left = told.saturating_sub(excused);
            verdict.dropped += excused + unknown.min(left);
            if unknown > left {
                verdict.lost += unknown - left;
                lost.get_or_insert((BootEpoch(epoch), None));
            }
        }
        self.lost = lost;
    }

    /// Whether a sample is in a batch that is in a gap; none if nobody knows its batch.
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

/// Epochs, each with its inverters and their samples.
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

impl Samples {
    fn index(&mut self) {
        if self.by_hash.len() == self.hashes.len() {
            return;
        }
        self.by_hash = (0..).zip(&self.hashes).map(|(place, hash)| (*hash, place)).collect();
        self.by_hash.sort_unstable();
    }

    /// The sample with this hash; `likely` is looked at first.
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
        // Of samples that are alike, one that is not stored yet.
        let free = places.iter().find(|place| !self.is_stored[**place]);
        free.or(places.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_codec::{encode, encoded_len_max};
    use ecowatt_model::StreamNumber;

    use super::*;

    const EPOCH: BootEpoch = BootEpoch(1);
    const SOURCE: SourceNumber = SourceNumber(0);

    #[test]
    fn batch_with_a_hole_makes_none_durable_that_is_in_the_hole() {
        let mut truth = Truth::default();
        let time = |ordinal: u32| i64::from(ordinal) * 5_000;
        let word = |ordinal: u32| u16::try_from(ordinal).unwrap();
        for ordinal in 1..=9 {
            truth.taken(
                &Row {
                    epoch: EPOCH.0,
                    source: SOURCE,
                    is_unix: true,
                    t_ms: time(ordinal),
                    words: &[word(ordinal)],
                    marks: &[Mark::Read],
                },
                0,
            );
        }
        let ordinals = [2, 3, 7, 8];
        let batch = ecowatt_codec::Batch {
            base: TimeBase::Unix,
            columns: 1,
            times: &ordinals.map(time),
            words: &ordinals.map(word),
            marks: None,
        };
        let mut bytes = vec![0; encoded_len_max(ordinals.len(), 1)];
        let mut state: Box<State> = Box::default();
        let len = encode(&batch, &mut state, &mut bytes).unwrap();
        bytes.truncate(len);
        truth.persisted(&Batch {
            id: BatchId { epoch: EPOCH, sequence: Sequence(1) },
            source: SOURCE,
            stream: StreamNumber(1),
            rows: 4,
            last_ordinal: 8,
            bytes,
        });
        let durable = truth.samples[&(EPOCH.0, SOURCE.0)].is_durable.clone();
        let expected = (1..=9).map(|ordinal| ordinals.contains(&ordinal));
        assert_eq!(durable, expected.collect::<Vec<bool>>());
    }
}
