//! Minimum, average and maximum of some samples, as the device's code serialises them.

use alloc::vec::Vec;

use crate::PacketError;

/// Figures of some samples, in the order of `registers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// How many samples, modulo 256.
    pub samples: u8,
    /// Of the first and last sample, in the unit that the device chose.
    pub from: u32,
    pub to: u32,
    pub registers: Vec<u8>,
    pub min: Vec<u16>,
    pub max: Vec<u16>,
    /// Rounded down; absent in the shorter of both forms.
    pub average: Option<Vec<u16>>,
}

impl Aggregate {
    /// Reads the serialised form: 0xAA, mode, samples, registers, two times, the registers' numbers,
    /// and two or three tables; all numbers with the highest byte first.
    ///
    /// # Errors
    /// Fails if it is not exactly one aggregate.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        let truncated = PacketError::Truncated(bytes.len());
        let [marker, mode, samples, columns, rest @ ..] = bytes else { return Err(truncated) };
        if *marker != 0xaa {
            return Err(PacketError::UnknownMarker(*marker));
        }
        let has_average = match mode {
            1 => false,
            2 => true,
            _ => return Err(PacketError::Index),
        };
        let (from, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (to, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let columns = usize::from(*columns);
        let (registers, rest) = rest.split_at_checked(columns).ok_or(truncated)?;
        let (min, rest) = words(rest, columns).ok_or(truncated)?;
        let (max, rest) = words(rest, columns).ok_or(truncated)?;
        let (average, rest) = if has_average {
            let (average, rest) = words(rest, columns).ok_or(truncated)?;
            (Some(average), rest)
        } else {
            (None, rest)
        };
        if !rest.is_empty() {
            return Err(PacketError::Trailing);
        }
        Ok(Self {
            samples: *samples,
            from: u32::from_be_bytes(*from),
            to: u32::from_be_bytes(*to),
            registers: registers.into(),
            min,
            max,
            average,
        })
    }
}

fn words(bytes: &[u8], count: usize) -> Option<(Vec<u16>, &[u8])> {
    let (bytes, rest) = bytes.split_at_checked(2 * count)?;
    let (words, _) = bytes.as_chunks();
    Some((words.iter().map(|word| u16::from_be_bytes(*word)).collect(), rest))
}
