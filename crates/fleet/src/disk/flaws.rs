//! What the medium under a file has lost: sectors that cannot be read, bits that have changed, a file
//! that cannot be opened.
//!
//! A flaw stays until what it hit is written anew, as a drive replaces a sector that is written; a file
//! that cannot be opened stays so under whatever name it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// Sectors that fail as a whole.
pub(super) const SECTOR: usize = 512;

/// The flaws of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Flaws {
    unreadable: BTreeSet<usize>,
    /// Where a byte has changed, what it was and what it became.
    rotted: BTreeMap<usize, (u8, u8)>,
    closed: Option<Closed>,
}

/// How far a file is closed to whoever wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its contents can be neither read nor written.
    Contents,
    /// Nor can anything be learned about it but its name.
    Everything,
}

pub(super) fn failed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "input/output error")
}

/// The sectors that a range of bytes lies in.
fn sectors(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / SECTOR..range.end.div_ceil(SECTOR)
}

impl Flaws {
    pub(super) fn are_none(&self) -> bool {
        self.unreadable.is_empty() && self.rotted.is_empty() && self.closed.is_none()
    }

    pub(super) fn close(&mut self, closed: Closed) {
        self.closed = Some(closed);
    }

    pub(super) fn lose(&mut self, sector: usize) {
        self.unreadable.insert(sector);
    }

    pub(super) fn rot(&mut self, at: usize, was: u8, is: u8) {
        let was = self.rotted.get(&at).map_or(was, |(first, _)| *first);
        self.rotted.insert(at, (was, is));
    }

    /// Whether anything but the name can be had.
    pub(super) fn is_known(&self) -> io::Result<()> {
        if self.closed == Some(Closed::Everything) { Err(failed()) } else { Ok(()) }
    }

    pub(super) fn is_open(&self) -> io::Result<()> {
        if self.closed.is_some() { Err(failed()) } else { Ok(()) }
    }

    pub(super) fn reads(&self, range: &Range<usize>) -> io::Result<()> {
        self.is_open()?;
        match self.unreadable.range(sectors(range)).next() {
            Some(_) => Err(failed()),
            None => Ok(()),
        }
    }

    /// Before a write to a file of this length: what is left of a sector must be read to be kept.
    pub(super) fn writes(&mut self, range: &Range<usize>, len: usize) -> io::Result<()> {
        self.is_open()?;
        let is_covered = |sector: usize| {
            range.start <= sector * SECTOR && len.min((sector + 1) * SECTOR) <= range.end
        };
        if self.unreadable.range(sectors(range)).any(|sector| !is_covered(*sector)) {
            return Err(failed());
        }
        let sectors = sectors(range);
        self.unreadable.retain(|sector| !sectors.contains(sector));
        self.rotted.retain(|at, _| !range.contains(at));
        Ok(())
    }

    pub(super) fn truncates(&mut self, len: usize) -> io::Result<()> {
        self.is_open()?;
        self.unreadable.retain(|sector| sector * SECTOR < len);
        self.rotted.retain(|at, _| *at < len);
        Ok(())
    }

    /// Takes back what has changed in the contents.
    pub(super) fn undo(&self, contents: &mut [u8]) {
        for (at, (was, is)) in &self.rotted {
            if let Some(byte) = contents.get_mut(*at).filter(|byte| **byte == *is) {
                *byte = *was;
            }
        }
    }
}
