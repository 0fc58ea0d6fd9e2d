//! The contents of an inverter's registers, and what may be written to them.
//!
//! A register map turns one reading of the plant into words; all words of one read come from one
//! reading. The holding table and the input table have the same contents. A write is checked as a
//! whole before any of it takes effect: a register that cannot be written is an illegal address
//! (2), a value out of range an illegal value (3).

mod der;
mod sunspec;
mod sunspec_common;
mod ten_registers;

use ecowatt_modbus::ExceptionCode;

use crate::config::{Config, RegisterMap};
use crate::physics::limit::LimitOrder;
use crate::physics::plant::Plant;

/// Consecutive registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterRange {
    /// Address of the first register.
    pub first: u16,
    /// Words of the registers.
    pub words: Vec<u16>,
}

/// The map of an inverter, and what masters have set in it.
#[derive(Debug, Clone)]
pub(crate) enum Registers {
    /// Seconds after which a limit expires.
    Seed(Option<u32>),
    SunSpec(sunspec::Controls),
    Der(der::Controls),
}

impl Registers {
    /// The registers of an inverter to which nothing was written.
    pub(crate) fn new(config: &Config) -> Self {
        match config.map {
            RegisterMap::Seed => Self::Seed(config.limit.revert_after_s),
            RegisterMap::SunSpec => Self::SunSpec(sunspec::Controls::default()),
            RegisterMap::Der => Self::Der(der::Controls::default()),
        }
    }

    /// All of them at present.
    pub(crate) fn image(&self, plant: &Plant) -> RegisterRange {
        match self {
            Self::Seed(_) => ten_registers::image(plant.reading()),
            Self::SunSpec(controls) => controls.image(plant),
            Self::Der(controls) => controls.image(plant),
        }
    }

    /// Checks whether a write would be accepted, without carrying it out.
    ///
    /// # Errors
    /// Illegal data address for a read-only register, illegal data value for a value out of range.
    pub(crate) fn check(
        &self,
        plant: &Plant,
        address: u16,
        values: &[u16],
    ) -> Result<(), ExceptionCode> {
        match self {
            Self::Seed(_) => ten_registers::limit(address, values).map(|_| ()),
            Self::SunSpec(controls) => controls.written(plant, address, values).map(|_| ()),
            Self::Der(controls) => controls.written(plant, address, values).map(|_| ()),
        }
    }

    /// Carries out a write, all of it or nothing.
    ///
    /// # Errors
    /// As [`Registers::check`].
    pub(crate) fn write(
        &mut self,
        plant: &mut Plant,
        address: u16,
        values: &[u16],
    ) -> Result<(), ExceptionCode> {
        match self {
            Self::Seed(revert_after_s) => {
                let target_pct = f64::from(ten_registers::limit(address, values)?);
                let revert_after_s = *revert_after_s;
                plant.order_limit(LimitOrder { target_pct, revert_after_s, ramp_s: None });
            }
            Self::SunSpec(controls) => {
                let change = controls.written(plant, address, values)?;
                controls.apply(change, plant);
            }
            Self::Der(controls) => {
                let change = controls.written(plant, address, values)?;
                controls.apply(change, plant);
            }
        }
        Ok(())
    }
}

/// Checks whether a write to a map would be accepted, regardless of any plant's state.
///
/// # Errors
/// As [`Registers::check`].
pub(crate) fn check(map: RegisterMap, address: u16, values: &[u16]) -> Result<(), ExceptionCode> {
    match map {
        RegisterMap::Seed => ten_registers::limit(address, values).map(|_| ()),
        RegisterMap::SunSpec => sunspec::check(address, values),
        RegisterMap::Der => der::check(address, values),
    }
}

impl RegisterRange {
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
