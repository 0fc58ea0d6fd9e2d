//! Forms whose values are floating-point numbers, of which whole ones are registers.

use alloc::vec::Vec;

use crate::PacketError;

/// Converts a whole number of 16 bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "compared with the number that it is made of"
)]
fn register(number: f64) -> Result<u16, PacketError> {
    let register = number as u16;
    let is_whole = (f64::from(register) - number).abs() < f64::EPSILON;
    if is_whole { Ok(register) } else { Err(PacketError::NotARegister) }
}

/// Splits off four bytes of a number, lowest first.
fn float(rest: &mut &[u8]) -> Result<f64, PacketError> {
    let (bytes, left) = rest.split_first_chunk().ok_or(PacketError::Truncated(rest.len()))?;
    *rest = left;
    Ok(f64::from(f32::from_le_bytes(*bytes)))
}

/// Reads `count` registers as floating-point numbers; returns them and what follows.
pub(crate) fn table(mut rest: &[u8], count: u8) -> Result<(Vec<u16>, &[u8]), PacketError> {
    let entries: Result<_, _> = (0..count).map(|_| register(float(&mut rest)?)).collect();
    Ok((entries?, rest))
}

/// Restores runs: a number and how often it stands, until there are `count`.
pub(crate) fn runs(mut rest: &[u8], count: usize) -> Result<Vec<u16>, PacketError> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let value = register(float(&mut rest)?)?;
        let (length, left) = rest.split_first().ok_or(PacketError::Truncated(rest.len()))?;
        rest = left;
        if *length == 0 || usize::from(*length) > count - values.len() {
            return Err(PacketError::Index);
        }
        values.resize(values.len() + usize::from(*length), value);
    }
    if rest.is_empty() { Ok(values) } else { Err(PacketError::Trailing) }
}

/// Restores a chain: a number, then hundredths to add to the number before.
pub(crate) fn chain(mut rest: &[u8], count: usize) -> Result<Vec<u16>, PacketError> {
    let mut hundredths = float(&mut rest)? * 100.0;
    let mut values = Vec::with_capacity(count);
    values.push(register(hundredths / 100.0)?);
    for _ in 1..count {
        let (step, left) = rest.split_first_chunk().ok_or(PacketError::Truncated(rest.len()))?;
        rest = left;
        hundredths += f64::from(i16::from_le_bytes(*step));
        values.push(register(hundredths / 100.0)?);
    }
    if rest.is_empty() { Ok(values) } else { Err(PacketError::Trailing) }
}
