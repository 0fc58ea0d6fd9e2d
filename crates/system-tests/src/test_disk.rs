//! A small separate disk for a data folder, so that it can be filled to the last byte.
//!
//! A tmpfs, which only root may mount. It is unmounted with the value; its contents can be copied
//! before. Disks that lose writes are in the simulation of the fleet.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const BALLAST: &str = "ballast";

/// A mounted disk of limited size.
pub(crate) struct Volume {
    path: PathBuf,
}

impl Volume {
    /// Creates `path` and mounts a disk of `size_bytes` there.
    ///
    /// # Errors
    /// If this process may not mount.
    pub(crate) fn mount(path: &Path, size_bytes: u64) -> Result<Self> {
        fs::create_dir_all(path)?;
        let options = CString::new(format!("size={size_bytes},mode=0700"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", path, "tmpfs", flags, options.as_c_str())
            .with_context(|| format!("mounting a tmpfs at {}", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Fills all remaining space. Space that is freed later needs another call.
    pub(crate) fn fill(&self) -> Result<()> {
        let path = self.path.join(BALLAST);
        let mut ballast = File::options().create(true).append(true).open(path)?;
        let zeros = vec![0; 1024 * 1024];
        let mut piece = zeros.len();
        while piece > 0 {
            match ballast.write(&zeros[..piece]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece /= 2,
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
        Ok(())
    }

    /// Frees the space again.
    pub(crate) fn free(&self) -> Result<()> {
        fs::remove_file(self.path.join(BALLAST)).context("freeing a disk")
    }

    /// Copies its contents to an ordinary folder.
    pub(crate) fn copy_to(&self, target: &Path) -> Result<()> {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() == BALLAST || !entry.file_type()?.is_file() {
                continue;
            }
            fs::copy(entry.path(), target.join(entry.file_name()))
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        release(&self.path);
    }
}

/// Unmounts the disk at `path`, even if files on it are still open.
pub(crate) fn release(path: &Path) {
    // A failure leaves a mount until the next boot; it cannot be reported from here.
    let _ = unmount(path, UnmountFlags::DETACH);
}
