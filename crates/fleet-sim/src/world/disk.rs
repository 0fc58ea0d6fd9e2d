//! A simulated disk: what is written, what of it is durable, and what a power cut leaves.
//!
//! One disk serves both halves of the product: the node's durable structures use it through
//! [`ecowatt_node::storage::Areas`], with a file for each area, and the server's database through
//! SQLite's VFS ([`ecowatt_vfs::Files`]). Contents and length of a file are durable after a sync of
//! the file, names after a sync of the names; nothing else makes a name durable, as in POSIX. After
//! a cut, each operation that was not synced is kept, lost, torn or, on flash, garbled, as the seed
//! decides for each of them alone, so in any order. Bytes outside the range of a torn write never
//! change (powersafe overwrite), and durable contents stay, unless the medium is made to fail on
//! purpose: [`Disk::lose_sector`], [`Disk::rot`] and [`Disk::close`].

mod contents;
mod flaws;
mod names;
mod power_cut;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contents::Contents;
use ecowatt_node::storage::{Area, Areas, Fault};
use names::Names;
use power_cut::Fates;

pub use crate::faults::UnsyncedDamage;
pub use flaws::Inaccessible;
pub use power_cut::Damage;

use crate::faults::kinds::{Fault as DiskFault, Occasion};
use crate::faults::weights::Weights;
use crate::random::Random;

/// The second stream of random numbers, besides the disk's own.
const GARBLING: u64 = 1;
/// Largest file. An offset beyond it is a fault of the writing code.
const FILE_BYTES_MAX: u64 = 1 << 40;

/// A handle on a disk; clones share it.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

/// Counts of what happened to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Operations that changed the disk or would have.
    pub operations: u64,
    pub cuts_between_operations: u64,
    pub cuts_in_write: u64,
    pub cuts_in_truncate: u64,
    pub cuts_in_remove: u64,
    pub cuts_in_sync: u64,
    pub cuts_in_sync_names: u64,
    /// Outcome of the operations that were not synced.
    pub damage: Damage,
    /// Writes without enough room.
    pub full: u64,
    /// Operations that a failing disk refused.
    pub failed: u64,
    /// Failures of the medium.
    pub sectors_lost: u64,
    pub bits_rotted: u64,
    pub files_closed: u64,
    /// Reads and writes that failed because of them.
    pub media_errors: u64,
}

/// A name and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    pub name: String,
    pub len: usize,
    /// Nothing was written since the last sync.
    pub is_durable: bool,
    /// The medium has damaged a part of it that was not rewritten since.
    pub is_flawed: bool,
}

/// Operations that change the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Write,
    Truncate,
    Remove,
    Sync,
    SyncNames,
}

/// A planned power cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Operations until the cut, including the one that is cut.
    operations: u64,
    /// How many bytes of it reach the disk, if it is a write; `None`: the seed decides.
    bytes: Option<usize>,
}

#[derive(Debug, Clone)]
struct State {
    random: Random,
    /// Decides which writes are garbled; only on flash.
    garbling: Option<Random>,
    /// How likely each kind of damage is.
    weights: Arc<Weights>,
    is_off: bool,
    /// Starts of the machine and of its processes; files opened before the latest one are closed.
    start: u64,
    names: Names,
    files: BTreeMap<u64, Contents>,
    /// The next number of a file or an operation.
    next: u64,
    /// Bytes of all files that have names.
    bytes: u64,
    cut: Option<Cut>,
    room: Option<u64>,
    is_failing: bool,
    counts: Counts,
}

impl Disk {
    /// Creates an empty disk; the seed determines what its power cuts leave.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed, 0),
            garbling: None,
            weights: Arc::new(Weights::calm()),
            is_off: false,
            start: 0,
            names: Names::default(),
            files: BTreeMap::new(),
            next: 0,
            bytes: 0,
            cut: None,
            room: None,
            is_failing: false,
            counts: Counts::default(),
        })))
    }

    /// Makes the disk flash whose cells may be half written at a power cut: a write that was not
    /// synced may be complete except for some changed bits.
    #[must_use]
    pub fn garbling(self, seed: u64) -> Self {
        self.state().garbling = Some(Random::new(seed, GARBLING));
        self
    }

    /// Sets how likely each kind of damage is.
    #[must_use]
    pub(crate) fn weighted(self, weights: &Arc<Weights>) -> Self {
        self.state().weights = Arc::clone(weights);
        self
    }

    /// Returns another disk with the same contents, synced and unsynced, and another seed.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let mut state = self.state().clone();
        state.random = Random::new(seed, 0);
        Self(Arc::new(Mutex::new(state)))
    }

    /// Cuts the power in the middle of the n-th changing operation (write, truncate, remove, sync,
    /// sync of the names) from here on; 0: immediately. Everything fails from then until a restart.
    pub fn cut_after(&self, operations: u64) {
        if operations == 0 {
            return self.cut();
        }
        self.state().cut = Some(Cut { operations, bytes: None });
    }

    /// Like [`Disk::cut_after`]; if the operation is a write, only its first `bytes` reach the
    /// disk.
    pub fn cut_within(&self, operations: u64, bytes: usize) {
        self.state().cut = Some(Cut { operations: operations.max(1), bytes: Some(bytes) });
    }

    /// Cancels [`Disk::cut_after`].
    pub fn cut_never(&self) {
        self.state().cut = None;
    }

    /// Cuts the power immediately.
    pub fn cut(&self) {
        let mut state = self.state();
        if !state.is_off {
            state.counts.cuts_between_operations += 1;
        }
        state.is_off = true;
        state.cut = None;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Restores the power; the seed decides what is left of operations that were not synced. Open
    /// files are closed. If the power was on, it is cut briefly.
    pub fn restart(&self) -> Damage {
        let mut state = self.state();
        let state = &mut *state;
        match state.weights.pick(Occasion::PowerCut, &mut state.random) {
            DiskFault::Cut(fate) => state.restart(fate),
            _ => state.restart(UnsyncedDamage::Mixed),
        }
    }

    /// Like [`Disk::restart`], with a given kind of damage.
    pub fn restart_with(&self, fate: UnsyncedDamage) -> Damage {
        self.state().restart(fate)
    }

    /// Restarts a process, but not the machine: everything written is there, and what was not
    /// synced still is not durable.
    pub fn restart_kept(&self) {
        let mut state = self.state();
        state.is_off = false;
        state.cut = None;
        state.start += 1;
    }

    /// Makes the disk full at this many bytes: a write stores what fits and fails.
    pub fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// Makes every changing operation fail without effect.
    pub fn set_failing(&self, is_failing: bool) {
        self.state().is_failing = is_failing;
    }

    /// Returns all files, by name.
    #[must_use]
    pub fn files(&self) -> Vec<FileState> {
        let state = self.state();
        let file = |(name, file): (&str, u64)| {
            let contents = state.files.get(&file)?;
            Some(FileState {
                name: name.to_owned(),
                len: usize::try_from(contents.len()).unwrap_or(usize::MAX),
                is_durable: contents.is_durable(),
                is_flawed: contents.is_flawed(),
            })
        };
        state.names.iter().filter_map(file).collect()
    }

    /// Makes the sector that contains this byte of a file unreadable until it is rewritten. Returns
    /// the sector's range.
    pub fn lose_sector(&self, name: &str, at: usize) -> Range<usize> {
        let sector = at / flaws::SECTOR;
        self.hurt(name, |contents, counts| {
            contents.flaws().lose(sector);
            counts.sectors_lost += 1;
        });
        sector * flaws::SECTOR..(sector + 1) * flaws::SECTOR
    }

    /// Flips bits of a byte; a later write of the byte repairs it.
    pub fn rot(&self, name: &str, at: usize, bits: u8) {
        self.hurt(name, |contents, counts| {
            contents.rot(at, bits);
            counts.bits_rotted += u64::from(bits.count_ones());
        });
    }

    /// Makes the contents of a file, or everything but its name, inaccessible for good.
    pub fn close(&self, name: &str, closed: Inaccessible) {
        self.hurt(name, |contents, counts| {
            contents.flaws().close(closed);
            counts.files_closed += 1;
        });
    }

    /// Returns the contents that a file would have on a sound medium.
    #[must_use]
    pub fn pristine(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        let contents = state.names.find(name).and_then(|file| state.files.get(&file));
        contents.map(Contents::pristine).unwrap_or_default()
    }

    fn hurt(&self, name: &str, hurt: impl FnOnce(&mut Contents, &mut Counts)) {
        let mut state = self.state();
        let state = &mut *state;
        let contents = state.names.find(name).and_then(|file| state.files.get_mut(&file));
        if let Some(contents) = contents {
            hurt(contents, &mut state.counts);
        }
    }

    /// Returns the counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Returns the bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Returns the bytes of the files whose names begin with `prefix`.
    #[must_use]
    pub fn bytes_of(&self, prefix: &str) -> u64 {
        let state = self.state();
        let files = state.names.iter().filter(|(name, _)| name.starts_with(prefix));
        files.filter_map(|(_, file)| state.files.get(&file)).map(Contents::len).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Adds the counts of another disk.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.cuts_between_operations += other.cuts_between_operations;
        self.cuts_in_write += other.cuts_in_write;
        self.cuts_in_truncate += other.cuts_in_truncate;
        self.cuts_in_remove += other.cuts_in_remove;
        self.cuts_in_sync += other.cuts_in_sync;
        self.cuts_in_sync_names += other.cuts_in_sync_names;
        self.damage.add(&other.damage);
        self.full += other.full;
        self.failed += other.failed;
        self.sectors_lost += other.sectors_lost;
        self.bits_rotted += other.bits_rotted;
        self.files_closed += other.files_closed;
        self.media_errors += other.media_errors;
    }

    /// Power cuts of all kinds.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.cuts_between_operations
            + self.cuts_in_write
            + self.cuts_in_truncate
            + self.cuts_in_remove
            + self.cuts_in_sync
            + self.cuts_in_sync_names
    }
}

/// How an operation is carried out.
enum Passage {
    Whole,
    /// The power fails in the middle; if given, this many bytes of a write reach the disk.
    Cut(Option<usize>),
}

fn off() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the power is off")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn place(offset: u64) -> io::Result<usize> {
    let is_within = offset <= FILE_BYTES_MAX;
    usize::try_from(offset)
        .ok()
        .filter(|_| is_within)
        .ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

impl State {
    fn restart(&mut self, fate: UnsyncedDamage) -> Damage {
        if !self.is_off {
            self.counts.cuts_between_operations += 1;
        }
        self.settle(fate)
    }

    fn powered(&self) -> io::Result<()> {
        if self.is_off { Err(off()) } else { Ok(()) }
    }

    /// Counts a changing operation and decides whether it fails or is cut.
    fn pass(&mut self, operation: Operation) -> io::Result<Passage> {
        self.powered()?;
        self.counts.operations += 1;
        if let Some(cut) = &mut self.cut {
            cut.operations -= 1;
            if cut.operations == 0 {
                let bytes = cut.bytes;
                self.cut = None;
                self.is_off = true;
                let counts = &mut self.counts;
                *match operation {
                    Operation::Write => &mut counts.cuts_in_write,
                    Operation::Truncate => &mut counts.cuts_in_truncate,
                    Operation::Remove => &mut counts.cuts_in_remove,
                    Operation::Sync => &mut counts.cuts_in_sync,
                    Operation::SyncNames => &mut counts.cuts_in_sync_names,
                } += 1;
                return Ok(Passage::Cut(bytes));
            }
        }
        if self.is_failing {
            self.counts.failed += 1;
            return Err(io::Error::other("the disk does not work"));
        }
        Ok(Passage::Whole)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn create(&mut self, name: &str) -> u64 {
        let file = self.number();
        self.files.insert(file, Contents::default());
        let number = self.number();
        self.names.change(name, Some(file), number);
        file
    }

    fn contents(&mut self, file: u64) -> io::Result<&mut Contents> {
        self.files.get_mut(&file).ok_or_else(missing)
    }

    /// Calls the medium under a file and counts its refusals.
    fn medium<T>(
        &mut self,
        file: u64,
        ask: impl FnOnce(&mut Contents) -> io::Result<T>,
    ) -> io::Result<T> {
        let answer = ask(self.contents(file)?);
        self.counts.media_errors += u64::from(answer.is_err());
        answer
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names.find(name).ok_or_else(missing)
    }

    /// `file` returns the file; it is called only once it is certain that the write is attempted.
    fn write(
        &mut self,
        file: impl FnOnce(&mut Self) -> u64,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let offset = place(offset)?;
        let passage = self.pass(Operation::Write)?;
        let file = file(self);
        let len = self.contents(file)?.len();
        let end = u64::try_from(offset.saturating_add(bytes.len())).unwrap_or(u64::MAX);
        let grown = end.saturating_sub(len);
        let room = self.room.map_or(u64::MAX, |room| room.saturating_sub(self.bytes));
        let beyond = usize::try_from(grown.saturating_sub(room)).unwrap_or(usize::MAX);
        let fitting = &bytes[..bytes.len().saturating_sub(beyond)];
        let number = self.number();
        let reached = match passage {
            Passage::Whole => None,
            Passage::Cut(reached) => reached,
        };
        self.medium(file, |contents| contents.takes(offset, fitting.len()))?;
        let contents = self.contents(file)?;
        if !fitting.is_empty() {
            contents.write(number, offset, fitting, reached);
        }
        let grown = contents.len().saturating_sub(len);
        self.bytes += grown;
        self.powered()?;
        if fitting.len() < bytes.len() {
            self.counts.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&mut self, file: u64, len: u64) -> io::Result<()> {
        let to = place(len)?;
        self.pass(Operation::Truncate)?;
        self.medium(file, |contents| contents.takes_cut(to))?;
        let number = self.number();
        let contents = self.contents(file)?;
        let before = contents.len();
        contents.truncate(number, to);
        self.bytes = self.bytes.saturating_sub(before).saturating_add(len);
        self.powered()
    }

    fn sync(&mut self, file: u64) -> io::Result<()> {
        if let Passage::Whole = self.pass(Operation::Sync)? {
            self.medium(file, |contents| contents.opens())?;
            self.contents(file)?.sync();
        }
        self.powered()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if let Passage::Whole = self.pass(Operation::SyncNames)? {
            for file in self.names.sync() {
                self.files.remove(&file);
            }
        }
        self.powered()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.powered()?;
        let file = self.find(name)?;
        self.pass(Operation::Remove)?;
        let len = self.contents(file)?.len();
        let number = self.number();
        // Its contents stay until the removal is durable.
        self.names.change(name, None, number);
        self.bytes = self.bytes.saturating_sub(len);
        self.powered()
    }

    /// Makes both names durable at once: a file system does not lose a file that it renames. A
    /// rename is never cut and draws no random number, so that the runs of undamaged disks do not
    /// depend on it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.powered()?;
        if self.is_failing {
            self.counts.failed += 1;
            return Err(io::Error::other("the disk does not work"));
        }
        let file = self.find(from)?;
        self.names.rename(from, to, file);
        Ok(())
    }

    /// Applies a power cut; everything that is left is durable.
    fn settle(&mut self, fate: UnsyncedDamage) -> Damage {
        let logs = self.files.values().flat_map(Contents::numbers);
        let (first, last) = logs
            .chain(self.names.numbers())
            .fold((u64::MAX, 0), |(first, last): (u64, u64), number| {
                (first.min(number), last.max(number))
            });
        let numbers = (first.min(last), last);
        let mut fates = Fates::new(fate, &mut self.random, self.garbling.as_mut(), numbers);
        self.names.settle(&mut fates);
        let mut files = std::mem::take(&mut self.files);
        self.bytes = 0;
        for (_, file) in self.names.iter() {
            if let Some(mut contents) = files.remove(&file) {
                contents.settle(&mut fates);
                self.bytes += contents.len();
                self.files.insert(file, contents);
            }
        }
        let damage = fates.damage();
        self.counts.damage.add(&damage);
        self.is_off = false;
        self.cut = None;
        self.start += 1;
        damage
    }
}

/// Converts the result of an operation for the node.
fn for_node<T>(work: impl FnOnce() -> io::Result<T>) -> Result<T, Fault> {
    work().map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => Fault::Full,
        io::ErrorKind::NotConnected => Fault::Closed,
        io::ErrorKind::InvalidData => Fault::Unreadable,
        _ => Fault::Failed,
    })
}

/// Prefix of files that were set aside: not the name of an area. They keep their flaws.
const ASIDE_PREFIX: &str = "bad-";

impl Areas for Disk {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        let state = self.state();
        for_node(|| state.powered())?;
        Ok(state.names.iter().filter_map(|(name, _)| name.parse().ok()).collect())
    }

    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        let mut state = self.state();
        for_node(|| state.powered())?;
        let Some(file) = state.names.find(&area.to_string()) else { return Ok(None) };
        for_node(|| state.medium(file, |contents| contents.known_len()).map(Some))
    }

    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut state = self.state();
        for_node(|| {
            state.powered()?;
            let (file, offset) = (state.find(&area.to_string())?, place(offset)?);
            state.medium(file, |contents| contents.read(offset, buffer))
        })
    }

    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        let (name, mut state) = (area.to_string(), self.state());
        let found = state.names.find(&name);
        let end = found.and_then(|file| state.files.get(&file)).map_or(0, Contents::len);
        let file = |state: &mut State| found.unwrap_or_else(|| state.create(&name));
        for_node(|| {
            let written = state.write(file, end, bytes);
            if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
                // As the agent's folder does: the bytes that fitted would take room from later
                // writes.
                let file = state.find(&name)?;
                state.truncate(file, end)?;
            }
            written
        })
    }

    /// Also syncs names that are not durable, as the agent's folder does.
    fn sync(&self, area: Area) -> Result<(), Fault> {
        let mut state = self.state();
        for_node(|| {
            state.powered()?;
            let file = state.find(&area.to_string())?;
            state.sync(file)?;
            let are_names_durable = state.names.numbers().next().is_none();
            if are_names_durable { Ok(()) } else { state.sync_names() }
        })
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        for_node(|| self.state().remove(&area.to_string()))
    }

    fn settle(&self) -> Result<(), Fault> {
        let mut state = self.state();
        for_node(|| {
            state.powered()?;
            let are_names_durable = state.names.numbers().next().is_none();
            if are_names_durable { Ok(()) } else { state.sync_names() }
        })
    }

    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        let mut state = self.state();
        let to = format!("{ASIDE_PREFIX}{}-{area}", state.number());
        for_node(|| state.rename(&area.to_string(), &to))
    }
}

/// A file that SQLite has opened.
#[derive(Debug)]
pub struct OpenFile {
    disk: Disk,
    file: u64,
    /// The start of the machine at which it was opened.
    start: u64,
}

impl OpenFile {
    /// The disk, if the file has not been closed by a restart.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        state.powered()?;
        if state.start == self.start { Ok(state) } else { Err(off()) }
    }
}

impl ecowatt_vfs::Files for Disk {
    type File = OpenFile;

    fn open(&self, name: &str, creates: bool) -> io::Result<OpenFile> {
        let mut state = self.state();
        state.powered()?;
        let file = match state.names.find(name) {
            Some(file) => file,
            None if !creates => return Err(missing()),
            None if state.is_failing => {
                state.counts.failed += 1;
                return Err(io::Error::other("the disk does not work"));
            }
            None => state.create(name),
        };
        let start = state.start;
        drop(state);
        Ok(OpenFile { disk: self.clone(), file, start })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.state().sync_names()
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        let state = self.state();
        state.powered()?;
        Ok(state.names.find(name).is_some())
    }
}

impl ecowatt_vfs::File for OpenFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = place(offset)?;
        self.state()?.medium(self.file, |contents| contents.read(offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.state()?.write(|_| self.file, offset, bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.state()?.truncate(self.file, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.state()?.sync(self.file)
    }

    fn size(&self) -> io::Result<u64> {
        self.state()?.medium(self.file, |contents| contents.known_len())
    }
}
