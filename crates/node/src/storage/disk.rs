//! The few file operations that durable structures stand on.
//!
//! A shell implements [`Disk`]: the agent with a folder of the file system, tests and the simulation
//! with disks that cut and lose writes. Names are flat. Nothing is durable before [`Disk::sync`]
//! (contents and length of one file) or [`Disk::sync_names`] (creations and removals) returned.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Why an operation on a disk failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no room. Removing a file may make some.
    #[error("the disk is full")]
    Full,
    /// The medium fails in this place. Other places may work.
    #[error("the medium fails")]
    Unreadable,
    /// The disk is switched off or gone.
    #[error("the disk is gone")]
    Closed,
    /// Anything else, a file that is missing included.
    #[error("the disk does not work")]
    Failed,
}

/// A flat set of files that one process owns.
pub trait Disk {
    /// Names of all files, in no order.
    fn list(&self) -> Result<Vec<String>, Fault>;
    /// Length in bytes, or `None` if there is no such file.
    fn len(&self, name: &str) -> Result<Option<u64>, Fault>;
    /// Reads up to `buffer.len()` bytes; none only at the end of the file.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault>;
    /// Writes all bytes; creates the file if it is missing.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault>;
    /// Sets the length of a file.
    fn truncate(&self, name: &str, len: u64) -> Result<(), Fault>;
    /// Removes a file.
    fn remove(&self, name: &str) -> Result<(), Fault>;
    /// Gives a file another name, which no file has.
    fn rename(&self, from: &str, to: &str) -> Result<(), Fault>;
    /// Makes contents and length of a file durable.
    fn sync(&self, name: &str) -> Result<(), Fault>;
    /// Makes creations and removals durable.
    fn sync_names(&self) -> Result<(), Fault>;

    /// Reads until `buffer` is full or the file ends, whatever one read gives.
    fn read_full(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        while read < buffer.len() {
            let at = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match self.read_at(name, at, &mut buffer[read..])? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }

    /// Reads a whole file, at most `limit` bytes of it; `None` if there is no such file.
    fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        let Some(len) = self.len(name)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(limit).min(limit)];
        let read = self.read_full(name, 0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }
}

/// On processors with atomic compare-and-swap, which riscv32imc lacks.
#[cfg(target_has_atomic = "ptr")]
impl<T: Disk> Disk for alloc::sync::Arc<T> {
    fn list(&self) -> Result<Vec<String>, Fault> {
        (**self).list()
    }
    fn len(&self, name: &str) -> Result<Option<u64>, Fault> {
        (**self).len(name)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        (**self).read_at(name, offset, buffer)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        (**self).write_at(name, offset, bytes)
    }
    fn truncate(&self, name: &str, len: u64) -> Result<(), Fault> {
        (**self).truncate(name, len)
    }
    fn remove(&self, name: &str) -> Result<(), Fault> {
        (**self).remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        (**self).rename(from, to)
    }
    fn sync(&self, name: &str) -> Result<(), Fault> {
        (**self).sync(name)
    }
    fn sync_names(&self) -> Result<(), Fault> {
        (**self).sync_names()
    }
}
