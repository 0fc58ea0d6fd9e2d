//! The agent's data folder, as the disk of its node.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use ecowatt_node::storage::{Disk, Fault};
use rustix::io::Errno;

/// A folder of the file system, locked against a second process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    directory: File,
    /// The system's last error code, 0 after a successful sync: a reason is logged once, not with each
    /// sample.
    said: AtomicI32,
    lock: File,
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
        Ok(Self { path: path.to_owned(), directory, said: AtomicI32::new(0), lock })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Logs the system's reason, which the node does not see, and returns the fault.
    fn refused(&self, name: &str, error: &io::Error) -> Fault {
        let code = error.raw_os_error().unwrap_or(0);
        if error.kind() == io::ErrorKind::NotFound || self.said.swap(code, Relaxed) == code {
            tracing::debug!(file = name, %error, "file operation failed in the data folder");
        } else {
            tracing::warn!(file = name, %error, "file operation failed in the data folder");
        }
        fault(error)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read_file(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
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
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Returns the fault for an error of the system.
fn fault(error: &io::Error) -> Fault {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Fault::Full,
        Some(Errno::IO) => Fault::Unreadable,
        Some(Errno::NODEV | Errno::NXIO) => Fault::Closed,
        _ => Fault::Failed,
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process that is being started shares the open file until it has begun its own program,
        // and the lock would last as long (flock(2)).
        let _ = self.lock.unlock();
    }
}

impl Disk for Folder {
    fn list(&self) -> Result<Vec<String>, Fault> {
        self.names().map_err(|error| self.refused("", &error))
    }

    fn len(&self, name: &str) -> Result<Option<u64>, Fault> {
        match std::fs::metadata(self.file(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.refused(name, &error)),
        }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.read_file(name, offset, buffer).map_err(|error| self.refused(name, &error))
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let file = options().open(self.file(name));
        file.and_then(|file| file.write_all_at(bytes, offset))
            .map_err(|error| self.refused(name, &error))
    }

    fn truncate(&self, name: &str, len: u64) -> Result<(), Fault> {
        let file = OpenOptions::new().write(true).open(self.file(name));
        file.and_then(|file| file.set_len(len)).map_err(|error| self.refused(name, &error))
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        std::fs::remove_file(self.file(name)).map_err(|error| self.refused(name, &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        std::fs::rename(self.file(from), self.file(to)).map_err(|error| self.refused(from, &error))
    }

    fn sync(&self, name: &str) -> Result<(), Fault> {
        let file = OpenOptions::new().write(true).open(self.file(name));
        file.and_then(|file| file.sync_data()).map_err(|error| self.refused(name, &error))?;
        self.said.store(0, Relaxed);
        Ok(())
    }

    fn sync_names(&self) -> Result<(), Fault> {
        self.directory.sync_all().map_err(|error| self.refused("", &error))
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

    #[test]
    fn faults_tell_what_the_system_said() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        for (errno, expected) in [
            (Errno::NOSPC, Fault::Full),
            (Errno::DQUOT, Fault::Full),
            (Errno::IO, Fault::Unreadable),
            (Errno::NODEV, Fault::Closed),
            (Errno::ACCESS, Fault::Failed),
        ] {
            assert_eq!(fault(&errno.into()), expected);
        }
        assert_eq!(disk.len("draft"), Ok(None));
        assert_eq!(disk.read_at("draft", 0, &mut [0]), Err(Fault::Failed));
    }
}
