//! A partition of NOR flash as areas, for microcontrollers.
//!
//! A sector is erased as a whole, which sets all bits to one; until the next erasure, programs of
//! whole words can only clear bits. Each sector belongs to one area and begins with a head: its
//! number of erasures, the area it belongs to and its place in that area. Frames follow, one for
//! each append or part of one; a frame counts once its last word was programmed. Everything that is
//! programmed or erased is read back, and an append that fails in one sector goes on in another, so
//! that nothing is called durable that is not there.
//!
//! An area is erased by clearing the owner in the heads of its sectors, the first sector's first,
//! so that a cut in between leaves no part of it; the sectors themselves are erased when they are
//! used again. The free sector with the fewest erasures is used first, and what holds still moves
//! once the others are ahead, so that all sectors wear evenly.
//!
//! A sector that fails is retired for good. What a sector loses is a hole in its area, which cannot
//! be read; the rest of the area can. Bits that changed later are not detected here: the
//! structures above check their own records.

mod chip;
mod event;
mod frame;
mod head;
mod mount;
mod partition;
mod retired_sectors;
mod wear_levelling;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::storage::{Area, Areas, Fault};
use head::Name;
use partition::{Extent, Partition, State};

pub use event::Event;

/// Bytes of a sector, the unit of erasure.
pub const SECTOR_BYTES: u32 = 4096;
/// Addresses and lengths of programs are multiples of this, as the ESP32 requires.
pub const WORD_BYTES: u32 = 4;
/// Erasures that a sector endures, by the chips' data sheets.
pub const RATED_ERASURES: u32 = 100_000;
/// Sectors that are used. The serial numbers, of 32 bits, last for the rated erasures of as many.
pub const SECTORS_MAX: u32 = 1 << 15;
/// Two copies of the ledger, what is written next, and one to retire a sector.
pub const SECTORS_MIN: usize = 4;

/// A flash chip, or the part of it that the partition occupies.
pub trait Flash {
    /// Sectors in the partition; those beyond [`SECTORS_MAX`] are not used.
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

/// Why a partition cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the flash cannot be used")]
    Chip(#[source] Fault),
    /// Too many for a few bad sectors, or the ledger may be in them.
    #[error("{0} sectors of the flash cannot be read")]
    Unreadable(usize),
    #[error("only {good} of {sectors} sectors of the flash work, {SECTORS_MIN} are needed")]
    WornOut { good: usize, sectors: usize },
}

/// How worn the sectors are that are not retired: erasures since the partition was formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wear {
    /// Erasures of the sector that was erased least often.
    pub min: u32,
    /// Erasures of the sector that was erased most often.
    pub max: u32,
    pub total: u64,
    /// Sectors that failed and are never used again.
    pub retired: usize,
}

impl Wear {
    /// The share of the [`RATED_ERASURES`] that the most worn sector has used, in percent; above 100
    /// it may fail at any time.
    #[must_use]
    pub fn used_percent(&self) -> u32 {
        self.max / (RATED_ERASURES / 100)
    }
}

/// The partition; clones share it.
#[derive(Debug, Clone)]
pub struct Nor<F>(Rc<RefCell<Partition<F>>>);

impl<F: Flash> Nor<F> {
    /// Reads the heads of all sectors and finishes what a power cut has interrupted. A partition
    /// that was never used is empty.
    ///
    /// # Errors
    /// If the chip does not answer, or too few of its sectors work. What single bad sectors held is
    /// lost and reported as [`Event`]s.
    pub fn open(flash: F) -> Result<Self, OpenError> {
        let mut partition = Partition::new(flash);
        partition.mount()?;
        Ok(Self(Rc::new(RefCell::new(partition))))
    }

    /// Wear of the sectors.
    #[must_use]
    pub fn wear(&self) -> Wear {
        let partition = self.0.borrow();
        let used = || partition.sectors.iter().filter(|sector| sector.state != State::Retired);
        Wear {
            min: used().map(|sector| sector.erasures).min().unwrap_or(0),
            max: used().map(|sector| sector.erasures).max().unwrap_or(0),
            total: used().map(|sector| u64::from(sector.erasures)).sum(),
            retired: partition.sectors.len() - used().count(),
        }
    }

    /// Returns what happened since the last call, oldest first.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        self.0.borrow_mut().events.take()
    }
}

impl<F: Flash> Areas for Nor<F> {
    fn list(&self) -> Result<Vec<Area>, Fault> {
        let partition = self.0.borrow();
        let areas = partition.areas.iter().filter_map(|extent| match extent.name {
            Name::Area(area) => Some(area),
            Name::Retired => None,
        });
        Ok(areas.collect())
    }

    fn len(&self, area: Area) -> Result<Option<u64>, Fault> {
        Ok(self.0.borrow().find(area).map(|extent| extent.len.into()))
    }

    fn read_at(&self, area: Area, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let partition = self.0.borrow();
        let extent = partition.find(area).ok_or(Fault::Failed)?;
        // No area is longer than a `u32` counts.
        partition.read(extent, u32::try_from(offset).unwrap_or(u32::MAX), buffer)
    }

    fn append(&self, area: Area, bytes: &[u8]) -> Result<(), Fault> {
        self.0.borrow_mut().append(Name::Area(area), bytes)
    }

    /// A program is durable when it returns, so there is nothing left to do.
    fn sync(&self, area: Area) -> Result<(), Fault> {
        let partition = self.0.borrow();
        let extent = partition.find(area).ok_or(Fault::Failed)?;
        if extent.is_doubtful { Err(Fault::Failed) } else { Ok(()) }
    }

    fn erase(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow_mut().give_up(Name::Area(area))
    }

    /// An erasure is durable when it returns, as a program is.
    fn settle(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Retires those of the area's sectors that are damaged; the others are used again.
    fn set_aside(&self, area: Area) -> Result<(), Fault> {
        self.0.borrow_mut().set_aside(Name::Area(area))
    }
}

impl<F: Flash> Partition<F> {
    fn find(&self, area: Area) -> Option<&Extent> {
        self.areas.iter().find(|extent| extent.name == Name::Area(area))
    }
}

/// A `u32` as an index; the node's processors have at least 32 bits.
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
