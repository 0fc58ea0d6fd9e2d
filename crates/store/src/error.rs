//! Errors of the engine, and errors of opening a store.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// Error of an engine's own library.
pub type EngineError = Box<dyn Error + Send + Sync>;

/// A request failed; nothing of it is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("too many requests are waiting for the store")]
    Busy,
    #[error("no space is left for the database")]
    Full,
    #[error("reading or writing the database failed")]
    Io(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the database is damaged")]
    Damaged(#[source] Arc<dyn Error + Send + Sync>),
    #[error("a statement failed")]
    Sql(#[source] Arc<dyn Error + Send + Sync>),
    #[error("writing to the journal of revocations failed")]
    Journal(#[source] Arc<std::io::Error>),
    #[error("the group was rolled back because another request in it failed")]
    RolledBack,
    #[error("stored {0} cannot be read")]
    Corrupt(&'static str),
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns whether reading or writing the disk failed. Reopening the store may help.
    #[must_use]
    pub fn is_of_medium(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    /// Returns whether the same request may succeed later unchanged: soon, once there is disk
    /// space, or once a backup has replaced a damaged database.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::Full
                | Self::Io(_)
                | Self::Damaged(_)
                | Self::Journal(_)
                | Self::RolledBack
        )
    }
}

/// Why a folder could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use the folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{0} is a symbolic link; the store's files must be regular files in the data folder")]
    Link(PathBuf),
    #[error("another process has {0} open; stop it first")]
    Locked(PathBuf),
    #[error("the database was written by a later version (schema {found}, this one knows {known})")]
    Newer { found: u32, known: u32 },
    #[error("the database has schema {found}; `ecowatt serve` brings it to {known} when it starts")]
    Older { found: u32, known: u32 },
    #[error("cannot open the database in {path}")]
    Database {
        path: PathBuf,
        #[source]
        cause: EngineError,
    },
    #[error("there is no database in {path}, but {trace} shows that there was one")]
    Gone { path: PathBuf, trace: PathBuf },
    #[error("cannot read the revocations in {path}")]
    Journal {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error(
        "the folder {0} cannot hold a write-ahead log, without which readers and writers would wait \
         for each other; use a local file system"
    )]
    NoLog(PathBuf),
    #[error("cannot start a thread for the store")]
    Thread(#[source] std::io::Error),
}
