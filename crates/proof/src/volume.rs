//! A small disk of its own for a data folder, so that it can be filled to the last byte.
//!
//! A tmpfs, which only root may mount. It is gone with the value; what it held can be copied away
//! before. Not a disk that loses writes: the simulation of the fleet has those.

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
    /// Mounts `size_bytes` at `path`, which is made.
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

    /// Takes all space that is left. Whoever frees some while it is full makes it worth calling
    /// again.
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

    /// Gives the space back.
    pub(crate) fn free(&self) -> Result<()> {
        fs::remove_file(self.path.join(BALLAST)).context("freeing a disk")
    }

    /// Copies what it holds to an ordinary folder.
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

/// Unmounts what is mounted at `path`, whoever still has files of it open.
pub(crate) fn release(path: &Path) {
    // A failure leaves a mount that the next start of the machine clears; there is nobody to tell.
    let _ = unmount(path, UnmountFlags::DETACH);
}
