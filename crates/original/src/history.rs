//! What a temporal delta counts from: the last samples of the two packets before it.

use alloc::vec::Vec;

use crate::PacketError;

/// Deltas up to this are coded in one byte.
const SHORT_MAX: u8 = 0x3f;

/// The last samples of a device's last two packets.
///
/// The encoder moves on with every packet that it makes, whatever form it chooses. So the caller
/// adds every packet in the order of their making, and forgets all when one is missing: a delta
/// from the wrong values would be believable and false.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    last: Option<Sample>,
    before: Option<Sample>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    registers: Vec<u8>,
    values: Vec<u16>,
}

impl Sample {
    fn value(&self, register: u8) -> Option<u16> {
        let place = self.registers.iter().position(|known| *known == register)?;
        self.values.get(place).copied()
    }
}

impl History {
    /// Notes a packet: its registers, and its values row after row.
    pub fn add(&mut self, registers: &[u8], values: &[u16]) {
        let Some(first) = values.len().checked_sub(registers.len()) else { return self.forget() };
        let sample = Sample { registers: registers.into(), values: values[first..].into() };
        self.before = self.last.replace(sample);
    }

    /// Forgets everything, because a packet is missing.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Appends the stored form: for each of both samples its length, registers and values.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for sample in [&self.last, &self.before] {
            let pairs =
                sample.iter().flat_map(|sample| sample.registers.iter().zip(&sample.values));
            out.push(u8::try_from(pairs.clone().count()).unwrap_or(u8::MAX));
            for (register, value) in pairs.take(usize::from(u8::MAX)) {
                out.push(*register);
                out.extend(value.to_le_bytes());
            }
        }
    }

    /// Reads the stored form; returns it and what follows.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut sample = || {
            let (length, rest) = bytes.split_first()?;
            let (pairs, rest) = rest.split_at_checked(3 * usize::from(*length))?;
            bytes = rest;
            let (pairs, _) = pairs.as_chunks();
            let registers = pairs.iter().map(|[register, _, _]| *register).collect();
            let value = |[_, low, high]: &[u8; 3]| u16::from_le_bytes([*low, *high]);
            let values = pairs.iter().map(value).collect();
            Some((*length > 0).then_some(Sample { registers, values }))
        };
        let (last, before) = (sample()?, sample()?);
        Some((Self { last, before }, bytes))
    }

    /// Returns what the encoder expects of a register in every sample of the next packet.
    fn expect(&self, register: u8) -> Option<u16> {
        let last = self.last.as_ref()?.value(register)?;
        let before = self.before.as_ref()?.value(register)?;
        let next = 2 * i32::from(last) - i32::from(before);
        Some(u16::try_from(next).unwrap_or(last))
    }

    /// Restores the values of a delta; `codes` is the packet without its head.
    pub(crate) fn restore(
        &self,
        codes: &[u8],
        registers: &[u8],
        count: usize,
    ) -> Result<Vec<u16>, PacketError> {
        let mut rest = codes;
        let mut values = Vec::with_capacity(count);
        for register in registers.iter().cycle().take(count) {
            let delta = delta(&mut rest).ok_or(PacketError::Truncated(codes.len()))?;
            let expected = self.expect(*register).ok_or(PacketError::NoHistory)?;
            values.push(expected.wrapping_add_signed(delta?));
        }
        if rest.is_empty() { Ok(values) } else { Err(PacketError::Trailing) }
    }
}

/// Takes one code: `1sdddddd`, or 0 and 8 bits, or 1 and 16 bits; none if the bytes end.
fn delta(rest: &mut &[u8]) -> Option<Result<i16, PacketError>> {
    let (delta, left) = match **rest {
        [0, byte, ref left @ ..] => (i16::from(byte.cast_signed()), left),
        [1, low, high, ref left @ ..] => (i16::from_le_bytes([low, high]), left),
        [code, ref left @ ..] if code & 0x80 != 0 => {
            let size = i16::from(code & SHORT_MAX);
            (if code & 0x40 == 0 { size } else { -size }, left)
        }
        [] | [0 | 1, ..] => return None,
        [..] => return Some(Err(PacketError::Index)),
    };
    *rest = left;
    Some(Ok(delta))
}
