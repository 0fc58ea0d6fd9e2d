//! A few bytes that are replaced as a whole: two copies, written in turn, each an area of its own.
//!
//! A copy is a run of records, of which the last whole one counts; once it has no room for another it
//! is erased first, while the other copy holds what came before. Each record has a generation, a length
//! and a checksum; of the two copies the one with the higher generation counts. A record torn at any
//! byte leaves the other copy, which is what was there before. A copy that cannot be read, or is gone,
//! may also be the newer one, damaged later: a caller that must not go back a step asks how many were
//! damaged. So that it is one step at most, the copy that counts is read before each write, and both are
//! written when either was found damaged.

use alloc::vec::Vec;

use super::areas::{Area, Areas, Fault, Thing};
use super::checksum::crc32;

/// Most bytes of a run of more than one record: what a sector of flash holds besides its own head. A
/// run that is cut off at the end of a sector is then never taken for a whole one.
const RUN_BYTES_MAX: usize = 4_000;

/// The record's version; a later format gets another number.
const VERSION: u8 = 1;
/// `version (1) | generation (8, little endian) | length of the body (4) | CRC-32 of the thing's name
/// and all the rest (4) | body`.
const HEAD_BYTES: usize = 17;

/// Two copies of one thing.
#[derive(Debug)]
pub struct Pair<D> {
    disk: D,
    thing: Thing,
    len_max: usize,
    generation: u64,
    current: u8,
    ends: [End; 2],
    /// A copy was found damaged, and not both have been written since.
    is_damaged: bool,
}

/// Where the next record of a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    At(usize),
    /// It is to be erased before: something in it is no record, or it is not there.
    Unsure,
    /// As that, and its place on the medium is not to be used again.
    Unreadable,
}

/// What the copies held when they were opened.
#[derive(Debug)]
pub struct Opened<T> {
    pub value: Option<T>,
    /// Copies that are there.
    pub found: usize,
    /// Those that cannot be read or understood, or should be there.
    pub damaged: usize,
    /// Why the disk could not read one of them.
    pub failure: Option<Fault>,
}

/// The last whole record of a copy.
struct Last<'a> {
    generation: u64,
    body: &'a [u8],
    /// Where it ends.
    end: usize,
}

impl<D: Areas> Pair<D> {
    /// Reads the newer whole copy that `parse` understands, of at most `len_max` bytes.
    pub fn open<T>(
        disk: D,
        thing: Thing,
        len_max: usize,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> (Self, Opened<T>) {
        // Where there is no copy, the first is the next to be written.
        let mut pair = Self {
            disk,
            thing,
            len_max,
            generation: 0,
            current: 1,
            ends: [End::Unsure; 2],
            is_damaged: false,
        };
        let mut opened = Opened { value: None, found: 0, damaged: 0, failure: None };
        for copy in 0..2 {
            let bytes = match pair.read(copy) {
                Ok(None) => continue,
                Ok(Some(bytes)) => bytes,
                Err(error) => {
                    opened.failure = Some(error);
                    pair.ends[usize::from(copy)] = End::Unreadable;
                    Vec::new()
                }
            };
            opened.found += 1;
            let last = pair.last(&bytes);
            let is_whole = last.as_ref().is_some_and(|last| last.end == bytes.len());
            opened.damaged += usize::from(!is_whole);
            let value = last.as_ref().and_then(|last| parse(last.body));
            let (Some(last), Some(value)) = (last, value) else {
                opened.damaged += usize::from(is_whole);
                continue;
            };
            if is_whole {
                pair.ends[usize::from(copy)] = End::At(last.end);
            }
            if opened.value.is_none() || last.generation > pair.generation {
                opened.value = Some(value);
                (pair.generation, pair.current) = (last.generation, copy);
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
        if !is_sound {
            let is_read = self.read(copy).is_ok();
            self.ends[usize::from(copy)] = if is_read { End::Unsure } else { End::Unreadable };
        }
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
        let bytes = self.read(self.current).ok().flatten().unwrap_or_default();
        self.generation == 0
            || self
                .last(&bytes)
                .is_some_and(|last| last.generation == self.generation && last.end == bytes.len())
    }

    fn store_copy(&mut self, copy: u8, bytes: &[u8]) -> Result<(), Fault> {
        let generation = self.generation + 1;
        let record = self.encode(generation, bytes);
        let mut written = self.write(copy, &record);
        // Where the copy is damaged, the next one is elsewhere on the disk.
        if written.as_ref().is_err_and(|error| *error != Fault::Full)
            && self.disk.set_aside(self.area(copy)).is_ok()
        {
            written = self.write(copy, &record);
        }
        written?;
        (self.generation, self.current) = (generation, copy);
        Ok(())
    }

    /// Appends a record to a copy, which is erased before if it has no room or an unsure end.
    fn write(&mut self, copy: u8, record: &[u8]) -> Result<(), Fault> {
        let area = self.area(copy);
        let end = core::mem::replace(&mut self.ends[usize::from(copy)], End::Unsure);
        let appended = match end {
            End::At(end) if end + record.len() <= RUN_BYTES_MAX => {
                self.disk.append(area, record).and_then(|()| self.disk.sync(area)).map(|()| end)
            }
            End::At(_) | End::Unsure => Err(Fault::Full),
            End::Unreadable => {
                // One that cannot be moved is erased.
                let _ = self.disk.set_aside(area);
                Err(Fault::Full)
            }
        };
        let start = match appended {
            Err(Fault::Full) => self.restart(copy, record).map(|()| 0),
            end => end,
        }?;
        self.ends[usize::from(copy)] = End::At(start + record.len());
        Ok(())
    }

    /// Begins a copy with a record.
    fn restart(&self, copy: u8, record: &[u8]) -> Result<(), Fault> {
        let area = self.area(copy);
        if self.disk.len(area)?.is_some() {
            self.disk.erase(area)?;
            // What it held makes room on a full disk, once it is gone for good.
            let _ = self.disk.sync(self.area(1 - copy));
        }
        self.disk.append(area, record)?;
        self.disk.sync(area)
    }

    fn area(&self, copy: u8) -> Area {
        Area::Copy(self.thing, copy)
    }

    fn read(&self, copy: u8) -> Result<Option<Vec<u8>>, Fault> {
        self.disk.read(self.area(copy), RUN_BYTES_MAX.max(HEAD_BYTES + self.len_max))
    }

    fn checksum(&self, generation: [u8; 8], length: [u8; 4], body: &[u8]) -> [u8; 4] {
        let name = Area::Copy(self.thing, 0).to_bytes();
        crc32(&[&name, &[VERSION], &generation, &length, body]).to_le_bytes()
    }

    fn encode(&self, generation: u64, body: &[u8]) -> Vec<u8> {
        let generation = generation.to_le_bytes();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let crc = self.checksum(generation, length, body);
        [&[VERSION], &generation[..], &length, &crc, body].concat()
    }

    /// Records before the last do not count, so that damage to them costs nothing.
    fn last<'a>(&self, bytes: &'a [u8]) -> Option<Last<'a>> {
        let (mut last, mut at) = (None, 0);
        while at < bytes.len() {
            let found = self.decode(&bytes[at..]);
            at += found.as_ref().map_or(1, |(_, body)| HEAD_BYTES + body.len());
            last = found.map(|(generation, body)| Last { generation, body, end: at }).or(last);
        }
        last
    }

    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let ([version], rest) = bytes.split_first_chunk::<1>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let body = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let is_whole = *version == VERSION && *crc == self.checksum(*generation, *length, body);
        is_whole.then_some((u64::from_le_bytes(*generation), body))
    }
}
