//! A partition of NOR flash as areas, for microcontrollers.
//!
//! A sector is erased as a whole, which sets all bits to one; until the next erasure, programs of
//! whole words can only clear bits. Each sector belongs to one area and begins with a head: its
//! number of erasures, the area it belongs to and its place in that area. Frames follow, one for
//! each append or part of one: a word with the length, the bytes, and an end word, which is
//! programmed last. If the end word is still blank, the power failed in between and the frame does
//! not count. Bits that changed later are not detected here: the structures above check their own
//! records.
//!
//! An area is erased by clearing the heads of its sectors, the first sector's first, so that a cut
//! in between leaves no part of it; the sectors themselves are erased when they are used again. The
//! free sector with the fewest erasures is used first, so that sectors wear evenly.

mod sector;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::storage::{Area, Areas, Fault};
use sector::{DATA_FROM, FRAME_BYTES, Head, Walk};

/// Bytes of a sector, the unit of erasure.
pub const SECTOR_BYTES: u32 = 4096;
/// Addresses and lengths of programs are multiples of this, as the ESP32 requires.
pub const WORD_BYTES: u32 = 4;

/// A flash chip, or the part of it that the partition occupies.
pub trait Flash {
    /// Sectors in the partition; those beyond 65,536 are not used.
    fn sectors(&self) -> u32;
    /// Reads from an address within the partition.
    ///
    /// # Errors
    /// If the chip does not answer.
    fn read(&self, address: u32, buffer: &mut [u8]) -> Result<(), Fault>;
    /// Clears bits: each byte becomes its value AND the given one. Address and length are multiples
    /// of [`WORD_BYTES`]. Durable when it returns.
    ///
    /// # Errors
    /// If the chip does not answer or could not program.
    fn program(&self, address: u32, bytes: &[u8]) -> Result<(), Fault>;
    /// Sets all bits of a sector to one. A power cut may leave any bits.
    ///
    /// # Errors
    /// If the chip does not answer or could not erase.
    fn erase(&self, sector: u32) -> Result<(), Fault>;
}

/// How worn the sectors are: erasures since the partition was formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wear {
    /// Erasures of the sector that was erased least often.
    pub min: u32,
    /// Erasures of the sector that was erased most often; a sector endures about 100,000.
    pub max: u32,
    pub total: u64,
}

/// The partition; clones share it.
#[derive(Debug, Clone)]
pub struct Nor<F>(Rc<RefCell<Partition<F>>>);

#[derive(Debug)]
struct Partition<F> {
    flash: F,
    sectors: Vec<Sector>,
    areas: Vec<Extent>,
}

#[derive(Debug, Clone, Copy)]
struct Sector {
    erasures: u32,
    is_free: bool,
    /// An erasure or program of its head failed; it is not used until the next start.
    is_bad: bool,
}

/// Sectors and length of an area.
#[derive(Debug)]
struct Extent {
    area: Area,
    /// Ascending by their place in the area.
    sectors: Vec<u32>,
    len: u64,
    /// Offset of the next frame in the last sector.
    tail: u32,
}

impl<F: Flash> Nor<F> {
    /// Reads the heads of all sectors. A partition that was never used is empty.
    ///
    /// # Errors
    /// If the chip does not answer.
    pub fn open(flash: F) -> Result<Self, Fault> {
        let mut partition = Partition { flash, sectors: Vec::new(), areas: Vec::new() };
        partition.mount()?;
        Ok(Self(Rc::new(RefCell::new(partition))))
    }

    /// Wear of the sectors.
    #[must_use]
    pub fn wear(&self) -> Wear {
        let partition = self.0.borrow();
        let erasures = || partition.sectors.iter().map(|sector| sector.erasures);
        Wear {
            min: erasures().min().unwrap_or(0),
            max: erasures().max().unwrap_or(0),
            total: erasures().map(u64::from).sum(),
        }
    }
}

impl<F: Flash> Areas for Nor<F> {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        Ok(self.0.borrow().areas.iter().map(|extent| extent.area).collect())
    }

    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        Ok(self.0.borrow().find(area).map(|extent| extent.len))
    }

    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let partition = self.0.borrow();
        partition.read(partition.find(area).ok_or(Fault::Failed)?, offset, buffer)
    }

    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        self.0.borrow_mut().append(area, bytes)
    }

    /// A program is durable when it returns, so there is nothing left to do.
    fn sync(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow().find(area).map(|_| ()).ok_or(Fault::Failed)
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow_mut().give_up(area)
    }

    /// A damaged sector of flash loses bits but stays usable: it is erased and used again.
    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        self.erase(area)
    }
}

impl<F: Flash> Partition<F> {
    fn find(&self, area: Area) -> Option<&Extent> {
        self.areas.iter().find(|extent| extent.area == area)
    }

    fn mount(&mut self) -> Result<(), Fault> {
        let mut held: Vec<(Area, u32, u32)> = Vec::new();
        let mut unknown = Vec::new();
        for sector in 0..self.flash.sectors().min(1 << 16) {
            let head = Head::read(&self.flash, sector)?;
            held.extend(head.owner.map(|(area, place)| (area, place, sector)));
            if head.erasures.is_none() {
                unknown.push(sector);
            }
            let erasures = head.erasures.unwrap_or(0);
            self.sectors.push(Sector { erasures, is_free: true, is_bad: false });
        }
        // An erasure was cut, or this sector was never used by us. Assume the highest count, so
        // that it does not look less worn than it is.
        let most = self.sectors.iter().map(|sector| sector.erasures).max().unwrap_or(0);
        for sector in unknown {
            self.state(sector).erasures = most;
        }
        held.sort_unstable();
        for part in held.chunk_by(|one, next| one.0 == next.0) {
            let (area, first, _) = part[0];
            // The first sector is missing, so a power cut interrupted the erasure of this area.
            // Finish it: the rest must not become part of a later area of the same name.
            if first > 0 {
                for (_, _, sector) in part {
                    sector::give_up(&self.flash, *sector)?;
                }
                continue;
            }
            let mut extent = Extent { area, sectors: Vec::new(), len: 0, tail: SECTOR_BYTES };
            for (_, _, sector) in part {
                let mut walk = Walk::new(*sector);
                while let Some(frame) = walk.next(&self.flash)? {
                    extent.len += u64::from(frame.counted());
                }
                extent.tail = walk.tail(&self.flash)?;
                extent.sectors.push(*sector);
                self.state(*sector).is_free = false;
            }
            self.areas.push(extent);
        }
        Ok(())
    }

    fn state(&mut self, sector: u32) -> &mut Sector {
        &mut self.sectors[index(sector)]
    }

    fn read(&self, extent: &Extent, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let (mut skipped, mut read) = (0, 0);
        for sector in &extent.sectors {
            let mut walk = Walk::new(*sector);
            while read < buffer.len() {
                let Some(frame) = walk.next(&self.flash)? else { break };
                let len = u64::from(frame.counted());
                let from = offset.saturating_sub(skipped).min(len);
                skipped += len;
                let rest = index(u32::try_from(len - from).unwrap_or(0)).min(buffer.len() - read);
                if rest > 0 {
                    let address = frame.address + u32::try_from(from).unwrap_or(0);
                    self.flash.read(address, &mut buffer[read..read + rest])?;
                    read += rest;
                }
            }
        }
        Ok(read)
    }

    /// Appends all bytes or, if there is no room for them, none.
    fn append(&mut self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        let held = self.areas.iter().position(|extent| extent.area == area);
        let tail = held.map_or(SECTOR_BYTES, |at| self.areas[at].tail);
        let beyond = bytes.len().saturating_sub(index(room(tail)));
        let is_new = usize::from(held.is_none() && bytes.is_empty());
        let needed = beyond.div_ceil(index(room(DATA_FROM))).max(is_new);
        let free = self.sectors.iter().filter(|sector| sector.is_free && !sector.is_bad);
        if free.count() < needed {
            return Err(Fault::Full);
        }
        let at = match held {
            Some(at) => at,
            None => {
                let sectors = Vec::new();
                self.areas.push(Extent { area, sectors, len: 0, tail: SECTOR_BYTES });
                self.areas.len() - 1
            }
        };
        let written = self.append_frames(at, bytes);
        if self.areas[at].sectors.is_empty() {
            self.areas.remove(at);
        }
        written
    }

    fn append_frames(&mut self, at: usize, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        loop {
            let extent = &mut self.areas[at];
            let part = rest.len().min(index(room(extent.tail)));
            if part > 0 {
                let (now, later) = rest.split_at(part);
                let sector = extent.sectors.last().copied().unwrap_or(0);
                let start = extent.tail;
                // If programming fails, the end of the frames is unknown and the sector takes no
                // more.
                extent.tail = SECTOR_BYTES;
                sector::program_frame(&self.flash, sector, start, now)?;
                extent.tail = start + sector::frame_len(now.len());
                extent.len += u64::try_from(part).unwrap_or(0);
                rest = later;
            }
            let is_begun = !self.areas[at].sectors.is_empty();
            if rest.is_empty() && is_begun {
                return Ok(());
            }
            self.grow(at)?;
        }
    }

    /// Adds one sector to an area: the least worn free one that works.
    fn grow(&mut self, at: usize) -> Result<(), Fault> {
        loop {
            let free = self.sectors.iter().enumerate();
            let free = free.filter(|(_, sector)| sector.is_free && !sector.is_bad);
            let taken = free.min_by_key(|(_, sector)| sector.erasures).map(|(place, _)| place);
            let Some(place) = taken else { return Err(Fault::Full) };
            let sector = u32::try_from(place).unwrap_or(u32::MAX);
            let erasures = self.sectors[place].erasures.saturating_add(1);
            let extent = &mut self.areas[at];
            let owner = (extent.area, u32::try_from(extent.sectors.len()).unwrap_or(u32::MAX));
            match sector::take(&self.flash, sector, erasures, owner) {
                Ok(()) => {
                    self.sectors[place].erasures = erasures;
                    self.sectors[place].is_free = false;
                    extent.sectors.push(sector);
                    extent.tail = DATA_FROM;
                    return Ok(());
                }
                Err(Fault::Closed) => return Err(Fault::Closed),
                Err(_) => {
                    // Otherwise a start could find both this sector and its substitute at the same
                    // place.
                    let _ = sector::give_up(&self.flash, sector);
                    self.sectors[place].is_bad = true;
                }
            }
        }
    }

    fn give_up(&mut self, area: Area) -> Result<(), Fault> {
        let held = self.areas.iter().position(|extent| extent.area == area);
        let at = held.ok_or(Fault::Failed)?;
        for sector in &self.areas[at].sectors {
            sector::give_up(&self.flash, *sector)?;
        }
        for sector in self.areas.swap_remove(at).sectors {
            self.state(sector).is_free = true;
        }
        Ok(())
    }
}

/// Bytes of one frame that fit between `tail` and the end of the sector.
fn room(tail: u32) -> u32 {
    SECTOR_BYTES.saturating_sub(tail + FRAME_BYTES) / WORD_BYTES * WORD_BYTES
}

/// A `u32` as an index; the node's processors have at least 32 bits.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
