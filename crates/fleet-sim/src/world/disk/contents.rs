//! One file: its contents, and which of them are not durable.
//!
//! The contents are stored once, as written, together with the bytes that each write since the last
//! sync has overwritten. So a large file costs its own size, and a power cut costs what it can
//! undo.

use std::io;
use std::ops::Range;

use super::flaws::Flaws;
use super::power_cut::{Fates, Reached};

/// A file's buffer grows by at least this much.
const GROWTH_MIN: usize = 4096;
/// Memory for overwritten bytes that a sync of a small file keeps allocated.
const UNDONE_KEPT: usize = 4096;

/// Contents of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    seen: Vec<u8>,
    /// Changes since the last sync, oldest first.
    log: Vec<Change>,
    /// The bytes that they have overwritten or cut off, in the same order.
    undone: Vec<u8>,
    /// `None` for most files.
    flaws: Option<Box<Flaws>>,
}

#[derive(Debug, Clone)]
struct Change {
    number: u64,
    /// Length of the file before the change.
    len_before: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Write {
        offset: usize,
        len: usize,
        overwritten: Range<usize>,
        /// The power failed when this many bytes were on the disk.
        limit: Option<usize>,
    },
    Truncate {
        len: usize,
        lost: Range<usize>,
    },
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX)
    }

    /// Allocated memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let log = self.log.capacity() * size_of::<Change>();
        self.seen.capacity() + log + self.undone.capacity()
    }

    /// Numbers of the changes that are not durable.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.log.iter().map(|change| change.number)
    }

    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.seen.get(offset..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        self.flaws.as_ref().map_or(Ok(()), |flaws| flaws.reads(&(offset..offset + len)))?;
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    /// Like [`Contents::len`], if the medium can still return it.
    pub(super) fn known_len(&self) -> io::Result<u64> {
        self.flaws.as_ref().map_or(Ok(()), |flaws| flaws.is_known())?;
        Ok(self.len())
    }

    /// Checks whether the medium accepts a write, and removes the flaws that it covers.
    pub(super) fn takes(&mut self, offset: usize, len: usize) -> io::Result<()> {
        let held = self.seen.len();
        self.flaws.as_mut().map_or(Ok(()), |flaws| flaws.writes(&(offset..offset + len), held))
    }

    /// Checks whether the medium accepts a truncation, and removes the flaws behind it.
    pub(super) fn takes_cut(&mut self, len: usize) -> io::Result<()> {
        self.flaws.as_mut().map_or(Ok(()), |flaws| flaws.truncates(len))
    }

    /// Checks whether the file can be opened.
    pub(super) fn opens(&self) -> io::Result<()> {
        self.flaws.as_ref().map_or(Ok(()), |flaws| flaws.is_open())
    }

    pub(super) fn is_flawed(&self) -> bool {
        self.flaws.as_ref().is_some_and(|flaws| !flaws.are_none())
    }

    pub(super) fn is_durable(&self) -> bool {
        self.log.is_empty()
    }

    pub(super) fn flaws(&mut self) -> &mut Flaws {
        self.flaws.get_or_insert_default()
    }

    /// Flips bits of a byte, durable immediately.
    pub(super) fn rot(&mut self, at: usize, bits: u8) {
        let Some(byte) = self.seen.get_mut(at) else { return };
        let (was, is) = (*byte, *byte ^ bits);
        *byte = is;
        self.flaws().rot(at, was, is);
    }

    /// The contents that it would have on a sound medium.
    pub(super) fn pristine(&self) -> Vec<u8> {
        let mut bytes = self.seen.clone();
        if let Some(flaws) = &self.flaws {
            flaws.undo(&mut bytes);
        }
        bytes
    }

    pub(super) fn write(&mut self, number: u64, offset: usize, bytes: &[u8], limit: Option<usize>) {
        let len_before = self.seen.len();
        let end = offset + bytes.len();
        let overwritten = self.keep(offset.min(len_before)..end.min(len_before));
        self.grow(end);
        self.seen[offset..end].copy_from_slice(bytes);
        let kind = Kind::Write { offset, len: bytes.len(), overwritten, limit };
        self.log.push(Change { number, len_before, kind });
    }

    pub(super) fn truncate(&mut self, number: u64, len: usize) {
        let len_before = self.seen.len();
        let lost = self.keep(len.min(len_before)..len_before);
        self.seen.truncate(len);
        self.grow(len);
        self.seen.shrink_to(len.saturating_mul(2).max(GROWTH_MIN));
        self.log.push(Change { number, len_before, kind: Kind::Truncate { len, lost } });
    }

    pub(super) fn sync(&mut self) {
        self.log.clear();
        self.undone.clear();
        self.undone.shrink_to(UNDONE_KEPT.max(self.seen.len() / 16));
    }

    /// Stores bytes that are about to be overwritten, until the next sync.
    fn keep(&mut self, range: Range<usize>) -> Range<usize> {
        let from = self.undone.len();
        self.undone.extend_from_slice(&self.seen[range]);
        from..self.undone.len()
    }

    /// Grows by a little more than requested instead of doubling: files can be large.
    fn grow(&mut self, len: usize) {
        if len > self.seen.capacity() {
            let more = len - self.seen.len() + (len / 8).max(GROWTH_MIN);
            self.seen.reserve_exact(more);
        }
        if len > self.seen.len() {
            self.seen.resize(len, 0);
        }
    }

    /// Applies a power cut; everything that is left is durable.
    pub(super) fn settle(&mut self, fates: &mut Fates<'_>) {
        let log = std::mem::take(&mut self.log);
        let undone = std::mem::take(&mut self.undone);
        // First back to the last sync, keeping the bytes of each write; then forward again with
        // those that reached the disk.
        let mut brought = Vec::with_capacity(log.len());
        for change in log.iter().rev() {
            match &change.kind {
                Kind::Write { offset, len, overwritten, .. } => {
                    brought.push(self.seen[*offset..offset + len].to_vec());
                    let before = &undone[overwritten.clone()];
                    self.seen[*offset..offset + before.len()].copy_from_slice(before);
                    self.seen.truncate(change.len_before);
                }
                Kind::Truncate { len, lost } => {
                    brought.push(Vec::new());
                    self.seen.truncate(change.len_before.min(*len));
                    self.seen.extend_from_slice(&undone[lost.clone()]);
                }
            }
        }
        for (change, bytes) in log.iter().zip(brought.iter().rev()) {
            match &change.kind {
                Kind::Write { offset, len, limit, .. } => {
                    let end = offset + len;
                    match fates.write_or_garble(change.number, (*offset, *len), *limit) {
                        Reached::Whole => self.put(*offset, bytes),
                        Reached::Nothing { has_grown: true } => self.grow(end),
                        Reached::Nothing { has_grown: false } => {}
                        Reached::Garbled(changed) => {
                            let mut garbled = bytes.clone();
                            changed.iter().for_each(|(place, bits)| garbled[*place] ^= bits);
                            self.put(*offset, &garbled);
                        }
                        Reached::Parts(parts) => {
                            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                                self.put(offset + part.start, &bytes[part]);
                            }
                        }
                    }
                }
                Kind::Truncate { len, .. } => {
                    if fates.truncation(change.number) {
                        self.seen.truncate(*len);
                        self.grow(*len);
                    }
                }
            }
        }
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.grow(end);
        self.seen[offset..end].copy_from_slice(bytes);
    }
}
