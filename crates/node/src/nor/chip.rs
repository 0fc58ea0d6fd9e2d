//! Programs and erasures that are read back: a worn cell may keep its value without an error from
//! the chip, and what was not checked must not be called durable.

use super::{Flash, SECTOR_BYTES, index};
use crate::storage::Fault;

/// Bytes that are read back at a time; they are on the stack.
pub(super) const CHUNK: usize = 64;

/// Programs bytes and checks that they are there.
pub(super) fn program(flash: &impl Flash, address: u32, bytes: &[u8]) -> Result<(), Fault> {
    flash.program(address, bytes)?;
    let mut buffer = [0; CHUNK];
    let mut at = address;
    for chunk in bytes.chunks(CHUNK) {
        let there = &mut buffer[..chunk.len()];
        flash.read(at, there)?;
        if there != chunk {
            return Err(Fault::Unreadable);
        }
        at += u32::try_from(chunk.len()).unwrap_or(0);
    }
    Ok(())
}

/// Erases a sector and checks that it is blank.
pub(super) fn erase(flash: &impl Flash, sector: u32) -> Result<(), Fault> {
    flash.erase(sector)?;
    let is_erased = is_blank(flash, sector, 0)?;
    if is_erased { Ok(()) } else { Err(Fault::Unreadable) }
}

/// Whether all bits of a sector are one from this offset on.
pub(super) fn is_blank(flash: &impl Flash, sector: u32, from: u32) -> Result<bool, Fault> {
    let mut buffer = [0; CHUNK];
    let mut at = from;
    while at < SECTOR_BYTES {
        let chunk = &mut buffer[..index(SECTOR_BYTES - at).min(CHUNK)];
        flash.read(sector * SECTOR_BYTES + at, chunk)?;
        if chunk.iter().any(|byte| *byte != 0xff) {
            return Ok(false);
        }
        at += u32::try_from(chunk.len()).unwrap_or(SECTOR_BYTES);
    }
    Ok(true)
}
