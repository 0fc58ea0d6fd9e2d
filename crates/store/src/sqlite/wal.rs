//! Checks the write-ahead log before it is moved into the database.
//!
//! SQLite verifies the log's checksums when it opens a database, but not when it moves pages: there
//! it trusts its index in shared memory. If the log's file was cut or damaged while the process was
//! running, it would copy the damaged pages, even zeros, over sound ones. Formats:
//! <https://www.sqlite.org/fileformat2.html#walformat> and <https://www.sqlite.org/walformat.html>.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

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

/// Returns whether every page that is in the log and not yet in the database is as it was written.
///
/// # Errors
/// Fails if a file cannot be read.
pub(super) fn is_sound(database: &Path) -> io::Result<bool> {
    let Some(index) = Index::read(database)? else { return Ok(true) };
    let is_sound = match are_frames_sound(&beside(database, "-wal"), &index) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        checked => checked?,
    };
    // Another connection may have moved and restarted the log meanwhile.
    Ok(is_sound || Index::read(database)?.is_none_or(|later| later.is_of_other_frames(&index)))
}

/// The part of SQLite's index in shared memory that describes the log.
struct Index {
    salts: [u8; 8],
    /// Frames in the log, and how many of them the database has.
    last: u32,
    moved: u32,
}

impl Index {
    /// Reads the index; `None` if nothing was ever written.
    fn read(database: &Path) -> io::Result<Option<Self>> {
        let mut bytes = [0; INDEX];
        match File::open(beside(database, "-shm")) {
            Ok(mut file) => file.read_exact(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let (salts, _) = bytes[SALTS_AT..].split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
        let count = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Ok(Some(Self { salts: *salts, last: count(LAST_FRAME_AT), moved: count(MOVED_AT) }))
    }

    fn is_of_other_frames(&self, earlier: &Self) -> bool {
        self.salts != earlier.salts || self.moved != earlier.moved
    }
}

fn are_frames_sound(path: &Path, index: &Index) -> io::Result<bool> {
    let Index { salts, last, moved } = *index;
    if moved >= last {
        return Ok(true);
    }
    let mut log = File::open(path)?;
    let mut header = [0; HEADER];
    log.read_exact(&mut header)?;
    let (magic, page_bytes) = (big_endian(&header[..4]), big_endian(&header[8..12]));
    let page_bytes = usize::try_from(page_bytes).unwrap_or(usize::MAX);
    if magic & !1 != MAGIC || page_bytes > PAGE_BYTES_MAX {
        return Ok(false);
    }
    let order: fn([u8; 4]) -> u32 =
        if magic & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
    let mut sum = sum_in(&header[24..32]);
    if moved > 0 {
        // Each checksum continues that of the frame before.
        log.seek(SeekFrom::Start(place_of(moved - 1, page_bytes)))?;
        let mut before = [0; FRAME_HEADER];
        log.read_exact(&mut before)?;
        sum = sum_in(&before[16..24]);
    }
    log.seek(SeekFrom::Start(place_of(moved, page_bytes)))?;
    let mut log = io::BufReader::new(log);
    let mut frame = vec![0; FRAME_HEADER + page_bytes];
    for _ in moved..last {
        log.read_exact(&mut frame)?;
        let (head, page) = frame.split_at(FRAME_HEADER);
        sum = add(add(sum, &head[..8], order), page, order);
        if head[8..16] != salts || sum_in(&head[16..24]) != sum {
            return Ok(false);
        }
    }
    Ok(true)
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    path.into()
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

    fn write(connection: &Connection) {
        connection.execute("INSERT INTO t (bytes) VALUES (randomblob(10000))", []).unwrap();
    }

    #[test]
    fn damage_matters_where_it_was_not_moved_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        assert!(is_sound(&path).unwrap(), "there is nothing");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(())).unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB)").unwrap();
        (0..5).for_each(|_| write(&connection));
        assert!(is_sound(&path).unwrap());

        let log = folder.path().join("test.db-wal");
        let whole = fs::read(&log).unwrap();
        let mut file = File::options().read(true).write(true).open(&log).unwrap();
        for at in [0, 9, 40, whole.len() / 2, whole.len() - 1] {
            let at = u64::try_from(at).unwrap();
            let mut byte = [0];
            file.seek(SeekFrom::Start(at)).unwrap();
            file.read_exact(&mut byte).unwrap();
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[byte[0] ^ 0x20]).unwrap();
            assert!(!is_sound(&path).unwrap_or(false), "byte {at}");
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&byte).unwrap();
        }
        assert!(is_sound(&path).unwrap());

        let earlier = Index::read(&path).unwrap().unwrap();
        let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        moved.unwrap();
        write(&connection);
        assert!(is_sound(&path).unwrap(), "the log began again");
        assert!(!are_frames_sound(&log, &earlier).unwrap(), "frames that are no more");
        assert!(Index::read(&path).unwrap().unwrap().is_of_other_frames(&earlier));
        file.set_len(0).unwrap();
        assert!(!is_sound(&path).unwrap());
        write(&connection);
        assert!(!is_sound(&path).unwrap(), "zeros stand where pages were");
    }
}
