//! How a profile says that a point may be written.

use alloc::vec::Vec;

/// How a point may be written; values in units of 10^exponent of the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRule {
    /// Modbus function.
    pub function: WriteFunction,
    /// Smallest allowed value.
    pub min: Option<i64>,
    /// Largest allowed value.
    pub max: Option<i64>,
    /// Step between allowed values, counted from `min` or, without it, from 0.
    pub step: Option<i64>,
    /// If not empty, only these values are allowed.
    pub one_of: Vec<i64>,
    /// Whether the inverter forgets the value on restart, so that writing causes no flash wear.
    pub is_volatile: bool,
    /// How to confirm that the write took effect.
    pub verify: Verify,
}

/// Modbus function of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteFunction {
    /// Function 6.
    Single,
    /// Function 16.
    Multiple,
}

/// How to confirm that a write took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Read the register back.
    Readback,
    /// Trust the echo; for registers that cannot be read.
    Echo,
}
