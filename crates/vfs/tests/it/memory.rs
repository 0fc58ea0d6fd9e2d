//! Files in memory that fail on request.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecowatt_vfs::{File, Files};

/// What a failing operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Full,
    Broken,
    Panic,
}

impl Failure {
    fn strike(self) -> io::Error {
        match self {
            Self::Full => io::ErrorKind::StorageFull.into(),
            Self::Broken => io::Error::other("broken"),
            Self::Panic => panic!("a disk that panics"),
        }
    }
}

/// Operations that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    SyncNames,
    Size,
    Remove,
    Exists,
}

#[derive(Debug, Default)]
struct State {
    contents: BTreeMap<String, Vec<u8>>,
    failing: BTreeMap<Operation, Failure>,
    syncs: usize,
    name_syncs: usize,
}

/// A handle on the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

impl Memory {
    pub(crate) fn names(&self) -> Vec<String> {
        self.state().contents.keys().cloned().collect()
    }

    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        self.state().contents[name].clone()
    }

    pub(crate) fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub(crate) fn name_syncs(&self) -> usize {
        self.state().name_syncs
    }

    pub(crate) fn fail(&self, operation: Operation, failure: Option<Failure>) {
        match failure {
            Some(failure) => self.state().failing.insert(operation, failure),
            None => self.state().failing.remove(&operation),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, operation: Operation) -> io::Result<()> {
        let failure = self.state().failing.get(&operation).copied();
        failure.map_or(Ok(()), |failure| Err(failure.strike()))
    }
}

pub(crate) struct MemoryFile {
    memory: Memory,
    name: String,
    is_closed: Arc<AtomicBool>,
}

impl Files for Memory {
    type File = MemoryFile;

    fn open(&self, name: &str, creates: bool) -> io::Result<MemoryFile> {
        self.pass(Operation::Open)?;
        let mut state = self.state();
        if creates {
            state.contents.entry(name.to_owned()).or_default();
        } else if !state.contents.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(MemoryFile { memory: self.clone(), name: name.to_owned(), is_closed: Arc::default() })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.pass(Operation::SyncNames)?;
        self.state().name_syncs += 1;
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.pass(Operation::Remove)?;
        self.state().contents.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.pass(Operation::Exists)?;
        Ok(self.state().contents.contains_key(name))
    }
}

impl MemoryFile {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        let mut state = self.memory.state();
        state.contents.get_mut(&self.name).map(work).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.memory.pass(Operation::Read)?;
        // The shim must fill the bytes after the end of the file.
        buffer.fill(0xee);
        self.with(|contents| {
            let rest = contents.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            read
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.pass(Operation::Write)?;
        self.with(|contents| {
            let from = usize::try_from(offset).unwrap();
            let end = from + bytes.len();
            contents.resize(contents.len().max(end), 0);
            contents[from..end].copy_from_slice(bytes);
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.memory.pass(Operation::Truncate)?;
        self.with(|contents| contents.resize(usize::try_from(len).unwrap(), 0))
    }

    fn sync(&self) -> io::Result<()> {
        self.memory.pass(Operation::Sync)?;
        self.memory.state().syncs += 1;
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.memory.pass(Operation::Size)?;
        self.with(|contents| u64::try_from(contents.len()).unwrap())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        assert!(!self.is_closed.swap(true, Ordering::Relaxed), "closed twice");
    }
}
