//! The file `revoked` next to the database: written and synced before a revocation is acknowledged,
//! applied when a folder is opened.
//!
//! A line is written before the commit that it belongs to. If that commit fails, the file is ahead
//! of the database, and the next start applies the requested revocation.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use crate::StoreError;
use crate::revocation::{BadLine, Revocation, line, parse};

/// Name of the file.
pub(crate) const JOURNAL: &str = "revoked";

/// Longest line that is read; the lines written here are shorter.
const LINE_BYTES_MAX: u64 = 4096;

/// Appends revocations to the file.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Absent for a database without a folder.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    is_dirty: bool,
    /// Whether the last line may be cut short.
    is_torn: bool,
}

impl Journal {
    /// Returns the journal of a folder. The file is created with the first revocation.
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self { path: Some(dir.join(JOURNAL)), state: Mutex::default() }
    }

    /// Returns a journal that stores nothing.
    pub(super) fn none() -> Self {
        Self { path: None, state: Mutex::default() }
    }

    /// Appends a line. It is durable after [`Journal::sync`].
    pub(crate) fn append(&self, revocation: &Revocation) -> Result<(), StoreError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut state = self.lock();
        state.append(path, &line(revocation)).map_err(failed)
    }

    /// Makes the appended lines durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        if !state.is_dirty {
            return Ok(());
        }
        if let Some(file) = &state.file {
            file.sync_all().map_err(failed)?;
        }
        state.is_dirty = false;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, path: &Path, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let (file, is_torn) = open(path)?;
                self.is_torn = is_torn;
                self.file.insert(file)
            }
        };
        // One write per line: another process may append at the same time.
        let text = if self.is_torn { format!("\n{line}") } else { line.to_owned() };
        self.is_dirty = true;
        self.is_torn = true;
        file.write_all(text.as_bytes())?;
        self.is_torn = false;
        Ok(())
    }
}

/// Opens the file for appending; returns whether its last line is cut short.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    let mut is_torn = false;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        is_torn = last != *b"\n";
    } else if let Some(folder) = path.parent() {
        // The file's name must survive a power cut, too.
        sync_folder(folder)?;
    }
    Ok((file, is_torn))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

fn failed(error: io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::StorageFull {
        return StoreError::Full;
    }
    StoreError::Journal(Arc::new(error))
}

/// Contents of a journal, with its invalid lines by line number from 1.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) revocations: Vec<Revocation>,
    pub(super) bad: Vec<(usize, BadLine)>,
}

/// Reads a journal; a missing file is an empty one. A last line without its line end was never
/// acknowledged and is ignored.
pub(super) fn read(path: &Path) -> io::Result<Entries> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::default()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut entries = Entries::default();
    for number in 1.. {
        let mut line = Vec::new();
        if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let is_whole = line.pop_if(|end| *end == b'\n').is_some();
        if line.is_empty() {
            continue;
        }
        match parse(&line) {
            Ok(revocation) => entries.revocations.push(revocation),
            Err(_) if !is_whole && reader.fill_buf()?.is_empty() => {}
            Err(bad) => entries.bad.push((number, bad)),
        }
    }
    Ok(entries)
}

/// Applies the journal's revocations to the database. Writes nothing if all are in effect already.
pub(super) fn apply(db: &Connection, revocations: &[Revocation]) -> rusqlite::Result<()> {
    for revocation in revocations {
        match revocation {
            Revocation::Keys { device, generation, at } => {
                apply_keys(db, device.0, i64::from(generation.0), at.0)?;
            }
            Revocation::Token(hash) => {
                db.prepare_cached("DELETE FROM token WHERE hash = ?1")?.execute([hash])?;
            }
            Revocation::Session(hash) => {
                db.prepare_cached("DELETE FROM session WHERE hash = ?1")?.execute([hash])?;
            }
            // A claim already redeemed in the database stays, so that its device can get the same
            // reply again.
            Revocation::Claim(id) => {
                db.prepare_cached("DELETE FROM claim WHERE id = ?1 AND redeemed IS NULL")?
                    .execute([id])?;
            }
        }
    }
    Ok(())
}

fn apply_keys(db: &Connection, device: u32, generation: i64, at: i64) -> rusqlite::Result<()> {
    if !db.prepare_cached("SELECT 1 FROM device WHERE number = ?1")?.exists([device])? {
        // Reserves the device number, so that a device created later cannot have this key.
        let reserved = db
            .prepare_cached("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'device'")?
            .execute([device])?;
        if reserved == 0 {
            db.prepare_cached("INSERT INTO sqlite_sequence (name, seq) VALUES ('device', ?1)")?
                .execute([device])?;
        }
        return Ok(());
    }
    db.prepare_cached(
        "UPDATE device_key SET revoked = ?3
         WHERE device = ?1 AND generation <= ?2 AND revoked IS NULL",
    )?
    .execute(params![device, generation, at])?;
    // A key missing in the database keeps its generation, so that the next key gets another one.
    db.prepare_cached(
        "INSERT INTO device_key (device, generation, secret, created, revoked)
         SELECT ?1, ?2, zeroblob(32), ?3, ?3 WHERE NOT EXISTS (
             SELECT 1 FROM device_key WHERE device = ?1 AND generation >= ?2)",
    )?
    .execute(params![device, generation, at])?;
    Ok(())
}
