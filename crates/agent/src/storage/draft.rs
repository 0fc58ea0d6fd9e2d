//! The journal of samples that are in no batch yet.
//!
//! One file per source and boot epoch; its name also says which format it has: a later one takes
//! another name, so that software that does not know it leaves it alone. A sample counts as persisted
//! when [`Draft::append`] returned. Once a batch is in the spool, the journal of what it covers is
//! emptied; a cut before that leaves samples whose ordinals the spool already covers, and recovery
//! passes over them. Files of earlier epochs stay until their samples are in batches of that epoch.

use std::io;

use ecowatt_codec::TimeBase;
use ecowatt_device::Sample;
use ecowatt_model::{BootEpoch, COLUMNS_MAX, Mark, SOURCES_MAX, SourceNumber, StreamNumber};

use super::checksum::crc32;
use super::disk::Disk;
use super::{grown, held};

/// Most bytes of one journal. The core's buffer of one source fits several times over, so that only
/// a spool that refuses batches for long fills it.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const PREFIX: &str = "draft-";
/// Length and checksum of a record.
const HEAD_BYTES: usize = 2 + 4;
const RECORD_BYTES_MAX: usize = HEAD_BYTES + 15 + 3 * COLUMNS_MAX;

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
    Disk(&'static str, #[source] io::Error),
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
    name: String,
    /// Length of its whole records.
    len: u64,
    /// Whether the file's name is durable.
    is_named: bool,
    last_ordinal: u32,
}

impl<D: Disk> Draft<D> {
    /// Starts the journals of an epoch; those of earlier ones are left to [`Draft::recover`].
    pub fn open(disk: D, epoch: BootEpoch) -> Self {
        Self { disk, epoch, journals: Vec::new(), record: Vec::with_capacity(RECORD_BYTES_MAX) }
    }

    /// Makes a sample durable.
    pub fn append(&mut self, sample: &Sample<'_>) -> Result<(), DraftError> {
        let source = sample.source;
        let place = match self.journals.iter().position(|journal| journal.source == source) {
            Some(place) => place,
            None => {
                let name = file_name(self.epoch, source);
                let (len, last_ordinal) = (0, 0);
                self.journals.push(Journal { source, name, len, is_named: false, last_ordinal });
                self.journals.len() - 1
            }
        };
        let journal = &mut self.journals[place];
        encode(self.epoch, sample, &mut self.record);
        let end = journal.len + u64::try_from(self.record.len()).unwrap_or(u64::MAX);
        if end > FILE_BYTES_MAX {
            return Err(DraftError::Full);
        }
        let failed = |error| DraftError::Disk("written", error);
        self.disk.write_at(&journal.name, journal.len, &self.record).map_err(failed)?;
        self.disk.sync(&journal.name).map_err(failed)?;
        if !journal.is_named {
            self.disk.sync_names().map_err(failed)?;
            journal.is_named = true;
        }
        journal.len = end;
        journal.last_ordinal = sample.ordinal;
        Ok(())
    }

    /// The present epoch's samples of a source that are durable.
    pub fn read(&self, source: SourceNumber) -> Result<Vec<Drafted>, DraftError> {
        let mut journals = self.journals.iter();
        let Some(journal) = journals.find(|journal| journal.source == source) else {
            return Ok(Vec::new());
        };
        let len = usize::try_from(journal.len).unwrap_or(usize::MAX);
        let bytes = self.disk.read(&journal.name, len);
        let bytes = bytes.map_err(|error| DraftError::Disk("read", error))?.unwrap_or_default();
        Ok(parse(&bytes, self.epoch, source))
    }

    /// Forgets the present epoch's samples of a source if they all are in batches: those up to
    /// `last_ordinal` are.
    pub fn forget(&mut self, source: SourceNumber, last_ordinal: u32) -> Result<(), DraftError> {
        let mut journals = self.journals.iter_mut();
        if let Some(journal) = journals.find(|journal| journal.source == source)
            && journal.len > 0
            && journal.last_ordinal <= last_ordinal
        {
            let failed = |error| DraftError::Disk("emptied", error);
            self.disk.truncate(&journal.name, 0).map_err(failed)?;
            journal.len = 0;
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
        grown::<Journal>(SOURCES_MAX) + RECORD_BYTES_MAX + SOURCES_MAX * 2 * NAME_BYTES_MAX
    }

    /// The oldest journal of an earlier epoch, if there is one, with its whole records.
    pub fn recover(&self) -> Result<Option<(BootEpoch, SourceNumber, Vec<Drafted>)>, DraftError> {
        let failed = |error| DraftError::Disk("read", error);
        let mut found: Vec<_> =
            self.disk.list().map_err(failed)?.iter().filter_map(|name| parse_name(name)).collect();
        found.sort_unstable();
        let Some((epoch, source)) = found.into_iter().find(|(epoch, _)| *epoch < self.epoch) else {
            return Ok(None);
        };
        let limit = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let bytes = self.disk.read(&file_name(epoch, source), limit).map_err(failed)?;
        Ok(Some((epoch, source, parse(&bytes.unwrap_or_default(), epoch, source))))
    }

    /// Removes a journal that [`Draft::recover`] gave, once its samples are in the spool.
    pub fn remove(&self, epoch: BootEpoch, source: SourceNumber) -> Result<(), DraftError> {
        self.disk
            .remove(&file_name(epoch, source))
            .map_err(|error| DraftError::Disk("removed", error))
    }
}

/// Prefix, epoch, dash, source.
const NAME_BYTES_MAX: usize = PREFIX.len() + 10 + 1 + 3;

fn file_name(epoch: BootEpoch, source: SourceNumber) -> String {
    format!("{PREFIX}{:010}-{}", epoch.0, source.0)
}

fn parse_name(name: &str) -> Option<(BootEpoch, SourceNumber)> {
    let (epoch, source) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((BootEpoch(epoch.parse().ok()?), SourceNumber(source.parse().ok()?)))
}

/// `length of the body (2, little endian) | CRC-32 of name and body (4) | body`, where the body is
/// `ordinal (4) | stream (2) | is_unix (1) | t_ms (8) | columns × word (2) | columns × mark (1)`.
fn encode(epoch: BootEpoch, sample: &Sample<'_>, record: &mut Vec<u8>) {
    record.clear();
    record.extend_from_slice(&[0; HEAD_BYTES]);
    record.extend_from_slice(&sample.ordinal.to_le_bytes());
    record.extend_from_slice(&sample.stream.0.to_le_bytes());
    record.push(u8::from(sample.base == TimeBase::Unix));
    record.extend_from_slice(&sample.t_ms.to_le_bytes());
    record.extend(sample.words.iter().flat_map(|word| word.to_le_bytes()));
    record.extend(sample.marks.iter().map(|mark| mark.code()));
    let (head, body) = record.split_at_mut(HEAD_BYTES);
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
    head[..2].copy_from_slice(&length);
    head[2..].copy_from_slice(&checksum(epoch, sample.source, length, body).to_le_bytes());
}

fn parse(mut bytes: &[u8], epoch: BootEpoch, source: SourceNumber) -> Vec<Drafted> {
    let mut samples = Vec::new();
    while let Some((sample, rest)) = parse_one(bytes, epoch, source) {
        samples.push(sample);
        bytes = rest;
    }
    samples
}

fn parse_one(bytes: &[u8], epoch: BootEpoch, source: SourceNumber) -> Option<(Drafted, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<2>()?;
    let (crc, bytes) = bytes.split_first_chunk::<4>()?;
    let (body, rest) = bytes.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    if u32::from_le_bytes(*crc) != checksum(epoch, source, *length, body) {
        return None;
    }
    let (ordinal, body) = body.split_first_chunk::<4>()?;
    let (stream, body) = body.split_first_chunk::<2>()?;
    let ([is_unix], body) = body.split_first_chunk::<1>()?;
    let (t_ms, body) = body.split_first_chunk::<8>()?;
    let columns = body.len() / 3;
    if columns * 3 != body.len() {
        return None;
    }
    let (words, marks) = body.split_at(columns * 2);
    let sample = Drafted {
        stream: StreamNumber(u16::from_le_bytes(*stream)),
        ordinal: u32::from_le_bytes(*ordinal),
        t_ms: i64::from_le_bytes(*t_ms),
        base: if *is_unix == 1 { TimeBase::Unix } else { TimeBase::SinceBoot },
        words: words.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
        marks: marks.iter().map(|code| Mark::from_code(*code)).collect::<Option<_>>()?,
    };
    Some((sample, rest))
}

/// The name is part of it: a block of another file that a file system puts here does not pass.
fn checksum(epoch: BootEpoch, source: SourceNumber, length: [u8; 2], body: &[u8]) -> u32 {
    crc32(&[&epoch.0.to_le_bytes(), &[source.0], &length, body])
}
