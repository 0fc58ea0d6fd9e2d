//! The files under SQLite as a safe trait.
//!
//! [`register`] puts any [`Files`] under SQLite as a VFS, so that a database can live on a disk that
//! is simulated, loses what was not synced and fails when it is told to. Nothing of the operating
//! system is used: no file, no clock, no entropy, and nobody sleeps.
//!
//! This is the project's one crate with `unsafe`, all of it in the module `shim`; why it exists is in
//! `docs/decisions/0005`. It is for the simulation and for tests: the server's database stands on
//! SQLite's own VFS.

mod locks;
#[expect(unsafe_code, reason = "SQLite calls a VFS through pointers to functions")]
mod shim;

use std::io;

pub use shim::{Registered, register, seed_randomness};

/// A flat set of files under SQLite: the database, its journal and its write-ahead log. Temporary
/// files are not among them, they never outlive a connection.
///
/// Errors become SQLite's: [`io::ErrorKind::StorageFull`] is `SQLITE_FULL`, everything else the
/// `SQLITE_IOERR` or `SQLITE_CANTOPEN` of the operation.
pub trait Files: Send + Sync + 'static {
    /// An open file.
    type File: File;

    /// Opens a file; makes it if it is missing and `creates` says so.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is missing otherwise.
    fn open(&self, name: &str, creates: bool) -> io::Result<Self::File>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations and removals durable. Asked for where SQLite's own VFS for Unix syncs
    /// the folder: at the first sync of a journal or log that may be new, and for some removals.
    fn sync_names(&self) -> io::Result<()>;

    /// Whether there is a file of this name.
    fn exists(&self, name: &str) -> io::Result<bool>;
}

/// An open file. Nothing of it is durable before [`File::sync`] returned.
///
/// The shim promises SQLite what its own VFS for Unix promises by default, and no more: that a write
/// which a power cut interrupts leaves every byte outside its range as it was
/// (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`). What of its range was written, and in which order writes
/// between two syncs reach the disk, is open.
pub trait File: Send + 'static {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes. A hole before them reads as zeros.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Sets the length.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// Why no VFS was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the name contains a zero byte")]
    Name,
    #[error("there is a VFS of that name")]
    Taken,
    #[error("SQLite refused with code {0}")]
    Refused(i32),
}
