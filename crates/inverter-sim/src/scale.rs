//! Converts a quantity to the whole number in a register: rounded, and limited to its range.

/// Returns `value × gain` as 16 bits.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates; NaN becomes 0")]
pub(crate) fn to_u16(value: f64, gain: f64) -> u16 {
    (value * gain).round() as u16
}

/// Returns `value × gain` as 16 bits with sign, as the bits of a register.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates; NaN becomes 0")]
pub(crate) fn to_i16_bits(value: f64, gain: f64) -> u16 {
    ((value * gain).round() as i16).cast_unsigned()
}

/// Returns the nearest whole number, at least 0.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates; NaN becomes 0")]
pub(crate) fn to_u32(value: f64) -> u32 {
    value.round() as u32
}

/// Returns the nearest whole number, at least 0.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates; NaN becomes 0")]
pub(crate) fn to_u64(value: f64) -> u64 {
    value.round() as u64
}

/// Returns the upper and the lower word of the low 32 bits, in wire order.
#[must_use]
pub(crate) fn words(value: u64) -> [u16; 2] {
    let [.., a, b, c, d] = value.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}
