//! Records of a segment as bytes.
//!
//! `kind (1) | length of the body (4, little endian) | CRC-32 of all the rest (4) | body`. Reading
//! stops at the first record that is not whole; what follows a torn one is never trusted. The version
//! of the format is in the name of the file: a later one takes another name, so that software that
//! does not know it leaves it alone.

use ecowatt_model::{BatchId, BootEpoch, Sequence, SourceNumber, StreamNumber};

use super::super::checksum::crc32;
use super::{Batch, Dropped};

/// Most bytes of one record.
pub(super) const RECORD_BYTES_MAX: usize = 512 * 1024;
const FRAME_BYTES: usize = 9;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Head(Head),
    Batch(Batch<&'a [u8]>),
    Freed(Vec<(u64, u64)>),
    Dropped(Dropped),
}

/// What must outlive the segments before this one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) segment: u64,
    pub(super) last: Option<BatchId>,
    pub(super) dropped_batches: u64,
    pub(super) dropped_samples: u64,
    pub(super) covered: Vec<Covered>,
    /// Gaps that the server has not heard of; held by the spool itself, not by the head that it keeps.
    pub(super) gaps: Vec<Dropped>,
}

/// Up to which sample a source's samples are in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) source: SourceNumber,
    pub(super) epoch: BootEpoch,
    pub(super) ordinal: u32,
}

impl Head {
    /// Length of its record with so many gaps.
    pub(super) fn len(&self, gaps: usize) -> u64 {
        let len = FRAME_BYTES + 34 + self.covered.len() * 9 + gaps * 24;
        u64::try_from(len).unwrap_or(u64::MAX)
    }
}

/// A batch's record.
pub(super) fn encode_batch<B: AsRef<[u8]>>(batch: &Batch<B>) -> Vec<u8> {
    let bytes = batch.bytes.as_ref();
    let mut body = Vec::with_capacity(17 + bytes.len());
    put_id(&mut body, batch.id);
    put(&mut body, &[batch.source.0]);
    put(&mut body, &batch.stream.0.to_le_bytes());
    put(&mut body, &batch.rows.to_le_bytes());
    put(&mut body, &batch.last_ordinal.to_le_bytes());
    put(&mut body, bytes);
    frame(2, &body)
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let kind = match self {
            Self::Head(head) => {
                put(&mut body, &head.segment.to_le_bytes());
                put(&mut body, &[u8::from(head.last.is_some())]);
                put_id(
                    &mut body,
                    head.last.unwrap_or(BatchId { epoch: BootEpoch(0), sequence: Sequence(0) }),
                );
                put(&mut body, &head.dropped_batches.to_le_bytes());
                put(&mut body, &head.dropped_samples.to_le_bytes());
                put(&mut body, &[u8::try_from(head.covered.len()).unwrap_or(u8::MAX)]);
                for covered in head.covered.iter().take(u8::MAX.into()) {
                    put(&mut body, &[covered.source.0]);
                    put(&mut body, &covered.epoch.0.to_le_bytes());
                    put(&mut body, &covered.ordinal.to_le_bytes());
                }
                head.gaps.iter().for_each(|gap| put_gap(&mut body, gap));
                1
            }
            Self::Batch(batch) => return encode_batch(batch),
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
        };
        frame(kind, &body)
    }

    fn decode(kind: u8, body: &'a [u8]) -> Option<Self> {
        let mut from = Reader(body);
        let record = match kind {
            1 => {
                let segment = u64::from_le_bytes(from.take()?);
                let [has_last] = from.take()?;
                let last = from.id()?;
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
                let mut gaps = Vec::new();
                while !from.0.is_empty() {
                    gaps.push(from.gap()?);
                }
                let last = (has_last == 1).then_some(last);
                Self::Head(Head { segment, last, dropped_batches, dropped_samples, covered, gaps })
            }
            2 => {
                let id = from.id()?;
                let [source] = from.take()?;
                Self::Batch(Batch {
                    id,
                    source: SourceNumber(source),
                    stream: StreamNumber(u16::from_le_bytes(from.take()?)),
                    rows: u16::from_le_bytes(from.take()?),
                    last_ordinal: u32::from_le_bytes(from.take()?),
                    bytes: from.rest(),
                })
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
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }
}

/// The whole records at the start of `bytes`, each with its offset.
pub(super) fn parse(bytes: &[u8]) -> Records<'_> {
    Records { bytes, whole: 0 }
}

/// See [`parse`].
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    whole: usize,
}

impl Records<'_> {
    /// How many bytes the records take that were given.
    pub(super) fn whole(&self) -> usize {
        self.whole
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, Record<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.whole;
        let (record, len) = parse_one(self.bytes.get(at..)?)?;
        self.whole += len;
        Some((at, record))
    }
}

fn parse_one(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let mut from = Reader(bytes);
    let [kind] = from.take()?;
    let length: [u8; 4] = from.take()?;
    let crc = u32::from_le_bytes(from.take()?);
    let len = usize::try_from(u32::from_le_bytes(length)).ok()?;
    let body = from.0.get(..len)?;
    if crc != crc32(&[&[kind], &length, body]) {
        return None;
    }
    Some((Record::decode(kind, body)?, FRAME_BYTES + len))
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32(&[&[kind], &length, body]).to_le_bytes();
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
        std::mem::take(&mut self.0)
    }
}
