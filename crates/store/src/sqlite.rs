//! The embedded engine: one database file in a folder.
//!
//! One thread writes. It takes what is queued, does it in one transaction, commits with one fsync
//! (`synchronous=FULL`) and only then answers everybody. A few threads read, each on a connection of
//! its own that cannot write. Nobody else touches the connections, so no statement waits for a lock
//! that this process holds.

pub(crate) mod access;
pub(crate) mod fleet;
pub(crate) mod ingest;
pub(crate) mod query;
mod row;
mod rows;
mod schema;
mod writer;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use crate::limits::{CHECKPOINT_PAGES, READ_QUEUE_MAX, READERS, WRITE_QUEUE_MAX};
use crate::{OpenError, Outcome, StoreError, Upload};
use writer::Job;

const DATABASE: &str = "ecowatt.db";
const LOCK: &str = "ecowatt.lock";

/// How long a statement waits for another process (an administrator's command, a backup).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that a connection keeps prepared; more than there are in this crate.
const STATEMENTS: usize = 128;

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Whether the folder is this process's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// The server's: takes the lock and migrates.
    Alone,
    /// An administrator's command beside a server that may be running.
    Beside,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    // Dropping the senders ends the threads once their queues are empty.
    writer: Option<SyncSender<Job>>,
    readers: Option<SyncSender<Query>>,
    threads: Vec<JoinHandle<()>>,
    path: PathBuf,
    // Held as long as the database is open; the operating system lets go of it after a kill.
    _lock: Option<File>,
}

impl Sqlite {
    pub(crate) fn open(dir: &Path, sharing: Sharing) -> Result<Self, OpenError> {
        let lock = match sharing {
            Sharing::Alone => {
                create_private(dir)
                    .map_err(|cause| OpenError::Folder { path: dir.to_owned(), cause })?;
                Some(lock(dir)?)
            }
            // Without a running server this process may as well be the one that migrates.
            Sharing::Beside => lock(dir).ok(),
        };
        let path = dir.join(DATABASE);
        let cannot = |cause| OpenError::Database { path: path.clone(), cause };
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if sharing == Sharing::Alone {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        if matches!(sharing, Sharing::Alone) {
            make_private(&path).map_err(|cause| OpenError::Folder { path: path.clone(), cause })?;
        }
        let mut connection = Connection::open_with_flags(&path, flags).map_err(cannot)?;
        configure(&connection).map_err(cannot)?;
        if lock.is_some() {
            schema::migrate(&mut connection, &path)?;
        } else {
            schema::check(&connection, &path)?;
        }
        let mut threads = Vec::with_capacity(1 + READERS);
        let (writer, jobs) = mpsc::sync_channel(WRITE_QUEUE_MAX);
        threads.push(spawn("store-write", move || writer::run(connection, &jobs))?);
        let (readers, queries) = mpsc::sync_channel::<Query>(READ_QUEUE_MAX);
        let queries = Arc::new(Mutex::new(queries));
        for _ in 0..READERS {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags).map_err(cannot)?;
            configure_reader(&connection).map_err(cannot)?;
            let queries = Arc::clone(&queries);
            threads.push(spawn("store-read", move || read(&connection, &queries))?);
        }
        Ok(Self { writer: Some(writer), readers: Some(readers), threads, path, _lock: lock })
    }

    /// Size of the database file.
    pub(crate) fn size_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Runs a change in the next group. An `Err` takes back what the change did and nothing else.
    pub(crate) async fn write<T, E>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.queue(writer::change(change, answer))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    pub(crate) async fn ingest(&self, upload: Upload) -> Result<Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Upload(Box::new(upload), answer))?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn queue(&self, job: Job) -> Result<(), StoreError> {
        let writer = self.writer.as_ref().ok_or(StoreError::Closed)?;
        writer.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }

    /// Runs a query on one of the readers; all of its statements see the same commit.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            let result = connection
                .unchecked_transaction()
                .map_err(StoreError::from)
                .and_then(|snapshot| query(&snapshot));
            // Whoever asked may have gone away.
            let _ = answer.send(result);
        });
        let readers = self.readers.as_ref().ok_or(StoreError::Closed)?;
        readers.try_send(query).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.writer.take());
        drop(self.readers.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(OpenError::Thread)
}

fn read(connection: &Connection, queries: &Mutex<Receiver<Query>>) {
    loop {
        // Whoever holds the lock waits for a query; the others wait for the lock.
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(query) = next else { return };
        query(connection);
    }
}

/// Makes the folder, for its owner's eyes only where the system knows that: it holds device keys.
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

/// Sees to it that only its owner reads the database; the files that SQLite puts beside it take
/// over its mode.
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

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|cause| OpenError::Folder { path: path.clone(), cause })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(cause)) => Err(OpenError::Folder { path, cause }),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // NORMAL would lose acknowledged uploads at a power cut, and the device has deleted them by then.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    keep_plans(connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn configure_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", "on")?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    keep_plans(connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Plans a statement once, whatever is bound to it. Otherwise SQLite, built to weigh the values of
/// parameters, may compile a prepared statement again whenever they change.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
