//! Wear: what holds still must not keep its sector fresh while the others wear out.

use super::chip::{self, CHUNK};
use super::head::{self, NEXT_AT, Owner, Trace};
use super::partition::{Partition, State};
use super::{Flash, SECTOR_BYTES, index};
use crate::storage::Fault;

/// Erasures by which free sectors may be ahead of one that holds still. A move costs an erasure, so
/// this makes moves less than a hundredth of all.
const SPREAD_MAX: u32 = 256;

/// What is copied at a time divides the rest of a sector.
const CHUNK_U32: u32 = 64;
const _: () = assert!(CHUNK == 64 && (SECTOR_BYTES - NEXT_AT).is_multiple_of(CHUNK_U32));

/// A part of an area, by position.
#[derive(Debug, Clone, Copy)]
struct Place {
    area: usize,
    part: usize,
    sector: u32,
}

impl<F: Flash> Partition<F> {
    /// If the free sectors are worn much more than one that is held, moves its contents to the most
    /// worn free one.
    pub(super) fn level(&mut self) -> Result<(), Fault> {
        let free = self.sectors.iter().filter(|sector| sector.is_usable());
        let least = free.map(|sector| sector.erasures).min();
        let (Some(least), Some(still)) = (least, self.least_worn_held()) else { return Ok(()) };
        if least <= self.sectors[index(still.sector)].erasures.saturating_add(SPREAD_MAX) {
            return Ok(());
        }
        let free = self.sectors.iter().enumerate().filter(|(_, sector)| sector.is_usable());
        let most = free.max_by_key(|(_, sector)| sector.erasures);
        let most = most.and_then(|(place, _)| u32::try_from(place).ok());
        match most.map_or(Ok(()), |worn| self.relocate(still, worn)) {
            Err(Fault::Closed) => Err(Fault::Closed),
            // It stays where it is.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn least_worn_held(&self) -> Option<Place> {
        let parts = self.areas.iter().enumerate().filter(|(_, extent)| !extent.is_doubtful);
        let places = parts.flat_map(|(area, extent)| {
            // A part without bytes may be beside another one at its place, which has to stay later.
            let parts = extent.parts.iter().enumerate().filter(|(_, part)| part.len > 0);
            parts.map(move |(part, held)| Place { area, part, sector: held.sector })
        });
        let sound = places.filter(|place| !self.sectors[index(place.sector)].is_suspect);
        sound.min_by_key(|place| self.sectors[index(place.sector)].erasures)
    }

    /// Moves a part to a free sector. Both hold it until the former one is released; a cut in
    /// between leaves the later one.
    fn relocate(&mut self, from: Place, to: u32) -> Result<(), Fault> {
        let extent = &self.areas[from.area];
        let (name, life, offset) = (extent.name, extent.life, extent.parts[from.part].offset);
        let serial = self.next_serial();
        let erasures = self.count_erasure(to);
        // The owner last, so that an incomplete copy does not count.
        let copied = head::erase(&self.flash, to, erasures)
            .and_then(|()| self.copy(from.sector, to))
            .and_then(|()| head::assign(&self.flash, to, Owner { name, life, offset, serial }));
        let moved = copied.and_then(|()| self.release(from.sector, Trace::None));
        if moved.is_err() {
            (self.state(from.sector).is_suspect, self.state(to).is_suspect) = (true, true);
            let is_undone = head::give_up(&self.flash, to, Trace::None).is_ok();
            self.areas[from.area].is_doubtful |= !is_undone;
            return moved;
        }
        self.areas[from.area].parts[from.part].sector = to;
        self.state(to).state = State::Held;
        self.set_free(from.sector);
        Ok(())
    }

    /// Copies everything but the head's count and owners.
    fn copy(&self, from: u32, to: u32) -> Result<(), Fault> {
        let mut buffer = [0; CHUNK];
        let mut at = NEXT_AT;
        while at < SECTOR_BYTES {
            self.flash.read(from * SECTOR_BYTES + at, &mut buffer)?;
            if buffer.iter().any(|byte| *byte != 0xff) {
                chip::program(&self.flash, to * SECTOR_BYTES + at, &buffer)?;
            }
            at += CHUNK_U32;
        }
        Ok(())
    }
}
