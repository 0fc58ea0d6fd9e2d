//! The interface of the store that the server uses.

mod access;
mod command;
mod config_template;
mod configuration;
mod fleet;
mod lease;
mod original;
mod retention;
mod telemetry;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use crate::sqlite::stepper::Stepper;
use crate::sqlite::{DATABASE, Sharing, Sqlite, audit, disk_usage, health};
use crate::{AuditLine, OpenError, StoreError, StoreReport, StoreSize};

/// Handle to all data of the server; clones share it.
///
/// A method that changes data returns after the commit with the change. Dropping the last clone
/// finishes the queued work and closes the database, and blocks until both are done.
#[derive(Debug, Clone)]
pub struct Store(Arc<Engine>);

/// The engine behind a [`Store`]. Every engine decides uploads with [`crate::ingest`] and answers
/// with the types of this crate.
#[derive(Debug)]
enum Engine {
    /// One database file in a folder, for one server.
    Sqlite(Sqlite),
}

impl Store {
    /// Returns whether `dir` contains a database. Opens and creates nothing.
    ///
    /// # Errors
    /// Fails if the folder cannot be searched.
    pub fn is_in(dir: &Path) -> std::io::Result<bool> {
        dir.join(DATABASE).try_exists()
    }

    /// Opens the database in `dir`, creating it if it is missing, and migrates it to this program's
    /// schema. Until it is closed, no other process can open the folder this way.
    ///
    /// # Errors
    /// Fails if another process has it open, if a later version wrote it, or if the disk fails.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(Sqlite::open(dir, Sharing::Alone)?)))
    }

    /// Opens the database in `dir` while a server may be running, for an administrator's command
    /// such as creating a token. Not for [`Store::ingest`].
    ///
    /// # Errors
    /// Fails if there is no database, or its schema is not this program's.
    pub fn open_beside(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self::of(Engine::Sqlite(Sqlite::open(dir, Sharing::Beside)?)))
    }

    /// Opens a database file, creating it if it is missing, through the SQLite VFS registered as
    /// `vfs`. This store has no threads: the program decides itself what happens when. A write
    /// happens in [`Stepper::commit`], and its future is pending until then; a read is ready when
    /// its future is first polled.
    ///
    /// # Errors
    /// Fails if the file is open elsewhere, if a later version wrote it, or if the VFS fails.
    pub fn open_stepped(path: &Path, vfs: &str) -> Result<(Self, Stepper), OpenError> {
        let (sqlite, stepper) = Sqlite::open_stepped(path, vfs)?;
        Ok((Self::of(Engine::Sqlite(sqlite)), stepper))
    }

    fn of(engine: Engine) -> Self {
        Self(Arc::new(engine))
    }

    fn sqlite(&self) -> &Sqlite {
        let Engine::Sqlite(sqlite) = &*self.0;
        sqlite
    }
}

/// Health of the store.
impl Store {
    /// Waits until the writer has done the work queued before this call. Writes nothing itself.
    ///
    /// # Errors
    /// Fails if writing is impossible, or if the last upload or query met a failing medium.
    pub async fn check_writer(&self) -> Result<(), StoreError> {
        self.sqlite().write(|_| Ok::<_, StoreError>(())).await?;
        self.sqlite().check_medium()
    }

    /// Runs an empty look-up.
    ///
    /// # Errors
    /// Fails if look-ups are impossible.
    pub async fn check_reader(&self) -> Result<(), StoreError> {
        self.sqlite().look_up(health::nothing).await
    }

    /// Returns whether a damaged page was found since the store was opened. After that nothing more
    /// is written; undamaged data can still be read.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.sqlite().is_damaged()
    }

    /// Completes when writing has ended for good: the writer thread has panicked, or the
    /// [`Stepper`] was dropped. The future does not keep the store open.
    pub fn writer_ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.sqlite().writer_ended()
    }

    /// Reports how the bytes of the database are used. Reads every page, in one read transaction.
    pub async fn report(&self) -> Result<StoreReport, StoreError> {
        self.sqlite().read(disk_usage::report).await
    }

    pub async fn counts(&self) -> Result<StoreSize, StoreError> {
        let devices = self.sqlite().read(health::count_devices).await?;
        Ok(StoreSize { devices, database_bytes: self.sqlite().size_bytes()? })
    }
}

/// Audit log. Every method with a [`Author`](crate::Author) writes an audit line in the transaction of its change,
/// unless it changes nothing.
impl Store {
    /// Returns the lines below the given one, newest first, at most
    /// [`crate::limits::AUDIT_LINES_PER_QUERY_MAX`].
    pub async fn list_audit(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditLine>, StoreError> {
        let limit = limit.min(crate::limits::AUDIT_LINES_PER_QUERY_MAX);
        self.sqlite().read(move |db| audit::list(db, before, limit)).await
    }
}
