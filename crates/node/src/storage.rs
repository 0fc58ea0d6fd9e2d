//! Everything a device keeps across a power cut.
//!
//! Four structures, each recoverable from a cut at any byte of any write: the [`Ledger`] (identity,
//! boot epoch, reserved counters), the slots of the device core, the [`Draft`] journal (samples
//! that are in no batch yet) and the [`Spool`] (batches that the server has not acknowledged). A
//! sample is written to the draft before it is put into a batch, the batch is in the spool before
//! the draft forgets the sample, and the spool frees a batch only after an acknowledgement. Samples
//! that a cut left in the draft become batches of their own epoch before any later batch is
//! persisted, so batch ids only ever grow.
//!
//! A medium may fail anywhere: only what is unreadable is lost. The loss is reported to the server
//! as a gap, and once to the caller as [`Damage`].

mod areas;
mod bad_reads;
mod checksum;
mod damage;
mod draft;
mod epoch_starts;
mod failed_write;
mod ledger;
mod slots;
mod spool;
mod two_copies;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ecowatt_codec::{Batch as Table, CodecMemory, Decoder, TimeBase, encode, encoded_len_max};
use ecowatt_device::limits::PLAUSIBLE_UNIX_MS;
use ecowatt_device::{Sample, Slot, batch_bytes_max, batch_rows_max};
use ecowatt_model::{
    BatchId, BootEpoch, COLUMNS_MAX, Mark, MonoMs, Sequence, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_wire::{BootReason, EpochStart, LAYOUT_MAX};

use bad_reads::answers_elsewhere;
use slots::Slots;

pub use areas::{AREA_BYTES, Area, Areas, Fault, JournalName, SmallArea, UnknownArea};
pub(crate) use checksum::crc32;
pub use damage::Damage;
pub use draft::{Draft, DraftError, DraftedSample, FirstLeft, LeftJournal};
pub use epoch_starts::{EpochStarts, STARTS_MAX};
pub use failed_write::Postponed;
pub use ledger::{Identity, Ledger, LedgerError, PendingEnrolment, Record, Stream};
pub use spool::{
    Batch, BatchRange, Dropped, SPOOL_BYTES_MIN, SendOrder, Spool, SpoolError, SpoolReport,
    SpoolWitness, spool_bytes_min,
};
pub use two_copies::{PairState, TwoCopies};

/// Why something could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error("{} cannot be kept", .0.name())]
    Slot(Slot, #[source] Fault),
    #[error("layout cannot be {0}")]
    Layout(&'static str, #[source] Fault),
}

/// All structures of one boot epoch, and the layouts that batches refer to.
#[derive(Debug)]
pub struct Storage<D> {
    disk: D,
    pub ledger: Ledger<D>,
    spool: Spool<D>,
    draft: Draft<D>,
    message_bytes_max: usize,
    /// The layouts in use, one for each source: their files are written again if they are lost.
    current: Vec<CurrentLayout>,
    /// Whether all samples of earlier epochs are in batches. False until a recovery has succeeded;
    /// it is tried before each batch.
    is_recovered: bool,
    /// Batches from this one on are not sent, because a journal may have their samples.
    unsettled_from: Option<BatchId>,
    starts: EpochStarts,
    slots: Slots<D>,
    recovered: Vec<Recovered>,
    damage: Vec<Damage>,
    postponed: Vec<Postponed>,
}

#[derive(Debug)]
struct CurrentLayout {
    source: SourceNumber,
    number: StreamNumber,
    bytes: Vec<u8>,
}

/// Entries kept for [`Storage::take_damage`]; later ones are discarded.
const DAMAGE_MAX: usize = 64;
/// Failed writes kept for [`Storage::take_postponed`]; each retry may add one.
const POSTPONED_MAX: usize = 8;

/// A batch made of samples that an earlier epoch left in the draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    pub id: BatchId,
    pub source: SourceNumber,
    pub stream: StreamNumber,
    pub rows: u16,
    pub last_ordinal: u32,
}

/// Batches that are not sent yet.
struct HeldBack {
    /// From this one on.
    from: Option<BatchId>,
    /// From these samples on.
    left: Vec<FirstLeft>,
}

impl HeldBack {
    fn has<B>(&self, batch: &Batch<B>) -> bool {
        let is_left = |left: &FirstLeft| {
            (left.source, left.epoch) == (batch.source, batch.id.epoch)
                && left.ordinal <= batch.last_ordinal
        };
        self.from.is_some_and(|from| from <= batch.id) || self.left.iter().any(is_left)
    }
}

/// A stream that a message announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLayout {
    pub number: StreamNumber,
    pub source: SourceNumber,
    pub bytes: Vec<u8>,
}

/// Contents of a message.
#[derive(Debug, Default)]
pub struct MessageContents {
    pub batches: Vec<Batch>,
    pub layouts: Vec<StreamLayout>,
    /// Requested layouts that do not exist or can no longer be read.
    pub lost: Vec<StreamNumber>,
    pub dropped: Vec<Dropped>,
}

impl<D: Areas + Clone> Storage<D> {
    /// Starts a boot epoch and recovers what the previous one left, as far as the disk allows.
    pub fn start(
        mut ledger: Ledger<D>,
        disk: D,
        spool_bytes: u64,
        message_bytes_max: usize,
    ) -> Result<(Self, BootEpoch, BootReason), StorageError> {
        let reason = match (ledger.record().epoch, ledger.record().is_stopped) {
            (0, _) => BootReason::First,
            (_, true) => BootReason::Clean,
            (_, false) => BootReason::Unclean,
        };
        let (spool, opened) = Spool::open(disk.clone(), spool_bytes);
        // The ledger may have fallen back to an older copy. The new epoch must still be above all
        // epochs that the spool and the draft know.
        let is_damaged = ledger.is_damaged();
        let known = spool.last().map(|last| last.epoch).max(Draft::last_epoch(&disk));
        let epoch = ledger.start_epoch(known)?;
        let draft = Draft::open(disk.clone(), epoch);
        let slots = Slots::open(&disk);
        let mut storage = Self {
            disk,
            ledger,
            spool,
            draft,
            message_bytes_max,
            current: Vec::new(),
            is_recovered: false,
            unsettled_from: None,
            starts: EpochStarts::default(),
            slots,
            recovered: Vec::new(),
            damage: Vec::new(),
            postponed: Vec::new(),
        };
        storage.starts = storage.ledger.record().starts.clone();
        if is_damaged {
            storage.damage.push(Damage::Ledger);
        }
        storage.damage.extend(storage.slots.damaged().map(Damage::Slot));
        if let Err(error) =
            opened.map_err(StorageError::from).and_then(|()| storage.recover_drafts())
        {
            // The samples stay in the draft; recovery is tried again before the next batch.
            storage.postpone(Postponed::Recovery(error));
        }
        storage.look_back(epoch);
        Ok((storage, epoch, reason))
    }

    /// Records where the current epoch began, and the monotonic clock at that time. If that cannot
    /// be made durable, it is tried again before the next batch.
    pub fn place(&mut self, epoch: (BootEpoch, MonoMs), start: EpochStart) {
        let is_news = self.starts.place(self.ledger.first_epoch(), epoch, start);
        if is_news && let Err(error) = self.keep_starts() {
            self.postpone(Postponed::Start(error));
        }
    }

    /// Whether the system clock may be right. An epoch cannot begin before the confirmed end of an
    /// earlier one.
    pub fn is_possible(&self, system: UnixMs) -> bool {
        self.starts.earliest().is_none_or(|earliest| system >= earliest)
    }

    /// The best estimate of the time of day at a start.
    pub fn estimate(&self, system: Option<UnixMs>) -> Option<UnixMs> {
        let is_set = |unix: &UnixMs| unix.0 >= PLAUSIBLE_UNIX_MS && self.is_possible(*unix);
        system.filter(is_set).or_else(|| self.starts.latest())
    }

    /// Contents of a slot of the core.
    pub fn kept(&self, slot: Slot) -> Option<&[u8]> {
        self.slots.kept(slot)
    }

    /// Makes the contents of a slot durable; on an error the former contents still count.
    pub fn keep(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError> {
        self.slots.keep(slot, bytes).map_err(|error| StorageError::Slot(slot, error))
    }

    /// Starts of the boot epochs.
    pub fn starts(&self) -> &EpochStarts {
        &self.starts
    }

    fn keep_starts(&mut self) -> Result<(), StorageError> {
        if self.ledger.record().starts == self.starts {
            return Ok(());
        }
        let record = Record { starts: self.starts.clone(), ..self.ledger.record().clone() };
        Ok(self.ledger.store(record)?)
    }

    /// Learns from the spool how long the last epoch lasted, and which epochs have no waiting
    /// batches.
    fn look_back(&mut self, present: BootEpoch) {
        let (mut oldest, mut newest) = (None, None);
        // This order begins with the newest batch, so the oldest is the second.
        let oldest_seen = self
            .spool
            .offer(SendOrder::BacklogOldestFirst, |batch| oldest.replace(batch.id.epoch).is_none());
        let newest_seen = self.spool.offer(SendOrder::BacklogNewestFirst, |batch| {
            newest = Some((batch.id.epoch, batch.bytes.to_vec()));
            false
        });
        // If the spool cannot be read, an estimate is less accurate and old epochs stay in memory.
        if let (Ok(_), Ok(_)) = (oldest_seen, newest_seen) {
            if let Some((epoch, bytes)) = newest {
                let last = last_of(&bytes, self.starts.of(epoch).unix);
                self.starts.lasted(epoch, last.unwrap_or_default());
            }
            if self.is_recovered {
                self.starts.forget_before(oldest.unwrap_or(present));
            }
        }
    }

    /// Ends the epoch in good order and returns the ledger.
    pub fn stop(mut self) -> Result<Ledger<D>, StorageError> {
        self.ledger.stop()?;
        Ok(self.ledger)
    }

    /// Returns the ledger for another epoch.
    pub fn into_ledger(self) -> Ledger<D> {
        self.ledger
    }

    /// Makes a sample durable.
    pub fn draft(&mut self, sample: &Sample<'_>) -> Result<(), StorageError> {
        Ok(self.draft.append(sample, self.spool.newest())?)
    }

    /// Makes a batch durable; the draft then forgets its samples.
    pub fn persist(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.recover_drafts()?;
        self.keep_starts()?;
        self.unsettle(batch.id);
        self.spool.append(batch)?;
        let witness = SpoolWitness {
            source: batch.source,
            ordinal: batch.last_ordinal,
            id: batch.id,
            samples: self.spool.samples(),
        };
        if let Err(error) = self.draft.forget(witness) {
            // The samples are in the spool, which covers their ordinals. The batch is not sent until
            // they have left the draft.
            self.postpone(Postponed::Emptying(error.into()));
        }
        Ok(())
    }

    /// Makes a batch, with this id, of durable samples of the current epoch that left the memory
    /// before they were in a batch, because no batch could be persisted. They come before sample
    /// `first` of their source. Only samples like the oldest one are taken; the others are left to
    /// the next call.
    pub fn left_behind(
        &self,
        id: BatchId,
        source: SourceNumber,
        first: u32,
    ) -> Result<Option<Batch>, StorageError> {
        let covered = self.spool.covered(source, id.epoch);
        if first <= covered.saturating_add(1) {
            return Ok(None);
        }
        let mut samples = match self.draft.read(source) {
            Ok(samples) => samples,
            // Unreadable samples are lost, unless the whole disk is failing for a while.
            Err(_) if answers_elsewhere(&self.disk, None) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        samples.retain(|sample| covered < sample.ordinal && sample.ordinal < first);
        let (table, _) = self.alike(&samples);
        Ok(self.batch_of(id, source, table, &mut Box::new(CodecMemory::NEW)))
    }

    /// Forgets acknowledged batches.
    pub fn free(&mut self, ranges: &[BatchRange]) -> Result<(), StorageError> {
        Ok(self.spool.free(ranges)?)
    }

    /// Notes that a journal may have samples of this batch, or of later ones.
    fn unsettle(&mut self, id: BatchId) {
        self.unsettled_from = Some(self.unsettled_from.map_or(id, |from| from.min(id)));
    }

    /// Makes sure that no journal has samples of batches. Returns which batches are not sent, since
    /// that failed: the medium may lose what the spool knows of them, and a later start would then
    /// put their samples into batches again.
    fn settle(&mut self) -> Result<HeldBack, StorageError> {
        let settled =
            self.recover_drafts().and_then(|()| self.draft.settle().map_err(StorageError::from));
        match settled {
            Ok(()) => self.unsettled_from = None,
            Err(error) => self.postpone(Postponed::Emptying(error)),
        }
        let left = if self.is_recovered { Vec::new() } else { self.draft.first_left()? };
        Ok(HeldBack { from: self.unsettled_from, left })
    }

    /// Returns batches for a message, at most `bytes_max` bytes of them, and the requested layouts.
    pub fn offer(
        &mut self,
        order: SendOrder,
        bytes_max: usize,
        announced: &[StreamNumber],
    ) -> Result<MessageContents, StorageError> {
        let mut offer = self.offer_no_batches(announced)?;
        let mut bytes = 0;
        let sendable = batch_bytes_max(self.message_bytes_max);
        let mut is_one_too_large = false;
        let held_back = self.settle()?;
        let batches = &mut offer.batches;
        let read = self.spool.offer(order, |batch| {
            if held_back.has(&batch) {
                return true;
            }
            if batch.bytes.len() > sendable {
                is_one_too_large = true;
                return true;
            }
            bytes += batch.bytes.len();
            let is_taken = bytes <= bytes_max && batches.len() < ecowatt_wire::ITEMS_MAX;
            if is_taken {
                batches.push(batch.into_owned());
            }
            is_taken
        });
        if is_one_too_large {
            // It can never be sent: no message will have room for it.
            self.spool.give_up(|batch| batch.bytes.len() > sendable)?;
        }
        if offer.batches.is_empty() {
            read?;
        }
        Ok(offer)
    }

    /// Returns the requested layouts, for a message that carries no batches.
    pub fn offer_no_batches(
        &mut self,
        announced: &[StreamNumber],
    ) -> Result<MessageContents, StorageError> {
        let mut offer = MessageContents {
            dropped: self.spool.offer_drops().to_vec(),
            ..MessageContents::default()
        };
        for number in announced {
            let known = self.ledger.record().streams.iter().find(|s| s.number == number.0);
            let source = known.map(|stream| SourceNumber(stream.source));
            if let (Some(source), Some(layout)) = (source, self.find_layout(*number)?) {
                offer.layouts.push(StreamLayout { number: *number, source, bytes: layout });
                continue;
            }
            offer.lost.push(*number);
            // The server cannot decode the batches without their layout. It may also ask for one
            // that this device never had.
            if self.spool.may_need(*number) {
                self.damage.push(Damage::Layout(*number));
                self.spool.give_up(|batch| batch.stream == *number)?;
            }
        }
        Ok(offer)
    }

    /// Returns a layout if it can be read or is in use.
    fn find_layout(&mut self, number: StreamNumber) -> Result<Option<Vec<u8>>, StorageError> {
        let read = self.layout(number);
        if let Ok(Some(layout)) = read {
            return Ok(Some(layout));
        }
        let is_lost = read.is_ok() || answers_elsewhere(&self.disk, Some(Area::Layout(number)));
        let current = self.current.iter().find(|layout| layout.number == number);
        let Some(layout) = current.map(|layout| layout.bytes.clone()) else {
            return if is_lost { Ok(None) } else { read };
        };
        if is_lost {
            // If the disk does not take it, the next request or start writes it.
            let _ = self.renew_layout(number, &layout);
        }
        Ok(Some(layout))
    }

    /// Writes a layout again whose file is lost or damaged.
    fn renew_layout(&mut self, number: StreamNumber, layout: &[u8]) -> Result<(), StorageError> {
        let area = Area::Layout(number);
        if !matches!(self.disk.len(area), Ok(None)) {
            self.damage.push(Damage::Layout(number));
            let _ = self.disk.set_aside(area);
        }
        self.write_layout(number, layout)
    }

    /// Returns the number of a source's layout, and whether the layout is new.
    pub fn stream(
        &mut self,
        source: SourceNumber,
        layout: &[u8],
    ) -> Result<(StreamNumber, bool), StorageError> {
        let (number, is_first) = self.number_layout(source, layout)?;
        self.current.retain(|current| current.source != source);
        self.current.push(CurrentLayout { source, number, bytes: layout.to_vec() });
        Ok((number, is_first))
    }

    fn number_layout(
        &mut self,
        source: SourceNumber,
        layout: &[u8],
    ) -> Result<(StreamNumber, bool), StorageError> {
        let fingerprint = fingerprint(layout);
        let streams = self.ledger.record().streams.iter();
        let known = streams.rev().find(|s| s.source == source.0 && s.layout == fingerprint);
        if let Some(number) = known.map(|stream| StreamNumber(stream.number)) {
            if self.layout(number).ok().flatten().as_deref() != Some(layout) {
                self.renew_layout(number, layout)?;
            }
            return Ok((number, false));
        }
        // A power cut before the layout is complete leaves a number that no sample refers to.
        let spool = &self.spool;
        let number =
            self.ledger.add_stream(source, fingerprint, |stream| spool.may_need(stream))?;
        self.write_layout(number, layout)?;
        Ok((number, true))
    }

    fn write_layout(&mut self, number: StreamNumber, layout: &[u8]) -> Result<(), StorageError> {
        let failed = |error| StorageError::Layout("written", error);
        self.disk.replace(Area::Layout(number), layout).map_err(failed)
    }

    /// Erases the layouts that no inverter uses and no batch needs.
    pub fn forget_layouts(&mut self, present: &[StreamNumber]) {
        if !self.is_recovered {
            return;
        }
        for area in self.disk.list().unwrap_or_default() {
            if let Area::Layout(number) = area
                && !present.contains(&number)
                && !self.spool.may_need(number)
            {
                // A layout that cannot be erased does no harm.
                let _ = self.disk.erase(area);
            }
        }
    }

    /// Returns what was lost or set aside since the last call.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        let mut damage = core::mem::take(&mut self.damage);
        damage.extend(self.spool.take_damage());
        damage.truncate(DAMAGE_MAX);
        damage
    }

    /// Returns the writes that failed since the last call and will be retried.
    pub fn take_postponed(&mut self) -> Vec<Postponed> {
        core::mem::take(&mut self.postponed)
    }

    fn postpone(&mut self, what: Postponed) {
        if self.postponed.len() < POSTPONED_MAX {
            self.postponed.push(what);
        }
    }

    /// The server knows the first `count` gaps that were offered.
    pub fn drops_are_known(&mut self, count: usize) {
        self.spool.drops_are_known(count);
    }

    /// Contents and losses of the spool.
    pub fn report(&self) -> SpoolReport {
        self.spool.report()
    }

    /// Returns the batches made of what earlier epochs left in the draft, since the last call.
    pub fn take_recovered(&mut self) -> Vec<Recovered> {
        core::mem::take(&mut self.recovered)
    }

    /// Bytes on the heap, without what the `take_` functions will return.
    pub fn memory_bytes(&self) -> usize {
        self.ledger.memory_bytes()
            + self.starts.memory_bytes()
            + self.slots.memory_bytes()
            + self.spool.memory_bytes()
            + self.draft.memory_bytes()
            + self.current.capacity() * size_of::<CurrentLayout>()
            + self.current.iter().map(|layout| layout.bytes.capacity()).sum::<usize>()
    }

    /// Upper limit of [`Storage::memory_bytes`] between calls, with a spool of this limit and this
    /// many sources.
    #[must_use]
    pub const fn memory_bytes_max(spool_bytes: u64, sources: usize) -> usize {
        Ledger::<D>::memory_bytes_max()
            + EpochStarts::memory_bytes_max()
            + Slots::<D>::memory_bytes_max()
            + Spool::<D>::memory_bytes_max(spool_bytes)
            + Draft::<D>::memory_bytes_max()
            // A list has room for up to twice its entries, and at least for four.
            + (2 * sources + 4) * size_of::<CurrentLayout>()
            + sources * LAYOUT_MAX
    }

    /// Returns a layout if it exists and is undamaged.
    fn layout(&self, number: StreamNumber) -> Result<Option<Vec<u8>>, StorageError> {
        let known = self.ledger.record().streams.iter().find(|s| s.number == number.0);
        let Some(fingerprinted) = known.map(|stream| stream.layout) else { return Ok(None) };
        let read = self.disk.read(Area::Layout(number), LAYOUT_MAX);
        let layout = read.map_err(|error| StorageError::Layout("read", error))?;
        Ok(layout.filter(|layout| fingerprint(layout) == fingerprinted))
    }

    /// Puts samples that earlier epochs left in the draft into batches of those epochs.
    fn recover_drafts(&mut self) -> Result<(), StorageError> {
        if self.is_recovered {
            return Ok(());
        }
        self.spool.reopen()?;
        // A journal may know of batches that the spool has lost. They are a gap, and no later batch
        // may reuse their ids.
        for witness in self.draft.witnesses()? {
            self.spool.hear(witness);
        }
        let mut codec: Option<Box<CodecMemory>> = None;
        while let Some(mut left) = self.draft.recover()? {
            let (epoch, source) = (left.name.epoch, left.name.source);
            if left.is_damaged {
                self.damage.push(Damage::Journal { epoch, source });
            }
            // A cut between the writes to spool and draft leaves samples that are already in
            // batches.
            left.samples.retain(|sample| !self.spool.covers(source, epoch, sample.ordinal));
            let mut rest = left.samples.as_slice();
            while !rest.is_empty() {
                let (table, later) = self.alike(rest);
                rest = later;
                let codec = codec.get_or_insert_with(|| Box::new(CodecMemory::NEW));
                let id = self.spool.next_recovered(epoch, self.draft.epoch());
                if let Some(batch) = self.batch_of(id, source, table, codec) {
                    self.spool.append(&batch)?;
                    let Batch { id, source, stream, rows, last_ordinal, .. } = batch;
                    self.recovered.push(Recovered { id, source, stream, rows, last_ordinal });
                }
            }
            self.spool.lose_unbatched(epoch, left.lost)?;
            // Last: after a cut before this the recovery is repeated, and skips what the spool
            // covers.
            self.unsettle(BatchId { epoch, sequence: Sequence(0) });
            self.draft.remove(&left)?;
        }
        self.is_recovered = true;
        Ok(())
    }

    /// Splits the samples after the first run that fits into one batch.
    fn alike<'s>(
        &self,
        samples: &'s [DraftedSample],
    ) -> (&'s [DraftedSample], &'s [DraftedSample]) {
        let Some(first) = samples.first() else { return (samples, samples) };
        let rows_max = batch_rows_max(first.words.len(), self.message_bytes_max);
        let is_alike = |sample: &&DraftedSample| sample.is_alike(first);
        samples.split_at(samples.iter().take_while(is_alike).take(rows_max).count())
    }

    fn batch_of(
        &self,
        id: BatchId,
        source: SourceNumber,
        samples: &[DraftedSample],
        codec: &mut CodecMemory,
    ) -> Option<Batch> {
        let (first, last) = (samples.first()?, samples.last()?);
        let columns = first.words.len();
        let times: Vec<i64> = samples.iter().map(|sample| sample.t_ms).collect();
        let words: Vec<u16> = samples.iter().flat_map(|s| s.words.iter().copied()).collect();
        let marks: Vec<_> = samples.iter().flat_map(|s| s.marks.iter().copied()).collect();
        let table =
            Table { base: first.base, columns, times: &times, words: &words, marks: Some(&marks) };
        let mut bytes = vec![0; encoded_len_max(samples.len(), columns)];
        let len = encode::<{ ecowatt_codec::COLUMNS_MAX }>(&table, codec, &mut bytes).ok()?;
        bytes.truncate(len);
        Some(Batch {
            id,
            source,
            stream: first.stream,
            rows: u16::try_from(samples.len()).ok()?,
            last_ordinal: last.ordinal,
            bytes,
        })
    }
}

impl DraftedSample {
    fn is_alike(&self, other: &Self) -> bool {
        self.stream == other.stream
            && self.base == other.base
            && self.words.len() == other.words.len()
    }
}

/// The time of a batch's last sample, by the monotonic clock of its epoch.
fn last_of(bytes: &[u8], start: UnixMs) -> Option<MonoMs> {
    let mut state: Box<CodecMemory> = Box::new(CodecMemory::NEW);
    let mut decoder = Decoder::new(bytes, &mut state).ok()?;
    let (base, columns) = (decoder.base(), decoder.columns());
    let (mut words, mut marks) = ([0; COLUMNS_MAX], [Mark::Read; COLUMNS_MAX]);
    let mut last = None;
    while let Some(time) = decoder.next_row(&mut words[..columns], &mut marks[..columns]).ok()? {
        last = Some(time);
    }
    let last = match base {
        TimeBase::SinceBoot => last?,
        TimeBase::Unix => last?.saturating_sub(start.0),
    };
    u64::try_from(last).ok().map(MonoMs)
}

/// Distinguishes layouts, and a damaged one from the original (FNV-1a, 64 bits).
fn fingerprint(layout: &[u8]) -> i64 {
    let hash = layout.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

/// Bytes allocated by a vector.
pub(crate) fn held<T>(vector: &Vec<T>) -> usize {
    vector.capacity() * size_of::<T>()
}

/// Upper limit of the bytes allocated by a vector that grew to `len_max` elements.
pub(crate) const fn grown<T>(len_max: usize) -> usize {
    // A vector's capacity doubles, from four elements.
    2 * if len_max > 4 { len_max } else { 4 } * size_of::<T>()
}
