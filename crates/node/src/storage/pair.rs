//! A few bytes that are replaced as a whole: two copies, written in turn.
//!
//! Each copy has a generation, a length and a checksum; the whole copy with the higher generation
//! counts. A write torn at any byte leaves the other copy, which is what was there before. A copy
//! that cannot be read, or is gone, may also be the newer one, damaged later: a caller that must not go
//! back a step asks how many were damaged. So that it is one step at most, the copy that counts is read before
//! each write, and both are written when either was found damaged.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::checksum::crc32;
use super::disk::{Disk, Fault};
use super::media::put_aside;

/// Longest first line of a copy.
const HEAD_BYTES_MAX: usize = 128;

/// Two files of one name.
#[derive(Debug)]
pub struct Pair<D> {
    disk: D,
    name: String,
    len_max: usize,
    generation: u64,
    current: usize,
    /// A copy was found damaged, and not both have been written since.
    is_damaged: bool,
}

/// What the files held when they were opened.
#[derive(Debug)]
pub struct Opened<T> {
    pub value: Option<T>,
    /// Files that are there.
    pub found: usize,
    /// Those that cannot be read or understood, or should be there.
    pub damaged: usize,
    /// Why the disk could not read one of them.
    pub failure: Option<Fault>,
}

impl<D: Disk> Pair<D> {
    /// Reads the newer whole copy that `parse` understands, of at most `len_max` bytes.
    pub fn open<T>(
        disk: D,
        name: impl Into<String>,
        len_max: usize,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> (Self, Opened<T>) {
        // Where there is no copy, the first is the next to be written.
        let mut pair =
            Self { disk, name: name.into(), len_max, generation: 0, current: 1, is_damaged: false };
        let mut opened = Opened { value: None, found: 0, damaged: 0, failure: None };
        for copy in 0..2 {
            let whole = match pair.disk.read(&pair.file(copy), HEAD_BYTES_MAX + len_max) {
                Ok(None) => continue,
                Ok(Some(bytes)) => pair.decode(&bytes, &parse),
                Err(error) => {
                    opened.failure = Some(error);
                    None
                }
            };
            opened.found += 1;
            let Some((generation, value)) = whole else {
                opened.damaged += 1;
                continue;
            };
            if opened.value.is_none() || generation > pair.generation {
                opened.value = Some(value);
                (pair.generation, pair.current) = (generation, copy);
            }
        }
        // The second write ever made the second copy; from then on there are two.
        opened.damaged += usize::from(opened.found == 1 && pair.generation > 1);
        pair.is_damaged = opened.damaged > 0;
        (pair, opened)
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// Replaces the older copy; on an error the newer one still counts, or these bytes do.
    pub fn store(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // Of two copies the damaged one is written over, and then the other.
        let is_sound = self.is_sound();
        let copy = if is_sound { 1 - self.current } else { self.current };
        self.is_damaged |= !is_sound;
        self.store_copy(copy, bytes)?;
        if self.is_damaged {
            self.store_copy(1 - copy, bytes)?;
            self.is_damaged = false;
        }
        Ok(())
    }

    /// Whether the copy that counts, if there is one, is what was written.
    fn is_sound(&self) -> bool {
        let read = self.disk.read(&self.file(self.current), HEAD_BYTES_MAX + self.len_max);
        let bytes = read.ok().flatten();
        let decoded = bytes.and_then(|bytes| self.decode(&bytes, |_| Some(())));
        self.generation == 0 || decoded.is_some_and(|(held, ())| held == self.generation)
    }

    fn store_copy(&mut self, copy: usize, bytes: &[u8]) -> Result<(), Fault> {
        let generation = self.generation + 1;
        let name = self.file(copy);
        let bytes = self.encode(generation, bytes);
        // The first two generations create the copies; a cut may have left a name that is not durable.
        let mut is_named = generation > 2 && self.disk.len(&name).is_ok_and(|len| len.is_some());
        let mut written = self.write(&name, &bytes);
        // Where the file is damaged, the next one is elsewhere on the disk.
        if written.as_ref().is_err_and(|error| *error != Fault::Full)
            && put_aside(&self.disk, &name).is_ok()
        {
            is_named = false;
            written = self.write(&name, &bytes);
        }
        written?;
        if !is_named {
            self.disk.sync_names()?;
        }
        (self.generation, self.current) = (generation, copy);
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.disk.write_at(name, 0, bytes)?;
        self.disk.truncate(name, u64::try_from(bytes.len()).unwrap_or(0))?;
        self.disk.sync(name)
    }

    fn file(&self, copy: usize) -> String {
        format!("{}.{copy}", self.name)
    }

    fn magic(&self) -> String {
        format!("ecowatt-{}-1", self.name)
    }

    fn encode(&self, generation: u64, body: &[u8]) -> Vec<u8> {
        let head = format!("{} generation={generation} length={}", self.magic(), body.len());
        let crc = crc32(&[head.as_bytes(), body]);
        [format!("{head} crc={crc:08x}\n").as_bytes(), body].concat()
    }

    fn decode<T>(&self, bytes: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<(u64, T)> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, body) = (core::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
        let (head, crc) = line.split_once(" crc=")?;
        let mut words = head.split(' ');
        if words.next()? != self.magic() {
            return None;
        }
        let generation = words.next()?.strip_prefix("generation=")?.parse().ok()?;
        let length: usize = words.next()?.strip_prefix("length=")?.parse().ok()?;
        let body = body.get(..length)?;
        let is_whole = u32::from_str_radix(crc, 16).ok()? == crc32(&[head.as_bytes(), body]);
        Some((generation, parse(body).filter(|_| is_whole)?))
    }
}
