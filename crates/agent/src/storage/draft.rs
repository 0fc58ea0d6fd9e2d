//! The journal of samples that are in no batch yet.
//!
//! One file per source and boot epoch. A sample counts as persisted when [`Draft::append`] returned.
//! Once a batch is in the spool, the journal of what it covers is emptied; a cut before that leaves
//! samples whose ordinals the spool already covers, and recovery passes over them. Files of earlier
//! epochs stay until their samples are in batches of that epoch.

use std::io;

use ecowatt_model::{BootEpoch, Mark, SourceNumber, StreamNumber};

use super::checksum::crc32;
use super::disk::Disk;

/// Most bytes of one journal. The core's buffer of one source fits several times over, so that only
/// a spool that refuses batches for long fills it.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const PREFIX: &str = "draft-";

/// One sample as the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drafted {
    pub epoch: BootEpoch,
    pub source: SourceNumber,
    pub stream: StreamNumber,
    /// Position among the samples of its source in its epoch, from 1.
    pub ordinal: u32,
    /// Unix time if `is_unix`, else since the start of the epoch.
    pub t_ms: i64,
    pub is_unix: bool,
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
    /// Length of each source's journal of the present epoch.
    lens: Vec<u64>,
}

impl<D: Disk> Draft<D> {
    /// Starts the journals of an epoch; those of earlier ones are left to [`Draft::recover`].
    pub fn open(disk: D, epoch: BootEpoch) -> Self {
        Self { disk, epoch, lens: Vec::new() }
    }

    /// Makes a sample durable.
    pub fn append(&mut self, sample: &Drafted) -> Result<(), DraftError> {
        let failed = |error| DraftError::Disk("written", error);
        let place = usize::from(sample.source.0);
        if self.lens.len() <= place {
            self.lens.resize(place + 1, 0);
        }
        let bytes = encode(sample);
        let len = self.lens[place];
        let end = len + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if end > FILE_BYTES_MAX {
            return Err(DraftError::Full);
        }
        let name = file_name(self.epoch, sample.source);
        let is_first = self.disk.len(&name).map_err(failed)?.is_none();
        self.disk.write_at(&name, len, &bytes).map_err(failed)?;
        self.disk.sync(&name).map_err(failed)?;
        if is_first {
            self.disk.sync_names().map_err(failed)?;
        }
        self.lens[place] = end;
        Ok(())
    }

    /// Forgets the present epoch's samples of a source; they are all in batches.
    pub fn empty(&mut self, source: SourceNumber) -> Result<(), DraftError> {
        let Some(len) = self.lens.get_mut(usize::from(source.0)) else { return Ok(()) };
        if *len > 0 {
            let name = file_name(self.epoch, source);
            self.disk.truncate(&name, 0).map_err(|error| DraftError::Disk("emptied", error))?;
            *len = 0;
        }
        Ok(())
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

fn file_name(epoch: BootEpoch, source: SourceNumber) -> String {
    format!("{PREFIX}{:010}-{}", epoch.0, source.0)
}

fn parse_name(name: &str) -> Option<(BootEpoch, SourceNumber)> {
    let (epoch, source) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((BootEpoch(epoch.parse().ok()?), SourceNumber(source.parse().ok()?)))
}

/// `length of the body (2, little endian) | CRC-32 of name and body (4) | body`, where the body is
/// `ordinal (4) | stream (2) | is_unix (1) | t_ms (8) | columns × word (2) | columns × mark (1)`.
fn encode(sample: &Drafted) -> Vec<u8> {
    let mut body = Vec::with_capacity(15 + 3 * sample.words.len());
    body.extend_from_slice(&sample.ordinal.to_le_bytes());
    body.extend_from_slice(&sample.stream.0.to_le_bytes());
    body.push(u8::from(sample.is_unix));
    body.extend_from_slice(&sample.t_ms.to_le_bytes());
    sample.words.iter().for_each(|word| body.extend_from_slice(&word.to_le_bytes()));
    body.extend(sample.marks.iter().map(|mark| mark.code()));
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
    let crc = checksum(sample.epoch, sample.source, length, &body).to_le_bytes();
    [&length[..], &crc[..], &body[..]].concat()
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
        epoch,
        source,
        stream: StreamNumber(u16::from_le_bytes(*stream)),
        ordinal: u32::from_le_bytes(*ordinal),
        t_ms: i64::from_le_bytes(*t_ms),
        is_unix: *is_unix == 1,
        words: words.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
        marks: marks.iter().map(|code| Mark::from_code(*code)).collect::<Option<_>>()?,
    };
    Some((sample, rest))
}

/// The name is part of it: a block of another file that a file system puts here does not pass.
fn checksum(epoch: BootEpoch, source: SourceNumber, length: [u8; 2], body: &[u8]) -> u32 {
    crc32(&[&epoch.0.to_le_bytes(), &[source.0], &length, body])
}
