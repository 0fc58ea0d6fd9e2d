//! The forms of packets, and the one place that tells them apart.

use alloc::vec::Vec;

use crate::{History, PacketError, bits, floats};

/// Most values of a packet: the device's ring holds 50 samples of ten registers.
pub const VALUES_MAX: usize = 500;

/// What an upload says of a packet beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The registers of each sample, in order.
    pub registers: &'a [u8],
    /// The samples, if the upload says how many. A packet itself counts its values modulo 256.
    pub samples: Option<usize>,
}

impl Shape<'_> {
    /// Restores the values of a packet, row after row. It does not enter `history`.
    ///
    /// # Errors
    /// Fails unless every value is exactly what the device read.
    pub fn decode(&self, packet: &[u8], history: &History) -> Result<Vec<u16>, PacketError> {
        let (marker, rest) = packet.split_first().ok_or(PacketError::Truncated(0))?;
        let truncated = PacketError::Truncated(packet.len());
        match marker {
            0x01 | 0xbf => {
                let [width, count, packed @ ..] = rest else { return Err(truncated) };
                let count = self.count(*count)?;
                if !(1..=16).contains(width) {
                    return Err(PacketError::Width(*width));
                }
                bits::high_first(packed, count, u32::from(*width))
            }
            0xd0 => {
                let [count, entries, rest @ ..] = rest else { return Err(truncated) };
                let count = self.count(*count)?;
                let (table, indexes) = floats::table(rest, *entries)?;
                let width = usize::BITS - table.len().leading_zeros();
                let indexes = bits::low_first(indexes, count, width)?;
                let value = |index: u16| table.get(usize::from(index)).copied();
                indexes.into_iter().map(|index| value(index).ok_or(PacketError::Index)).collect()
            }
            0x70 => {
                let [count, rest @ ..] = rest else { return Err(truncated) };
                self.base(rest, self.count(*count)?)
            }
            0x71 => {
                let [count, codes @ ..] = rest else { return Err(truncated) };
                history.restore(codes, self.registers, self.count(*count)?)
            }
            0x50 => Err(PacketError::Lossy),
            0xad | 0xde => {
                let [count, rest @ ..] = rest else { return Err(truncated) };
                let count = self.count(*count)?;
                if *marker == 0xad { floats::runs(rest, count) } else { floats::chain(rest, count) }
            }
            _ => Err(PacketError::UnknownMarker(*marker)),
        }
    }

    /// Returns how many values a packet with this count has.
    fn count(&self, found: u8) -> Result<usize, PacketError> {
        let columns = self.registers.len();
        let said = self.samples.map(|samples| samples.saturating_mul(columns));
        let count = said.unwrap_or(usize::from(found));
        if columns == 0 || count == 0 || count > VALUES_MAX || !count.is_multiple_of(columns) {
            return Err(PacketError::Shape);
        }
        let is_same = count % 256 == usize::from(found);
        if is_same { Ok(count) } else { Err(PacketError::Count { found, expected: count }) }
    }

    /// Restores values that are written out, each named by its register.
    fn base(&self, rest: &[u8], count: usize) -> Result<Vec<u16>, PacketError> {
        match rest.len().cmp(&(3 * count)) {
            core::cmp::Ordering::Less => return Err(PacketError::Truncated(rest.len())),
            core::cmp::Ordering::Greater => return Err(PacketError::Trailing),
            core::cmp::Ordering::Equal => {}
        }
        let (registers, words) = rest.split_at(count);
        if !registers.iter().eq(self.registers.iter().cycle().take(count)) {
            return Err(PacketError::Registers);
        }
        let (words, _) = words.as_chunks();
        Ok(words.iter().map(|word| u16::from_le_bytes(*word)).collect())
    }
}
