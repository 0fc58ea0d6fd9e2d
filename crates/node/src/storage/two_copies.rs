//! A few bytes that are replaced as a whole: two copies, written in turn, each in an area of its
//! own.
//!
//! A copy is a run of records, of which the last complete one counts; a copy without room for
//! another record is erased first, while the other copy holds the previous value. Each record has a
//! generation, a length and a checksum; the copy with the higher generation counts. A record torn
//! at any byte leaves the other copy, which has the previous value.
//!
//! A copy that is unreadable or missing may also be the newer one, damaged later, so a caller that
//! must not go back a step checks how many copies were damaged. To limit that to one step, the copy
//! that counts is read before each write, and both are written if either was damaged.

use alloc::vec::Vec;

use super::areas::{Area, Areas, Fault, SmallArea};
use super::checksum::crc32;

/// Maximum length of a run of more than one record: what a sector of flash holds besides its own
/// head. A run that is cut off at the end of a sector is then never taken for a complete one.
const RUN_BYTES_MAX: usize = 4_000;

/// Version of the record; a later format gets another number.
const VERSION: u8 = 1;
/// `version (1) | generation (8, little endian) | length of the body (4) | CRC-32 of the thing's name
/// and all the rest (4) | body`.
const HEAD_BYTES: usize = 17;

/// Two copies of one thing.
#[derive(Debug)]
pub struct TwoCopies<D> {
    disk: D,
    thing: SmallArea,
    len_max: usize,
    generation: u64,
    current: u8,
    ends: [End; 2],
    /// A copy was damaged when it was read. Cleared once both copies have been written.
    is_damaged: bool,
}

/// Where the next record of a copy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    At(usize),
    /// The copy is erased first: it is missing, or a part of it is not a record.
    Unsure,
    /// Like `Unsure`, and its place on the medium must not be used again.
    Unreadable,
}

/// State of the copies when they were opened.
#[derive(Debug)]
pub struct PairState<T> {
    pub value: Option<T>,
    /// Copies that exist.
    pub found: usize,
    /// Copies that are unreadable or invalid, or are missing although they were written.
    pub damaged: usize,
    /// Why the disk could not read one of them.
    pub failure: Option<Fault>,
}

/// The last complete record of a copy.
struct Last<'a> {
    generation: u64,
    body: &'a [u8],
    /// Offset of its end in the copy.
    end: usize,
}

impl<D: Areas> TwoCopies<D> {
    /// Reads the newer complete copy that `parse` accepts, of at most `len_max` bytes.
    pub fn open<T>(
        disk: D,
        thing: SmallArea,
        len_max: usize,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> (Self, PairState<T>) {
        // Without any copy, the first one is written next.
        let mut pair = Self {
            disk,
            thing,
            len_max,
            generation: 0,
            current: 1,
            ends: [End::Unsure; 2],
            is_damaged: false,
        };
        let mut opened = PairState { value: None, found: 0, damaged: 0, failure: None };
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
            // A copy that does not end with a complete record was torn or damaged.
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
        // The second write ever creates the second copy; from then on both exist.
        opened.damaged += usize::from(opened.found == 1 && pair.generation > 1);
        pair.is_damaged = opened.damaged > 0;
        (pair, opened)
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    /// Replaces the older copy; on an error the newer one still counts, or these bytes do.
    pub fn store(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        // If a copy is damaged, it is written first and then the other one.
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

    /// Whether the copy that counts, if there is one, still has what was written.
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
        // If the copy's place is damaged, the second attempt uses another place on the disk.
        if written.as_ref().is_err_and(|error| *error != Fault::Full)
            && self.disk.set_aside(self.area(copy)).is_ok()
        {
            written = self.write(copy, &record);
        }
        written?;
        (self.generation, self.current) = (generation, copy);
        Ok(())
    }

    /// Appends a record to a copy. The copy is erased first if it has no room or its end is
    /// unknown.
    fn write(&mut self, copy: u8, record: &[u8]) -> Result<(), Fault> {
        let area = self.area(copy);
        let end = core::mem::replace(&mut self.ends[usize::from(copy)], End::Unsure);
        let appended = match end {
            End::At(end) if end + record.len() <= RUN_BYTES_MAX => {
                self.disk.append(area, record).and_then(|()| self.disk.sync(area)).map(|()| end)
            }
            End::At(_) | End::Unsure => Err(Fault::Full),
            End::Unreadable => {
                // A copy that cannot be moved is erased.
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

    /// Erases a copy and begins it again with a record.
    fn restart(&self, copy: u8, record: &[u8]) -> Result<(), Fault> {
        let area = self.area(copy);
        if self.disk.len(area)?.is_some() {
            self.disk.erase(area)?;
            // On a full disk the erased contents make room only once the erasure is durable.
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

    /// Only the last complete record counts, so damage to earlier ones has no effect.
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
