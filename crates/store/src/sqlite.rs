//! The embedded engine: one database file in a folder.
//!
//! A [`writer::Writer`] takes the queued jobs, does them in one transaction, commits with one fsync
//! (`synchronous=FULL`) and only then sends the answers. It is driven in one of two ways: by a
//! thread of its own, with a few threads that read on connections that cannot write ([`threads`]),
//! or by the holder of the [`stepper::Stepper`], without any thread. Nothing else uses the
//! connections, so no statement waits for a lock held by this process.

mod absent_keys;
pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod block;
mod checkpoint;
pub(crate) mod claim;
pub(crate) mod command;
pub(crate) mod config_template;
pub(crate) mod configuration;
mod convert;
#[cfg(test)]
mod cost_tests;
pub(crate) mod deletion;
pub(crate) mod device;
pub(crate) mod disk_usage;
mod failure;
mod folder_lock;
mod grant;
pub(crate) mod health;
pub(crate) mod ingest;
pub(crate) mod key;
pub(crate) mod latest;
pub(crate) mod lease;
mod load;
mod newest_edges;
pub(crate) mod original;
pub(crate) mod pack;
pub(crate) mod rebuild;
pub(crate) mod retention;
pub(crate) mod revocation_file;
pub(crate) mod rollup;
pub(crate) mod row_pack;
mod schema;
pub(crate) mod site;
mod state_cache;
pub(crate) mod stepper;
pub(crate) mod stream;
mod threads;
mod unpack;
mod wal;
mod writer;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ecowatt_model::{DeviceNumber, KeyGeneration};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

use crate::audit::Audited;
use crate::limits::{CHECKPOINT_PAGES, KEY_LOOK_UPS_MAX, PAGE_BYTES, READERS};
use crate::{
    CallError, CallReceipt, DeviceKey, OpenError, StoreError, UnprovenCall, Upload, UploadOutcome,
};
use absent_keys::AbsentKeys;
use checkpoint::Checkpointer;
use failure::cause;
use folder_lock::{FolderLock, LOCK};
use revocation_file::Journal;
use stepper::{StepQueue, Stepper};
use threads::{Lane, Query, Reader, Readers, Threads};
use writer::{Change, Job, Writer};

pub(crate) const DATABASE: &str = "ecowatt.db";

/// How long a statement waits for another process, such as an administrator's command or a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements that a connection caches; more than this crate has.
const STATEMENTS: usize = 128;

/// Whether other processes may have the folder open as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The server: takes the lock and migrates.
    Alone,
    /// An administrator's command while a server may be running. It takes no lock, because a server
    /// starting at that moment would be refused, and it does not change the schema.
    Beside,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    drive: Drive,
    path: PathBuf,
    journal: Arc<Journal>,
    absent: AbsentKeys,
    uploads: LastFailure,
    queries: LastFailure,
    damage: Arc<Damage>,
    /// Permits for look-ups of keys. Anyone can cause as many of those as there are numbers; the
    /// limit leaves room in the queue for the tokens of users.
    key_turns: Semaphore,
}

/// The failure of the medium when it was last used; an empty transaction would not detect it.
#[derive(Debug, Default)]
struct LastFailure(Mutex<Option<StoreError>>);

impl LastFailure {
    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        let failure = match outcome {
            Ok(_) => None,
            Err(failure) if failure.is_of_medium() => Some(failure.clone()),
            // Other errors are not about the medium.
            Err(_) => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn get(&self) -> Result<(), StoreError> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(Ok(()), |failure| Err(failure.clone()))
    }
}

/// Damage found in the database or its log. It does not heal, so nothing is written afterwards:
/// devices then keep what the restored backup will lack, and pages of a damaged tree do not
/// overwrite sound ones. Undamaged data can still be read.
///
/// A damaged log is a failure of the medium ([`StoreError::Io`]): a restart recovers the sound part
/// of it. A restart does not help a damaged database ([`StoreError::Damaged`]).
#[derive(Debug, Default)]
struct Damage {
    found: OnceLock<StoreError>,
    /// Absent for a store without threads, whose log has no index that could be read.
    log: Option<wal::Log>,
}

impl Damage {
    /// Takes note of damage that a request met. A corrupt page may come from a damaged log.
    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        let Err(failure @ StoreError::Damaged(_)) = outcome else { return };
        if matches!(self.is_log_sound(wal::Extent::All), Ok(false)) {
            self.note_log();
        } else if self.found.set(failure.clone()).is_ok() {
            tracing::error!(
                error = failure as &dyn std::error::Error,
                "the database is damaged and nothing more is stored; stop the server and put a \
                 backup in its place with `ecowatt store restore`"
            );
        }
    }

    fn is_log_sound(&self, extent: wal::Extent) -> std::io::Result<bool> {
        self.log.as_ref().map_or(Ok(true), |log| log.is_sound(extent))
    }

    fn note_log(&self) {
        if self.found.set(StoreError::Io(Arc::new(wal::DamagedLog))).is_ok() {
            tracing::error!(
                "the database's log is damaged and nothing more is stored; a restart recovers its \
                 sound part, and what was stored after the damage may be lost"
            );
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        self.found.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }
}

/// What executes the jobs.
#[derive(Debug)]
enum Drive {
    Threads(Threads),
    Stepped(Arc<StepQueue>),
}

impl Sqlite {
    pub(crate) fn open(dir: &Path, sharing: Sharing) -> Result<Self, OpenError> {
        let lock = match sharing {
            Sharing::Alone => {
                create_private(dir)
                    .and_then(|()| close(dir))
                    .map_err(|cause| OpenError::Folder { path: dir.to_owned(), cause })?;
                refuse_links(dir)?;
                Some(FolderLock::take(dir)?)
            }
            Sharing::Beside => {
                refuse_links(dir)?;
                None
            }
        };
        let path = dir.join(DATABASE);
        let cannot = |error| OpenError::Database { path: path.clone(), cause: cause(error) };
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if sharing == Sharing::Alone {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        // Before SQLite opens the path: that creates a missing database and discards its log.
        if matches!(sharing, Sharing::Alone) {
            refuse_loss(dir, &path)?;
            make_private(&path).map_err(|cause| OpenError::Folder { path: path.clone(), cause })?;
        }
        let mut connection = Connection::open_with_flags(&path, flags).map_err(cannot)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(cannot)?;
        match sharing {
            Sharing::Alone => {
                configure(&connection).map_err(cannot)?;
                if !has_log(&connection).map_err(cannot)? {
                    return Err(OpenError::NoLog(dir.to_owned()));
                }
                schema::migrate(&mut connection, &path)?;
                // Before any request is served: the database may be a restored, older one.
                revoke_again(&mut connection, dir)?;
            }
            // The database may belong to a server that is just creating it: nothing is written
            // before the check, not even the journal mode.
            Sharing::Beside => {
                schema::check(&connection, &path)?;
                configure(&connection).map_err(cannot)?;
            }
        }
        let charts = (0..READERS).map(|_| reader(&path)).collect::<Result<_, _>>();
        let readers =
            Readers { charts: charts.map_err(cannot)?, look_ups: reader(&path).map_err(cannot)? };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let own = Connection::open_with_flags(&path, flags).map_err(cannot)?;
        configure(&own).map_err(cannot)?;
        let log = wal::Log::open(&path)
            .map_err(|cause| OpenError::Folder { path: path.clone(), cause })?;
        let damage = Arc::new(Damage { log: Some(log), ..Damage::default() });
        let checkpointer = Checkpointer::start(own, CHECKPOINT_PAGES, Arc::clone(&damage))?;
        checkpointer.watch(&mut connection).map_err(cannot)?;
        let journal = Arc::new(Journal::in_folder(dir));
        let writer = Writer::new(connection, Arc::clone(&journal));
        let threads = Threads::start(writer, checkpointer, readers, lock)?;
        Ok(Self::new(Drive::Threads(threads), path, journal, damage))
    }

    fn new(drive: Drive, path: PathBuf, journal: Arc<Journal>, damage: Arc<Damage>) -> Self {
        let key_turns = Semaphore::new(KEY_LOOK_UPS_MAX);
        Self {
            drive,
            path,
            journal,
            absent: AbsentKeys::default(),
            uploads: LastFailure::default(),
            queries: LastFailure::default(),
            damage,
            key_turns,
        }
    }

    /// Opens the database file through a VFS, with a single connection and without threads.
    pub(crate) fn open_stepped(path: &Path, vfs: &str) -> Result<(Self, Stepper), OpenError> {
        let cannot = |error| OpenError::Database { path: path.to_owned(), cause: cause(error) };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags_and_vfs(path, flags, vfs).map_err(cannot)?;
        // Must precede the first access to the log: its index is then in this process's memory, and
        // the VFS needs no shared memory (https://www.sqlite.org/wal.html, section 8).
        connection
            .pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))
            .map_err(cannot)?;
        configure(&connection).map_err(cannot)?;
        // The VFS only has files with names, and temporary files have none.
        connection.pragma_update(None, "temp_store", "memory").map_err(cannot)?;
        schema::migrate(&mut connection, path)?;
        let journal = Arc::new(Journal::none());
        let (stepper, steps) = Stepper::new(Writer::new(connection, Arc::clone(&journal)));
        let damage = Arc::default();
        Ok((Self::new(Drive::Stepped(steps), path.to_owned(), journal, damage), stepper))
    }

    /// Size of the database without the write-ahead log.
    pub(crate) fn size_bytes(&self) -> Result<u64, StoreError> {
        match &self.drive {
            Drive::Threads(_) => Ok(fs::metadata(&self.path).map_or(0, |metadata| metadata.len())),
            Drive::Stepped(steps) => steps.read(health::size_bytes),
        }
    }

    /// Completes when writing has ended for good because the writer is gone.
    pub(crate) fn writer_ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut writes = match &self.drive {
            Drive::Threads(threads) => threads.writes(),
            Drive::Stepped(steps) => steps.writes(),
        };
        async move {
            // Nothing is ever sent, so the loop ends when the sender is dropped.
            while writes.changed().await.is_ok() {}
        }
    }

    /// Runs a change that the server makes on its own account, in the next group. On `Err` only
    /// this change is rolled back.
    pub(crate) async fn write<T, E>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Change(writer::change(change, answer)))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Finds a key; returns `None` if it does not exist.
    pub(crate) async fn find_key(
        &self,
        device: DeviceNumber,
        generation: KeyGeneration,
    ) -> Result<Option<DeviceKey>, StoreError> {
        if self.absent.has((device, generation)) {
            return Ok(None);
        }
        let _turn = self.key_turns.acquire().await.map_err(|_| StoreError::Closed)?;
        let begun = self.absent.begin();
        let found = self.look_up(move |db| key::find_key(db, device, generation)).await?;
        if found.is_none() {
            self.absent.add((device, generation), begun);
        }
        Ok(found)
    }

    /// Must be called after a device was given keys.
    pub(crate) fn keys_given(&self, device: DeviceNumber) {
        self.absent.given(device);
    }

    /// Runs a change of the control plane, which may revoke something, and writes an audit line
    /// with it. `subject` names what was changed, or returns `None` if nothing was.
    pub(crate) async fn change<T, E>(
        &self,
        audited: Audited,
        change: impl FnOnce(&Connection, &Journal) -> Result<T, E> + Send + 'static,
        subject: impl FnOnce(&T) -> Option<String> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.queue_change(Job::Change, audited, change, subject).await
    }

    /// Like [`Sqlite::change`], for rows that otherwise only ingest changes.
    pub(crate) async fn rewrite<T, E>(
        &self,
        audited: Audited,
        change: impl FnOnce(&Connection, &Journal) -> Result<T, E> + Send + 'static,
        subject: impl FnOnce(&T) -> Option<String> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.queue_change(Job::Rewrite, audited, change, subject).await
    }

    async fn queue_change<T, E>(
        &self,
        job: fn(Change) -> Job,
        audited: Audited,
        change: impl FnOnce(&Connection, &Journal) -> Result<T, E> + Send + 'static,
        subject: impl FnOnce(&T) -> Option<String> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let journal = Arc::clone(&self.journal);
        let (answer, answered) = oneshot::channel();
        let change = move |db: &Connection| {
            let done = change(db, &journal)?;
            if let Some(subject) = subject(&done) {
                audit::note(db, &audited, &subject)?;
            }
            Ok(done)
        };
        self.queue(job(writer::change(change, answer)))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    pub(crate) async fn ingest(&self, upload: Upload) -> Result<UploadOutcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Upload(Box::new(upload), answer))?;
        let taken = answered.await.unwrap_or(Err(StoreError::Closed));
        self.uploads.note(&taken);
        self.damage.note(&taken);
        taken
    }

    pub(crate) async fn call(&self, call: UnprovenCall) -> Result<CallReceipt, CallError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Call(Box::new(call), answer))?;
        answered.await.unwrap_or(Err(StoreError::Closed.into()))
    }

    /// Fails if the last upload or query met a failing medium.
    pub(crate) fn check_medium(&self) -> Result<(), StoreError> {
        let of_medium = self
            .damage
            .check()
            .or_else(|failure| if failure.is_of_medium() { Err(failure) } else { Ok(()) });
        of_medium.and_then(|()| self.uploads.get()).and_then(|()| self.queries.get())
    }

    /// Returns whether damage of the database or its log was found.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damage.check().is_err()
    }

    fn queue(&self, job: Job) -> Result<(), StoreError> {
        self.damage.check()?;
        match &self.drive {
            Drive::Threads(threads) => threads.queue(job),
            Drive::Stepped(steps) => steps.queue(job),
        }
    }

    /// Runs a query whose statements all see the same commit. It runs on one of the reader threads
    /// or, without threads, at once in the caller. Dropping the future interrupts the query.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(Lane::Charts, query).await
    }

    /// Like [`Sqlite::read`], for the single rows that authentication needs: no chart is ahead of
    /// it in its queue.
    pub(crate) async fn look_up<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(Lane::LookUps, query).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        lane: Lane,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let threads = match &self.drive {
            Drive::Threads(threads) => threads,
            Drive::Stepped(steps) => return steps.read(query),
        };
        let (answer, answered) = oneshot::channel();
        let (query, _wanted) = Query::new(move |connection| {
            // The caller may have dropped its future.
            let _ = answer.send(snapshot(connection, query));
        });
        threads.read(lane, query)?;
        let read = answered.await.unwrap_or(Err(StoreError::Closed));
        self.queries.note(&read);
        self.damage.note(&read);
        read
    }
}

fn snapshot<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    query(&snapshot)
}

/// Creates the folder, readable by its owner only where the system supports that: it holds device
/// keys.
fn create_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

/// Makes the folder private if others can read or write it and it contains nothing but the store:
/// its creator did not know that it would hold keys. A folder with other files, such as a home or
/// `/tmp`, is left as it is; keys should not be kept there.
#[cfg(unix)]
fn close(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(dir)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b"ecowatt.") && name != revocation_file::JOURNAL {
            return Err(std::io::Error::other(format!(
                "it is open to other users of this machine (mode {mode:04o}) and holds other things, \
                 such as {}; give a folder of its own, or close it with `chmod go= DIR`",
                name.display()
            )));
        }
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode & !0o077))?;
    tracing::warn!(
        folder = %dir.display(),
        mode = format!("{mode:04o}"),
        "the data folder was open to other users; its permissions were restricted"
    );
    Ok(())
}

#[cfg(not(unix))]
fn close(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Refuses symbolic links at the paths of the store's own files: writing through one would create
/// or change a file elsewhere.
fn refuse_links(dir: &Path) -> Result<(), OpenError> {
    let beside = |end: &str| format!("{DATABASE}{end}");
    for name in [
        DATABASE.into(),
        beside("-wal"),
        beside("-shm"),
        LOCK.into(),
        revocation_file::JOURNAL.into(),
    ] {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Err(OpenError::Link(path));
        }
    }
    Ok(())
}

/// Refuses a folder that had a database and has none: creating a new one would hide the loss, and
/// SQLite would discard what is left in the log.
fn refuse_loss(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let is_empty = |path: &Path| fs::metadata(path).map_or(true, |found| found.len() == 0);
    if !is_empty(path) {
        return Ok(());
    }
    for trace in [format!("{DATABASE}-wal"), revocation_file::JOURNAL.to_owned()] {
        let trace = dir.join(trace);
        if !is_empty(&trace) {
            return Err(OpenError::Gone { path: path.to_owned(), trace });
        }
    }
    Ok(())
}

/// Makes a file readable by its owner only; the files that SQLite creates next to the database
/// inherit its mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        options.mode(0o600).open(path)?.set_permissions(fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    options.open(path).map(drop)
}

/// Returns whether the database is in write-ahead mode. On a file system without shared memory
/// SQLite keeps another mode and reports that only when asked.
fn has_log(connection: &Connection) -> rusqlite::Result<bool> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    Ok(mode.eq_ignore_ascii_case("wal"))
}

/// Applies the revocations of the folder's journal: the database may be older than the journal.
fn revoke_again(connection: &mut Connection, dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(revocation_file::JOURNAL);
    let entries = revocation_file::read(&path)
        .map_err(|cause| OpenError::Journal { path: path.clone(), cause })?;
    for (line, error) in &entries.bad {
        tracing::error!(path = %path.display(), line, %error, "invalid journal line ignored");
    }
    let cannot = |error| OpenError::Database { path: dir.join(DATABASE), cause: cause(error) };
    let transaction = connection.transaction().map_err(cannot)?;
    revocation_file::apply(&transaction, &entries.revocations).map_err(cannot)?;
    transaction.commit().map_err(cannot)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Only affects a new database; an existing one keeps its page size.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // NORMAL would lose acknowledged uploads at a power cut, which their devices have deleted.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // After a commit that split or joined pages of a tree SQLite walks the whole page cache, so a
    // larger one costs more than it saves; rows that are needed again are held in memory.
    connection.pragma_update(None, "cache_size", -4_096)?;
    keep_plans(connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn reader(path: &Path) -> rusqlite::Result<Reader> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure_reader(&connection)?;
    Reader::new(connection)
}

fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", "on")?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    keep_plans(connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Plans each statement once, independently of the bound values. Otherwise this build of SQLite,
/// which considers the values of parameters, may recompile a prepared statement whenever they
/// change.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Starts a thread of the engine.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(OpenError::Thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite answers with the mode in effect and does not fail.
    #[test]
    fn file_system_that_refuses_the_log_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        for (vfs, expected) in [("unix", true), ("unix-dotfile", false)] {
            let path = dir.path().join(vfs);
            let connection = Connection::open_with_flags_and_vfs(&path, flags, vfs).unwrap();
            configure(&connection).unwrap();
            assert_eq!(has_log(&connection).unwrap(), expected, "{vfs}");
        }
    }
}
