//! Backups of the database: made while a server runs, and restored in place of a lost database.
//!
//! A copy is made under one read transaction, so that it is the database of one commit and no later
//! commit restarts it. Until it ends, the write-ahead log cannot be restarted either, so its growth
//! is reported. A finished copy is sealed with a checksum of all its contents: SQLite's integrity
//! check does not verify the bytes inside rows.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::command;
use super::failure::cause;
use super::folder_lock::FolderLock;
use super::revocation_file::{self, Entries, JOURNAL, Journal, sync_folder};
use super::{BUSY_TIMEOUT, DATABASE, create_private, schema};
use crate::limits::BACKUP_STEP_PAGES;
use crate::revocation::{BadLine, Revocation};
use crate::{EngineError, OpenError, StoreError};

const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Progress of a copy.
#[derive(Debug, Clone, Copy)]
pub struct CopyProgress {
    pub pages: u64,
    pub pages_total: u64,
    /// Bytes by which the write-ahead log has grown since the copy began.
    pub log_growth: u64,
}

/// Contents of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub schema: u32,
    pub sites: u64,
    pub devices: u64,
    pub keys: u64,
    pub tokens: u64,
    /// Batches that were acknowledged to devices.
    pub batches: u64,
    pub samples: u64,
}

/// Result of restoring a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub contents: Contents,
    /// Revocations in the journals that were applied.
    pub revocations: usize,
    /// Whether the copy had a checksum, that is, was made by [`back_up`].
    pub was_sealed: bool,
}

/// Why a copy was not made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0} exists already; nothing is overwritten")]
    Exists(PathBuf),
    #[error("{0} belongs to another database, and SQLite would use it with this one; move it away")]
    Left(PathBuf),
    #[error("{0} is not a database of this program")]
    Foreign(PathBuf),
    #[error("{path} was written by a later version (schema {found}, this one knows {known})")]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("line {line} of {path} is invalid: {error}; correct or delete the line")]
    Revocations { path: PathBuf, line: usize, error: BadLineError },
    #[error("the copy was abandoned")]
    BrokenOff,
    #[error("cannot use {path}")]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot read or write {path}")]
    Database {
        path: PathBuf,
        #[source]
        cause: EngineError,
    },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a line of a journal is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct BadLineError(#[from] BadLine);

/// Copies the database in the folder `data` to the file `to`, which appears when it is complete and
/// checked. It contains everything acknowledged before this call. A server may be running on the
/// folder.
///
/// `go_on` is called repeatedly; when it returns false, the copy is abandoned.
///
/// # Errors
/// Fails if `to` exists, if the copy is abandoned, or if something cannot be read or written.
/// Nothing is left at `to` then.
pub fn back_up(
    data: &Path,
    to: &Path,
    go_on: impl FnMut(CopyProgress) -> bool,
) -> Result<Contents, BackupError> {
    refuse_if_there(to)?;
    let partial = Partial::create(with_suffix(to, ".partial"))?;
    let contents = copy(&data.join(DATABASE), &partial.path, go_on)?;
    let mut connection = open_copy(&partial.path)?;
    check(&connection, &partial.path, &contents)?;
    seal(&mut connection).map_err(|cause| database(&partial.path, cause))?;
    close(connection, &partial.path)?;
    partial.rename_to(to)?;
    Ok(contents)
}

/// Checks a copy and puts it into the folder `data` as its database. Applies the revocations in the
/// folder's journal and in the given one, deletes the copy's sessions and unredeemed claims, and ends
/// its open commands.
///
/// # Errors
/// Fails if a server is running on the folder, if it has a database, or if the copy is damaged. No
/// database is added to the folder then.
pub fn restore(
    from: &Path,
    data: &Path,
    revocations: Option<&Path>,
    go_on: impl FnMut(CopyProgress) -> bool,
) -> Result<Restored, BackupError> {
    create_private(data).map_err(|cause| file(data, cause))?;
    let _lock = FolderLock::take(data)?;
    let to = data.join(DATABASE);
    refuse_if_there(&to)?;
    for suffix in ["-wal", "-journal"] {
        let left = with_suffix(&to, suffix);
        if left.exists() {
            return Err(BackupError::Left(left));
        }
    }
    let own = entries(&data.join(JOURNAL))?.revocations;
    let given = match revocations {
        Some(path) if !path.exists() => {
            return Err(file(path, io::ErrorKind::NotFound.into()));
        }
        Some(path) => entries(path)?.revocations,
        None => Vec::new(),
    };

    let partial = Partial::create(with_suffix(&to, ".partial"))?;
    let contents = copy(from, &partial.path, go_on)?;
    let mut connection = open_copy(&partial.path)?;
    check(&connection, from, &contents)?;
    let cannot = |cause| database(&partial.path, cause);
    let was_sealed = unseal(&mut connection, from)?;
    revoke(&mut connection, &own, &given).map_err(cannot)?;
    close(connection, &partial.path)?;
    keep(data, &own, &given)?;
    partial.rename_to(&to)?;
    let revocations = own.len() + given.iter().filter(|line| !own.contains(line)).count();
    Ok(Restored { contents, revocations, was_sealed })
}

fn entries(path: &Path) -> Result<Entries, BackupError> {
    let entries = revocation_file::read(path).map_err(|cause| file(path, cause))?;
    match entries.bad.first() {
        Some((line, error)) => Err(BackupError::Revocations {
            path: path.to_owned(),
            line: *line,
            error: (*error).into(),
        }),
        None => Ok(entries),
    }
}

/// Revokes in a copy what may have been revoked since it was made, and ends commands that may have
/// been executed since.
fn revoke(
    connection: &mut Connection,
    own: &[Revocation],
    given: &[Revocation],
) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", "on")?;
    let transaction = connection.transaction()?;
    revocation_file::apply(&transaction, own)?;
    revocation_file::apply(&transaction, given)?;
    // Sessions and claims are easily created again, and a journal that was copied an hour ago lacks
    // the latest revocations.
    transaction.execute("DELETE FROM session", [])?;
    transaction.execute("DELETE FROM claim WHERE redeemed IS NULL", [])?;
    command::end_restored(&transaction)?;
    transaction.commit()
}

/// Appends revocations to the folder's journal that only the given one has.
fn keep(data: &Path, own: &[Revocation], given: &[Revocation]) -> Result<(), StoreError> {
    let journal = Journal::in_folder(data);
    for revocation in given.iter().filter(|line| !own.contains(line)) {
        journal.append(revocation)?;
    }
    journal.sync()
}

/// Copies a database as of one commit.
fn copy(
    from: &Path,
    to: &Path,
    mut go_on: impl FnMut(CopyProgress) -> bool,
) -> Result<Contents, BackupError> {
    let cannot_read = |cause| match cause {
        rusqlite::Error::SqliteFailure(error, _)
            if matches!(
                error.code,
                rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt
            ) =>
        {
            BackupError::Damaged { path: from.to_owned(), what: error.to_string() }
        }
        cause => database(from, cause),
    };
    let cannot_write = |cause| database(to, cause);
    if !from.exists() {
        return Err(file(from, io::ErrorKind::NotFound.into()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(cannot_read)?;
    source.busy_timeout(BUSY_TIMEOUT).map_err(cannot_read)?;
    // Held to the end of the copy; without it each commit would restart the copy.
    source.execute_batch("BEGIN").map_err(cannot_read)?;
    let contents = read_contents(&source, from, cannot_read)?;
    // The read transaction keeps the log from restarting, so its growth is reported to the caller.
    let log = with_suffix(from, "-wal");
    let log_length = || fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let log_at_first = log_length();

    let mut target = Connection::open(to).map_err(cannot_write)?;
    // An abandoned copy is deleted, and a complete one is synced at the end.
    target
        .pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))
        .map_err(cannot_write)?;
    target.pragma_update(None, "synchronous", "off").map_err(cannot_write)?;
    let backup = Backup::new(&source, &mut target).map_err(cannot_write)?;
    loop {
        let step =
            backup.step(BACKUP_STEP_PAGES).map_err(|cause| match cause.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DatabaseCorrupt) => cannot_read(cause),
                _ => cannot_write(cause),
            })?;
        let progress = backup.progress();
        let count = |pages: std::ffi::c_int| u64::try_from(pages).unwrap_or(0);
        let total = count(progress.pagecount);
        let is_wanted = go_on(CopyProgress {
            pages: total.saturating_sub(count(progress.remaining)),
            pages_total: total,
            log_growth: log_length().saturating_sub(log_at_first),
        });
        match step {
            StepResult::Done => break,
            _ if !is_wanted => return Err(BackupError::BrokenOff),
            StepResult::More => {}
            // Another process is reading the copy.
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Ok(contents)
}

fn read_contents(
    db: &Connection,
    path: &Path,
    cannot: impl Fn(rusqlite::Error) -> BackupError + Copy,
) -> Result<Contents, BackupError> {
    let known = schema::known();
    let id: i64 =
        db.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(cannot)?;
    let found = schema::version(db).map_err(cannot)?;
    if id != i64::from(schema::APPLICATION_ID) || found == 0 {
        return Err(BackupError::Foreign(path.to_owned()));
    }
    if found > known {
        return Err(BackupError::Newer { path: path.to_owned(), found, known });
    }
    let of = |sql: &str| -> Result<u64, BackupError> {
        let count: i64 = db.query_row(sql, [], |row| row.get(0)).map_err(cannot)?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    Ok(Contents {
        schema: found,
        sites: of("SELECT count(*) FROM site")?,
        devices: of("SELECT count(*) FROM device")?,
        keys: of("SELECT count(*) FROM device_key")?,
        tokens: of("SELECT count(*) FROM token")?,
        batches: of("SELECT coalesce(sum(batches), 0) FROM device_state")?,
        samples: of("SELECT coalesce(sum(samples), 0) FROM device_state")?,
    })
}

/// Opens a copy in a journal mode that needs no second file: it may have to be read from a
/// read-only medium.
fn open_copy(path: &Path) -> Result<Connection, BackupError> {
    let cannot = |cause| database(path, cause);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(cannot)?;
    connection
        .pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))
        .map_err(cannot)?;
    Ok(connection)
}

/// Checks that a copy is intact and has the contents of its source; `named` is the path for errors.
fn check(connection: &Connection, named: &Path, expected: &Contents) -> Result<(), BackupError> {
    let damaged = |what: String| BackupError::Damaged { path: named.to_owned(), what };
    let cannot = |cause: rusqlite::Error| damaged(cause.to_string());
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(cannot)?;
    if found != "ok" {
        return Err(damaged(found));
    }
    let orphan = connection
        .query_row("PRAGMA foreign_key_check", [], |row| row.get::<_, String>(0))
        .optional()
        .map_err(cannot)?;
    if let Some(table) = orphan {
        return Err(damaged(format!("a row of {table} refers to a missing row")));
    }
    let held = read_contents(connection, named, cannot)?;
    if held != *expected {
        return Err(damaged(format!("it holds {held:?} instead of {expected:?}")));
    }
    Ok(())
}

/// Writes a copy's checksum into it.
fn seal(connection: &mut Connection) -> rusqlite::Result<()> {
    let checksum = checksum(connection)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE seal (checksum INTEGER NOT NULL) STRICT")?;
    transaction.execute("INSERT INTO seal VALUES (?1)", [checksum])?;
    transaction.commit()
}

/// Verifies the checksum of a copy and removes it; returns whether there was one.
fn unseal(connection: &mut Connection, named: &Path) -> Result<bool, BackupError> {
    let damaged = |what: &str| BackupError::Damaged { path: named.to_owned(), what: what.into() };
    let cannot = |cause: rusqlite::Error| damaged(&cause.to_string());
    let is_sealed = connection
        .prepare("SELECT 1 FROM sqlite_schema WHERE name = 'seal'")
        .and_then(|mut statement| statement.exists([]))
        .map_err(cannot)?;
    if !is_sealed {
        return Ok(false);
    }
    let sealed: u32 =
        connection.query_row("SELECT checksum FROM seal", [], |row| row.get(0)).map_err(cannot)?;
    if checksum(connection).map_err(cannot)? != sealed {
        return Err(damaged("its checksum does not match"));
    }
    connection.execute_batch("DROP TABLE seal").map_err(cannot)?;
    Ok(true)
}

/// Checksum of the schema and all rows, without the seal.
fn checksum(connection: &Connection) -> rusqlite::Result<u32> {
    let mut digest = CHECKSUM.digest();
    let mut tables = connection.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name <> 'seal' ORDER BY name",
    )?;
    let tables: Vec<(String, String)> =
        tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (name, sql) in tables {
        digest.update(sql.as_bytes());
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\""))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                add(&mut digest, row.get_ref(column)?);
            }
        }
    }
    Ok(digest.finalize())
}

fn add(digest: &mut Digest<'_, u32, Table<16>>, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(value) => {
            return digest.update(&[&[1][..], &value.to_be_bytes()].concat());
        }
        ValueRef::Real(value) => return digest.update(&[&[2][..], &value.to_be_bytes()].concat()),
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    digest.update(&[kind]);
    digest.update(&bytes.len().to_be_bytes());
    digest.update(bytes);
}

fn close(connection: Connection, path: &Path) -> Result<(), BackupError> {
    connection.close().map_err(|(_, cause)| database(path, cause))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(|cause| file(path, cause))
}

/// A file that is deleted on drop unless it was renamed to its final name.
struct Partial {
    path: PathBuf,
    /// Locked, to tell a file left by a killed process from one in use.
    _file: File,
}

impl Partial {
    /// Creates the file, replacing one left by a killed process.
    fn create(path: PathBuf) -> Result<Self, BackupError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let held = options.open(&path).map_err(|cause| file(&path, cause))?;
        if held.try_lock().is_err() {
            return Err(BackupError::Exists(path));
        }
        // Its previous owner may have renamed it a moment ago, so the opened file cannot be used.
        remove(&path);
        options.create_new(true);
        let made = options.open(&path).map_err(|cause| file(&path, cause))?;
        match made.try_lock() {
            Ok(()) => Ok(Self { path, _file: made }),
            Err(_) => Err(BackupError::Exists(path)),
        }
    }

    fn rename_to(self, to: &Path) -> Result<(), BackupError> {
        refuse_if_there(to)?;
        fs::rename(&self.path, to).map_err(|cause| file(to, cause))?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new("."))).map_err(|cause| file(to, cause))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(partial: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        // Most of these do not exist.
        let _ = fs::remove_file(with_suffix(partial, suffix));
    }
}

fn refuse_if_there(path: &Path) -> Result<(), BackupError> {
    if path.symlink_metadata().is_ok() { Err(BackupError::Exists(path.to_owned())) } else { Ok(()) }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn file(path: &Path, cause: io::Error) -> BackupError {
    BackupError::File { path: path.to_owned(), cause }
}

fn database(path: &Path, error: rusqlite::Error) -> BackupError {
    BackupError::Database { path: path.to_owned(), cause: cause(error) }
}
