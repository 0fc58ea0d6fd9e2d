//! Register words and coil bits, borrowed either from the caller or from a frame.

use core::fmt;

/// Register words, borrowed as numbers from the caller or as big-endian pairs from a frame.
#[derive(Clone, Copy)]
pub struct Words<'a>(Storage<'a>);

#[derive(Clone, Copy)]
enum Storage<'a> {
    Native(&'a [u16]),
    /// Always an even number of bytes.
    Wire(&'a [u8]),
}

impl<'a> Words<'a> {
    /// Words to send.
    #[must_use]
    pub const fn new(words: &'a [u16]) -> Self {
        Self(Storage::Native(words))
    }

    /// Words of a frame; an odd last byte is not part of them.
    pub(crate) fn from_wire(bytes: &'a [u8]) -> Self {
        Self(Storage::Wire(&bytes[..bytes.len() & !1]))
    }

    /// Number of words.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Storage::Native(words) => words.len(),
            Storage::Wire(bytes) => bytes.len() / 2,
        }
    }

    /// Whether there are no words.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The word at this index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u16> {
        match self.0 {
            Storage::Native(words) => words.get(index).copied(),
            Storage::Wire(bytes) => {
                let pair = bytes.get(index * 2..index * 2 + 2)?;
                Some(u16::from_be_bytes([pair[0], pair[1]]))
            }
        }
    }

    /// All words in register order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        let words = *self;
        (0..self.len()).filter_map(move |index| words.get(index))
    }

    /// Copies as many words as fit into `out` and returns their number.
    pub fn copy_to(&self, out: &mut [u16]) -> usize {
        out.iter_mut().zip(self.iter()).map(|(slot, word)| *slot = word).count()
    }
}

impl<'a> From<&'a [u16]> for Words<'a> {
    fn from(words: &'a [u16]) -> Self {
        Self::new(words)
    }
}

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Words<'_> {}

impl fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Coil or input bits, packed eight to a byte, the first in the lowest bit (AP 6.1).
#[derive(Clone, Copy)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    count: u16,
}

impl<'a> Bits<'a> {
    /// The first `count` bits of `bytes`, or `None` if there are fewer.
    #[must_use]
    pub fn new(bytes: &'a [u8], count: u16) -> Option<Self> {
        let bytes = bytes.get(..packed_len(count))?;
        Some(Self { bytes, count })
    }

    /// Packs `bits` into `out`; `None` if `out` is too small or there are more than 65,535.
    #[must_use]
    pub fn pack(bits: &[bool], out: &'a mut [u8]) -> Option<Self> {
        let count = u16::try_from(bits.len()).ok()?;
        let bytes = out.get_mut(..packed_len(count))?;
        for (byte, eight) in bytes.iter_mut().zip(bits.chunks(8)) {
            *byte = eight
                .iter()
                .enumerate()
                .fold(0, |packed, (place, &bit)| packed | (u8::from(bit) << place));
        }
        Some(Self { bytes, count })
    }

    /// Number of bits.
    #[must_use]
    pub const fn len(&self) -> u16 {
        self.count
    }

    /// Whether there are no bits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bit at this index.
    #[must_use]
    pub fn get(&self, index: u16) -> Option<bool> {
        if index >= self.count {
            return None;
        }
        Some((self.bytes[usize::from(index / 8)] >> (index % 8)) & 1 == 1)
    }

    /// All bits in address order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + Clone + use<'a> {
        let bits = *self;
        (0..self.count).filter_map(move |index| bits.get(index))
    }

    /// The packed bytes with the unused bits of the last one cleared.
    pub(crate) fn packed(&self) -> impl Iterator<Item = u8> + use<'a> {
        let used = self.count % 8;
        let last_mask = if used == 0 { 0xFF } else { (1u8 << used) - 1 };
        let last = self.bytes.len().wrapping_sub(1);
        self.bytes.iter().enumerate().map(
            move |(place, &byte)| {
                if place == last { byte & last_mask } else { byte }
            },
        )
    }
}

impl PartialEq for Bits<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Bits<'_> {}

impl fmt::Debug for Bits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Number of bytes for `count` packed bits.
pub(crate) const fn packed_len(count: u16) -> usize {
    (count as usize).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_from_numbers_and_from_a_frame_are_equal() {
        let words = Words::from_wire(&[0x12, 0x34, 0xFF, 0xFE, 0x99]);
        assert_eq!(words, Words::new(&[0x1234, 0xFFFE]));
        assert_eq!(words.get(2), None);
        let mut out = [0; 3];
        assert_eq!(words.copy_to(&mut out), 2);
        assert_eq!(out, [0x1234, 0xFFFE, 0]);
    }

    #[test]
    fn bits_are_packed_lowest_first() {
        let mut room = [0; 2];
        let bits = [true, false, true, true, false, false, true, true, true, false];
        let packed = Bits::pack(&bits, &mut room).unwrap();
        assert!(packed.iter().eq(bits));
        assert!(packed.packed().eq([0xCD, 0x01]));
        assert!(Bits::new(&[0xFF], 9).is_none());
        assert!(Bits::new(&[0xFF], 3).unwrap().packed().eq([0x07]));
    }
}
