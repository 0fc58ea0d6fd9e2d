//! How a profile says that a point may be written.

use alloc::vec::Vec;

use crate::control::{Verify, WriteFunction};

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
