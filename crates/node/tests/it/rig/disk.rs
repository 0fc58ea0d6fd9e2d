//! A disk in memory that remembers every operation, so that a power cut can be placed at each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use ecowatt_node::storage::{Area, Areas, Fault};

/// One operation that changed the disk, or would have.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Appends at the end of the area, which is at this offset.
    Append {
        name: String,
        offset: usize,
        bytes: Vec<u8>,
    },
    Erase(String),
    SetAside(String),
    Sync(String),
    Settle,
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

/// How a power cut treats operations that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// They reach the disk in their order.
    Kept,
    /// They are lost, except for the last write.
    Lost,
    /// They reach the disk and the file has its full length, but the rest of the torn write is
    /// zeros.
    Holes,
}

impl Platter {
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { name, bytes, .. } => {
                let file = self.0.entry(name.clone()).or_default();
                if file.is_removed {
                    file.is_removed = false;
                    file.seen.clear();
                }
                file.seen.extend_from_slice(bytes);
            }
            Op::Erase(name) => {
                if let Some(file) = self.0.get_mut(name) {
                    file.is_removed = true;
                }
            }
            Op::SetAside(name) => {
                let aside = self.aside(name);
                if let Some(file) = self.0.get_mut(name) {
                    let moved = File { is_named: true, is_removed: false, ..file.clone() };
                    file.is_removed = true;
                    self.0.insert(aside, moved);
                }
            }
            Op::Settle => self.0.retain(|_, file| !file.is_removed),
            Op::Sync(name) => {
                self.0.retain(|_, file| !file.is_removed);
                if let Some(file) = self.0.get_mut(name) {
                    file.durable.clone_from(&file.seen);
                    file.is_named = true;
                }
            }
        }
    }

    /// The name under which a file is set aside.
    fn aside(&self, name: &str) -> String {
        let number = self.0.keys().filter(|name| name.starts_with("bad-")).count();
        format!("bad-{number:06}-{name}")
    }

    /// Returns the disk after a cut in the middle of `torn`, of which `bytes` bytes were written.
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
            Op::Append { name, offset, bytes: whole } => {
                let has_holes = unsynced == Unsynced::Holes;
                let mut bytes = whole[..bytes].to_vec();
                if has_holes {
                    bytes.resize(whole.len(), 0);
                }
                if !bytes.is_empty() {
                    left.apply(&Op::Append { name: name.clone(), offset: *offset, bytes });
                }
            }
            Op::Erase(_) | Op::SetAside(_) if bytes > 0 => left.apply(torn),
            Op::Erase(_) | Op::SetAside(_) | Op::Sync(_) | Op::Settle => {}
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
    /// Number of places for a cut: each byte of a write; before and after any other operation.
    pub(crate) fn cuts(&self) -> usize {
        match self {
            Self::Append { bytes, .. } => bytes.len() + 1,
            Self::Erase(_) | Self::SetAside(_) => 2,
            Self::Sync(_) | Self::Settle => 1,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    platter: Platter,
    ops: Vec<Op>,
    room: Option<usize>,
    /// Files whose names begin with this have no room.
    full: Option<&'static str>,
    is_failing: bool,
    /// Unreadable sectors: the file's name and the range.
    bad: Option<(String, std::ops::Range<usize>)>,
    /// A file that can no longer be read or written, also under another name.
    dead: Option<String>,
    /// A file of which only the name is known.
    closed: Option<String>,
    /// Maximum number of bytes of one read.
    read_max: Option<usize>,
}

/// A handle on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestDisk(Arc<Mutex<Inner>>);

impl TestDisk {
    pub(crate) fn holding(platter: Platter) -> Self {
        Self(Arc::new(Mutex::new(Inner { platter, ..Inner::default() })))
    }

    /// The contents of the disk.
    pub(crate) fn platter(&self) -> Platter {
        self.inner().platter.clone()
    }

    pub(crate) fn op_count(&self) -> usize {
        self.inner().ops.len()
    }

    /// The operations so far.
    pub(crate) fn ops(&self) -> Vec<Op> {
        self.inner().ops.clone()
    }

    /// Makes the disk full at this many bytes.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.inner().room = room;
    }

    /// Leaves no room for files whose names begin with `prefix`.
    pub(crate) fn set_full(&self, prefix: Option<&'static str>) {
        self.inner().full = prefix;
    }

    /// Makes every read, sync and removal fail; appended bytes still reach the disk.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.inner().is_failing = is_failing;
    }

    /// Makes these bytes of a file unreadable, also after it is renamed.
    pub(crate) fn set_bad(&self, name: &str, range: std::ops::Range<usize>) {
        self.inner().bad = Some((name.to_owned(), range));
    }

    /// Makes every access to a file's contents fail.
    pub(crate) fn set_dead(&self, name: &str) {
        self.inner().dead = Some(name.to_owned());
    }

    /// Like [`TestDisk::set_dead`], and the length of the file is unknown, too.
    pub(crate) fn set_closed(&self, name: &str) {
        self.set_dead(name);
        self.inner().closed = Some(name.to_owned());
    }

    /// Deletes a file without a trace.
    pub(crate) fn lose(&self, name: &str) {
        self.inner().platter.0.remove(name);
    }

    /// Limits one read to this many bytes.
    pub(crate) fn set_read_max(&self, read_max: usize) {
        self.inner().read_max = Some(read_max);
    }

    /// Replaces a file and its history.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let (seen, durable) = (bytes.to_vec(), bytes.to_vec());
        let file = File { seen, durable, is_named: true, is_removed: false };
        self.inner().platter.0.insert(name.to_owned(), file);
    }

    /// Contents of a file.
    pub(crate) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().file(name).map(|file| file.seen.clone())
    }

    /// Changes some bits of one byte.
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

impl Areas for TestDisk {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        let inner = self.inner();
        let files = inner.platter.0.iter().filter(|(_, file)| !file.is_removed);
        Ok(files.filter_map(|(name, _)| name.parse().ok()).collect())
    }

    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        let (name, inner) = (area.to_string(), self.inner());
        if inner.closed.as_ref() == Some(&name) {
            return Err(Fault::Unreadable);
        }
        Ok(inner.file(&name).map(|file| u64::try_from(file.seen.len()).unwrap()))
    }

    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let name = area.to_string();
        self.works()?;
        self.lives(&name)?;
        let inner = self.inner();
        let from = usize::try_from(offset).unwrap();
        let to = from + buffer.len().min(inner.read_max.unwrap_or(usize::MAX));
        if let Some((bad, range)) = &inner.bad
            && *bad == name
            && range.start < to
            && from < range.end
        {
            return Err(Fault::Unreadable);
        }
        let buffer = &mut buffer[..to - from];
        let file = inner.file(&name).ok_or(Fault::Failed)?;
        let rest = file.seen.get(from..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        let name = area.to_string();
        self.lives(&name)?;
        let inner = self.inner();
        let offset = inner.file(&name).map_or(0, |file| file.seen.len());
        let room = inner.room.map_or(usize::MAX, |r| r.saturating_sub(inner.platter.bytes()));
        let is_full = inner.full.is_some_and(|prefix| name.starts_with(prefix));
        drop(inner);
        if is_full || room < bytes.len() {
            return Err(Fault::Full);
        }
        if !bytes.is_empty() {
            self.act(Op::Append { name, offset, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    fn sync(&self, area: Area) -> Result<(), Fault> {
        let name = area.to_string();
        self.works()?;
        self.lives(&name)?;
        self.act(Op::Sync(name));
        Ok(())
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        let name = area.to_string();
        self.works()?;
        self.inner().file(&name).ok_or(Fault::Failed)?;
        self.act(Op::Erase(name));
        Ok(())
    }

    fn settle(&self) -> Result<(), Fault> {
        self.works()?;
        self.act(Op::Settle);
        Ok(())
    }

    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        let name = area.to_string();
        self.works()?;
        self.inner().file(&name).ok_or(Fault::Failed)?;
        let to = self.inner().platter.aside(&name);
        self.act(Op::SetAside(name.clone()));
        let mut inner = self.inner();
        let inner = &mut *inner;
        let bad = inner.bad.as_mut().map(|(bad, _)| bad);
        for gone in [bad, inner.dead.as_mut(), inner.closed.as_mut()].into_iter().flatten() {
            if *gone == name {
                to.clone_into(gone);
            }
        }
        Ok(())
    }
}
