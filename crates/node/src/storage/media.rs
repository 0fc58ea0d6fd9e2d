//! What is left to do where a disk has lost something: read around it, and put the file aside.
//!
//! Cards and disks lose sectors, and sectors lose bits. Whatever is read is checked by its own
//! checksum; this module sees to it that one unreadable sector costs what lies in it and no more. A
//! damaged file is renamed, not removed, once nothing is left to take from it: its bad sectors stay in
//! use and are not given to another file.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::disk::{Disk, Fault};

/// What a file is read by where it cannot be read as a whole.
const PIECE: usize = 4096;
/// What a piece is read by where it cannot be read as a whole.
const SECTOR: usize = 512;

/// Most damaged files that are put aside, and most bytes in them; the oldest go first.
pub(super) const ASIDE_FILES_MAX: usize = 8;
pub(super) const ASIDE_BYTES_MAX: u64 = 2 * 1024 * 1024;
const ASIDE_PREFIX: &str = "bad-";

/// What was read of a file.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Zeros stand where nothing could be read.
    pub(super) bytes: Vec<u8>,
    /// Ranges of the bytes that could not be read, ascending.
    pub(super) holes: Vec<Range<usize>>,
}

impl Reading {
    /// Forgets what is behind so many bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.holes.retain(|hole| hole.start < len);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.holes.is_empty()
    }
}

/// Reads `len` bytes from `offset`, or up to the end of the file, around what cannot be read.
///
/// # Errors
/// If nothing of it can be read.
pub(super) fn read_around(
    disk: &impl Disk,
    name: &str,
    offset: u64,
    len: usize,
) -> Result<Reading, Fault> {
    let mut bytes = vec![0; len];
    let error = match disk.read_full(name, offset, &mut bytes) {
        Ok(read) => {
            bytes.truncate(read);
            return Ok(Reading { bytes, holes: Vec::new() });
        }
        Err(error) if len == 0 => return Err(error),
        Err(error) => error,
    };
    let mut reading = Reading { bytes, holes: Vec::new() };
    let mut is_any_read = false;
    let mut at = 0;
    while at < len {
        let end = step(offset, at, len, PIECE);
        if disk.read_full(name, place(offset, at), &mut reading.bytes[at..end]).is_ok() {
            is_any_read = true;
            at = end;
            continue;
        }
        while at < end {
            let to = step(offset, at, end, SECTOR);
            if disk.read_full(name, place(offset, at), &mut reading.bytes[at..to]).is_ok() {
                is_any_read = true;
            } else {
                reading.bytes[at..to].fill(0);
                match reading.holes.last_mut() {
                    Some(hole) if hole.end == at => hole.end = to,
                    Some(_) | None => reading.holes.push(at..to),
                }
            }
            at = to;
        }
    }
    if is_any_read { Ok(reading) } else { Err(error) }
}

fn place(offset: u64, at: usize) -> u64 {
    offset.saturating_add(u64::try_from(at).unwrap_or(u64::MAX))
}

/// The end of the piece of the file that `at` is in.
fn step(offset: u64, at: usize, end: usize, size: usize) -> usize {
    let within = usize::try_from(place(offset, at) % u64::try_from(size).unwrap_or(1)).unwrap_or(0);
    (at + size - within).min(end)
}

/// Whether the disk can be read elsewhere, so that it is this file that cannot.
pub(super) fn answers_elsewhere(disk: &impl Disk, name: &str) -> bool {
    let names = disk.list().unwrap_or_default();
    let mut others = names.iter().filter(|other| *other != name && *other != "lock");
    others.any(|other| disk.read_at(other, 0, &mut [0]).is_ok_and(|read| read > 0))
}

/// Renames a damaged file out of the way, and removes the oldest of those renamed before that are too
/// many.
pub(super) fn put_aside(disk: &impl Disk, name: &str) -> Result<(), Fault> {
    let number = |name: &str| -> Option<u64> {
        name.strip_prefix(ASIDE_PREFIX)?.split_once('-')?.0.parse().ok()
    };
    let mut aside: Vec<(u64, String)> =
        disk.list()?.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
    aside.sort_unstable();
    let next = aside.last().map_or(0, |(number, _)| number + 1);
    let new = format!("{ASIDE_PREFIX}{next:06}-{name}");
    disk.rename(name, &new)?;
    aside.push((next, new));
    let len = |name: &str| disk.len(name).ok().flatten().unwrap_or(0);
    let mut bytes: u64 = aside.iter().map(|(_, name)| len(name)).sum();
    let mut files = aside.len();
    for (_, oldest) in &aside {
        if files <= ASIDE_FILES_MAX && bytes <= ASIDE_BYTES_MAX {
            break;
        }
        let freed = len(oldest);
        // One that cannot be removed either takes up room.
        if disk.remove(oldest).is_ok() {
            files -= 1;
            bytes = bytes.saturating_sub(freed);
        }
    }
    Ok(())
}
