//! Which values may be written, decided before anything is sent.
//!
//! Only points with a `write` table in their profile can be written, and only values within its
//! bounds.

use alloc::string::String;
use alloc::vec::Vec;

use crate::control::{Control, ControlPlace, NamedControl, Verify, WriteFunction};
use crate::decimal::Scaled;
use crate::number_type::{RawWords, Table};
use crate::profile::{PointSpec, Profile, RegisterPlace};
use crate::sunspec::FoundModel;
use crate::write_rule::WriteRule;

/// A write that the profile allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRequest {
    /// Table of the registers; only holding registers can be written.
    pub table: Table,
    /// First register.
    pub address: u16,
    /// Modbus function.
    pub function: WriteFunction,
    /// The words to write.
    pub words: RawWords,
    /// How to confirm that the write took effect.
    pub verify: Verify,
    /// Whether the inverter forgets the value on restart.
    pub is_volatile: bool,
}

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no such point.
    #[error("no point {0}")]
    UnknownPoint(String),
    /// The profile does not allow writes to it.
    #[error("point {0} is read-only")]
    ReadOnly(String),
    /// The value has more decimal places than the register.
    #[error("value {0} is finer than the register")]
    TooFine(Scaled),
    /// Outside the bounds.
    #[error("value {value} is not between {min} and {max}")]
    OutOfBounds {
        /// The requested value.
        value: Scaled,
        /// Smallest allowed value.
        min: Scaled,
        /// Largest allowed value.
        max: Scaled,
    },
    /// Not a multiple of the step.
    #[error("value {value} is not a multiple of {step}")]
    Step {
        /// The requested value.
        value: Scaled,
        /// Step between allowed values.
        step: Scaled,
    },
    /// Not one of the allowed values.
    #[error("value {0} is not one of those allowed")]
    NotAllowed(Scaled),
}

impl Profile {
    /// The points that may be written. Those in SunSpec models that are not
    /// resolved are left out.
    #[must_use]
    pub fn controls(&self) -> Vec<NamedControl> {
        let control = |point: &PointSpec| {
            Some(NamedControl { point: point.name.clone(), control: self.control(point)? })
        };
        self.points.iter().filter_map(control).collect()
    }

    fn control(&self, point: &PointSpec) -> Option<Control> {
        let rule = point.write.as_ref()?;
        let RegisterPlace::Registers { table: Table::Holding, address, kind, word_order, .. } =
            point.place
        else {
            return None;
        };
        let is_its = |model: &&FoundModel| {
            let end = model.address.saturating_add(model.length);
            (model.address..=end).contains(&address)
        };
        let place = match self.headers.iter().find(is_its) {
            Some(model) => ControlPlace::Limit(*model),
            None => {
                let WriteRule { function, verify, .. } = *rule;
                ControlPlace::Registers { address, kind, word_order, function, verify }
            }
        };
        let one_of = heapless::Vec::from_slice(&rule.one_of).ok()?;
        let (multiplier, exponent) = (point.multiplier, point.exponent);
        let WriteRule { min, max, step, .. } = *rule;
        Some(Control { place, multiplier, exponent, min, max, step, one_of })
    }

    /// Returns the write that sets a point to `value`, if the profile allows it.
    ///
    /// # Errors
    /// When the point cannot be written or the value is not allowed.
    pub fn check_write(&self, point: &str, value: Scaled) -> Result<WriteRequest, WriteError> {
        let spec = self.point(point).ok_or_else(|| WriteError::UnknownPoint(point.into()))?;
        let read_only = || WriteError::ReadOnly(point.into());
        let rule = spec.write.as_ref().ok_or_else(read_only)?;
        let RegisterPlace::Registers { table: Table::Holding, address, kind, word_order, .. } =
            &spec.place
        else {
            return Err(read_only());
        };
        let units = spec.check(rule, value)?;
        let words = kind
            .encode(*word_order, units / spec.multiplier)
            .ok_or(WriteError::NotAllowed(value))?;
        Ok(WriteRequest {
            table: Table::Holding,
            address: *address,
            function: rule.function,
            words,
            verify: rule.verify,
            is_volatile: rule.is_volatile,
        })
    }
}

impl PointSpec {
    /// Returns the value in units of 10^exponent, if the rule allows it.
    fn check(&self, rule: &WriteRule, value: Scaled) -> Result<i64, WriteError> {
        let units = value
            .rescale(self.exponent)
            .filter(|units| units % self.multiplier == 0)
            .ok_or(WriteError::TooFine(value))?;
        let scaled = |mantissa| Scaled { mantissa, exponent: self.exponent };
        let (min, max) = (rule.min.unwrap_or(i64::MIN), rule.max.unwrap_or(i64::MAX));
        if !(min..=max).contains(&units) {
            return Err(WriteError::OutOfBounds { value, min: scaled(min), max: scaled(max) });
        }
        if let Some(step) = rule.step
            && units.wrapping_sub(rule.min.unwrap_or(0)) % step != 0
        {
            return Err(WriteError::Step { value, step: scaled(step) });
        }
        if !rule.one_of.is_empty() && !rule.one_of.contains(&units) {
            return Err(WriteError::NotAllowed(value));
        }
        Ok(units)
    }
}
