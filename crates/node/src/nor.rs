//! A partition of NOR flash as areas, for microcontrollers.
//!
//! A sector is erased as a whole, to ones; between erasures bits only fall, by programs of whole words.
//! Each sector belongs to one area and begins with a head that says how often it was erased, to which
//! area it belongs and at which place in it. Behind that are frames, one for each append or part of one:
//! a word with the length, the bytes, and a word that is programmed last. Where that one is still blank
//! the power failed, and the frame does not count. What has bits that changed later is returned as it
//! is: the structures above check their own records.
//!
//! An area is given up by programming its sectors' heads, the first sector's first, so that a cut in
//! between leaves no part of it; a sector is erased when it is taken again. Of the free ones the one
//! with the fewest erasures is taken, so that they wear alike.

mod sector;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::storage::{Area, Areas, Fault};
use sector::{DATA_FROM, FRAME_BYTES, Head, Walk};

/// Bytes of a sector, the unit of erasure.
pub const SECTOR_BYTES: u32 = 4096;
/// Addresses and lengths of programs are multiples of it, as the ESP32 requires.
pub const WORD_BYTES: u32 = 4;

/// A flash chip, or the part of it that belongs to the partition.
pub trait Flash {
    /// Sectors in the partition; those beyond 65,536 are not used.
    fn sectors(&self) -> u32;
    /// Reads from an address within the partition.
    ///
    /// # Errors
    /// If the chip does not answer.
    fn read(&self, address: u32, buffer: &mut [u8]) -> Result<(), Fault>;
    /// Lets bits fall: each byte becomes what it was AND what is given. Address and length are multiples
    /// of [`WORD_BYTES`]. Durable when it returns.
    ///
    /// # Errors
    /// If the chip does not answer, or could not program.
    fn program(&self, address: u32, bytes: &[u8]) -> Result<(), Fault>;
    /// Sets all bits of a sector. A power cut may leave any bits.
    ///
    /// # Errors
    /// If the chip does not answer, or could not erase.
    fn erase(&self, sector: u32) -> Result<(), Fault>;
}

/// How worn the sectors are: erasures since the partition was formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wear {
    /// Of the sector that was erased least often.
    pub min: u32,
    /// Of the one that was erased most often; a sector bears some 100,000.
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
    /// It failed when it was taken, and is not taken again until the next start.
    is_bad: bool,
}

/// Where an area is.
#[derive(Debug)]
struct Extent {
    area: Area,
    /// In their order.
    sectors: Vec<u32>,
    len: u64,
    /// Where the next frame goes in the last sector.
    tail: u32,
}

impl<F: Flash> Nor<F> {
    /// Reads which sectors hold what. A partition that was never used is empty.
    ///
    /// # Errors
    /// If the chip does not answer.
    pub fn open(flash: F) -> Result<Self, Fault> {
        let mut partition = Partition { flash, sectors: Vec::new(), areas: Vec::new() };
        partition.mount()?;
        Ok(Self(Rc::new(RefCell::new(partition))))
    }

    /// How worn the sectors are.
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

    /// What was programmed is durable.
    fn sync(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow().find(area).map(|_| ()).ok_or(Fault::Failed)
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow_mut().give_up(area)
    }

    /// Flash loses bits, not the way to them: the sectors are erased and tried again.
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
        // An erasure was cut, or this was never one of ours. It must not look less worn than it is.
        let most = self.sectors.iter().map(|sector| sector.erasures).max().unwrap_or(0);
        for sector in unknown {
            self.state(sector).erasures = most;
        }
        held.sort_unstable();
        for part in held.chunk_by(|one, next| one.0 == next.0) {
            let (area, first, _) = part[0];
            // Without its first sector it was being given up. It must not count as a part of an area
            // of that name that is begun later.
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

    /// All of it or, where there is no room, nothing.
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
                // What fails in between leaves an end that is not known.
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

    /// Gives an area one more sector, the least worn of the free ones that works.
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
                    // It must not be found in this place beside the one that is taken instead.
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

/// Bytes that one frame from here to the end of the sector holds.
fn room(tail: u32) -> u32 {
    SECTOR_BYTES.saturating_sub(tail + FRAME_BYTES) / WORD_BYTES * WORD_BYTES
}

/// A `u32` as an index; the node's processors have 32 bits at least.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
