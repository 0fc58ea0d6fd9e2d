//! The lock on a data folder: one process at a time has its database open for writing.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::make_private;
use crate::OpenError;

/// Name of the lock file.
pub(super) const LOCK: &str = "ecowatt.lock";

/// Held until it is dropped; the operating system releases it after a kill.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// Takes the lock; does not wait if another process has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let file = make_private(&path)
            .and_then(|()| OpenOptions::new().write(true).open(&path))
            .map_err(|cause| OpenError::Folder { path: path.clone(), cause })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
            Err(TryLockError::Error(cause)) => Err(OpenError::Folder { path, cause }),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process shares it between fork and exec, and the
        // lock lasts as long as the file is open anywhere (flock(2)). If unlocking fails, it is
        // released when the last of them closes the file.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_none_once_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(dir.path()).unwrap();
        assert!(matches!(FolderLock::take(dir.path()), Err(OpenError::Locked(_))));
        // As in a child process between fork and exec.
        let _shared = lock.0.try_clone().unwrap();
        drop(lock);
        FolderLock::take(dir.path()).unwrap();
    }
}
