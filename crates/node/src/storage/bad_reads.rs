//! Reads around the parts of a disk that cannot be read.
//!
//! Cards and disks lose sectors, and sectors lose bits. Records have their own checksums; this
//! module limits the loss from an unreadable sector to what is in it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::areas::{Area, Areas, Fault};

/// Size of the pieces that are read if an area cannot be read as a whole.
const PIECE: usize = 4096;
/// Size of the parts that are read if a piece cannot be read as a whole.
const SECTOR: usize = 512;

/// Result of reading an area.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Zeros in the places that could not be read.
    pub(super) bytes: Vec<u8>,
    /// Ranges of the bytes that could not be read, ascending.
    pub(super) holes: Vec<Range<usize>>,
}

impl Reading {
    /// Discards everything after this many bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.holes.retain(|hole| hole.start < len);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.holes.is_empty()
    }
}

/// Reads `len` bytes from `offset`, or up to the end of the area, around unreadable places.
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
    // Large pieces first, because damage is rare and small; only a piece that fails is read by
    // sectors.
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

/// The end of the piece that contains `at`.
fn step(offset: u64, at: usize, end: usize, size: usize) -> usize {
    let within = usize::try_from(place(offset, at) % u64::try_from(size).unwrap_or(1)).unwrap_or(0);
    (at + size - within).min(end)
}

/// Whether the disk can be read outside this area, so that the fault is in the area and not in the
/// whole disk.
pub(super) fn answers_elsewhere(disk: &impl Areas, area: Option<Area>) -> bool {
    let areas = disk.list().unwrap_or_default();
    let mut others = areas.into_iter().filter(|other| Some(*other) != area);
    others.any(|other| disk.read_at(other, 0, &mut [0]).is_ok_and(|read| read > 0))
}
