//! The flaws of the medium under a file: unreadable sectors, changed bits, a file that cannot be
//! opened.
//!
//! A flaw stays until its place is rewritten, because a drive then replaces the sector. A file that
//! cannot be opened stays so, also under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// The medium fails in units of this many bytes.
pub(super) const SECTOR: usize = 512;

/// The flaws of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Flaws {
    unreadable: BTreeSet<usize>,
    /// Bytes that have changed: their place, the original and the current value.
    rotted: BTreeMap<usize, (u8, u8)>,
    closed: Option<Inaccessible>,
}

/// Which parts of a file are inaccessible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inaccessible {
    /// Its contents can neither be read nor written.
    Contents,
    /// Its length is unknown, too; only the name remains.
    Everything,
}

pub(super) fn failed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "input/output error")
}

/// The sectors that overlap a range of bytes.
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

    pub(super) fn close(&mut self, closed: Inaccessible) {
        self.closed = Some(closed);
    }

    pub(super) fn lose(&mut self, sector: usize) {
        self.unreadable.insert(sector);
    }

    pub(super) fn rot(&mut self, at: usize, was: u8, is: u8) {
        let was = self.rotted.get(&at).map_or(was, |(first, _)| *first);
        self.rotted.insert(at, (was, is));
    }

    /// Fails if only the name is accessible.
    pub(super) fn is_known(&self) -> io::Result<()> {
        if self.closed == Some(Inaccessible::Everything) { Err(failed()) } else { Ok(()) }
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

    /// Checks a write to a file of length `len`: a sector that is only partly overwritten must be
    /// readable.
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

    /// Restores the original bytes in the contents.
    pub(super) fn undo(&self, contents: &mut [u8]) {
        for (at, (was, is)) in &self.rotted {
            if let Some(byte) = contents.get_mut(*at).filter(|byte| **byte == *is) {
                *byte = *was;
            }
        }
    }
}
