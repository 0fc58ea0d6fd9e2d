//! Numbers of a fixed number of bits, packed in either order.

use alloc::vec::Vec;

use crate::PacketError;

/// Returns the bytes that `count` numbers of `width` bits take.
pub(crate) fn len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Unpacks `count` numbers whose first bit is the highest one of the first byte.
pub(crate) fn high_first(bytes: &[u8], count: usize, width: u32) -> Result<Vec<u16>, PacketError> {
    unpack(
        bytes,
        count,
        width,
        |number, place, is_set| {
            if is_set { number | 1 << (width - 1 - place) } else { number }
        },
    )
}

/// Unpacks `count` numbers whose lowest bit is the lowest one of the first byte.
pub(crate) fn low_first(bytes: &[u8], count: usize, width: u32) -> Result<Vec<u16>, PacketError> {
    let reversed: Vec<u8> = bytes.iter().map(|byte| byte.reverse_bits()).collect();
    unpack(
        &reversed,
        count,
        width,
        |number, place, is_set| {
            if is_set { number | 1 << place } else { number }
        },
    )
}

fn unpack(
    bytes: &[u8],
    count: usize,
    width: u32,
    add: impl Fn(u16, u32, bool) -> u16,
) -> Result<Vec<u16>, PacketError> {
    match bytes.len().cmp(&len(count, width)) {
        core::cmp::Ordering::Less => return Err(PacketError::Truncated(bytes.len())),
        core::cmp::Ordering::Greater => return Err(PacketError::Trailing),
        core::cmp::Ordering::Equal => {}
    }
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    let number =
        |_| (0..width).fold(0, |number, place| add(number, place, bits.next().unwrap_or_default()));
    Ok((0..count).map(number).collect())
}
