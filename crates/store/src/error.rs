//! What can go wrong below a statement.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// The store could not do what it was asked; nothing of the request is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("too many requests are waiting for the store")]
    Busy,
    #[error("no space is left for the database")]
    Full,
    #[error("reading or writing the database failed")]
    Io(#[source] Arc<rusqlite::Error>),
    #[error("a statement failed")]
    Sql(#[source] Arc<rusqlite::Error>),
    #[error("writing down what was revoked failed")]
    Journal(#[source] Arc<std::io::Error>),
    #[error("the database has rolled back the group, because another of it failed")]
    RolledBack,
    #[error("stored {0} cannot be read")]
    Corrupt(&'static str),
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same request may succeed a little later without anybody's help, or with nothing
    /// more than space on the disk.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Full | Self::Io(_) | Self::Journal(_) | Self::RolledBack)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if matches!(error, rusqlite::Error::FromSqlConversionFailure(..)) {
            return Self::Corrupt("row");
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Self::Io(Arc::new(error)),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                // Nobody waits for the answer.
                | ErrorCode::OperationInterrupted,
            ) => Self::Busy,
            _ => Self::Sql(Arc::new(error)),
        }
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
    #[error(
        "{0} is a symbolic link; the store's files are where they are, so that none is made elsewhere"
    )]
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
        cause: rusqlite::Error,
    },
    #[error("cannot read what was revoked from {path}")]
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

/// Gives the error of an operation its `Store` variant's conversions.
macro_rules! store_failures {
    ($($error:ty),* $(,)?) => {
        $(
            impl From<rusqlite::Error> for $error {
                fn from(error: rusqlite::Error) -> Self {
                    Self::Store(error.into())
                }
            }
        )*
    };
}
pub(crate) use store_failures;
