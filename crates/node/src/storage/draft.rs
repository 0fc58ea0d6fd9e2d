//! The journal of samples that are in no batch yet.
//!
//! One area per source and boot epoch; its name includes the number of registers in a sample. A
//! sample is durable when [`Draft::append`] returns. All records of an area have the same length,
//! so the length of an unreadable part is a number of samples.
//!
//! Once a batch is in the spool, the journal continues in another area, its next turn. That area
//! begins with the mark, a record that names the batch, and with the samples that the batch does
//! not contain; then the former turn is erased. The mark makes it known when the spool has lost its
//! end; that of the first turn names the newest batch of the spool for the same purpose. A cut
//! before the mark is durable leaves samples whose ordinals the spool already covers, and recovery
//! skips them. Areas of earlier epochs stay until their samples are in batches of that epoch.
//!
//! A medium may lose all that the spool knows, and a power cut may bring an erased journal back.
//! So a batch may be sent only once [`Draft::settle`] has succeeded after it: then no journal has
//! its samples, whatever happens.

use alloc::vec;
use alloc::vec::Vec;

use ecowatt_codec::TimeBase;
use ecowatt_device::Sample;
use ecowatt_model::{
    BatchId, BootEpoch, COLUMNS_MAX, Mark, SOURCES_MAX, Sequence, SourceNumber, StreamNumber,
};

use super::areas::{Area, Areas, Fault, JournalName};
use super::bad_reads::{answers_elsewhere, read_around};
use super::checksum::crc32;
use super::spool::{SpoolWitness, Written};
use super::{grown, held};

/// Maximum length of one journal in bytes. It holds several times the core's buffer of one source,
/// so it fills only if the spool refuses batches for a long time.
const JOURNAL_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Checksum and kind of a record.
const HEAD_BYTES: usize = 4 + 1;
/// Ends each record. A record whose last byte is not zero was written completely: a cut leaves
/// zeros there, or no byte at all.
const END: [u8; 2] = [0xa5, 0x5a];
/// Ends the remains of a failed append, which are filled up to the length of a record.
const VOID: u8 = 0xa5;
const RECORD_BYTES_MAX: usize = record_len(COLUMNS_MAX);

/// Length of a record of a source with this many registers; a mark is shorter and is filled up.
const fn record_len(columns: usize) -> usize {
    HEAD_BYTES + 15 + 3 * columns + END.len()
}

/// The most samples with this many registers that fit into a journal.
#[cfg(test)]
pub(super) fn samples_max(columns: usize) -> usize {
    usize::try_from(JOURNAL_BYTES_MAX).unwrap() / record_len(columns)
}

const _: () = assert!(MARK_BYTES <= record_len(1) - HEAD_BYTES - END.len());

/// Ordinal, epoch, sequence, samples.
const MARK_BYTES: usize = 16;
const KIND_MARK: u8 = 1;
const KIND_SAMPLE: u8 = 2;

/// What an earlier epoch left in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftJournal {
    pub name: JournalName,
    /// The readable samples, in order.
    pub samples: Vec<DraftedSample>,
    /// Unreadable samples after them, or all of them if none is readable.
    pub lost: u32,
    pub is_damaged: bool,
}

/// One sample as recovery reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftedSample {
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
    /// Whether a former turn is still there, because it could not be erased.
    has_former: bool,
    /// Whether a power cut may bring back what was erased.
    has_erased: bool,
    /// Buffer for the record that is being written.
    record: Vec<u8>,
}

/// A source's journal of the current epoch.
#[derive(Debug)]
struct Journal {
    name: JournalName,
    /// Length of its area; 0 before there is one.
    len: u64,
    /// An append failed, so the end of the area is unknown. Cleared by the next append that
    /// succeeds.
    is_end_unsure: bool,
    last_ordinal: u32,
    /// A write to its area failed, so the area is set aside when the journal moves to its next
    /// turn.
    has_failed: bool,
    /// The newest batch with samples of this turn, if the journal could not be moved to the next.
    unforgotten: Option<SpoolWitness>,
}

impl Journal {
    fn area(&self) -> Area {
        Area::Journal(self.name)
    }

    fn columns(&self) -> usize {
        self.name.columns.into()
    }
}

impl DraftedSample {
    fn of(&self, source: SourceNumber) -> Sample<'_> {
        let Self { stream, ordinal, base, t_ms, words, marks } = self;
        let (stream, ordinal, base, t_ms) = (*stream, *ordinal, *base, *t_ms);
        Sample { source, stream, ordinal, base, t_ms, words, marks }
    }
}

impl<D: Areas> Draft<D> {
    /// Starts the journals of an epoch; those of earlier epochs are left to [`Draft::recover`].
    pub fn open(disk: D, epoch: BootEpoch) -> Self {
        Self {
            disk,
            epoch,
            journals: Vec::new(),
            has_former: false,
            has_erased: false,
            record: Vec::with_capacity(2 * RECORD_BYTES_MAX),
        }
    }

    /// The epoch of the samples that are appended.
    pub fn epoch(&self) -> BootEpoch {
        self.epoch
    }

    /// Makes a sample durable. A journal that begins with it names the newest batch of the spool.
    pub fn append(
        &mut self,
        sample: &Sample<'_>,
        newest: Option<Written>,
    ) -> Result<(), DraftError> {
        let source = sample.source;
        let place = match self.journals.iter().position(|journal| journal.name.source == source) {
            Some(place) => place,
            None => {
                let columns = u8::try_from(sample.words.len()).unwrap_or(u8::MAX);
                self.journals.push(Journal {
                    name: JournalName { epoch: self.epoch, source, columns, turn: 0 },
                    len: 0,
                    is_end_unsure: false,
                    last_ordinal: 0,
                    has_failed: false,
                    unforgotten: None,
                });
                self.journals.len() - 1
            }
        };
        let journal = &mut self.journals[place];
        let area = journal.area();
        let failed = |error| DraftError::Disk("written", error);
        self.record.clear();
        // The rest of a failed append is filled up, so that the records after it are at multiples
        // of their length.
        if journal.is_end_unsure {
            let len = self.disk.len(area).map_err(failed)?.unwrap_or(0);
            if journal.len > 0 {
                journal.len = len;
                fill_up(len, journal.columns(), &mut self.record);
            } else if len > 0 {
                // Nothing in the area is durable, and it may not begin with a mark.
                self.disk.erase(area).map_err(failed)?;
            }
        }
        // Every journal begins with a mark.
        if journal.len == 0 {
            let emptied = Emptied { ordinal: 0, written: newest.unwrap_or(Written::NONE) };
            encode_mark(journal.name, emptied, &mut self.record);
        }
        encode(journal.name, sample, &mut self.record);
        let end = journal.len + u64::try_from(self.record.len()).unwrap_or(u64::MAX);
        if end > JOURNAL_BYTES_MAX || sample.words.len() != journal.columns() {
            return Err(DraftError::Full);
        }
        let written = self.disk.append(area, &self.record).and_then(|()| self.disk.sync(area));
        if let Err(error) = written {
            journal.is_end_unsure = true;
            journal.has_failed |= error != Fault::Full;
            return Err(failed(error));
        }
        (journal.len, journal.is_end_unsure) = (end, false);
        journal.last_ordinal = sample.ordinal;
        Ok(())
    }

    /// Returns the durable samples of a source in the current epoch.
    ///
    /// # Errors
    /// If none of them can be read.
    pub fn read(&self, source: SourceNumber) -> Result<Vec<DraftedSample>, DraftError> {
        match self.journals.iter().find(|journal| journal.name.source == source) {
            Some(journal) => self.read_journal(journal),
            None => Ok(Vec::new()),
        }
    }

    fn read_journal(&self, journal: &Journal) -> Result<Vec<DraftedSample>, DraftError> {
        let len = usize::try_from(journal.len).unwrap_or(usize::MAX);
        let reading = read_around(&self.disk, journal.area(), 0, len);
        let reading = reading.map_err(|error| DraftError::Disk("read", error))?;
        Ok(parse(&reading.bytes, journal.name).samples)
    }

    /// Forgets the samples of a source in the current epoch that are in batches, up to
    /// `witness.ordinal`, and records the batch that contains the last of them. On an error
    /// [`Draft::settle`] tries it again.
    pub fn forget(&mut self, witness: SpoolWitness) -> Result<(), DraftError> {
        let its = |journal: &Journal| journal.name.source == witness.source && journal.len > 0;
        let Some(place) = self.journals.iter().position(its) else { return Ok(()) };
        self.journals[place].unforgotten = Some(witness);
        let journal = &self.journals[place];
        let rest = match journal.last_ordinal <= witness.ordinal {
            true => Vec::new(),
            false => self.read_journal(journal)?,
        };
        let SpoolWitness { ordinal, id, samples, .. } = witness;
        let emptied = Emptied { ordinal, written: Written { id, samples } };
        let next = JournalName { turn: journal.name.turn.wrapping_add(1), ..journal.name };
        let mut records = core::mem::take(&mut self.record);
        records.clear();
        encode_mark(next, emptied, &mut records);
        for sample in rest.iter().filter(|sample| sample.ordinal > witness.ordinal) {
            encode(next, &sample.of(witness.source), &mut records);
        }
        let area = Area::Journal(next);
        // A failed attempt may have left a part of the area, so it is replaced.
        let written = self.disk.replace(area, &records);
        let len = u64::try_from(records.len()).unwrap_or(u64::MAX);
        records.truncate(2 * RECORD_BYTES_MAX);
        records.shrink_to(2 * RECORD_BYTES_MAX);
        self.record = records;
        // On a full disk the journal ends here if nothing of it is left: batches must go out, or
        // nothing makes room.
        let is_over = written == Err(Fault::Full) && rest.is_empty();
        if !is_over {
            written.map_err(|error| DraftError::Disk("emptied", error))?;
        }
        let journal = &mut self.journals[place];
        let (former, has_failed) = (journal.name, journal.has_failed);
        (journal.name, journal.len) = (next, if is_over { 0 } else { len });
        (journal.is_end_unsure, journal.has_failed) = (is_over, false);
        journal.unforgotten = None;
        let erased = self.erase(former, has_failed);
        self.has_former |= erased.is_err();
        erased.map_err(|error| DraftError::Disk("emptied", error))
    }

    /// Erases a journal, or sets a damaged one aside.
    fn erase(&mut self, name: JournalName, is_damaged: bool) -> Result<(), Fault> {
        let area = Area::Journal(name);
        if is_damaged && self.disk.set_aside(area).is_ok() {
            return Ok(());
        }
        self.has_erased = true;
        self.disk.erase(area)
    }

    /// Makes sure that no journal has samples that were forgotten or removed, also after a power
    /// cut. On an error it may still have all since the last success.
    pub fn settle(&mut self) -> Result<(), DraftError> {
        for place in 0..self.journals.len() {
            if let Some(witness) = self.journals[place].unforgotten {
                self.forget(witness)?;
            }
        }
        let failed = |error| DraftError::Disk("emptied", error);
        if self.has_former {
            for name in journals(&self.disk.list().map_err(failed)?) {
                let is_former =
                    |journal: &Journal| journal.name.source == name.source && journal.name != name;
                if name.epoch == self.epoch && self.journals.iter().any(is_former) {
                    self.erase(name, true).map_err(failed)?;
                }
            }
            self.has_former = false;
        }
        if self.has_erased {
            self.disk.settle().map_err(failed)?;
            self.has_erased = false;
        }
        Ok(())
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        held(&self.journals) + held(&self.record)
    }

    /// Upper limit of [`Draft::memory_bytes`].
    pub(super) const fn memory_bytes_max() -> usize {
        grown::<Journal>(SOURCES_MAX) + 2 * RECORD_BYTES_MAX
    }

    /// Returns what the journals of earlier epochs know about the spool, in no order.
    pub fn witnesses(&self) -> Result<Vec<SpoolWitness>, DraftError> {
        let mut witnesses = Vec::new();
        for name in self.earlier()? {
            if let Some(emptied) = self.mark(name)
                && emptied.written.id.sequence > Sequence(0)
            {
                let Emptied { ordinal, written: Written { id, samples } } = emptied;
                witnesses.push(SpoolWitness { source: name.source, ordinal, id, samples });
            }
        }
        Ok(witnesses)
    }

    /// The mark at the beginning of a journal, if it can be read.
    fn mark(&self, name: JournalName) -> Option<Emptied> {
        let len = record_len(name.columns.into());
        let reading = read_around(&self.disk, Area::Journal(name), 0, len).ok()?;
        parse_mark(&reading.bytes, name)
    }

    /// Whether a journal was begun with a mark, readable or not.
    fn is_marked(&self, name: JournalName) -> bool {
        if self.mark(name).is_some() {
            return true;
        }
        let area = Area::Journal(name);
        let len = record_len(name.columns.into());
        let is_begun = match self.disk.len(area) {
            Ok(written) => usize::try_from(written.unwrap_or(0)).unwrap_or(len) >= len,
            Err(_) => true,
        };
        // A cut leaves zeros at the end of a record, or no byte at all.
        let is_complete = || match read_around(&self.disk, area, 0, len) {
            Ok(reading) => !reading.is_whole() || reading.bytes.last().is_some_and(|end| *end != 0),
            Err(_) => true,
        };
        is_begun && is_complete()
    }

    /// The newest epoch that left a journal.
    pub fn last_epoch(disk: &D) -> Option<BootEpoch> {
        journals(&disk.list().ok()?).map(|name| name.epoch).max()
    }

    /// The journals of earlier epochs, oldest first.
    fn earlier(&self) -> Result<Vec<JournalName>, DraftError> {
        let areas = self.disk.list().map_err(|error| DraftError::Disk("read", error))?;
        let mut found: Vec<_> = journals(&areas).filter(|name| name.epoch < self.epoch).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The oldest journal of an earlier epoch, if there is one.
    pub fn recover(&self) -> Result<Option<LeftJournal>, DraftError> {
        let earlier = self.earlier()?;
        let Some((name, others)) = earlier.split_first() else { return Ok(None) };
        let (name, area) = (*name, Area::Journal(*name));
        let failed = |error| DraftError::Disk("read", error);
        // Its samples are in batches or in its next turn.
        let is_former = others.iter().any(|other| {
            (other.epoch, other.source) == (name.epoch, name.source) && self.is_marked(*other)
        });
        let len = match self.disk.len(area) {
            Ok(len) => len.unwrap_or(0).min(JOURNAL_BYTES_MAX),
            // The number of samples is unknown; report one, so that the server learns of the loss.
            Err(_) if answers_elsewhere(&self.disk, Some(area)) => {
                let (samples, lost) = (Vec::new(), u32::from(!is_former));
                return Ok(Some(LeftJournal { name, samples, lost, is_damaged: true }));
            }
            Err(error) => return Err(failed(error)),
        };
        let len = usize::try_from(len).unwrap_or(0);
        let reading = read_around(&self.disk, area, 0, len);
        // If nothing can be read, the length of the journal gives the number of its samples.
        let (bytes, is_whole) = match reading {
            Ok(reading) => (reading.bytes, reading.holes.is_empty()),
            Err(_) => (vec![0; len], false),
        };
        let parsed = parse(&bytes, name);
        // A record that a cut has torn was never durable, unless a part of it is unreadable.
        let lost = if is_whole { parsed.lost } else { parsed.lost.max(parsed.unfinished) };
        let is_damaged = !is_whole || lost > 0 || parsed.is_damaged;
        let lost = if is_former { 0 } else { lost };
        Ok(Some(LeftJournal { name, samples: parsed.samples, lost, is_damaged }))
    }

    /// Erases a journal that [`Draft::recover`] returned, once its samples are in the spool; a
    /// damaged one is set aside.
    pub fn remove(&mut self, left: &LeftJournal) -> Result<(), DraftError> {
        let removed = self.erase(left.name, left.is_damaged);
        removed.map_err(|error| DraftError::Disk("removed", error))
    }

    /// Returns the first readable sample of each journal that an earlier epoch left.
    pub fn first_left(&self) -> Result<Vec<FirstLeft>, DraftError> {
        let mut found = Vec::new();
        for name in self.earlier()? {
            let len = match self.disk.len(Area::Journal(name)) {
                Ok(len) => usize::try_from(len.unwrap_or(0).min(JOURNAL_BYTES_MAX)).unwrap_or(0),
                Err(_) => 0,
            };
            let reading = read_around(&self.disk, Area::Journal(name), 0, len);
            let parsed = parse(&reading.map(|reading| reading.bytes).unwrap_or_default(), name);
            if let Some(first) = parsed.samples.first() {
                let JournalName { epoch, source, .. } = name;
                found.push(FirstLeft { epoch, source, ordinal: first.ordinal });
            }
        }
        Ok(found)
    }
}

/// The first sample in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLeft {
    pub epoch: BootEpoch,
    pub source: SourceNumber,
    pub ordinal: u32,
}

fn journals(areas: &[Area]) -> impl Iterator<Item = JournalName> {
    areas.iter().filter_map(|area| match area {
        Area::Journal(name) => Some(*name),
        Area::Copy(..) | Area::Segment(_) | Area::Layout(_) => None,
    })
}

/// State of the spool when a journal was emptied or begun, and the last of its source's samples that
/// was in a batch; 0 if none was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Emptied {
    ordinal: u32,
    written: Written,
}

/// `CRC-32 of name and all the rest (4, little endian) | kind (1) | body | end (2)`, where the body of
/// a sample is `ordinal (4) | stream (2) | is_unix (1) | t_ms (8) | columns × word (2) | columns ×
/// mark (1)`.
fn encode(name: JournalName, sample: &Sample<'_>, out: &mut Vec<u8>) {
    let at = begin(KIND_SAMPLE, out);
    out.extend_from_slice(&sample.ordinal.to_le_bytes());
    out.extend_from_slice(&sample.stream.0.to_le_bytes());
    out.push(u8::from(sample.base == TimeBase::Unix));
    out.extend_from_slice(&sample.t_ms.to_le_bytes());
    out.extend(sample.words.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(sample.marks.iter().map(|mark| mark.code()));
    finish(name, at, out);
}

/// As [`encode`], with the body `ordinal (4) | epoch (4) | sequence (4) | samples (4) | zeros`.
fn encode_mark(name: JournalName, emptied: Emptied, out: &mut Vec<u8>) {
    let at = begin(KIND_MARK, out);
    let Emptied { ordinal, written: Written { id, samples } } = emptied;
    for number in [ordinal, id.epoch.0, id.sequence.0, samples] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(at + record_len(name.columns.into()) - END.len(), 0);
    finish(name, at, out);
}

/// Fills up a partial record at the end of a journal of this many bytes.
fn fill_up(len: u64, columns: usize, out: &mut Vec<u8>) {
    let record = record_len(columns);
    let torn = usize::try_from(len).unwrap_or(0) % record;
    if torn > 0 {
        out.resize(record - torn - 1, 0);
        out.push(VOID);
    }
}

fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    at
}

fn finish(name: JournalName, at: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&END);
    let crc = checksum(name, &out[at + 4..]);
    out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The readable part of a journal.
#[derive(Debug, Default)]
struct Parsed {
    samples: Vec<DraftedSample>,
    /// Damaged samples after the last readable one, up to the last one that was written completely.
    lost: u32,
    /// Records after the last readable one, complete or not.
    unfinished: u32,
    is_damaged: bool,
}

fn parse(bytes: &[u8], name: JournalName) -> Parsed {
    let mut parsed = Parsed::default();
    let mut emptied = 0;
    for (place, record) in bytes.chunks_exact(record_len(name.columns.into())).enumerate() {
        if place == 0 {
            let mark = parse_mark(record, name);
            emptied = mark.map_or(0, |mark| mark.ordinal);
            parsed.is_damaged |= mark.is_none();
            continue;
        }
        match parse_sample(record, name) {
            Some(sample) => {
                parsed.is_damaged |= parsed.unfinished > 0;
                (parsed.lost, parsed.unfinished) = (0, 0);
                let last = parsed.samples.last().map_or(emptied, |last| last.ordinal);
                if sample.ordinal > last {
                    parsed.samples.push(sample);
                }
            }
            // The remains of a failed append; its caller got the error.
            None if record.last() == Some(&VOID) => {}
            None => {
                let is_finished = record.last().is_some_and(|last| *last != 0);
                parsed.unfinished += 1;
                parsed.lost = if is_finished { parsed.unfinished } else { parsed.lost };
            }
        }
    }
    parsed
}

/// The body of a complete record.
fn body(record: &[u8], name: JournalName, kind: u8) -> Option<&[u8]> {
    let (crc, rest) = record.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != checksum(name, rest) {
        return None;
    }
    rest.strip_suffix(&END)?.strip_prefix(&[kind])
}

fn parse_mark(bytes: &[u8], name: JournalName) -> Option<Emptied> {
    let body = body(bytes, name, KIND_MARK)?;
    let (numbers, _) = body.split_first_chunk::<MARK_BYTES>()?;
    let mut numbers = numbers
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let (ordinal, epoch) = (numbers.next()?, BootEpoch(numbers.next()?));
    let (sequence, samples) = (Sequence(numbers.next()?), numbers.next()?);
    Some(Emptied { ordinal, written: Written { id: BatchId { epoch, sequence }, samples } })
}

fn parse_sample(record: &[u8], name: JournalName) -> Option<DraftedSample> {
    let body = body(record, name, KIND_SAMPLE)?;
    let (ordinal, body) = body.split_first_chunk::<4>()?;
    let (stream, body) = body.split_first_chunk::<2>()?;
    let ([is_unix], body) = body.split_first_chunk::<1>()?;
    let (t_ms, body) = body.split_first_chunk::<8>()?;
    let columns = body.len() / 3;
    let (words, marks) = body.split_at(columns * 2);
    Some(DraftedSample {
        stream: StreamNumber(u16::from_le_bytes(*stream)),
        ordinal: u32::from_le_bytes(*ordinal),
        t_ms: i64::from_le_bytes(*t_ms),
        base: if *is_unix == 1 { TimeBase::Unix } else { TimeBase::SinceBoot },
        words: words.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
        marks: marks.iter().map(|code| Mark::from_code(*code)).collect::<Option<_>>()?,
    })
}

/// The name is included, so that a block of another area that a disk returns here is refused.
fn checksum(name: JournalName, rest: &[u8]) -> u32 {
    crc32(&[&Area::Journal(name).to_bytes(), rest])
}
