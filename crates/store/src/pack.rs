//! Encodes batches of a past stretch of time together.
//!
//! Each batch from a device carries what its codec needs to begin, and each database row what is
//! needed to find it; seven samples cost three times what they cost among a thousand. A pack holds
//! the batches of an inverter's UTC day in sections of as many rows as the codec allows. Nothing is
//! lost: a batch is packed only if unpacking restores it byte for byte as the device sent it.
//!
//! Pure. Bytes of a pack: format, then sections. A section is the stream, offset and quality of its
//! times, its first and last sample, the ids of its batches in runs, and the length and bytes of
//! its samples as the codec encodes them.

use ecowatt_codec::{
    Batch, COLUMNS_MAX, CodecMemory, Decoder, ROWS_MAX, TimeBase, encode, encoded_len_max,
};
use ecowatt_model::{BatchId, BootEpoch, Mark, Sequence, UnixMs};

use crate::ids::StreamId;
use crate::telemetry::{BatchRows, Block, Stretch};
use crate::upload::TimeQuality;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u32, take_u64};

/// First byte of a pack.
const FORMAT: u8 = 1;

/// Fewest batches of a pack; packing a single one saves nothing.
const BATCHES_MIN: usize = 2;

/// Position of a block among those of its inverter: its first sample, and its id.
pub(crate) type Place = (UnixMs, BatchId);

/// Batches of one inverter, stored together instead of each alone.
#[derive(Debug)]
pub struct Pack {
    pub(crate) places: Vec<Place>,
    pub(crate) last: UnixMs,
    pub(crate) rows: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Pack {
    /// Packs blocks that ascend by first sample and id, leaving out those that unpacking would not
    /// restore exactly; `None` if too few are left.
    #[must_use]
    pub fn new(blocks: &[Block]) -> Option<Self> {
        let mut state = Box::new(CodecMemory::new());
        let mut pack =
            Self { places: Vec::new(), last: UnixMs(i64::MIN), rows: 0, bytes: vec![FORMAT] };
        let mut section: Option<Section> = None;
        for block in blocks {
            let Some(rows) = Rows::of(block, &mut state) else { continue };
            match &mut section {
                Some(held) if held.has_room_for(block, &rows) => held.add(block, rows),
                _ => {
                    let begun = Section { blocks: vec![block], rows };
                    pack.close(section.replace(begun), &mut state);
                }
            }
        }
        pack.close(section, &mut state);
        (pack.places.len() >= BATCHES_MIN).then_some(pack)
    }

    /// Number of batches in the pack.
    #[must_use]
    pub fn batches(&self) -> u64 {
        u64::try_from(self.places.len()).unwrap_or(u64::MAX)
    }

    fn close(&mut self, section: Option<Section<'_>>, state: &mut CodecMemory) {
        let Some(Section { blocks, rows }) = section else { return };
        let Some(bytes) = rows.encode(0..rows.times.len(), state) else { return };
        if Rows::decode(&bytes, state).as_ref() != Some(&rows) {
            return;
        }
        let Block { stream, time_offset_ms, time_quality, first, .. } = *blocks[0];
        let last = blocks.iter().fold(first, |last, block| last.max(block.last));
        let out = &mut self.bytes;
        put_u64(out, u64::from(stream.code()));
        put_i64(out, time_offset_ms);
        out.push(time_quality.code());
        put_i64(out, first.0);
        put_i64(out, last.0.wrapping_sub(first.0));
        put_names(out, &blocks);
        put_u64(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        out.extend_from_slice(&bytes);
        self.places.extend(blocks.iter().map(|block| (block.first, block.id)));
        self.last = self.last.max(last);
        self.rows += blocks.iter().map(|block| u32::from(block.rows)).sum::<u32>();
    }
}

/// Blocks that are encoded together: same stream and same clock.
struct Section<'a> {
    blocks: Vec<&'a Block>,
    rows: Rows,
}

impl<'a> Section<'a> {
    fn has_room_for(&self, block: &Block, rows: &Rows) -> bool {
        let like = |block: &Block| (block.stream, block.time_offset_ms, block.time_quality);
        like(self.blocks[0]) == like(block)
            && (self.rows.base, self.rows.columns) == (rows.base, rows.columns)
            && self.rows.times.len() + rows.times.len() <= ROWS_MAX
    }

    fn add(&mut self, block: &'a Block, rows: Rows) {
        self.blocks.push(block);
        self.rows.times.extend(rows.times);
        self.rows.words.extend(rows.words);
        self.rows.marks.extend(rows.marks);
    }
}

/// Writes ids as runs: those of one inverter ascend in equal steps, with equally many rows per
/// block.
fn put_names(out: &mut Vec<u8>, blocks: &[&Block]) {
    let mut runs: Vec<(BatchId, i64, u16, u64)> = Vec::new();
    for block in blocks {
        let sequence = i64::from(block.id.sequence.0);
        if let Some((first, step, rows, count)) = runs.last_mut() {
            let gone = sequence - i64::from(first.sequence.0);
            let next = if *count == 1 { gone } else { *step };
            let is_next = i64::try_from(*count).is_ok_and(|count| gone == next * count);
            if (first.epoch, *rows) == (block.id.epoch, block.rows) && is_next {
                (*step, *count) = (next, *count + 1);
                continue;
            }
        }
        runs.push((block.id, 0, block.rows, 1));
    }
    put_u64(out, u64::try_from(runs.len()).unwrap_or(u64::MAX));
    for (first, step, rows, count) in runs {
        put_u64(out, u64::from(first.epoch.0));
        put_u64(out, u64::from(first.sequence.0));
        put_i64(out, step);
        put_u64(out, u64::from(rows));
        put_u64(out, count);
    }
}

fn take_names(bytes: &mut &[u8]) -> Option<Vec<BatchRows>> {
    let mut names = Vec::new();
    for _ in 0..take_u64(bytes)? {
        let epoch = BootEpoch(take_u32(bytes)?);
        let (first, step) = (i64::from(take_u32(bytes)?), take_i64(bytes)?);
        let (rows, count) = (u16::try_from(take_u64(bytes)?).ok()?, take_u64(bytes)?);
        for at in 0..i64::try_from(count).ok()? {
            let sequence = first.checked_add(step.checked_mul(at)?)?;
            let sequence = Sequence(u32::try_from(sequence).ok()?);
            names.push(BatchRows { id: BatchId { epoch, sequence }, rows });
            if names.len() > ROWS_MAX {
                return None;
            }
        }
    }
    (!names.is_empty()).then_some(names)
}

/// Returns the sections of a pack, in the order of their first blocks.
pub(crate) fn stretches(bytes: &[u8]) -> Option<Vec<Stretch>> {
    let mut bytes = bytes;
    if take_u8(&mut bytes)? != FORMAT {
        return None;
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let stream = StreamId::from_code(take_u32(&mut bytes)?);
        let time_offset_ms = take_i64(&mut bytes)?;
        let time_quality = TimeQuality::from_code(take_u8(&mut bytes)?)?;
        let first = UnixMs(take_i64(&mut bytes)?);
        let last = UnixMs(first.0.wrapping_add(take_i64(&mut bytes)?));
        let batches = take_names(&mut bytes)?;
        let length = usize::try_from(take_u64(&mut bytes)?).ok()?;
        let (own, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let bytes = own.to_vec();
        found.push(Stretch { batches, stream, first, last, time_offset_ms, time_quality, bytes });
    }
    Some(found)
}

/// Returns the batches of a stretch, each as its device sent it.
pub(crate) fn blocks(stretch: &Stretch, state: &mut CodecMemory) -> Option<Vec<Block>> {
    let Stretch { batches, stream, time_offset_ms, time_quality, bytes, .. } = stretch;
    let all = Rows::decode(bytes, state)?;
    let mut found = Vec::with_capacity(batches.len());
    let mut from = 0;
    for BatchRows { id, rows } in batches {
        let range = from..from + usize::from(*rows);
        from = range.end;
        let (first, last) = all.bounds(range.clone(), *time_offset_ms)?;
        found.push(Block {
            id: *id,
            stream: *stream,
            rows: *rows,
            first,
            last,
            time_offset_ms: *time_offset_ms,
            time_quality: *time_quality,
            bytes: all.encode(range, state)?,
        });
    }
    (from == all.times.len()).then_some(found)
}

/// The contents of encoded samples.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rows {
    base: TimeBase,
    columns: usize,
    times: Vec<i64>,
    words: Vec<u16>,
    marks: Vec<Mark>,
}

impl Rows {
    /// Decodes a block; `None` if the result does not encode to the same bytes.
    fn of(block: &Block, state: &mut CodecMemory) -> Option<Self> {
        let rows = Self::decode(&block.bytes, state)?;
        let all = 0..rows.times.len();
        let is_same = all.len() == usize::from(block.rows)
            && rows.bounds(all.clone(), block.time_offset_ms) == Some((block.first, block.last))
            && rows.encode(all, state).as_ref() == Some(&block.bytes);
        is_same.then_some(rows)
    }

    fn decode(bytes: &[u8], state: &mut CodecMemory) -> Option<Self> {
        let mut decoder = Decoder::new(bytes, state).ok()?;
        let (columns, count) = (decoder.columns(), decoder.rows());
        let mut rows = Self {
            base: decoder.base(),
            columns,
            times: Vec::with_capacity(count),
            words: Vec::with_capacity(count * columns),
            marks: Vec::with_capacity(count * columns),
        };
        let (mut words, mut marks) = ([0; COLUMNS_MAX], [Mark::Read; COLUMNS_MAX]);
        let (words, marks) = (words.get_mut(..columns)?, marks.get_mut(..columns)?);
        while let Some(time) = decoder.next_row(words, marks).ok()? {
            rows.times.push(time);
            rows.words.extend_from_slice(words);
            rows.marks.extend_from_slice(marks);
        }
        Some(rows)
    }

    fn encode(&self, range: std::ops::Range<usize>, state: &mut CodecMemory) -> Option<Vec<u8>> {
        let cells = range.start * self.columns..range.end * self.columns;
        let mut bytes = vec![0; encoded_len_max(range.len(), self.columns)];
        let batch = Batch {
            base: self.base,
            columns: self.columns,
            times: self.times.get(range)?,
            words: self.words.get(cells.clone())?,
            marks: Some(self.marks.get(cells)?),
        };
        let length = encode(&batch, state, &mut bytes).ok()?;
        bytes.truncate(length);
        bytes.shrink_to_fit();
        Some(bytes)
    }

    /// First and last instant. Rows stay in the order in which they were taken, even if the clock
    /// was set back in between.
    fn bounds(&self, range: std::ops::Range<usize>, offset: i64) -> Option<(UnixMs, UnixMs)> {
        let times = self.times.get(range)?.iter().map(|time| UnixMs(time.saturating_add(offset)));
        Some((times.clone().min()?, times.max()?))
    }
}

#[cfg(test)]
mod tests;
