//! Frames: what one append, or a part of one, leaves in a sector.
//!
//! Little endian: `length (2) | its complement (2) | bytes, filled up to whole words | end (4)`. The end
//! is the CRC-32 of the bytes and is programmed last; while it is blank, the frame does not count.
//! A wrong one does not hide the bytes, since the structures above check their own records; it
//! shows which sector loses bits.

use alloc::vec;

use super::head::DATA_FROM;
use super::{Flash, SECTOR_BYTES, WORD_BYTES, chip, index};
use crate::storage::{Fault, crc32};

/// Bytes of a frame besides its contents.
pub(super) const FRAME_BYTES: u32 = 8;
const BLANK: [u8; 4] = [0xff; 4];

/// Bytes of one frame that fit between `tail` and the end of the sector.
pub(super) fn room(tail: u32) -> u32 {
    SECTOR_BYTES.saturating_sub(tail + FRAME_BYTES) / WORD_BYTES * WORD_BYTES
}

/// Length of a frame with this many bytes of contents.
pub(super) fn frame_len(bytes: usize) -> u32 {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    bytes.next_multiple_of(WORD_BYTES) + FRAME_BYTES
}

fn end_of(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32(&[bytes]).to_le_bytes();
    // An end must not look blank.
    if crc == BLANK { [0; 4] } else { crc }
}

/// Programs a frame of at most a sector's bytes, its length first and its end last.
pub(super) fn program_frame(
    flash: &impl Flash,
    sector: u32,
    start: u32,
    bytes: &[u8],
) -> Result<(), Fault> {
    let address = sector * SECTOR_BYTES + start;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let ([a, b], [c, d]) = (length.to_le_bytes(), (!length).to_le_bytes());
    chip::program(flash, address, &[a, b, c, d])?;
    let (words, last) = bytes.split_at(bytes.len() / 4 * 4);
    let mut at = address + WORD_BYTES;
    if !words.is_empty() {
        chip::program(flash, at, words)?;
        at += u32::try_from(words.len()).unwrap_or(0);
    }
    if !last.is_empty() {
        let mut word = BLANK;
        word[..last.len()].copy_from_slice(last);
        chip::program(flash, at, &word)?;
        at += WORD_BYTES;
    }
    chip::program(flash, at, &end_of(bytes))
}

/// A frame of a sector.
pub(super) struct Frame {
    /// Address of its first byte in the partition.
    pub(super) address: u32,
    len: u32,
    end: [u8; 4],
}

impl Frame {
    /// Bytes of it that count: none without the end word.
    pub(super) fn counted(&self) -> u32 {
        if self.end == BLANK { 0 } else { self.len }
    }

    /// Whether its bytes are those that were programmed.
    pub(super) fn is_sound(&self, flash: &impl Flash) -> Result<bool, Fault> {
        let mut bytes = vec![0; index(self.counted())];
        flash.read(self.address, &mut bytes)?;
        Ok(self.end == BLANK || self.end == end_of(&bytes))
    }
}

/// Iterates over the frames of a sector.
pub(super) struct Walk {
    sector: u32,
    at: u32,
    /// The last length that was read is not one.
    is_broken: bool,
}

/// What follows the last frame of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Blank words, from this offset.
    Room(u32),
    /// Nothing more can be written. A cut or failed program left some bits, or the sector is full.
    Nothing,
    /// There were more frames.
    Damaged,
}

impl Walk {
    pub(super) fn new(sector: u32) -> Self {
        Self { sector, at: DATA_FROM, is_broken: false }
    }

    pub(super) fn next(&mut self, flash: &impl Flash) -> Result<Option<Frame>, Fault> {
        let base = self.sector * SECTOR_BYTES;
        if self.at + FRAME_BYTES >= SECTOR_BYTES {
            return Ok(None);
        }
        let mut word = [0; 4];
        flash.read(base + self.at, &mut word)?;
        if word == BLANK {
            return Ok(None);
        }
        let [a, b, c, d] = word;
        let (length, complement) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let end = self.at + frame_len(length.into());
        if length != !complement || end > SECTOR_BYTES {
            self.is_broken = true;
            return Ok(None);
        }
        let address = base + self.at + WORD_BYTES;
        flash.read(base + end - WORD_BYTES, &mut word)?;
        self.at = end;
        Ok(Some(Frame { address, len: length.into(), end: word }))
    }

    /// What follows, once there is no next frame.
    pub(super) fn rest(&self, flash: &impl Flash) -> Result<Rest, Fault> {
        let behind = self.at + if self.is_broken { WORD_BYTES } else { 0 };
        Ok(match (self.is_broken, chip::is_blank(flash, self.sector, behind)?) {
            (false, true) => Rest::Room(self.at),
            // A cut while a length was programmed leaves nothing behind it.
            (true, true) | (false, false) => Rest::Nothing,
            (true, false) => Rest::Damaged,
        })
    }
}
