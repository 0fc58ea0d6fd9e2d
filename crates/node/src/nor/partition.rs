//! The partition in memory: reading, appending to and erasing areas.

use alloc::vec::Vec;

use super::event::Events;
use super::frame::{self, Walk};
use super::head::{self, DATA_FROM, Name, Owner, Trace};
use super::{Event, Flash, RATED_ERASURES, SECTOR_BYTES, index};
use crate::storage::Fault;

/// Sectors tried for one request. More failures in a row are a failing chip, and an erasure takes
/// up to 0.4 s.
const TAKES_MAX: usize = 8;
/// Sectors in which a frame is tried.
const FRAME_ATTEMPTS_MAX: usize = 3;
/// Free sectors that only the list of retired ones may take, so that a full partition can still
/// retire a sector.
const SPARE_SECTORS: usize = 1;

#[derive(Debug)]
pub(super) struct Partition<F> {
    pub(super) flash: F,
    pub(super) sectors: Vec<Sector>,
    pub(super) areas: Vec<Extent>,
    /// The next sector's serial number.
    pub(super) serial: u32,
    pub(super) events: Events,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sector {
    pub(super) erasures: u32,
    pub(super) state: State,
    /// An operation failed in it. Once it is free it is tested and retired if it fails again;
    /// cleared if it does not.
    pub(super) is_suspect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// It belongs to an area, or its head could not be cleared.
    Held,
    Retired,
}

/// Sectors and length of an area.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) name: Name,
    pub(super) life: u32,
    /// Ascending by their offset. What no part covers cannot be read.
    pub(super) parts: Vec<Part>,
    pub(super) len: u32,
    /// Offset of the next frame in the last sector.
    pub(super) tail: u32,
    /// An erasure failed, so that the area may be gone at the next start: nothing is appended.
    pub(super) is_doubtful: bool,
}

/// The bytes of an area that one sector holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) sector: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

impl Extent {
    pub(super) fn new(name: Name) -> Self {
        let parts = Vec::new();
        Self { name, life: 0, parts, len: 0, tail: SECTOR_BYTES, is_doubtful: false }
    }
}

impl Sector {
    pub(super) fn is_usable(&self) -> bool {
        self.state == State::Free && !self.is_suspect
    }
}

impl<F: Flash> Partition<F> {
    pub(super) fn new(flash: F) -> Self {
        let (sectors, areas) = (Vec::new(), Vec::new());
        Self { flash, sectors, areas, serial: 0, events: Events::default() }
    }

    pub(super) fn state(&mut self, sector: u32) -> &mut Sector {
        &mut self.sectors[index(sector)]
    }

    pub(super) fn place(&self, name: Name) -> Option<usize> {
        self.areas.iter().position(|extent| extent.name == name)
    }

    pub(super) fn read(
        &self,
        extent: &Extent,
        offset: u32,
        buffer: &mut [u8],
    ) -> Result<usize, Fault> {
        let mut read = 0;
        for part in &extent.parts {
            let at = offset.saturating_add(len_of(&buffer[..read]));
            let skipped = at.saturating_sub(part.offset);
            if skipped >= part.len {
                continue;
            }
            if read == buffer.len() || at < part.offset {
                break;
            }
            match self.read_part(part, skipped, &mut buffer[read..]) {
                Ok(more) => read += more,
                Err(error) if read == 0 => return Err(error),
                // The next read fails.
                Err(_) => break,
            }
        }
        let is_end = offset >= extent.len || buffer.is_empty();
        if read == 0 && !is_end { Err(Fault::Unreadable) } else { Ok(read) }
    }

    /// Reads the bytes of a part from an offset in it; at least one, or fails.
    fn read_part(&self, part: &Part, from: u32, buffer: &mut [u8]) -> Result<usize, Fault> {
        let wanted = index(part.len - from).min(buffer.len());
        let (mut walk, mut skipped, mut read) = (Walk::new(part.sector), 0, 0);
        while read < wanted {
            let Some(frame) = walk.next(&self.flash)? else { break };
            let at = from.saturating_sub(skipped).min(frame.counted());
            skipped += frame.counted();
            let rest = index(frame.counted() - at).min(wanted - read);
            if rest > 0 {
                self.flash.read(frame.address + at, &mut buffer[read..read + rest])?;
                read += rest;
            }
        }
        // The sector has lost what it held at the start.
        if read == 0 { Err(Fault::Unreadable) } else { Ok(read) }
    }

    /// Appends all bytes or, if there is no room for them, none.
    pub(super) fn append(&mut self, name: Name, bytes: &[u8]) -> Result<(), Fault> {
        let held = self.place(name);
        if held.is_some_and(|at| self.areas[at].is_doubtful) {
            return Err(Fault::Failed);
        }
        let tail = held.map_or(SECTOR_BYTES, |at| self.areas[at].tail);
        let beyond = bytes.len().saturating_sub(index(frame::room(tail)));
        let is_new = usize::from(held.is_none() && bytes.is_empty());
        let needed = beyond.div_ceil(index(frame::room(DATA_FROM))).max(is_new);
        let len = held.map_or(0, |at| self.areas[at].len);
        let is_possible = len.checked_add(len_of(bytes)).is_some();
        if !is_possible || needed > 0 && !self.has_room(needed + SPARE_SECTORS) {
            return Err(Fault::Full);
        }
        self.append_parts(name, bytes)?;
        // The chip works, so a sector that fails now fails by itself. One at a time, because an
        // append should not take long.
        self.examine_one();
        Ok(())
    }

    fn has_room(&mut self, sectors: usize) -> bool {
        let usable = |partition: &Self| partition.sectors.iter().filter(|s| s.is_usable()).count();
        // Sectors that failed may be good, if it was the chip that failed.
        for _ in 0..TAKES_MAX {
            if usable(self) >= sectors || !self.examine_one() {
                break;
            }
        }
        usable(self) >= sectors
    }

    pub(super) fn append_parts(&mut self, name: Name, bytes: &[u8]) -> Result<(), Fault> {
        let at = match self.place(name) {
            Some(at) => at,
            None => {
                self.areas.push(Extent::new(name));
                self.areas.len() - 1
            }
        };
        let (mut rest, mut failures) = (bytes, 0);
        let written = loop {
            let part = rest.len().min(index(frame::room(self.areas[at].tail)));
            if part > 0 {
                let (now, later) = rest.split_at(part);
                match self.add_frame(at, now) {
                    Ok(()) => rest = later,
                    Err(error) => {
                        failures += 1;
                        if error == Fault::Closed || failures == FRAME_ATTEMPTS_MAX {
                            break Err(error);
                        }
                    }
                }
            }
            if rest.is_empty() && !self.areas[at].parts.is_empty() {
                break Ok(());
            }
            match self.grow(at) {
                Ok(()) => {}
                // Full would mean that nothing was appended.
                Err(Fault::Full) if rest.len() < bytes.len() => break Err(Fault::Failed),
                Err(error) => break Err(error),
            }
        };
        if self.areas[at].parts.is_empty() {
            self.areas.swap_remove(at);
        }
        written
    }

    /// Programs a frame that fits into the last sector of an area.
    fn add_frame(&mut self, at: usize, bytes: &[u8]) -> Result<(), Fault> {
        let extent = &mut self.areas[at];
        let Some(part) = extent.parts.last_mut() else { return Err(Fault::Failed) };
        // If programming fails, the end of the frames is unknown and the sector takes no more.
        let start = core::mem::replace(&mut extent.tail, SECTOR_BYTES);
        if let Err(error) = frame::program_frame(&self.flash, part.sector, start, bytes) {
            let sector = part.sector;
            self.state(sector).is_suspect = true;
            return Err(error);
        }
        part.len += len_of(bytes);
        extent.tail = start + frame::frame_len(bytes.len());
        extent.len = part.offset + part.len;
        Ok(())
    }

    /// Adds one sector to an area: the least worn free one that works.
    fn grow(&mut self, at: usize) -> Result<(), Fault> {
        // Not for the list, which a move may need.
        if self.areas[at].name != Name::Retired {
            self.level()?;
        }
        let extent = &self.areas[at];
        let (name, offset, former) = (extent.name, extent.len, extent.parts.last().copied());
        let mut failure = Fault::Full;
        for _ in 0..TAKES_MAX {
            let Some(sector) = self.least_worn() else { return Err(failure) };
            let serial = self.next_serial();
            let life = if former.is_some() { self.areas[at].life } else { serial };
            match self.take(sector, Owner { name, life, offset, serial }) {
                Ok(()) => {
                    self.state(sector).state = State::Held;
                    let extent = &mut self.areas[at];
                    (extent.life, extent.tail) = (life, DATA_FROM);
                    extent.parts.push(Part { sector, offset, len: 0 });
                    return former.map_or(Ok(()), |former| self.leave(at, former));
                }
                Err(Fault::Closed) => return Err(Fault::Closed),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Leaves a part behind, because the area goes on in another sector.
    fn leave(&mut self, at: usize, former: Part) -> Result<(), Fault> {
        if former.len > 0 {
            return self.note_next(former.sector);
        }
        // The other one is at the same place. If this one cannot be released, the area's erasure
        // does that.
        if self.release(former.sector, Trace::None).is_ok() {
            self.areas[at].parts.retain(|part| part.sector != former.sector);
            self.set_free(former.sector);
        }
        Ok(())
    }

    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.saturating_add(1);
        self.serial
    }

    /// The free sector that was erased least often; a suspect one only if there is no other.
    fn least_worn(&self) -> Option<u32> {
        let free = self.sectors.iter().enumerate().filter(|(_, s)| s.state == State::Free);
        let least = free.min_by_key(|(_, sector)| (sector.is_suspect, sector.erasures));
        least.and_then(|(place, _)| u32::try_from(place).ok())
    }

    /// Erases and assigns a free sector.
    fn take(&mut self, sector: u32, owner: Owner) -> Result<(), Fault> {
        let erasures = self.count_erasure(sector);
        let taken = head::erase(&self.flash, sector, erasures)
            .and_then(|()| head::assign(&self.flash, sector, owner));
        if taken.is_err() {
            self.state(sector).is_suspect = true;
            // Otherwise a start would find it beside its substitute; the later one would count.
            let _ = head::give_up(&self.flash, sector, Trace::None);
        }
        taken
    }

    /// The sector's number of erasures after the next one.
    pub(super) fn count_erasure(&mut self, sector: u32) -> u32 {
        let state = self.state(sector);
        state.erasures = state.erasures.saturating_add(1);
        let erasures = state.erasures;
        if let Some(used) = self.events.worn(erasures, RATED_ERASURES) {
            self.events.push(Event::Worn { used_percent: used });
        }
        erasures
    }

    pub(super) fn note_next(&mut self, sector: u32) -> Result<(), Fault> {
        match head::note_next(&self.flash, sector) {
            Err(Fault::Closed) => Err(Fault::Closed),
            // The area is complete without the note.
            Err(_) => {
                self.state(sector).is_suspect = true;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Erases an area. On an error it is still in memory, but takes nothing more.
    pub(super) fn give_up(&mut self, name: Name) -> Result<(), Fault> {
        let at = self.place(name).ok_or(Fault::Failed)?;
        let extent = &mut self.areas[at];
        extent.is_doubtful = true;
        let (life, parts) = (extent.life, extent.parts.clone());
        // All at the first place, should there be one without bytes.
        let first = parts.first().map(|part| part.offset);
        for part in parts.iter().filter(|part| Some(part.offset) == first) {
            self.release(part.sector, Trace::Life(life))?;
        }
        // Without its first sector the area is gone.
        let at = self.place(name).ok_or(Fault::Failed)?;
        self.areas.swap_remove(at);
        self.end(&parts);
        Ok(())
    }

    /// Frees the sectors of an area whose first one was released. If one of them cannot be
    /// released, none is used before the next start, which still finds the first and knows from it
    /// that the others are free.
    fn end(&mut self, parts: &[Part]) {
        let mut are_released = true;
        for part in parts.iter().skip(1) {
            are_released &= self.release(part.sector, Trace::None).is_ok();
        }
        for part in parts.iter().filter(|_| are_released) {
            self.set_free(part.sector);
        }
    }

    /// Frees a sector that was released, unless it was retired by that.
    pub(super) fn set_free(&mut self, sector: u32) {
        let state = self.state(sector);
        if state.state == State::Held {
            state.state = State::Free;
        }
    }

    /// Makes it durable that a sector belongs to no area. One that cannot be changed is retired.
    pub(super) fn release(&mut self, sector: u32, trace: Trace) -> Result<(), Fault> {
        match head::give_up(&self.flash, sector, trace) {
            Ok(()) => Ok(()),
            Err(Fault::Closed) => Err(Fault::Closed),
            Err(_) => self.retire(sector, trace),
        }
    }
}

/// The length of bytes; no area or buffer is longer than a `u32` counts.
pub(super) fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
