//! Replaces the files under SQLite by a safe trait.
//!
//! [`register`] installs any [`Files`] as an SQLite VFS, so that a database can live on a simulated
//! disk, which loses what was not synced and fails on request. Nothing of the operating system is
//! used: no files, clocks, entropy or sleeping.
//!
//! This is the only crate with `unsafe`, all of it in the module `shim`; `docs/decisions/0005` says
//! why it exists. It is for the simulation and for tests: the server's database uses SQLite's own
//! VFS.

mod locks;
#[expect(unsafe_code, reason = "SQLite calls a VFS through pointers to functions")]
mod shim;

use std::io;

pub use shim::{Registered, register, seed_randomness};

/// The files under SQLite, without folders: the database, its journal and its write-ahead log.
/// Temporary files are not included, since they never outlive a connection.
///
/// Errors are mapped to SQLite's codes: [`io::ErrorKind::StorageFull`] to `SQLITE_FULL`, everything
/// else to the `SQLITE_IOERR` or `SQLITE_CANTOPEN` of the operation.
pub trait Files: Send + Sync + 'static {
    /// An open file.
    type File: File;

    /// Opens a file; creates a missing one if `creates` is set.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is missing and `creates` is not set.
    fn open(&self, name: &str, creates: bool) -> io::Result<Self::File>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it does not exist.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations and removals durable. Called where SQLite's own VFS for Unix syncs the
    /// folder: at the first sync of a journal or log that may be new, and for some removals.
    fn sync_names(&self) -> io::Result<()>;

    /// Whether a file with this name exists.
    fn exists(&self, name: &str) -> io::Result<bool>;
}

/// An open file. None of it is durable until [`File::sync`] has returned.
///
/// The shim promises SQLite exactly what its own VFS for Unix promises by default: a write that a
/// power cut interrupts leaves every byte outside its range unchanged
/// (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`). Which part of the range was written, and in which order
/// writes between two syncs reach the disk, is undefined.
pub trait File: Send + 'static {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes. A gap before them reads as zeros.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Sets the length.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// Why a VFS was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the name contains a zero byte")]
    Name,
    #[error("a VFS with that name exists")]
    Taken,
    #[error("SQLite refused with code {0}")]
    Refused(i32),
}
