//! The bytes of a sector of flash: its head, and frames.
//!
//! Little endian: `erasures (4) | CRC-32 of these (4) | area (11) | zero (1) | place (4) | CRC-32 of area
//! and place (4)`, then frames: `length (2) | its complement (2) | bytes, filled up to whole words |
//! end (4)`.

use super::{Flash, SECTOR_BYTES, WORD_BYTES, index};
use crate::storage::{AREA_BYTES, Area, Fault, crc32};

const COUNT_BYTES: usize = 8;
const OWNER_BYTES: usize = 20;
const HEAD_BYTES: usize = COUNT_BYTES + OWNER_BYTES;
/// Where the first frame begins.
pub(super) const DATA_FROM: u32 = 28;
/// Bytes of a frame besides its contents.
pub(super) const FRAME_BYTES: u32 = 8;
const BLANK: [u8; 4] = [0xff; 4];
const ENDED: [u8; 4] = [0; 4];

const _: () = assert!(HEAD_BYTES == 28 && DATA_FROM.is_multiple_of(WORD_BYTES));

/// Contents of a sector's head.
pub(super) struct Head {
    /// `None` if an erasure was cut.
    pub(super) erasures: Option<u32>,
    /// The area and the sector's place in it; `None` if the sector is free.
    pub(super) owner: Option<(Area, u32)>,
}

impl Head {
    pub(super) fn read(flash: &impl Flash, sector: u32) -> Result<Self, Fault> {
        let mut head = [0; HEAD_BYTES];
        flash.read(sector * SECTOR_BYTES, &mut head)?;
        let (count, owner) = head.split_at(COUNT_BYTES);
        let erasures = checked(count).and_then(|count| count.first_chunk().copied());
        Ok(Self {
            // The checksum of four blank bytes is blank too.
            erasures: erasures.map(u32::from_le_bytes).filter(|count| *count < u32::MAX),
            owner: checked(owner).and_then(|owner| {
                let (area, rest) = owner.split_first_chunk::<AREA_BYTES>()?;
                let place = u32::from_le_bytes(rest.get(1..)?.try_into().ok()?);
                Some((Area::from_bytes(*area)?, place))
            }),
        })
    }
}

/// The bytes before the checksum, if it is correct.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (crc32(&[body]) == u32::from_le_bytes(*crc)).then_some(body)
}

/// Erases a sector and assigns it to an area.
pub(super) fn take(
    flash: &impl Flash,
    sector: u32,
    erasures: u32,
    (area, place): (Area, u32),
) -> Result<(), Fault> {
    flash.erase(sector)?;
    let address = sector * SECTOR_BYTES;
    let mut head = [0; HEAD_BYTES];
    let (count, owner) = head.split_at_mut(COUNT_BYTES);
    count[..4].copy_from_slice(&erasures.to_le_bytes());
    owner[..AREA_BYTES].copy_from_slice(&area.to_bytes());
    owner[AREA_BYTES + 1..OWNER_BYTES - 4].copy_from_slice(&place.to_le_bytes());
    for part in [&mut *count, &mut *owner] {
        if let Some((body, crc)) = part.split_last_chunk_mut::<4>() {
            *crc = crc32(&[body]).to_le_bytes();
        }
    }
    // The count is programmed first, so that it survives a cut in the owner.
    flash.program(address, count)?;
    flash.program(address + DATA_FROM - OWNER_BYTES_U32, owner)
}

const OWNER_BYTES_U32: u32 = 20;

/// Detaches a sector from its area. A power cut leaves it attached or free.
pub(super) fn give_up(flash: &impl Flash, sector: u32) -> Result<(), Fault> {
    flash.program(sector * SECTOR_BYTES + DATA_FROM - WORD_BYTES, &[0; 4])
}

/// Length of a frame with this many bytes of contents.
pub(super) fn frame_len(bytes: usize) -> u32 {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    bytes.next_multiple_of(WORD_BYTES) + FRAME_BYTES
}

/// Programs a frame of at most a sector's bytes, its length first and its end word last.
pub(super) fn program_frame(
    flash: &impl Flash,
    sector: u32,
    start: u32,
    bytes: &[u8],
) -> Result<(), Fault> {
    let address = sector * SECTOR_BYTES + start;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let ([a, b], [c, d]) = (length.to_le_bytes(), (!length).to_le_bytes());
    flash.program(address, &[a, b, c, d])?;
    let (words, last) = bytes.split_at(bytes.len() / 4 * 4);
    let mut at = address + WORD_BYTES;
    if !words.is_empty() {
        flash.program(at, words)?;
        at += u32::try_from(words.len()).unwrap_or(0);
    }
    if !last.is_empty() {
        let mut word = BLANK;
        word[..last.len()].copy_from_slice(last);
        flash.program(at, &word)?;
        at += WORD_BYTES;
    }
    flash.program(at, &ENDED)
}

/// A frame of a sector.
pub(super) struct Frame {
    /// Address of its first byte in the partition.
    pub(super) address: u32,
    len: u32,
    has_ended: bool,
}

impl Frame {
    /// Bytes of it that count: none without the end word.
    pub(super) fn counted(&self) -> u32 {
        if self.has_ended { self.len } else { 0 }
    }
}

/// Iterates over the frames of a sector.
pub(super) struct Walk {
    sector: u32,
    at: u32,
}

impl Walk {
    pub(super) fn new(sector: u32) -> Self {
        Self { sector, at: DATA_FROM }
    }

    pub(super) fn next(&mut self, flash: &impl Flash) -> Result<Option<Frame>, Fault> {
        let base = self.sector * SECTOR_BYTES;
        while self.at + FRAME_BYTES < SECTOR_BYTES {
            let mut word = [0; 4];
            flash.read(base + self.at, &mut word)?;
            if word == BLANK {
                return Ok(None);
            }
            let [a, b, c, d] = word;
            let (length, complement) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            let end = self.at + frame_len(length.into());
            if length != !complement || end > SECTOR_BYTES {
                // The power failed while this word was programmed, so nothing of its frame was.
                self.at += WORD_BYTES;
                continue;
            }
            let address = base + self.at + WORD_BYTES;
            flash.read(base + end - WORD_BYTES, &mut word)?;
            self.at = end;
            return Ok(Some(Frame { address, len: length.into(), has_ended: word != BLANK }));
        }
        Ok(None)
    }

    /// Where the next frame can be written: here if everything behind is blank, otherwise nowhere.
    pub(super) fn tail(&self, flash: &impl Flash) -> Result<u32, Fault> {
        let mut chunk = [0; 64];
        let mut at = self.at;
        while at < SECTOR_BYTES {
            let len = index(SECTOR_BYTES - at).min(chunk.len());
            let chunk = &mut chunk[..len];
            flash.read(self.sector * SECTOR_BYTES + at, chunk)?;
            if chunk.iter().any(|byte| *byte != 0xff) {
                return Ok(SECTOR_BYTES);
            }
            at += u32::try_from(len).unwrap_or(SECTOR_BYTES);
        }
        Ok(self.at)
    }
}
