//! The journal of samples that are in no batch yet.
//!
//! One file per source and boot epoch; its name also says which format it has, and how many registers
//! a sample of it: a later format takes another name, so that software that does not know it leaves it
//! alone. A sample counts as persisted when [`Draft::append`] returned. All records of a file have one
//! length, so that what cannot be read is so many samples. Once a batch is in the spool, the journal of
//! what it covers is emptied, but for its first record, the mark, which says which batch that was: it
//! tells of a spool that has lost its end. A cut before that leaves samples whose ordinals the spool
//! already covers, and recovery passes over them. Files of earlier epochs stay until their samples are
//! in batches of that epoch.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use ecowatt_codec::TimeBase;
use ecowatt_device::Sample;
use ecowatt_model::{
    BatchId, BootEpoch, COLUMNS_MAX, Mark, SOURCES_MAX, Sequence, SourceNumber, StreamNumber,
};

use super::checksum::crc32;
use super::disk::{Disk, Fault};
use super::media::{answers_elsewhere, put_aside, read_around};
use super::spool::Witness;
use super::{grown, held};

/// Most bytes of one journal. The core's buffer of one source fits several times over, so that only
/// a spool that refuses batches for long fills it.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const PREFIX: &str = "draft-";
/// Checksum and kind of a record.
const HEAD_BYTES: usize = 4 + 1;
/// Stands at the end of each record, which was written to its end if its last byte is not zero: a cut
/// leaves zeros there, or nothing.
const END: [u8; 2] = [0xa5, 0x5a];
const RECORD_BYTES_MAX: usize = record_len(COLUMNS_MAX);

/// Length of the records of a source with so many registers; a mark is shorter and filled up.
const fn record_len(columns: usize) -> usize {
    HEAD_BYTES + 15 + 3 * columns + END.len()
}

/// Most samples of so many registers that a journal holds.
#[cfg(test)]
pub(super) fn samples_max(columns: usize) -> usize {
    usize::try_from(FILE_BYTES_MAX).unwrap() / record_len(columns)
}

const _: () = assert!(MARK_BYTES <= record_len(1) - HEAD_BYTES - END.len());

/// Ordinal, sequence, samples.
const MARK_BYTES: usize = 12;
const KIND_MARK: u8 = 1;
const KIND_SAMPLE: u8 = 2;

/// What an earlier epoch left in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub epoch: BootEpoch,
    pub source: SourceNumber,
    /// What can be read, in order.
    pub samples: Vec<Drafted>,
    /// Samples after them, or in their place if there are none, that cannot be read.
    pub lost: u32,
    pub is_damaged: bool,
}

/// One sample as recovery finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drafted {
    pub stream: StreamNumber,
    /// Position among the samples of its source in its epoch, from 1.
    pub ordinal: u32,
    pub base: TimeBase,
    pub t_ms: i64,
    pub words: Vec<u16>,
    pub marks: Vec<Mark>,
}

/// Why the journal cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    #[error("draft journal cannot be {0}")]
    Disk(&'static str, #[source] Fault),
    #[error("draft journal is full")]
    Full,
}

/// The journals on their disk.
#[derive(Debug)]
pub struct Draft<D> {
    disk: D,
    epoch: BootEpoch,
    journals: Vec<Journal>,
    /// The record that is written.
    record: Vec<u8>,
}

/// A source's journal of the present epoch.
#[derive(Debug)]
struct Journal {
    source: SourceNumber,
    columns: usize,
    name: String,
    /// Length of its whole records; 0 before there is a file.
    len: u64,
    /// Whether the file's name is durable.
    is_named: bool,
    last_ordinal: u32,
    /// Something could not be written to it.
    has_failed: bool,
}

impl<D: Disk> Draft<D> {
    /// Starts the journals of an epoch; those of earlier ones are left to [`Draft::recover`].
    pub fn open(disk: D, epoch: BootEpoch) -> Self {
        Self { disk, epoch, journals: Vec::new(), record: Vec::with_capacity(2 * RECORD_BYTES_MAX) }
    }

    /// The epoch whose samples it takes.
    pub fn epoch(&self) -> BootEpoch {
        self.epoch
    }

    /// Makes a sample durable.
    pub fn append(&mut self, sample: &Sample<'_>) -> Result<(), DraftError> {
        let source = sample.source;
        let place = match self.journals.iter().position(|journal| journal.source == source) {
            Some(place) => place,
            None => {
                let columns = sample.words.len();
                self.journals.push(Journal {
                    source,
                    columns,
                    name: file_name(self.epoch, source, columns),
                    len: 0,
                    is_named: false,
                    last_ordinal: 0,
                    has_failed: false,
                });
                self.journals.len() - 1
            }
        };
        let journal = &mut self.journals[place];
        self.record.clear();
        if journal.len == 0 {
            let nothing = Emptied { ordinal: 0, sequence: Sequence(0), samples: 0 };
            encode_mark(self.epoch, source, journal.columns, nothing, &mut self.record);
        }
        encode(self.epoch, sample, &mut self.record);
        let end = journal.len + u64::try_from(self.record.len()).unwrap_or(u64::MAX);
        if end > FILE_BYTES_MAX || sample.words.len() != journal.columns {
            return Err(DraftError::Full);
        }
        let written = self
            .disk
            .write_at(&journal.name, journal.len, &self.record)
            .and_then(|()| self.disk.sync(&journal.name));
        if let Err(error) = written {
            journal.has_failed |= error != Fault::Full;
            return Err(DraftError::Disk("written", error));
        }
        if !journal.is_named {
            self.disk.sync_names().map_err(|error| DraftError::Disk("written", error))?;
            journal.is_named = true;
        }
        journal.len = end;
        journal.last_ordinal = sample.ordinal;
        Ok(())
    }

    /// The present epoch's samples of a source that are durable.
    ///
    /// # Errors
    /// If nothing of them can be read.
    pub fn read(&self, source: SourceNumber) -> Result<Vec<Drafted>, DraftError> {
        let mut journals = self.journals.iter();
        let Some(journal) = journals.find(|journal| journal.source == source) else {
            return Ok(Vec::new());
        };
        let len = usize::try_from(journal.len).unwrap_or(usize::MAX);
        let reading = read_around(&self.disk, &journal.name, 0, len);
        let reading = reading.map_err(|error| DraftError::Disk("read", error))?;
        Ok(parse(&reading.bytes, self.epoch, source, journal.columns).samples)
    }

    /// Forgets the present epoch's samples of a source if they all are in batches, and notes the batch
    /// that they are in up to `witness.ordinal`.
    pub fn forget(&mut self, witness: Witness) -> Result<(), DraftError> {
        let mut journals = self.journals.iter_mut();
        let Some(journal) = journals.find(|journal| journal.source == witness.source) else {
            return Ok(());
        };
        if journal.len == 0 {
            return Ok(());
        }
        let emptied = Emptied {
            ordinal: witness.ordinal,
            sequence: witness.id.sequence,
            samples: witness.samples,
        };
        self.record.clear();
        encode_mark(self.epoch, journal.source, journal.columns, emptied, &mut self.record);
        let is_all = journal.last_ordinal <= witness.ordinal;
        let len = u64::try_from(self.record.len()).unwrap_or(u64::MAX);
        let emptied = self
            .disk
            .write_at(&journal.name, 0, &self.record)
            .and_then(|()| if is_all { self.disk.truncate(&journal.name, len) } else { Ok(()) })
            .and_then(|()| self.disk.sync(&journal.name));
        match emptied {
            Ok(()) if is_all => journal.len = len,
            Ok(()) => {}
            // Where the file is damaged, the next one is elsewhere on the disk.
            Err(_) if is_all && journal.has_failed => {
                let failed = |error| DraftError::Disk("put aside", error);
                put_aside(&self.disk, &journal.name).map_err(failed)?;
                (journal.len, journal.is_named, journal.has_failed) = (0, false, false);
            }
            Err(error) => {
                journal.has_failed |= error != Fault::Full;
                return Err(DraftError::Disk("emptied", error));
            }
        }
        Ok(())
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        let names: usize = self.journals.iter().map(|journal| journal.name.capacity()).sum();
        held(&self.journals) + held(&self.record) + names
    }

    /// Most of [`Draft::memory_bytes`].
    pub(super) const fn memory_bytes_max() -> usize {
        grown::<Journal>(SOURCES_MAX) + 2 * RECORD_BYTES_MAX + SOURCES_MAX * 2 * NAME_BYTES_MAX
    }

    /// What the journals of earlier epochs say of the spool, in no order.
    pub fn witnesses(&self) -> Result<Vec<Witness>, DraftError> {
        let mut witnesses = Vec::new();
        for name in self.earlier()? {
            let Name { epoch, source, columns } = name;
            let file = file_name(epoch, source, columns);
            let reading = read_around(&self.disk, &file, 0, record_len(columns));
            let bytes = reading.map(|reading| reading.bytes).unwrap_or_default();
            if let Some(emptied) = parse_mark(&bytes, epoch, source)
                && emptied.sequence > Sequence(0)
            {
                let Emptied { ordinal, sequence, samples } = emptied;
                witnesses.push(Witness {
                    source,
                    ordinal,
                    id: BatchId { epoch, sequence },
                    samples,
                });
            }
        }
        Ok(witnesses)
    }

    /// The newest epoch that left a journal.
    pub fn last_epoch(disk: &D) -> Option<BootEpoch> {
        let names = disk.list().ok()?;
        names.iter().filter_map(|name| parse_name(name)).map(|name| name.epoch).max()
    }

    fn earlier(&self) -> Result<Vec<Name>, DraftError> {
        let names = self.disk.list().map_err(|error| DraftError::Disk("read", error))?;
        let mut found: Vec<_> = names
            .iter()
            .filter_map(|name| parse_name(name))
            .filter(|name| name.epoch < self.epoch)
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The oldest journal of an earlier epoch, if there is one.
    pub fn recover(&self) -> Result<Option<Left>, DraftError> {
        let Some(name) = self.earlier()?.into_iter().next() else { return Ok(None) };
        let Name { epoch, source, columns } = name;
        let file = file_name(epoch, source, columns);
        let failed = |error| DraftError::Disk("read", error);
        let len = match self.disk.len(&file) {
            Ok(len) => len.unwrap_or(0).min(FILE_BYTES_MAX),
            // Nothing tells how many samples there were; that some are lost is told all the same.
            Err(_) if answers_elsewhere(&self.disk, &file) => {
                let samples = Vec::new();
                return Ok(Some(Left { epoch, source, samples, lost: 1, is_damaged: true }));
            }
            Err(error) => return Err(failed(error)),
        };
        let len = usize::try_from(len).unwrap_or(0);
        let reading = read_around(&self.disk, &file, 0, len);
        // Of a journal of which nothing can be read, its length tells how much there was.
        let (bytes, is_whole) = match reading {
            Ok(reading) => (reading.bytes, reading.holes.is_empty()),
            Err(_) => (vec![0; len], false),
        };
        let parsed = parse(&bytes, epoch, source, columns);
        // A record that a cut has torn was never durable, unless a part of it cannot be read.
        let lost = if is_whole { parsed.lost } else { parsed.lost.max(parsed.unfinished) };
        let is_damaged = !is_whole || lost > 0 || parsed.is_damaged;
        Ok(Some(Left { epoch, source, samples: parsed.samples, lost, is_damaged }))
    }

    /// Removes the oldest journal of an earlier epoch, which [`Draft::recover`] gave, once its samples
    /// are in the spool; a damaged one is put aside.
    pub fn remove(&self, left: &Left) -> Result<(), DraftError> {
        let name = self
            .earlier()?
            .into_iter()
            .find(|name| (name.epoch, name.source) == (left.epoch, left.source));
        let Some(Name { epoch, source, columns }) = name else { return Ok(()) };
        let file = file_name(epoch, source, columns);
        if left.is_damaged && put_aside(&self.disk, &file).is_ok() {
            return Ok(());
        }
        self.disk.remove(&file).map_err(|error| DraftError::Disk("removed", error))
    }
}

/// What a journal is of, in the order in which journals are recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    epoch: BootEpoch,
    source: SourceNumber,
    columns: usize,
}

/// Prefix, epoch, source, columns, and dashes.
const NAME_BYTES_MAX: usize = PREFIX.len() + 10 + 1 + 3 + 1 + 3;

fn file_name(epoch: BootEpoch, source: SourceNumber, columns: usize) -> String {
    format!("{PREFIX}{:010}-{}-{columns}", epoch.0, source.0)
}

fn parse_name(name: &str) -> Option<Name> {
    let (epoch, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (source, columns) = rest.split_once('-')?;
    let columns = columns.parse().ok().filter(|columns| (1..=COLUMNS_MAX).contains(columns))?;
    let (epoch, source) = (BootEpoch(epoch.parse().ok()?), SourceNumber(source.parse().ok()?));
    Some(Name { epoch, source, columns })
}

/// Up to where a journal was emptied: last sample, the batch that it is in, samples in all batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Emptied {
    ordinal: u32,
    sequence: Sequence,
    samples: u32,
}

/// `CRC-32 of name and all the rest (4, little endian) | kind (1) | body | end (2)`, where the body of
/// a sample is `ordinal (4) | stream (2) | is_unix (1) | t_ms (8) | columns × word (2) | columns ×
/// mark (1)`.
fn encode(epoch: BootEpoch, sample: &Sample<'_>, out: &mut Vec<u8>) {
    let at = begin(KIND_SAMPLE, out);
    out.extend_from_slice(&sample.ordinal.to_le_bytes());
    out.extend_from_slice(&sample.stream.0.to_le_bytes());
    out.push(u8::from(sample.base == TimeBase::Unix));
    out.extend_from_slice(&sample.t_ms.to_le_bytes());
    out.extend(sample.words.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(sample.marks.iter().map(|mark| mark.code()));
    finish(epoch, sample.source, at, out);
}

/// As [`encode`], with the body `ordinal (4) | sequence (4) | samples (4) | zeros`.
fn encode_mark(
    epoch: BootEpoch,
    source: SourceNumber,
    columns: usize,
    emptied: Emptied,
    out: &mut Vec<u8>,
) {
    let at = begin(KIND_MARK, out);
    for number in [emptied.ordinal, emptied.sequence.0, emptied.samples] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(at + record_len(columns) - END.len(), 0);
    finish(epoch, source, at, out);
}

fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    at
}

fn finish(epoch: BootEpoch, source: SourceNumber, at: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&END);
    let crc = checksum(epoch, source, &out[at + 4..]);
    out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// What can be read of a journal.
#[derive(Debug, Default)]
struct Parsed {
    samples: Vec<Drafted>,
    /// Samples after the last that was read which were written to their end and are damaged.
    lost: u32,
    /// Records after it, written to their end or not.
    unfinished: u32,
    is_damaged: bool,
}

fn parse(bytes: &[u8], epoch: BootEpoch, source: SourceNumber, columns: usize) -> Parsed {
    let mut parsed = Parsed::default();
    let mut emptied = 0;
    for (place, record) in bytes.chunks_exact(record_len(columns)).enumerate() {
        if place == 0 {
            let mark = parse_mark(record, epoch, source);
            emptied = mark.map_or(0, |mark| mark.ordinal);
            parsed.is_damaged |= mark.is_none();
            continue;
        }
        match parse_sample(record, epoch, source) {
            Some(sample) => {
                parsed.is_damaged |= parsed.unfinished > 0;
                (parsed.lost, parsed.unfinished) = (0, 0);
                // What a journal held before it was emptied may be there again after a cut.
                let last = parsed.samples.last().map_or(emptied, |last| last.ordinal);
                if sample.ordinal > last {
                    parsed.samples.push(sample);
                }
            }
            None => {
                let is_finished = record.last().is_some_and(|last| *last != 0);
                parsed.unfinished += 1;
                parsed.lost = if is_finished { parsed.unfinished } else { parsed.lost };
            }
        }
    }
    parsed
}

/// The body of a record that is whole.
fn body(record: &[u8], epoch: BootEpoch, source: SourceNumber, kind: u8) -> Option<&[u8]> {
    let (crc, rest) = record.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != checksum(epoch, source, rest) {
        return None;
    }
    rest.strip_suffix(&END)?.strip_prefix(&[kind])
}

fn parse_mark(bytes: &[u8], epoch: BootEpoch, source: SourceNumber) -> Option<Emptied> {
    let body = body(bytes, epoch, source, KIND_MARK)?;
    let (ordinal, body) = body.split_first_chunk::<4>()?;
    let (sequence, body) = body.split_first_chunk::<4>()?;
    let (samples, _) = body.split_first_chunk::<4>()?;
    Some(Emptied {
        ordinal: u32::from_le_bytes(*ordinal),
        sequence: Sequence(u32::from_le_bytes(*sequence)),
        samples: u32::from_le_bytes(*samples),
    })
}

fn parse_sample(record: &[u8], epoch: BootEpoch, source: SourceNumber) -> Option<Drafted> {
    let body = body(record, epoch, source, KIND_SAMPLE)?;
    let (ordinal, body) = body.split_first_chunk::<4>()?;
    let (stream, body) = body.split_first_chunk::<2>()?;
    let ([is_unix], body) = body.split_first_chunk::<1>()?;
    let (t_ms, body) = body.split_first_chunk::<8>()?;
    let columns = body.len() / 3;
    let (words, marks) = body.split_at(columns * 2);
    Some(Drafted {
        stream: StreamNumber(u16::from_le_bytes(*stream)),
        ordinal: u32::from_le_bytes(*ordinal),
        t_ms: i64::from_le_bytes(*t_ms),
        base: if *is_unix == 1 { TimeBase::Unix } else { TimeBase::SinceBoot },
        words: words.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
        marks: marks.iter().map(|code| Mark::from_code(*code)).collect::<Option<_>>()?,
    })
}

/// The name is part of it: a block of another file that a file system puts here does not pass.
fn checksum(epoch: BootEpoch, source: SourceNumber, rest: &[u8]) -> u32 {
    crc32(&[&epoch.0.to_le_bytes(), &[source.0], rest])
}
