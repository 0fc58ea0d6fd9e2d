//! The agent's data folder, as the areas of its node: a file for each.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI32};

use ecowatt_node::storage::{Area, Areas, Fault};
use rustix::io::Errno;

/// A folder of the file system, locked against a second process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    directory: File,
    /// The system's last error code, 0 after a successful sync: a reason is logged once, not with
    /// each sample.
    last_error: AtomicI32,
    /// Whether a file may have a name, or have lost it, that a power cut would undo. True at first: the
    /// process before this one may have ended between a file and its name.
    are_names_unsynced: AtomicBool,
    lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("data folder {} cannot be opened", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("data folder {} is in use by another agent", path.display())]
    InUse { path: PathBuf },
    #[error("{} is a symbolic link; the agent's files must be files of their own", .0.display())]
    Link(PathBuf),
}

const LOCK_FILE: &str = "lock";
/// Most damaged files that are set aside, and most bytes in them; the oldest go first.
const ASIDE_FILES_MAX: usize = 8;
const ASIDE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const ASIDE_PREFIX: &str = "bad-";

impl Folder {
    /// Opens `path`, creating it if need be, and takes its lock until the value is dropped.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Open { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        close(path).map_err(failed)?;
        refuse_links(path)?;
        let lock = options().open(path.join(LOCK_FILE)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(FolderError::InUse { path: path.to_owned() });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let directory = File::open(path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            last_error: AtomicI32::new(0),
            are_names_unsynced: AtomicBool::new(true),
            lock,
        })
    }

    fn file(&self, area: Area) -> PathBuf {
        self.path.join(area.to_string())
    }

    /// Logs the system's reason, which the node does not see, and returns the fault.
    fn refused(&self, name: impl std::fmt::Display, error: &io::Error) -> Fault {
        let code = error.raw_os_error().unwrap_or(0);
        if error.kind() == io::ErrorKind::NotFound || self.last_error.swap(code, Relaxed) == code {
            tracing::debug!(file = %name, %error, "file operation failed in the data folder");
        } else {
            tracing::warn!(file = %name, %error, "file operation failed in the data folder");
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

    fn read_file(&self, area: Area, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.file(area))?;
        loop {
            match file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn append_file(&self, area: Area, bytes: &[u8]) -> io::Result<()> {
        let path = self.file(area);
        let existing = OpenOptions::new().append(true).open(&path);
        let mut file = match existing {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.are_names_unsynced.store(true, Relaxed);
                OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?
            }
            opened => opened?,
        };
        let len = file.metadata()?.len();
        file.write_all(bytes).inspect_err(|_| {
            // What fitted on a full disk is taken back: it would take the room of what may follow.
            let _ = file.set_len(len);
        })
    }

    fn sync_file(&self, area: Area) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.file(area))?.sync_data()?;
        self.sync_names()
    }

    /// Makes new names durable, and the loss of old ones.
    fn sync_names(&self) -> io::Result<()> {
        if self.are_names_unsynced.swap(false, Relaxed) {
            let synced = self.directory.sync_all();
            self.are_names_unsynced.fetch_or(synced.is_err(), Relaxed);
            synced?;
        }
        Ok(())
    }

    /// Renames a file out of the way, so that its bad sectors stay in use and are not given to another
    /// file, and removes the oldest of those renamed before that are too many.
    fn rename_aside(&self, area: Area) -> io::Result<()> {
        let number = |name: &str| -> Option<u64> {
            name.strip_prefix(ASIDE_PREFIX)?.split_once('-')?.0.parse().ok()
        };
        let mut aside: Vec<(u64, String)> =
            self.names()?.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
        aside.sort_unstable();
        let next = aside.last().map_or(0, |(number, _)| number + 1);
        let new = format!("{ASIDE_PREFIX}{next:06}-{area}");
        std::fs::rename(self.file(area), self.path.join(&new))?;
        aside.push((next, new));
        let len = |name: &str| std::fs::metadata(self.path.join(name)).map_or(0, |file| file.len());
        let mut bytes: u64 = aside.iter().map(|(_, name)| len(name)).sum();
        let mut files = aside.len();
        for (_, oldest) in &aside {
            if files <= ASIDE_FILES_MAX && bytes <= ASIDE_BYTES_MAX {
                break;
            }
            let freed = len(oldest);
            // One that cannot be removed either takes up room.
            if std::fs::remove_file(self.path.join(oldest)).is_ok() {
                files -= 1;
                bytes = bytes.saturating_sub(freed);
            }
        }
        self.directory.sync_all()
    }
}

/// Makes the folder private if others can read or write it and it contains nothing but the agent's
/// files: its creator did not know that it would hold the device's key. A folder with other files,
/// such as a home or `/tmp`, is left as it is; the key should not be kept there.
fn close(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if !is_own(&name.to_string_lossy()) {
            return Err(io::Error::other(format!(
                "it is open to other users of this machine (mode {mode:04o}) and holds other things, \
                 such as {}; give a folder of its own, or close it with `chmod go= DIR`",
                name.display()
            )));
        }
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & !0o077))?;
    tracing::warn!(
        folder = %path.display(),
        mode = format!("{mode:04o}"),
        "the data folder was open to other users; its permissions were restricted"
    );
    Ok(())
}

/// Refuses symbolic links under the names of the agent's own files: writing through one would
/// create or change a file elsewhere.
fn refuse_links(path: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Open { path: path.to_owned(), source };
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_link = entry.file_type().map_err(failed)?.is_symlink();
        if is_link && is_own(&entry.file_name().to_string_lossy()) {
            return Err(FolderError::Link(entry.path()));
        }
    }
    Ok(())
}

/// Whether the agent makes files of this name.
fn is_own(name: &str) -> bool {
    name == LOCK_FILE || name.starts_with(ASIDE_PREFIX) || name.parse::<Area>().is_ok()
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

impl Areas for Folder {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        let names = self.names().map_err(|error| self.refused("", &error))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        match std::fs::metadata(self.file(area)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.refused(area, &error)),
        }
    }

    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.read_file(area, offset, buffer).map_err(|error| self.refused(area, &error))
    }

    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        self.append_file(area, bytes).map_err(|error| self.refused(area, &error))
    }

    fn sync(&self, area: Area) -> Result<(), Fault> {
        self.sync_file(area).map_err(|error| self.refused(area, &error))?;
        self.last_error.store(0, Relaxed);
        Ok(())
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        std::fs::remove_file(self.file(area)).map_err(|error| self.refused(area, &error))?;
        self.are_names_unsynced.store(true, Relaxed);
        Ok(())
    }

    fn settle(&self) -> Result<(), Fault> {
        self.sync_names().map_err(|error| self.refused("", &error))
    }

    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        self.rename_aside(area).map_err(|error| self.refused(area, &error))
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
        // As in a child process between fork and exec.
        let _shared = first.lock.try_clone().unwrap();
        drop(first);
        Folder::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_is_open_to_others_is_closed_or_refused() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("data");
        let mode = || std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777;
        let open_up = || {
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        drop(Folder::open(&folder).unwrap());
        assert_eq!(mode(), 0o700);
        let disk = Folder::open(&folder).unwrap();
        for area in [Area::Segment(1), Area::Layout(ecowatt_model::StreamNumber(3))] {
            disk.append(area, b"x").unwrap();
        }
        disk.set_aside(Area::Segment(1)).unwrap();
        drop(disk);
        open_up();
        drop(Folder::open(&folder).unwrap());
        assert_eq!(mode(), 0o700);
        std::fs::write(folder.join("notes"), "of the operator").unwrap();
        drop(Folder::open(&folder).unwrap());
        open_up();
        let Err(FolderError::Open { source, .. }) = Folder::open(&folder) else { panic!("opened") };
        assert!(source.to_string().contains("such as notes"), "{source}");
        assert_eq!(mode(), 0o755);
    }

    #[test]
    fn links_under_the_agents_names_are_refused() {
        for name in [LOCK_FILE, "ledger.0", &Area::Segment(1).to_string()] {
            let outer = tempfile::tempdir().unwrap();
            let (folder, elsewhere) = (outer.path().join("data"), outer.path().join("elsewhere"));
            std::fs::create_dir(&folder).unwrap();
            std::os::unix::fs::symlink(&elsewhere, folder.join(name)).unwrap();
            let refused = Folder::open(&folder);
            assert!(matches!(refused, Err(FolderError::Link(_))), "{name}: {refused:?}");
            assert!(!elsewhere.exists(), "{name}");
        }
        // The folder itself may be a link, as on devices whose card is mounted elsewhere.
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("card")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("card"), outer.path().join("data")).unwrap();
        Folder::open(&outer.path().join("data")).unwrap();
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
        assert_eq!(disk.len(Area::Segment(1)), Ok(None));
        assert_eq!(disk.read_at(Area::Segment(1), 0, &mut [0]), Err(Fault::Failed));
    }

    #[test]
    fn an_area_is_a_file_that_is_appended_to_erased_or_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("notes"), "of the operator").unwrap();
        assert_eq!(disk.list(), Ok(vec![]));
        for number in 0..20 {
            let area = Area::Segment(number);
            disk.append(area, b"one").unwrap();
            disk.append(area, b"two").unwrap();
            disk.sync(area).unwrap();
            assert_eq!(disk.read(area, 100), Ok(Some(b"onetwo".to_vec())));
            assert_eq!(disk.list(), Ok(vec![area]));
            match number % 2 {
                0 => disk.erase(area).unwrap(),
                _ => disk.set_aside(area).unwrap(),
            }
            assert_eq!(disk.len(area), Ok(None));
        }
        let aside = |name: &String| name.starts_with(ASIDE_PREFIX);
        assert_eq!(
            disk.names().unwrap().iter().filter(|name| aside(name)).count(),
            ASIDE_FILES_MAX
        );
    }
}
