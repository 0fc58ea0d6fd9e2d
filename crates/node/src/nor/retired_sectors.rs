//! Sectors that are never used again.
//!
//! They are on a list, in an area of its own, and what is in them no longer counts. A mark in the
//! sector itself would not do: a sector is retired because it cannot be erased or programmed.
//!
//! An entry is `sector (2) | zero (2) | life (4)`, little endian. The life is that of the area that was
//! erased by this entry, because its first sector could not be changed; otherwise 0.

use alloc::vec::Vec;

use super::frame::{Frame, Walk};
use super::head::{self, Name, Trace};
use super::partition::{Partition, State};
use super::{Event, Flash, index};
use crate::storage::Fault;

const ENTRY_BYTES: usize = 8;
/// Of the sectors that lost bits but can be erased, as many are retired as leave three quarters of
/// the partition; beyond that they are tested and used again.
const KEPT_SHARE: (usize, usize) = (3, 4);

/// An entry of the list.
pub(super) struct Entry {
    pub(super) sector: u32,
    pub(super) life: u32,
}

impl Entry {
    fn to_bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&u16::try_from(self.sector).unwrap_or(u16::MAX).to_le_bytes());
        bytes[4..].copy_from_slice(&self.life.to_le_bytes());
        bytes
    }

    fn from_frame(flash: &impl Flash, frame: &Frame) -> Option<Self> {
        let mut bytes = [0; ENTRY_BYTES];
        let is_whole = index(frame.counted()) == ENTRY_BYTES && frame.is_sound(flash) == Ok(true);
        flash.read(frame.address, is_whole.then_some(&mut bytes)?).ok()?;
        let [a, b, _, _, life @ ..] = bytes;
        Some(Self { sector: u16::from_le_bytes([a, b]).into(), life: u32::from_le_bytes(life) })
    }

    /// The entries in a sector of the list, as far as they can be read. A sector without its entry
    /// fails and is retired again.
    pub(super) fn read_all(flash: &impl Flash, sector: u32) -> Vec<Self> {
        let mut walk = Walk::new(sector);
        let mut entries = Vec::new();
        while let Ok(Some(frame)) = walk.next(flash) {
            entries.extend(Self::from_frame(flash, &frame));
        }
        entries
    }
}

impl<F: Flash> Partition<F> {
    /// Excludes a sector from use; durable when it returns.
    pub(super) fn retire(&mut self, sector: u32, trace: Trace) -> Result<(), Fault> {
        let life = if let Trace::Life(life) = trace { life } else { 0 };
        let former = core::mem::replace(&mut self.state(sector).state, State::Retired);
        if let Err(error) = self.append_parts(Name::Retired, &Entry { sector, life }.to_bytes()) {
            self.state(sector).state = former;
            return Err(error);
        }
        let erasures = self.state(sector).erasures;
        self.events.push(Event::Retired { sector, erasures });
        Ok(())
    }

    /// Tests one free sector in which something failed, and retires it if it fails again. Returns
    /// whether there is one.
    pub(super) fn examine_one(&mut self) -> bool {
        let is_suspect =
            |(_, s): &(usize, &super::partition::Sector)| s.is_suspect && s.state == State::Free;
        let Some((place, _)) = self.sectors.iter().enumerate().find(is_suspect) else {
            return false;
        };
        let sector = u32::try_from(place).unwrap_or(u32::MAX);
        let erasures = self.count_erasure(sector);
        match head::works(&self.flash, sector, erasures) {
            Ok(true) => self.state(sector).is_suspect = false,
            // If the list cannot be written either, it is the chip that fails.
            Ok(false) => return self.retire(sector, Trace::None).is_ok(),
            Err(_) => return false,
        }
        true
    }

    /// Erases an area and retires those of its sectors that lost bits or failed, as far as enough
    /// others are left.
    pub(super) fn set_aside(&mut self, name: Name) -> Result<(), Fault> {
        let at = self.place(name).ok_or(Fault::Failed)?;
        let sectors = self.areas[at].parts.iter().map(|part| part.sector);
        let hurt: Vec<u32> = sectors.filter(|sector| self.is_hurt(*sector)).collect();
        self.give_up(name)?;
        for sector in hurt {
            self.state(sector).is_suspect = true;
            let kept = self.sectors.iter().filter(|s| s.state != State::Retired).count();
            let is_enough = kept * KEPT_SHARE.1 > self.sectors.len() * KEPT_SHARE.0;
            if self.state(sector).state == State::Free && is_enough {
                // The area is gone; if the list fails, the sector is tested before it is used.
                let _ = self.retire(sector, Trace::None);
            }
        }
        Ok(())
    }

    /// Whether an operation in a sector failed, or a frame is not what was programmed.
    fn is_hurt(&self, sector: u32) -> bool {
        let mut walk = Walk::new(sector);
        let is_sound = loop {
            match walk.next(&self.flash) {
                Ok(Some(frame)) if frame.is_sound(&self.flash) == Ok(true) => {}
                Ok(None) => {
                    break walk
                        .rest(&self.flash)
                        .is_ok_and(|rest| rest != super::frame::Rest::Damaged);
                }
                Ok(Some(_)) | Err(_) => break false,
            }
        };
        !is_sound || self.sectors[index(sector)].is_suspect
    }
}
