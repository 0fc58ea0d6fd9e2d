//! What is left to do where a disk has lost something: read around it.
//!
//! Cards and disks lose sectors, and sectors lose bits. Whatever is read is checked by its own
//! checksum; this module sees to it that one unreadable sector costs what lies in it and no more.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::areas::{Area, Areas, Fault};

/// What an area is read by where it cannot be read as a whole.
const PIECE: usize = 4096;
/// What a piece is read by where it cannot be read as a whole.
const SECTOR: usize = 512;

/// What was read of an area.
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

/// Reads `len` bytes from `offset`, or up to the end of the area, around what cannot be read.
///
/// # Errors
/// If nothing of it can be read.
pub(super) fn read_around(
    disk: &impl Areas,
    area: Area,
    offset: u64,
    len: usize,
) -> Result<Reading, Fault> {
    let mut bytes = vec![0; len];
    let error = match disk.read_full(area, offset, &mut bytes) {
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
        if disk.read_full(area, place(offset, at), &mut reading.bytes[at..end]).is_ok() {
            is_any_read = true;
            at = end;
            continue;
        }
        while at < end {
            let to = step(offset, at, end, SECTOR);
            if disk.read_full(area, place(offset, at), &mut reading.bytes[at..to]).is_ok() {
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

/// The end of the piece of the area that `at` is in.
fn step(offset: u64, at: usize, end: usize, size: usize) -> usize {
    let within = usize::try_from(place(offset, at) % u64::try_from(size).unwrap_or(1)).unwrap_or(0);
    (at + size - within).min(end)
}

/// Whether the disk can be read elsewhere than in this area, so that it is this area that cannot be.
pub(super) fn answers_elsewhere(disk: &impl Areas, area: Option<Area>) -> bool {
    let areas = disk.list().unwrap_or_default();
    let mut others = areas.into_iter().filter(|other| Some(*other) != area);
    others.any(|other| disk.read_at(other, 0, &mut [0]).is_ok_and(|read| read > 0))
}
