//! The contents of an inverter's registers, and what may be written to them.
//!
//! A register map turns one reading of the plant into words; all words of one read come from one
//! reading. The holding table and the input table have the same contents. A write is checked as a
//! whole before any of it takes effect: a register that cannot be written is an illegal address
//! (2), a value out of range an illegal value (3).

pub(crate) mod seed;
pub(crate) mod sunspec;

use ecowatt_modbus::ExceptionCode;

/// Consecutive registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Address of the first register.
    pub first: u16,
    /// Words of the registers.
    pub words: Vec<u16>,
}

impl Image {
    /// Returns `count` words from `address` on.
    ///
    /// # Errors
    /// Illegal data address if any of them does not exist.
    pub fn slice(&self, address: u16, count: u16) -> Result<&[u16], ExceptionCode> {
        slice(self.first, &self.words, address, count)
    }

    /// Whether the register exists.
    #[must_use]
    pub fn contains(&self, address: u16) -> bool {
        self.slice(address, 1).is_ok()
    }
}

/// Returns `count` words from `address` on; the first of `words` has the address `first`.
///
/// # Errors
/// Illegal data address if any of them does not exist.
pub(crate) fn slice(
    first: u16,
    words: &[u16],
    address: u16,
    count: u16,
) -> Result<&[u16], ExceptionCode> {
    let from = address.checked_sub(first).map(usize::from);
    from.and_then(|from| words.get(from..from + usize::from(count)))
        .ok_or(ExceptionCode::IllegalDataAddress)
}
