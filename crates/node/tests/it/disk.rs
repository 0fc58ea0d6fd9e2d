//! A disk in memory that remembers every operation, so that a power cut can be placed at each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use ecowatt_node::storage::{Disk, Fault};

/// One operation that changed or was to change the disk.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { name: String, offset: usize, bytes: Vec<u8> },
    Truncate { name: String, len: usize },
    Remove(String),
    Rename(String, String),
    Sync(String),
    SyncNames,
}

#[derive(Debug, Clone, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    is_named: bool,
    is_removed: bool,
}

impl Platter {
    /// Names and lengths of all files.
    pub(crate) fn files(&self) -> Vec<(String, usize)> {
        let files = self.0.iter().filter(|(_, file)| !file.is_removed);
        files.map(|(name, file)| (name.clone(), file.seen.len())).collect()
    }
}

/// Contents before and after the last syncs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter(BTreeMap<String, File>);

impl Unsynced {
    pub(crate) const ALL: [Self; 3] = [Self::Kept, Self::Lost, Self::Holes];
}

/// What a power cut does to operations that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// They reached the disk in their order.
    Kept,
    /// They are lost, all but what was written last.
    Lost,
    /// They reached the disk, and the file has its length; what did not get there is zeros.
    Holes,
}

impl Platter {
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { name, offset, bytes } => {
                let file = self.0.entry(name.clone()).or_default();
                if file.is_removed {
                    file.is_removed = false;
                    file.seen.clear();
                }
                let end = offset + bytes.len();
                if file.seen.len() < end {
                    file.seen.resize(end, 0);
                }
                file.seen[*offset..end].copy_from_slice(bytes);
            }
            Op::Truncate { name, len } => {
                if let Some(file) = self.0.get_mut(name) {
                    file.seen.resize(*len, 0);
                }
            }
            Op::Remove(name) => {
                if let Some(file) = self.0.get_mut(name) {
                    file.is_removed = true;
                }
            }
            Op::Rename(from, to) => {
                if let Some(file) = self.0.get_mut(from) {
                    let moved = File { is_named: true, is_removed: false, ..file.clone() };
                    file.is_removed = true;
                    self.0.insert(to.clone(), moved);
                }
            }
            Op::Sync(name) => {
                if let Some(file) = self.0.get_mut(name) {
                    file.durable.clone_from(&file.seen);
                }
            }
            Op::SyncNames => {
                self.0.retain(|_, file| !file.is_removed);
                self.0.values_mut().for_each(|file| file.is_named = true);
            }
        }
    }

    /// What is found after a cut in the middle of `torn`, of which `bytes` bytes were written.
    pub(crate) fn cut(&self, torn: &Op, bytes: usize, unsynced: Unsynced) -> Self {
        let mut left = self.clone();
        if unsynced == Unsynced::Lost {
            left.0.retain(|_, file| file.is_named);
            for file in left.0.values_mut() {
                file.seen.clone_from(&file.durable);
                file.is_removed = false;
            }
        }
        match torn {
            Op::Write { name, offset, bytes: whole } => {
                let has_holes = unsynced == Unsynced::Holes;
                let mut bytes = whole[..bytes].to_vec();
                if has_holes {
                    bytes.resize(whole.len(), 0);
                }
                if !bytes.is_empty() {
                    left.apply(&Op::Write { name: name.clone(), offset: *offset, bytes });
                }
            }
            Op::Truncate { .. } | Op::Remove(_) | Op::Rename(..) if bytes > 0 => left.apply(torn),
            Op::Truncate { .. } | Op::Remove(_) | Op::Rename(..) | Op::Sync(_) | Op::SyncNames => {}
        }
        left.0.retain(|_, file| !file.is_removed);
        for file in left.0.values_mut() {
            file.durable.clone_from(&file.seen);
            file.is_named = true;
        }
        left
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.values().map(|file| file.seen.len()).sum()
    }
}

impl Op {
    /// Places where it can be cut: every byte of a write, before and after anything else.
    pub(crate) fn cuts(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len() + 1,
            Self::Truncate { .. } | Self::Remove(_) | Self::Rename(..) => 2,
            Self::Sync(_) | Self::SyncNames => 1,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    platter: Platter,
    ops: Vec<Op>,
    room: Option<usize>,
    is_failing: bool,
    /// Sectors that cannot be read: the file's name, and from where to where.
    bad: Option<(String, std::ops::Range<usize>)>,
    /// What cannot be read or written any more, whatever is done with it.
    dead: Option<String>,
    /// Of what nothing but the name is known.
    closed: Option<String>,
    /// One read gives this much at most.
    read_max: Option<usize>,
}

/// A handle on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestDisk(Arc<Mutex<Inner>>);

impl TestDisk {
    pub(crate) fn holding(platter: Platter) -> Self {
        Self(Arc::new(Mutex::new(Inner { platter, ..Inner::default() })))
    }

    /// All that is on it.
    pub(crate) fn platter(&self) -> Platter {
        self.inner().platter.clone()
    }

    /// Operations so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.inner().ops.clone()
    }

    pub(crate) fn op_count(&self) -> usize {
        self.inner().ops.len()
    }

    /// Lets the disk be full at this many bytes.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.inner().room = room;
    }

    /// Lets every read, sync, cut and removal fail; what is written gets there all the same.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.inner().is_failing = is_failing;
    }

    /// Lets these bytes of a file be unreadable, wherever it is renamed to.
    pub(crate) fn set_bad(&self, name: &str, range: std::ops::Range<usize>) {
        self.inner().bad = Some((name.to_owned(), range));
    }

    /// Lets whatever is done with a file's contents fail.
    pub(crate) fn set_dead(&self, name: &str) {
        self.inner().dead = Some(name.to_owned());
    }

    /// As [`TestDisk::set_dead`], and nothing can be learned about it.
    pub(crate) fn set_closed(&self, name: &str) {
        self.set_dead(name);
        self.inner().closed = Some(name.to_owned());
    }

    /// Lets a file be gone.
    pub(crate) fn lose(&self, name: &str) {
        self.inner().platter.0.remove(name);
    }

    /// Lets one read give so many bytes at most.
    pub(crate) fn set_read_max(&self, read_max: usize) {
        self.inner().read_max = Some(read_max);
    }

    /// Puts another byte where one is.
    pub(crate) fn flip(&self, name: &str, at: usize, bits: u8) {
        let mut inner = self.inner();
        let file = inner.platter.0.get_mut(name).unwrap();
        file.seen[at] ^= bits;
        file.durable.clone_from(&file.seen);
    }

    fn lives(&self, name: &str) -> Result<(), Fault> {
        let is_dead = self.inner().dead.as_deref() == Some(name);
        if is_dead { Err(Fault::Unreadable) } else { Ok(()) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.inner().platter.bytes()
    }

    fn works(&self) -> Result<(), Fault> {
        if self.inner().is_failing { Err(Fault::Failed) } else { Ok(()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn act(&self, op: Op) {
        let mut inner = self.inner();
        inner.platter.apply(&op);
        inner.ops.push(op);
    }
}

impl Inner {
    fn file(&self, name: &str) -> Option<&File> {
        self.platter.0.get(name).filter(|file| !file.is_removed)
    }
}

impl Disk for TestDisk {
    fn list(&self) -> Result<Vec<String>, Fault> {
        let inner = self.inner();
        let files = inner.platter.0.iter().filter(|(_, file)| !file.is_removed);
        Ok(files.map(|(name, _)| name.clone()).collect())
    }

    fn len(&self, name: &str) -> Result<Option<u64>, Fault> {
        let inner = self.inner();
        if inner.closed.as_deref() == Some(name) {
            return Err(Fault::Unreadable);
        }
        Ok(inner.file(name).map(|file| u64::try_from(file.seen.len()).unwrap()))
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.works()?;
        self.lives(name)?;
        let inner = self.inner();
        let from = usize::try_from(offset).unwrap();
        let to = from + buffer.len().min(inner.read_max.unwrap_or(usize::MAX));
        if let Some((bad, range)) = &inner.bad
            && bad == name
            && range.start < to
            && from < range.end
        {
            return Err(Fault::Unreadable);
        }
        let buffer = &mut buffer[..to - from];
        let file = inner.file(name).ok_or(Fault::Failed)?;
        let rest = file.seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.lives(name)?;
        let offset = usize::try_from(offset).unwrap();
        let inner = self.inner();
        let len = inner.file(name).map_or(0, |file| file.seen.len());
        let grown = (offset + bytes.len()).saturating_sub(len);
        let room = inner.room.map_or(usize::MAX, |r| r.saturating_sub(inner.platter.bytes()));
        drop(inner);
        // A full disk takes what fits, as a file system does.
        let written = bytes.len() - grown.saturating_sub(room);
        if written > 0 {
            let bytes = bytes[..written].to_vec();
            self.act(Op::Write { name: name.to_owned(), offset, bytes });
        }
        if written < bytes.len() { Err(Fault::Full) } else { Ok(()) }
    }

    fn truncate(&self, name: &str, len: u64) -> Result<(), Fault> {
        self.works()?;
        self.lives(name)?;
        self.act(Op::Truncate { name: name.to_owned(), len: usize::try_from(len).unwrap() });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        self.works()?;
        self.inner().file(name).ok_or(Fault::Failed)?;
        self.act(Op::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.works()?;
        self.inner().file(from).ok_or(Fault::Failed)?;
        self.act(Op::Rename(from.to_owned(), to.to_owned()));
        let mut inner = self.inner();
        if let Some((bad, _)) = inner.bad.as_mut().filter(|(bad, _)| bad == from) {
            to.clone_into(bad);
        }
        let inner = &mut *inner;
        for gone in [&mut inner.dead, &mut inner.closed].into_iter().flatten() {
            if gone == from {
                to.clone_into(gone);
            }
        }
        Ok(())
    }

    fn sync(&self, name: &str) -> Result<(), Fault> {
        self.works()?;
        self.lives(name)?;
        self.act(Op::Sync(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> Result<(), Fault> {
        self.works()?;
        self.act(Op::SyncNames);
        Ok(())
    }
}
