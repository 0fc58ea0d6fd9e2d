//! The few file operations that durable structures stand on.
//!
//! Two things implement [`Disk`]: a folder of the file system, and the disks of tests and of the
//! simulation, which cut and lose writes. Names are flat. Nothing is durable before [`Disk::sync`]
//! (contents and length of one file) or [`Disk::sync_names`] (creations and removals) returned.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A flat set of files that one process owns.
pub trait Disk {
    /// Names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Length in bytes, or `None` if there is no such file.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;
    /// Reads up to `buffer.len()` bytes; none only at the end of the file.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes; creates the file if it is missing.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Sets the length of a file.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, which no file has.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes contents and length of a file durable.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync_names(&self) -> io::Result<()>;

    /// Reads until `buffer` is full or the file ends, whatever one read gives.
    fn read_full(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
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
    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.len(name)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(limit).min(limit)];
        let read = self.read_full(name, 0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }
}

impl<T: Disk> Disk for Arc<T> {
    fn list(&self) -> io::Result<Vec<String>> {
        (**self).list()
    }
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        (**self).len(name)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(name, offset, buffer)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(name, offset, bytes)
    }
    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        (**self).truncate(name, len)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        (**self).remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (**self).rename(from, to)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        (**self).sync(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        (**self).sync_names()
    }
}

/// A folder of the file system, locked against a second process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    directory: File,
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("data folder {} cannot be opened", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("data folder {} is in use by another agent", path.display())]
    InUse { path: PathBuf },
}

const LOCK_FILE: &str = "lock";

impl Folder {
    /// Opens `path`, creating it if need be, and takes its lock until the value is dropped.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Open { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = options().open(path.join(LOCK_FILE)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(FolderError::InUse { path: path.to_owned() });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let directory = File::open(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), directory, _lock: lock })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match std::fs::metadata(self.file(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.file(name))?;
        let mut read = 0;
        while read < buffer.len() {
            let position = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match file.read_at(&mut buffer[read..], position) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        options().open(self.file(name))?.write_all_at(bytes, offset)
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.file(name))?.set_len(len)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.file(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.file(from), self.file(to))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.file(name))?.sync_data()
    }

    fn sync_names(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_opener_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::open(folder.path()).unwrap();
        assert!(matches!(Folder::open(folder.path()), Err(FolderError::InUse { .. })));
        drop(first);
        Folder::open(folder.path()).unwrap();
    }
}
