//! One file: what is read from it, and what of that is not durable.
//!
//! The contents are held once, as written. Beside them lies what each write since the last sync has
//! overwritten, so that a large file costs its own size and a power cut costs what it can undo.

use super::fate::{Fates, Reached};

/// Contents of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    seen: Vec<u8>,
    /// Changes since the last sync, oldest first.
    log: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    number: u64,
    /// Length of the file before.
    len_before: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Write {
        offset: usize,
        len: usize,
        overwritten: Vec<u8>,
        /// The power went when this many bytes were on the disk.
        limit: Option<usize>,
    },
    Truncate {
        len: usize,
        lost: Vec<u8>,
    },
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX)
    }

    /// Memory that it takes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let logged = |change: &Change| match &change.kind {
            Kind::Write { overwritten: bytes, .. } | Kind::Truncate { lost: bytes, .. } => {
                size_of::<Change>() + bytes.capacity()
            }
        };
        self.seen.capacity() + self.log.iter().map(logged).sum::<usize>()
    }

    /// Numbers of the changes that are not durable.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.log.iter().map(|change| change.number)
    }

    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let rest = self.seen.get(offset..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        len
    }

    pub(super) fn write(&mut self, number: u64, offset: usize, bytes: &[u8], limit: Option<usize>) {
        let len_before = self.seen.len();
        let end = offset + bytes.len();
        let overwritten = self.seen.get(offset..end.min(len_before)).unwrap_or_default().to_vec();
        self.grow(end);
        self.seen[offset..end].copy_from_slice(bytes);
        let kind = Kind::Write { offset, len: bytes.len(), overwritten, limit };
        self.log.push(Change { number, len_before, kind });
    }

    pub(super) fn truncate(&mut self, number: u64, len: usize) {
        let len_before = self.seen.len();
        let lost = if len < len_before { self.seen.split_off(len) } else { Vec::new() };
        self.grow(len);
        self.seen.shrink_to(len.saturating_mul(2));
        self.log.push(Change { number, len_before, kind: Kind::Truncate { len, lost } });
    }

    pub(super) fn sync(&mut self) {
        self.log.clear();
    }

    /// Grows by a little more than what is asked, not to twice the size: files can be large.
    fn grow(&mut self, len: usize) {
        if len > self.seen.capacity() {
            let more = len - self.seen.len() + len / 8;
            self.seen.reserve_exact(more);
        }
        if len > self.seen.len() {
            self.seen.resize(len, 0);
        }
    }

    /// Leaves what a power cut leaves; all of it is durable.
    pub(super) fn settle(&mut self, fates: &mut Fates<'_>) {
        let log = std::mem::take(&mut self.log);
        // Backwards to the last sync; on the way, what each write brought is taken along.
        let mut brought = Vec::with_capacity(log.len());
        for change in log.iter().rev() {
            match &change.kind {
                Kind::Write { offset, len, overwritten, .. } => {
                    brought.push(self.seen[*offset..offset + len].to_vec());
                    self.seen[*offset..offset + overwritten.len()].copy_from_slice(overwritten);
                    self.seen.truncate(change.len_before);
                }
                Kind::Truncate { len, lost } => {
                    brought.push(Vec::new());
                    self.seen.truncate(change.len_before.min(*len));
                    self.seen.extend_from_slice(lost);
                }
            }
        }
        for (change, bytes) in log.iter().zip(brought.iter().rev()) {
            match &change.kind {
                Kind::Write { offset, len, limit, .. } => {
                    let end = offset + len;
                    match fates.write(change.number, (*offset, *len), *limit) {
                        Reached::Whole => self.put(*offset, bytes),
                        Reached::Nothing { has_grown: true } => self.grow(end),
                        Reached::Nothing { has_grown: false } => {}
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
