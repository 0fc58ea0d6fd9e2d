//! Checks the write-ahead log before it is moved into the database.
//!
//! SQLite verifies the log's checksums when it opens a database, but not when it moves pages: there
//! it trusts its index in shared memory. If the log's file was cut or damaged while the process was
//! running, it would copy the damaged pages, even zeros, over sound ones. Formats:
//! <https://www.sqlite.org/fileformat2.html#walformat> and <https://www.sqlite.org/walformat.html>.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The log's file was changed by another program, or by a failing disk.
#[derive(Debug, thiserror::Error)]
#[error("the write-ahead log is not as it was written")]
pub(super) struct DamagedLog;

/// Length of the log's header, and of the header before each page.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The log's first four bytes; the last bit is the byte order of its checksums.
const MAGIC: u32 = 0x377F_0682;
/// Largest page of SQLite.
const PAGE_BYTES_MAX: usize = 65_536;
/// Length of the index up to the counts that are read here, and their offsets, in native byte
/// order.
const INDEX: usize = 100;
const LAST_FRAME_AT: usize = 16;
const SALTS_AT: usize = 32;
const MOVED_AT: usize = 96;

/// The log of an open database.
///
/// The index stays open for as long as this process has the database open: closing any descriptor
/// of it would release SQLite's locks on it (fcntl(2)), and another process that opens the database
/// would take the index for abandoned and reset it. SQLite has no locks on the log itself.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    index: Mutex<File>,
    /// How far the log was found sound.
    checked: Mutex<Option<Checked>>,
}

/// The frames up to one of them, and the checksum there.
#[derive(Debug, Clone, Copy)]
struct Checked {
    salts: [u8; 8],
    frames: u32,
    sum: [u32; 2],
}

/// Which frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that are not in the database yet.
    All,
    /// Those that no check has read yet.
    Rest,
}

impl Log {
    /// Opens the log of a database that a connection has open in write-ahead mode.
    ///
    /// # Errors
    /// Fails if there is no index.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let beside = |end: &str| {
            let mut path = database.as_os_str().to_owned();
            path.push(end);
            PathBuf::from(path)
        };
        let index = File::open(beside("-shm"))?;
        Ok(Self { path: beside("-wal"), index: Mutex::new(index), checked: Mutex::default() })
    }

    /// Returns whether every page that is in the log and not yet in the database is as it was
    /// written, as far as it is read.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(super) fn is_sound(&self, extent: Extent) -> io::Result<bool> {
        let index = self.read_index()?;
        let is_sound = match self.check(&index, extent) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            checked => checked?,
        };
        // Another connection may have moved the log in the meantime and restarted it at its
        // beginning.
        Ok(is_sound || self.read_index()?.is_of_other_frames(&index))
    }

    fn read_index(&self) -> io::Result<Index> {
        let mut bytes = [0; INDEX];
        {
            let mut file = lock(&self.index);
            file.rewind()?;
            file.read_exact(&mut bytes)?;
        }
        let (salts, _) = bytes[SALTS_AT..].split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
        let count = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Ok(Index { salts: *salts, last: count(LAST_FRAME_AT), moved: count(MOVED_AT) })
    }

    fn check(&self, index: &Index, extent: Extent) -> io::Result<bool> {
        let Index { salts, last, moved } = *index;
        if moved >= last {
            return Ok(true);
        }
        let mut log = File::open(&self.path)?;
        let mut header = [0; HEADER];
        log.read_exact(&mut header)?;
        let (magic, page_bytes) = (big_endian(&header[..4]), big_endian(&header[8..12]));
        let page_bytes = usize::try_from(page_bytes).unwrap_or(usize::MAX);
        if magic & !1 != MAGIC || page_bytes > PAGE_BYTES_MAX {
            return Ok(false);
        }
        let order: fn([u8; 4]) -> u32 =
            if magic & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
        // Not locked while frames are read: the writer does not wait for the other thread's check.
        let known = lock(&self.checked).filter(|known| {
            extent == Extent::Rest && known.salts == salts && (moved..=last).contains(&known.frames)
        });
        let (from, mut sum) = match known {
            Some(known) => (known.frames, known.sum),
            None if moved == 0 => (0, sum_in(&header[24..32])),
            None => {
                // Each checksum continues that of the frame before.
                log.seek(SeekFrom::Start(place_of(moved - 1, page_bytes)))?;
                let mut before = [0; FRAME_HEADER];
                log.read_exact(&mut before)?;
                (moved, sum_in(&before[16..24]))
            }
        };
        log.seek(SeekFrom::Start(place_of(from, page_bytes)))?;
        let mut log = io::BufReader::new(log);
        let mut frame = vec![0; FRAME_HEADER + page_bytes];
        for _ in from..last {
            log.read_exact(&mut frame)?;
            let (head, page) = frame.split_at(FRAME_HEADER);
            sum = add(add(sum, &head[..8], order), page, order);
            if head[8..16] != salts || sum_in(&head[16..24]) != sum {
                return Ok(false);
            }
        }
        *lock(&self.checked) = Some(Checked { salts, frames: last, sum });
        Ok(true)
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What SQLite's index says of the log.
#[derive(Debug)]
struct Index {
    salts: [u8; 8],
    /// Frames in the log, and how many of them the database has.
    last: u32,
    moved: u32,
}

impl Index {
    fn is_of_other_frames(&self, earlier: &Self) -> bool {
        self.salts != earlier.salts || self.moved != earlier.moved
    }
}

/// Offset of a frame, counted from 0.
fn place_of(frame: u32, page_bytes: usize) -> u64 {
    let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    bytes(HEADER) + u64::from(frame) * bytes(FRAME_HEADER + page_bytes)
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))
}

fn sum_in(bytes: &[u8]) -> [u32; 2] {
    [big_endian(&bytes[..4]), big_endian(&bytes[4..])]
}

fn add([mut a, mut b]: [u32; 2], bytes: &[u8], order: fn([u8; 4]) -> u32) -> [u32; 2] {
    let (words, _) = bytes.as_chunks::<4>();
    for [x, y] in words.as_chunks::<2>().0 {
        a = a.wrapping_add(order(*x)).wrapping_add(b);
        b = b.wrapping_add(order(*y)).wrapping_add(a);
    }
    [a, b]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use rusqlite::Connection;

    use super::*;

    /// A database in write-ahead mode, and its log.
    fn open(folder: &Path) -> (Connection, Log) {
        let path = folder.join("test.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(())).unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB)").unwrap();
        (connection, Log::open(&path).unwrap())
    }

    fn write(connection: &Connection) {
        connection.execute("INSERT INTO t (bytes) VALUES (randomblob(10000))", []).unwrap();
    }

    fn flip(file: &mut File, at: usize) {
        let at = SeekFrom::Start(u64::try_from(at).unwrap());
        let mut byte = [0];
        file.seek(at).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(at).unwrap();
        file.write_all(&[byte[0] ^ 0x20]).unwrap();
    }

    #[test]
    fn damage_matters_where_it_was_not_moved_yet() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, log) = open(folder.path());
        (0..5).for_each(|_| write(&connection));
        assert!(log.is_sound(Extent::All).unwrap());

        let path = folder.path().join("test.db-wal");
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        for at in [0, 9, 40, len / 2, len - 1] {
            flip(&mut file, at);
            assert!(!log.is_sound(Extent::All).unwrap(), "byte {at}");
            flip(&mut file, at);
        }
        assert!(log.is_sound(Extent::All).unwrap());

        let earlier = log.read_index().unwrap();
        let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        moved.unwrap();
        write(&connection);
        for extent in [Extent::Rest, Extent::All] {
            assert!(log.is_sound(extent).unwrap(), "the log began again");
        }
        assert!(!log.check(&earlier, Extent::All).unwrap(), "these frames are no more");
        assert!(log.read_index().unwrap().is_of_other_frames(&earlier));
        file.set_len(0).unwrap();
        assert!(!log.is_sound(Extent::All).unwrap());
        write(&connection);
        assert!(!log.is_sound(Extent::All).unwrap(), "zeros stand where pages were");
    }

    #[test]
    fn rest_is_what_no_check_has_read() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, log) = open(folder.path());
        write(&connection);
        assert!(log.is_sound(Extent::Rest).unwrap());
        let path = folder.path().join("test.db-wal");
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        write(&connection);
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        flip(&mut file, len - 1);
        assert!(log.is_sound(Extent::Rest).unwrap());
        assert!(!log.is_sound(Extent::All).unwrap());
        flip(&mut file, len - 1);
        assert!(log.is_sound(Extent::All).unwrap());
        write(&connection);
        let end = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        flip(&mut file, end - 1);
        assert!(!log.is_sound(Extent::Rest).unwrap());
    }

    /// Whether this process holds a lock on a file that other processes see.
    #[cfg(target_os = "linux")]
    fn is_locked(path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let inode = fs::metadata(path).unwrap().ino();
        let (process, file) = (format!(" {} ", std::process::id()), format!(":{inode} "));
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains(&process) && lock.contains(&file))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn locks_of_sqlite_outlast_the_check() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, log) = open(folder.path());
        write(&connection);
        let index = folder.path().join("test.db-shm");
        assert!(is_locked(&index));
        assert!(log.is_sound(Extent::All).unwrap());
        assert!(is_locked(&index), "another process would take the index for abandoned");
    }
}
