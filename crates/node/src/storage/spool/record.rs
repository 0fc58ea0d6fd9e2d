//! Records of a segment as bytes.
//!
//! `kind (1) | length of the body (4, little endian) | CRC-32 of the segment's number and all the
//! rest (4) | body`. A cut (kind 5, `offset (8)`) cancels the bytes between that offset and itself:
//! an append that failed or that a power cut has torn. Where a record is incomplete and no cut
//! cancels it, reading continues with the next complete one. A power cut tears only the last
//! record, so a place before another record was damaged later.

use alloc::vec::Vec;

use ecowatt_model::{BatchId, BootEpoch, Sequence, SourceNumber, StreamNumber};

use super::super::checksum::crc32;
use super::{Batch, Dropped};

/// Maximum length of a record in bytes.
pub(super) const RECORD_BYTES_MAX: usize = 512 * 1024;
const FRAME_BYTES: usize = 9;
const KINDS: core::ops::RangeInclusive<u8> = 1..=KIND_CUT;
const KIND_CUT: u8 = 5;
/// Bytes before a batch's own bytes in the body of its record.
const BATCH_HEAD_BYTES: usize = 25;

/// Length of the record of a batch of this many bytes.
pub(super) const fn batch_record_len(bytes: usize) -> usize {
    FRAME_BYTES + BATCH_HEAD_BYTES + bytes
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Head(Head),
    Batch(Batch<&'a [u8]>, Before),
    Freed(Vec<(u64, u64)>),
    Dropped(Dropped),
    /// The bytes from this offset up to this record do not count.
    Cut(u64),
}

/// State before a batch was appended. It shows what was in lost records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Before {
    /// Samples in all batches before it, since the folder was created; wraps around.
    pub(super) samples: u32,
    /// Samples of its epoch before it that are in no batch.
    pub(super) unbatched: u32,
}

/// What must outlive the segments before this one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) segment: u64,
    pub(super) last: Option<BatchId>,
    /// Samples in all batches up to the last; wraps around.
    pub(super) samples: u32,
    /// The newest epoch that lost samples before they were in a batch, and how many.
    pub(super) unbatched: (BootEpoch, u32),
    pub(super) dropped_batches: u64,
    pub(super) dropped_samples: u64,
    pub(super) covered: Vec<Covered>,
    /// An earlier segment and how many of its bytes count: the rest was not written completely.
    pub(super) cut: Option<(u64, u64)>,
    /// Gaps that the server does not know yet; the spool keeps them itself, not in its current
    /// head.
    pub(super) gaps: Vec<Dropped>,
}

/// A source's samples are in batches up to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) source: SourceNumber,
    pub(super) epoch: BootEpoch,
    pub(super) ordinal: u32,
}

impl Head {
    /// Takes an appended batch into account. Returns whether its epoch had lost more samples before
    /// it than was known.
    pub(super) fn append<B>(&mut self, batch: &Batch<B>, before: Before) -> bool {
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

    pub(super) fn cover(&mut self, source: SourceNumber, epoch: BootEpoch, ordinal: u32) {
        match self.covered.iter_mut().find(|known| known.source == source) {
            Some(known) if (known.epoch, known.ordinal) < (epoch, ordinal) => {
                *known = Covered { source, epoch, ordinal };
            }
            Some(_) => {}
            None => self.covered.push(Covered { source, epoch, ordinal }),
        }
    }

    /// Takes over a later head; its counts of losses are totals.
    pub(super) fn merge(&mut self, later: &Self) {
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

    /// Length of its record with this many gaps.
    pub(super) fn len(&self, gaps: usize) -> u64 {
        u64::try_from(head_len(self.covered.len(), gaps)).unwrap_or(u64::MAX)
    }
}

/// Length of the record of a head with this many covered sources and gaps.
pub(super) const fn head_len(covered: usize, gaps: usize) -> usize {
    FRAME_BYTES + 62 + covered * 9 + gaps * 24
}

/// The record of a batch.
pub(super) fn encode_batch<B: AsRef<[u8]>>(
    segment: u64,
    batch: &Batch<B>,
    before: Before,
) -> Vec<u8> {
    let bytes = batch.bytes.as_ref();
    let mut body = Vec::with_capacity(BATCH_HEAD_BYTES + bytes.len());
    put_id(&mut body, batch.id);
    put(&mut body, &[batch.source.0]);
    put(&mut body, &batch.stream.0.to_le_bytes());
    put(&mut body, &batch.rows.to_le_bytes());
    put(&mut body, &batch.last_ordinal.to_le_bytes());
    put(&mut body, &before.samples.to_le_bytes());
    put(&mut body, &before.unbatched.to_le_bytes());
    put(&mut body, bytes);
    frame(segment, 2, &body)
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self, number: u64) -> Vec<u8> {
        let mut body = Vec::new();
        let kind = match self {
            Self::Head(head) => {
                put(&mut body, &head.segment.to_le_bytes());
                put(&mut body, &[u8::from(head.last.is_some())]);
                put_id(
                    &mut body,
                    head.last.unwrap_or(BatchId { epoch: BootEpoch(0), sequence: Sequence(0) }),
                );
                put(&mut body, &head.samples.to_le_bytes());
                put(&mut body, &head.unbatched.0.0.to_le_bytes());
                put(&mut body, &head.unbatched.1.to_le_bytes());
                put(&mut body, &head.dropped_batches.to_le_bytes());
                put(&mut body, &head.dropped_samples.to_le_bytes());
                put(&mut body, &[u8::try_from(head.covered.len()).unwrap_or(u8::MAX)]);
                for covered in head.covered.iter().take(u8::MAX.into()) {
                    put(&mut body, &[covered.source.0]);
                    put(&mut body, &covered.epoch.0.to_le_bytes());
                    put(&mut body, &covered.ordinal.to_le_bytes());
                }
                let (segment, bytes) = head.cut.unwrap_or_default();
                put(&mut body, &segment.to_le_bytes());
                put(&mut body, &bytes.to_le_bytes());
                head.gaps.iter().for_each(|gap| put_gap(&mut body, gap));
                1
            }
            Self::Batch(batch, before) => return encode_batch(number, batch, *before),
            Self::Freed(intervals) => {
                for (first, last) in intervals {
                    put(&mut body, &first.to_le_bytes());
                    put(&mut body, &last.to_le_bytes());
                }
                3
            }
            Self::Dropped(dropped) => {
                put_gap(&mut body, dropped);
                4
            }
            Self::Cut(from) => {
                put(&mut body, &from.to_le_bytes());
                KIND_CUT
            }
        };
        frame(number, kind, &body)
    }

    fn decode(kind: u8, body: &'a [u8]) -> Option<Self> {
        let mut from = Reader(body);
        let record = match kind {
            1 => {
                let segment = u64::from_le_bytes(from.take()?);
                let [has_last] = from.take()?;
                let last = from.id()?;
                let samples = from.u32()?;
                let unbatched = (BootEpoch(from.u32()?), from.u32()?);
                let dropped_batches = u64::from_le_bytes(from.take()?);
                let dropped_samples = u64::from_le_bytes(from.take()?);
                let [sources] = from.take()?;
                let mut covered = Vec::new();
                for _ in 0..sources {
                    let [source] = from.take()?;
                    covered.push(Covered {
                        source: SourceNumber(source),
                        epoch: BootEpoch(u32::from_le_bytes(from.take()?)),
                        ordinal: u32::from_le_bytes(from.take()?),
                    });
                }
                let cut = (u64::from_le_bytes(from.take()?), u64::from_le_bytes(from.take()?));
                let mut gaps = Vec::new();
                while !from.0.is_empty() {
                    gaps.push(from.gap()?);
                }
                let last = (has_last == 1).then_some(last);
                Self::Head(Head {
                    segment,
                    last,
                    samples,
                    unbatched,
                    dropped_batches,
                    dropped_samples,
                    covered,
                    cut: (cut.0 > 0).then_some(cut),
                    gaps,
                })
            }
            2 => {
                let id = from.id()?;
                let [source] = from.take()?;
                let stream = StreamNumber(u16::from_le_bytes(from.take()?));
                let rows = u16::from_le_bytes(from.take()?);
                let last_ordinal = from.u32()?;
                let before = Before { samples: from.u32()?, unbatched: from.u32()? };
                let (source, bytes) = (SourceNumber(source), from.rest());
                Self::Batch(Batch { id, source, stream, rows, last_ordinal, bytes }, before)
            }
            3 => {
                let mut intervals = Vec::new();
                while !from.0.is_empty() {
                    intervals
                        .push((u64::from_le_bytes(from.take()?), u64::from_le_bytes(from.take()?)));
                }
                Self::Freed(intervals)
            }
            4 => Self::Dropped(from.gap()?),
            KIND_CUT => Self::Cut(u64::from_le_bytes(from.take()?)),
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }
}

/// A complete record and its place.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    /// Offset within the segment.
    pub(super) offset: u64,
    pub(super) record: Record<'a>,
    /// Whether a damaged place, which should be a record, comes before it.
    is_after_damage: bool,
}

impl Placed<'_> {
    pub(super) fn is_after_damage(&self) -> bool {
        self.is_after_damage
    }
}

/// Contents of a part of a segment.
#[derive(Debug)]
pub(super) struct Records<'a> {
    pub(super) records: Vec<Placed<'a>>,
    /// Offset of the end of the last record in the segment.
    pub(super) end: u64,
    /// Whether a place between the records is damaged.
    pub(super) is_damaged: bool,
}

/// The records that count in `bytes` of a segment, which begin with a record at offset `from`.
pub(super) fn parse(bytes: &[u8], segment: u64, from: u64) -> Records<'_> {
    let place = |at: usize| from.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
    // Cuts are searched first: a torn record may look complete together with the bytes after it.
    let cuts = cuts(bytes, segment);
    let mut records: Vec<Placed<'_>> = Vec::new();
    let (mut whole, mut is_after_damage, mut at) = (0, false, 0);
    while at < bytes.len() {
        let cut = cuts.iter().rfind(|cut| cut.from <= place(at) && at < cut.at);
        let (len, record) = match cut {
            Some(cut) => (cut.at + CUT_BYTES - at, None),
            None => match parse_one(&bytes[at..], segment) {
                Some((record, len)) => (len, Some(record)),
                None => {
                    at += 1;
                    continue;
                }
            },
        };
        is_after_damage |= at > whole;
        if let Some(record) = record {
            records.push(Placed { offset: place(at), record, is_after_damage });
            is_after_damage = false;
        }
        at += len;
        whole = at;
    }
    let is_damaged = is_after_damage || records.iter().any(|placed| placed.is_after_damage);
    Records { records, end: place(whole), is_damaged }
}

/// A record of kind 5 and its place in the bytes.
struct Cut {
    from: u64,
    at: usize,
}

const CUT_BYTES: usize = FRAME_BYTES + 8;

fn cuts(bytes: &[u8], segment: u64) -> Vec<Cut> {
    let is_like_one = |window: &[u8]| window.starts_with(&[KIND_CUT, 8, 0, 0, 0]);
    let cut = |(at, window)| match parse_one(window, segment) {
        Some((Record::Cut(from), _)) => Some(Cut { from, at }),
        _ => None,
    };
    let windows = bytes.windows(CUT_BYTES).enumerate();
    windows.filter(|(_, window)| is_like_one(window)).filter_map(cut).collect()
}

fn parse_one(bytes: &[u8], segment: u64) -> Option<(Record<'_>, usize)> {
    let mut from = Reader(bytes);
    let [kind] = from.take()?;
    if !KINDS.contains(&kind) {
        return None;
    }
    let length: [u8; 4] = from.take()?;
    let crc = u32::from_le_bytes(from.take()?);
    let len = usize::try_from(u32::from_le_bytes(length)).ok()?;
    let body = from.0.get(..len)?;
    if crc != crc32(&[&segment.to_le_bytes(), &[kind], &length, body]) {
        return None;
    }
    Some((Record::decode(kind, body)?, FRAME_BYTES + len))
}

fn frame(segment: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32(&[&segment.to_le_bytes(), &[kind], &length, body]).to_le_bytes();
    let mut bytes = Vec::with_capacity(FRAME_BYTES + body.len());
    bytes.push(kind);
    put(&mut bytes, &length);
    put(&mut bytes, &crc);
    put(&mut bytes, body);
    bytes
}

fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(bytes);
}

fn put_id(body: &mut Vec<u8>, id: BatchId) {
    put(body, &id.epoch.0.to_le_bytes());
    put(body, &id.sequence.0.to_le_bytes());
}

fn put_gap(body: &mut Vec<u8>, gap: &Dropped) {
    put_id(body, gap.first);
    put_id(body, gap.last);
    put(body, &gap.batches.to_le_bytes());
    put(body, &gap.samples.to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take()?))
    }

    fn id(&mut self) -> Option<BatchId> {
        Some(BatchId {
            epoch: BootEpoch(u32::from_le_bytes(self.take()?)),
            sequence: Sequence(u32::from_le_bytes(self.take()?)),
        })
    }

    fn gap(&mut self) -> Option<Dropped> {
        Some(Dropped {
            first: self.id()?,
            last: self.id()?,
            batches: u32::from_le_bytes(self.take()?),
            samples: u32::from_le_bytes(self.take()?),
        })
    }

    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }
}
