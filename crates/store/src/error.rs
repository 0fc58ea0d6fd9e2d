//! What can go wrong below a statement.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// What an engine's own library said.
pub type Cause = Box<dyn Error + Send + Sync>;

/// The store could not do what it was asked; nothing of the request is stored.
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
    /// Whether the disk, or what is on it, does not do what it is told. Opened anew, the store may find
    /// it well again.
    #[must_use]
    pub fn is_of_medium(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    /// Whether the same request may succeed later without a change of its own: at once, with space on
    /// the disk, or with a backup in the place of a damaged database.
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
        cause: Cause,
    },
    #[error("there is no database in {path}, but {trace} shows that there was one")]
    Gone { path: PathBuf, trace: PathBuf },
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
