//! The head of a sector: how often it was erased, and what it belongs to.
//!
//! Little endian: `erasures (4) | CRC-32 (4) | owner (28) | owner again (28) | next (4)`, where an owner is
//! `area (11) | zero (1) | life (4) | offset (4) | serial (4) | CRC-32 (4)`. The owner is there twice because
//! a sector without an owner is free: one changed bit would erase an area.

use super::{Flash, SECTOR_BYTES, chip};
use crate::storage::{AREA_BYTES, Area, Fault, crc32};

const COUNT_BYTES: usize = 8;
const OWNER_BYTES: usize = 28;
const BYTES: usize = COUNT_BYTES + 2 * OWNER_BYTES + 4;
const OWNER_AT: [u32; 2] = [8, 36];
/// Offset of the checksum in an owner.
const OWNER_CRC_AT: u32 = 24;
/// Offset of the word that is cleared once the area continues in another sector.
pub(super) const NEXT_AT: u32 = 64;
/// Where the first frame begins.
pub(super) const DATA_FROM: u32 = 68;

const _: () = assert!(BYTES == 68 && COUNT_BYTES + OWNER_BYTES == 36);

/// What a sector belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Area(Area),
    /// The list of retired sectors.
    Retired,
}

/// The sector's place in what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) name: Name,
    /// The first sector's serial number. An area that is created again has another life, so that
    /// nothing of the former one joins it.
    pub(super) life: u32,
    /// Bytes of the area in earlier sectors.
    pub(super) offset: u32,
    /// Every sector that is taken gets a higher one: of two at the same place the later one counts.
    pub(super) serial: u32,
}

/// Contents of a head.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// `None` if an erasure was cut.
    pub(super) erasures: Option<u32>,
    /// `None` if the sector is free.
    pub(super) owner: Option<Owner>,
    /// The life that was ended by giving up this sector, its first.
    pub(super) ended: Option<u32>,
    /// Whether the area continues in another sector.
    pub(super) has_next: bool,
}

impl Name {
    fn to_bytes(self) -> [u8; AREA_BYTES] {
        match self {
            Self::Area(area) => area.to_bytes(),
            Self::Retired => RETIRED,
        }
    }

    fn from_bytes(bytes: [u8; AREA_BYTES]) -> Option<Self> {
        if bytes == RETIRED { Some(Self::Retired) } else { Area::from_bytes(bytes).map(Self::Area) }
    }
}

/// Begins with a kind that no area has.
const RETIRED: [u8; AREA_BYTES] = [0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl Owner {
    fn to_bytes(self) -> [u8; OWNER_BYTES] {
        let mut bytes = [0; OWNER_BYTES];
        let (body, crc) = bytes.split_at_mut(OWNER_BYTES - 4);
        body[..AREA_BYTES].copy_from_slice(&self.name.to_bytes());
        let numbers = body[AREA_BYTES + 1..].chunks_exact_mut(4);
        for (place, number) in numbers.zip([self.life, self.offset, self.serial]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        crc.copy_from_slice(&crc32(&[body]).to_le_bytes());
        bytes
    }

    /// Without its checksum.
    fn from_body(body: &[u8]) -> Option<Self> {
        let (name, rest) = body.split_first_chunk::<AREA_BYTES>()?;
        let (life, rest) = rest.get(1..)?.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (serial, _) = rest.split_first_chunk()?;
        Some(Self {
            name: Name::from_bytes(*name)?,
            life: u32::from_le_bytes(*life),
            offset: u32::from_le_bytes(*offset),
            serial: u32::from_le_bytes(*serial),
        })
    }
}

impl Head {
    pub(super) fn read(flash: &impl Flash, sector: u32) -> Result<Self, Fault> {
        let mut head = [0; BYTES];
        flash.read(sector * SECTOR_BYTES, &mut head)?;
        let (count, rest) = head.split_at(COUNT_BYTES);
        let (owners, next) = rest.split_at(2 * OWNER_BYTES);
        let erasures = checked(count).and_then(|count| count.first_chunk().copied());
        let owners = || owners.chunks_exact(OWNER_BYTES);
        let owner = owners().find_map(|owner| Owner::from_body(checked(owner)?));
        // Giving up clears the checksum alone, so the rest still says what ended.
        let ended = owners().find_map(|owner| Owner::from_body(cleared(owner)?));
        let ended = ended.filter(|ended| owner.is_none() && ended.offset == 0);
        Ok(Self {
            // The checksum of four blank bytes is blank too.
            erasures: erasures.map(u32::from_le_bytes).filter(|count| *count < u32::MAX),
            owner,
            ended: ended.map(|ended| ended.life),
            // More than half, because single bits of it may change.
            has_next: next.iter().map(|byte| byte.count_zeros()).sum::<u32>() > 16,
        })
    }
}

/// The bytes before the checksum, if it is correct.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (crc32(&[body]) == u32::from_le_bytes(*crc)).then_some(body)
}

/// The bytes before the checksum, if bits of it were cleared; in a worn sector maybe not all.
fn cleared(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let (crc, correct) = (u32::from_le_bytes(*crc), crc32(&[body]));
    (crc != correct && crc & correct == crc).then_some(body)
}

/// Erases a sector and writes its number of erasures.
pub(super) fn erase(flash: &impl Flash, sector: u32, erasures: u32) -> Result<(), Fault> {
    chip::erase(flash, sector)?;
    let mut count = [0; COUNT_BYTES];
    let (body, crc) = count.split_at_mut(4);
    body.copy_from_slice(&erasures.to_le_bytes());
    crc.copy_from_slice(&crc32(&[body]).to_le_bytes());
    chip::program(flash, sector * SECTOR_BYTES, &count)
}

/// Assigns an erased sector.
pub(super) fn assign(flash: &impl Flash, sector: u32, owner: Owner) -> Result<(), Fault> {
    let bytes = owner.to_bytes();
    for at in OWNER_AT {
        chip::program(flash, sector * SECTOR_BYTES + at, &bytes)?;
    }
    Ok(())
}

/// What the head of a sector that is given up still shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// Nothing.
    None,
    /// The life that ends with it.
    Life(u32),
}

/// Detaches a sector from its area. A power cut leaves it attached or free; after an error it is
/// one of both.
pub(super) fn give_up(flash: &impl Flash, sector: u32, trace: Trace) -> Result<(), Fault> {
    for at in OWNER_AT {
        let address = sector * SECTOR_BYTES + at;
        // It is enough if the checksums are wrong, which is checked below.
        let cleared = match trace {
            Trace::None => flash.program(address, &[0; OWNER_BYTES]),
            Trace::Life(_) => flash.program(address + OWNER_CRC_AT, &[0; 4]),
        };
        if cleared == Err(Fault::Closed) {
            return Err(Fault::Closed);
        }
    }
    let head = Head::read(flash, sector)?;
    if head.owner.is_none() { Ok(()) } else { Err(Fault::Unreadable) }
}

/// Notes that the area continues in another sector, so that the loss of that one is noticed.
pub(super) fn note_next(flash: &impl Flash, sector: u32) -> Result<(), Fault> {
    chip::program(flash, sector * SECTOR_BYTES + NEXT_AT, &[0; 4])
}

/// Whether a free sector can be erased and every bit of it programmed; costs one erasure, which is
/// `erasures` then. Any answer but [`Fault::Closed`] is about the sector.
pub(super) fn works(flash: &impl Flash, sector: u32, erasures: u32) -> Result<bool, Fault> {
    let mut tested = erase(flash, sector, erasures);
    let mut at = OWNER_AT[0];
    while at < SECTOR_BYTES && tested.is_ok() {
        let len = super::index(SECTOR_BYTES - at).min(chip::CHUNK);
        tested = chip::program(flash, sector * SECTOR_BYTES + at, &[0; chip::CHUNK][..len]);
        at += u32::try_from(len).unwrap_or(SECTOR_BYTES);
    }
    match tested {
        Err(Fault::Closed) => Err(Fault::Closed),
        tested => Ok(tested.is_ok()),
    }
}
