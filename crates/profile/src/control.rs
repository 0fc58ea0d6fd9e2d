//! Points that may be written, as a device needs them: bounds, registers, and what to read back.
//!
//! A [`Control`] checks a value and makes a [`Setpoint`] of it, which is all that the device keeps
//! of a write. A setpoint is written between two reads of the same registers: the first one shows
//! that they are where they should be, and the second one what the inverter made of the write.

use core::ops::RangeInclusive;

use ecowatt_model::lease::FULL_PPM;

use crate::decimal::{POWERS_OF_TEN, Scaled};
use crate::number_type::{Kind, RawWords, Table, WordOrder};
use crate::plan::Read;
use crate::sunspec::{FoundModel, HEADER_LEN};

/// Values in the longest list of allowed values.
pub const ONE_OF_MAX: usize = 8;

/// Registers in the longest write: a limit of model 123 with its timers and its switch.
pub const WRITE_REGISTERS_MAX: usize = 5;

/// A control by the name of its point.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedControl {
    /// The point's name.
    pub point: alloc::string::String,
    /// How the point may be written.
    pub control: Control,
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

/// A point that may be written. Values are in units of 10^`exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Where it is written.
    pub place: ControlPlace,
    /// Units of one count, for [`ControlPlace::Registers`].
    pub multiplier: i64,
    /// Decimal exponent of the values.
    pub exponent: i8,
    /// Smallest allowed value.
    pub min: Option<i64>,
    /// Largest allowed value.
    pub max: Option<i64>,
    /// Step between allowed values, counted from `min` or, without it, from 0.
    pub step: Option<i64>,
    /// If not empty, only these values are allowed.
    pub one_of: heapless::Vec<i64, ONE_OF_MAX>,
}

/// Where a control is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlPlace {
    /// Holding registers at a known address.
    Registers {
        /// First register.
        address: u16,
        /// Type of the number.
        kind: Kind,
        /// Order of its words.
        word_order: WordOrder,
        /// Modbus function.
        function: WriteFunction,
        /// How to confirm the write.
        verify: Verify,
    },
    /// The limit of active power in SunSpec model 123 or 704, which discovery found here.
    Limit(FoundModel),
}

/// Why a value may not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlError {
    /// Below the smallest or above the largest allowed value, which is this.
    OutOfBounds(Scaled),
    /// Finer than the register, between two steps, or not one of the allowed values.
    NotAllowed,
}

/// One write request on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// First holding register.
    pub address: u16,
    /// Modbus function.
    pub function: WriteFunction,
    words: [u16; WRITE_REGISTERS_MAX],
    count: u8,
}

/// A value that was checked, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setpoint {
    /// Words for registers at a known address.
    Registers(Write, Verify),
    /// The limit of a SunSpec model in tenths of a percent. Its registers have the unit that the
    /// inverter reports. A limit made from watts may be rounded down to that unit.
    Limit {
        /// The model.
        model: FoundModel,
        /// Tenths of a percent.
        tenths: u16,
        /// Whether it may be rounded down.
        is_rounded: bool,
        /// Whether the inverter's own time until it drops a limit stays.
        keeps_reversion: bool,
    },
    /// Registers of a SunSpec model's limit as they were found: those of [`Setpoint::shown`].
    Found {
        /// The model.
        model: FoundModel,
        /// As many as are shown, and zeros.
        words: [u16; WRITE_REGISTERS_MAX],
    },
}

/// A limit as a part of the rated power, and how to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimit {
    /// What to write.
    pub setpoint: Setpoint,
    /// The limit, in millionths.
    pub ppm: u32,
}

/// Why a setpoint cannot be written to this inverter, by what was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetpointError {
    /// The model is not where it was found, or has no valid scale factor.
    NotVerified,
    /// The value is finer than the inverter's register.
    TooFine,
}

impl Write {
    /// A write of these words, at most [`WRITE_REGISTERS_MAX`].
    #[must_use]
    pub fn new(address: u16, function: WriteFunction, words: &[u16]) -> Option<Self> {
        let mut write = Self {
            address,
            function,
            words: [0; WRITE_REGISTERS_MAX],
            count: u8::try_from(words.len()).ok()?,
        };
        write.words.get_mut(..words.len())?.copy_from_slice(words);
        Some(write)
    }

    /// What is written.
    #[must_use]
    pub fn words(&self) -> &[u16] {
        self.words.get(..usize::from(self.count)).unwrap_or_default()
    }
}

impl Control {
    /// Checks a value and returns what to write.
    ///
    /// # Errors
    /// When the value is not allowed.
    pub fn set(&self, value: Scaled) -> Result<Setpoint, ControlError> {
        let units = self.check(value)?;
        self.setpoint(units, false).ok_or(ControlError::NotAllowed)
    }

    /// Checks a limit in watts and returns what to write: the same part of the rated power, rounded
    /// down to what the register holds.
    ///
    /// # Errors
    /// When the value is not allowed.
    pub fn limit_watts(&self, watts: u32, rated_w: u32) -> Result<Setpoint, ControlError> {
        let hundred = Scaled { mantissa: 100, exponent: 0 }.rescale(self.exponent);
        let full = hundred.ok_or(ControlError::NotAllowed)?;
        let part = full.saturating_mul(i64::from(watts)) / i64::from(rated_w.max(1));
        let part = self.round_down(part.min(full));
        let units = self.check(Scaled { mantissa: part, exponent: self.exponent })?;
        self.setpoint(units, true).ok_or(ControlError::NotAllowed)
    }

    /// Returns how to write a limit in millionths of the rated power, rounded down to what the
    /// register holds, or the lowest that is allowed if that is higher.
    ///
    /// # Errors
    /// When no value near it is allowed.
    pub fn limit_part(&self, ppm: u32) -> Result<PartLimit, ControlError> {
        let hundred = Scaled { mantissa: 100, exponent: 0 }.rescale(self.exponent);
        let full = hundred.ok_or(ControlError::NotAllowed)?;
        let whole = i64::from(FULL_PPM);
        let part = full.saturating_mul(ppm.min(FULL_PPM).into()) / whole;
        let part = self.round_down(part).max(self.min.unwrap_or(0));
        let part = self.max.map_or(part, |max| part.min(max));
        let units = self.check(Scaled { mantissa: part, exponent: self.exponent })?;
        let setpoint = match self.setpoint(units, true).ok_or(ControlError::NotAllowed)? {
            Setpoint::Limit { model, tenths, is_rounded, .. } => {
                Setpoint::Limit { model, tenths, is_rounded, keeps_reversion: true }
            }
            setpoint @ (Setpoint::Registers(..) | Setpoint::Found { .. }) => setpoint,
        };
        let ppm = u32::try_from(units.saturating_mul(whole) / full.max(1)).unwrap_or(FULL_PPM);
        Ok(PartLimit { setpoint, ppm })
    }

    /// Returns the next lower value that a step and the register allow.
    fn round_down(&self, part: i64) -> i64 {
        let grain = match self.place {
            ControlPlace::Registers { .. } => self.step.unwrap_or(1).max(self.multiplier).max(1),
            ControlPlace::Limit(_) => self.step.unwrap_or(1).max(1),
        };
        let from = self.min.filter(|_| self.step.is_some()).unwrap_or(0);
        part - (part - from).rem_euclid(grain)
    }

    /// Returns the value in units of 10^`exponent`.
    fn check(&self, value: Scaled) -> Result<i64, ControlError> {
        let units = value.rescale(self.exponent).ok_or(ControlError::NotAllowed)?;
        let bound = |mantissa| Scaled { mantissa, exponent: self.exponent };
        if let Some(min) = self.min.filter(|min| units < *min) {
            return Err(ControlError::OutOfBounds(bound(min)));
        }
        if let Some(max) = self.max.filter(|max| units > *max) {
            return Err(ControlError::OutOfBounds(bound(max)));
        }
        let is_step = self.step.is_none_or(|step| {
            let above = units.wrapping_sub(self.min.unwrap_or(0));
            above.checked_rem(step) == Some(0)
        });
        let is_listed = self.one_of.is_empty() || self.one_of.contains(&units);
        if is_step && is_listed { Ok(units) } else { Err(ControlError::NotAllowed) }
    }

    fn setpoint(&self, units: i64, is_rounded: bool) -> Option<Setpoint> {
        match self.place {
            ControlPlace::Registers { address, kind, word_order, function, verify } => {
                if units.checked_rem(self.multiplier) != Some(0) {
                    return None;
                }
                let words: RawWords = kind.encode(word_order, units / self.multiplier)?;
                Some(Setpoint::Registers(Write::new(address, function, &words)?, verify))
            }
            ControlPlace::Limit(model) => {
                let tenths = Scaled { mantissa: units, exponent: self.exponent }.rescale(-1)?;
                let tenths = u16::try_from(tenths).ok().filter(|tenths| *tenths <= 1_000)?;
                Some(Setpoint::Limit { model, tenths, is_rounded, keeps_reversion: false })
            }
        }
    }
}

/// Offsets of a limit in its model, counted from the identifier, and what is written.
struct LimitBlock {
    limit: u16,
    switch: u16,
    scale: u16,
}

impl LimitBlock {
    /// From the first register that is written to the last.
    fn offsets(&self) -> RangeInclusive<u16> {
        self.limit.min(self.switch)..=self.limit.max(self.switch)
    }

    /// `None` for any other model.
    const fn of(model: u16) -> Option<Self> {
        match model {
            123 => Some(Self { limit: 5, switch: 9, scale: 23 }),
            704 => Some(Self { limit: 15, switch: 14, scale: 54 }),
            _ => None,
        }
    }
}

impl Setpoint {
    /// One holding register, whatever a profile says of it.
    #[must_use]
    pub fn register(address: u16, value: u16) -> Option<Self> {
        let write = Write::new(address, WriteFunction::Single, &[value])?;
        Some(Self::Registers(write, Verify::Readback))
    }

    /// The read before and after the write; `None` if the registers cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<Read> {
        let (address, count) = match self {
            Self::Registers(_, Verify::Echo) => return None,
            Self::Registers(write, Verify::Readback) => (write.address, u16::from(write.count)),
            // The header and the scale factor are read together with the limit.
            Self::Limit { model, .. } | Self::Found { model, .. } => {
                (model.address, LimitBlock::of(model.id)?.scale + 1)
            }
        };
        Some(Read::of_all(Table::Holding, address, count, 0, 0))
    }

    /// The most registers that [`Setpoint::shown`] returns.
    #[must_use]
    pub fn shown_max(&self) -> usize {
        match self {
            Self::Registers(write, _) => usize::from(write.count),
            Self::Limit { .. } | Self::Found { .. } => WRITE_REGISTERS_MAX,
        }
    }

    /// The registers that are written, among the words of [`Setpoint::read`].
    #[must_use]
    pub fn shown<'a>(&self, words: &'a [u16]) -> &'a [u16] {
        match self {
            Self::Registers(..) => words,
            Self::Limit { model, .. } | Self::Found { model, .. } => {
                let Some(block) = LimitBlock::of(model.id) else { return &[] };
                let (first, last) = block.offsets().into_inner();
                words.get(usize::from(first)..=usize::from(last)).unwrap_or_default()
            }
        }
    }

    /// What to write, by what was read before.
    ///
    /// # Errors
    /// When the registers are not what they should be.
    pub fn write(&self, before: &[u16]) -> Result<Write, SetpointError> {
        match self {
            Self::Registers(write, _) => Ok(*write),
            Self::Found { model, words } => {
                let words = words.get(..self.shown(before).len()).unwrap_or_default();
                scale(*model, before)
                    .and_then(|_| Write::new(self.address()?, WriteFunction::Multiple, words))
                    .ok_or(SetpointError::NotVerified)
            }
            Self::Limit { model, keeps_reversion, .. } => {
                let count = self.count(before)?;
                // Model 123 has timers between limit and switch: at once, without an end unless it
                // has one of its own, without a ramp. A write of all five cannot be torn by a power
                // cut.
                let own = self.shown(before).get(REVERSION).copied().filter(|s| *s < u16::MAX);
                let reversion = own.filter(|_| *keeps_reversion).unwrap_or(0);
                let (offset, words): (u16, &[u16]) = match model.id {
                    123 => (5, &[count, 0, reversion, 0, 1]),
                    _ => (14, &[1, count]),
                };
                let address = model.address.checked_add(offset);
                address
                    .and_then(|address| Write::new(address, WriteFunction::Multiple, words))
                    .ok_or(SetpointError::NotVerified)
            }
        }
    }

    /// Whether the inverter has the value, by what was read after the write, or before it.
    #[must_use]
    pub fn holds(&self, words: &[u16]) -> bool {
        match self {
            Self::Registers(write, _) => words == write.words(),
            Self::Found { model, words: found } => {
                // Timers run: limit and switch, the first and the last, decide.
                let ends = |words: &[u16]| words.first().copied().zip(words.last().copied());
                let shown = self.shown(words);
                let found = found.get(..shown.len()).unwrap_or_default();
                scale(*model, words).is_some() && ends(shown) == ends(found)
            }
            Self::Limit { model, .. } => {
                let Some(block) = LimitBlock::of(model.id) else { return false };
                let word = |offset: u16| words.get(usize::from(offset)).copied();
                word(block.switch) == Some(1)
                    && self.count(words).is_ok_and(|count| word(block.limit) == Some(count))
            }
        }
    }

    /// The limit that the registers show, in millionths of the rated power, as far as it can be told
    /// from what this limit in millionths writes into them; all of it if they show none.
    ///
    /// # Errors
    /// When the registers are not what they should be.
    pub fn part_shown(&self, ppm: u32, words: &[u16]) -> Result<u32, SetpointError> {
        let (own, shown) = match self {
            Self::Registers(write, _) => (write.words(), words),
            Self::Limit { model, .. } | Self::Found { model, .. } => {
                let block = LimitBlock::of(model.id).ok_or(SetpointError::NotVerified)?;
                let factor = scale(*model, words).ok_or(SetpointError::NotVerified)?;
                let word = |offset: u16| words.get(usize::from(offset)).copied();
                let count = word(block.limit).filter(|_| word(block.switch) == Some(1));
                return Ok(count.map_or(FULL_PPM, |count| percent_ppm(count, factor)));
            }
        };
        let ([own], [shown]) = (own, shown) else { return Ok(FULL_PPM) };
        let part = u64::from(ppm) * u64::from(*shown) / u64::from((*own).max(1));
        Ok(u32::try_from(part).unwrap_or(FULL_PPM).min(FULL_PPM))
    }

    /// How the registers are written back that [`Setpoint::shown`] returned.
    #[must_use]
    pub fn found(&self, shown: &[u16]) -> Option<Self> {
        match self {
            Self::Registers(write, verify) => {
                Some(Self::Registers(Write::new(write.address, write.function, shown)?, *verify))
            }
            Self::Limit { model, .. } | Self::Found { model, .. } => {
                let mut words = [0; WRITE_REGISTERS_MAX];
                words.get_mut(..shown.len())?.copy_from_slice(shown);
                // A timer that the inverter does not have reads as 65,535, which is no time to
                // write.
                let timers = words.iter_mut().filter(|word| **word == u16::MAX);
                timers.for_each(|word| *word = 0);
                Some(Self::Found { model: *model, words })
            }
        }
    }

    /// The first register that is written.
    #[must_use]
    pub fn address(&self) -> Option<u16> {
        match self {
            Self::Registers(write, _) => Some(write.address),
            Self::Limit { model, .. } | Self::Found { model, .. } => {
                model.address.checked_add(*LimitBlock::of(model.id)?.offsets().start())
            }
        }
    }

    /// Seconds after which the inverter drops the limit by itself, by what [`Setpoint::shown`]
    /// returned after the write.
    #[must_use]
    pub fn reversion_s(&self, shown: &[u16]) -> Option<u16> {
        match self {
            Self::Limit { model, .. } if model.id == 123 => {
                shown.get(REVERSION).copied().filter(|s| (1..u16::MAX).contains(s))
            }
            Self::Limit { .. } | Self::Registers(..) | Self::Found { .. } => None,
        }
    }

    /// The limit in the unit of the inverter's register.
    fn count(&self, words: &[u16]) -> Result<u16, SetpointError> {
        let Self::Limit { model, tenths, is_rounded, .. } = *self else {
            return Err(SetpointError::NotVerified);
        };
        let factor = scale(model, words).ok_or(SetpointError::NotVerified)?;
        // A count is 10^factor percent.
        let shift = -1 - factor;
        let power = POWERS_OF_TEN.get(usize::from(shift.unsigned_abs())).copied().unwrap_or(1);
        let tenths = i64::from(tenths);
        if shift < 0 && tenths % power != 0 && !is_rounded {
            return Err(SetpointError::TooFine);
        }
        let count = if shift < 0 { tenths / power } else { tenths * power };
        u16::try_from(count).ok().filter(|count| *count < u16::MAX).ok_or(SetpointError::TooFine)
    }
}

/// Position of the reversion time among the five registers of a limit in model 123.
const REVERSION: usize = 2;

/// The scale factor of a model's limit, if the words are those of the model.
fn scale(model: FoundModel, words: &[u16]) -> Option<i16> {
    let block = LimitBlock::of(model.id)?;
    let header = words.get(..usize::from(HEADER_LEN))?;
    let factor = words.get(usize::from(block.scale))?.cast_signed();
    (*header == [model.id, model.length] && (-10..=10).contains(&factor)).then_some(factor)
}

/// A number of 10^`factor` percent in millionths, rounded down, at most all.
fn percent_ppm(count: u16, factor: i16) -> u32 {
    // A percent is 10^4 millionths.
    let shift = factor + 4;
    let power = POWERS_OF_TEN.get(usize::from(shift.unsigned_abs())).copied().unwrap_or(i64::MAX);
    let count = i64::from(count);
    let ppm = if shift >= 0 { count.saturating_mul(power) } else { count / power };
    u32::try_from(ppm).unwrap_or(FULL_PPM).min(FULL_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(step: Option<i64>) -> Control {
        Control {
            place: ControlPlace::Registers {
                address: 8,
                kind: Kind::U16,
                word_order: WordOrder::Big,
                function: WriteFunction::Single,
                verify: Verify::Readback,
            },
            multiplier: 1,
            exponent: 0,
            min: Some(0),
            max: Some(100),
            step,
            one_of: heapless::Vec::new(),
        }
    }

    #[test]
    fn watts_become_percent_of_the_rated_power_rounded_down() {
        let words = |watts, rated| match percent(Some(5)).limit_watts(watts, rated) {
            Ok(Setpoint::Registers(write, _)) => write.words()[0],
            other => panic!("{other:?}"),
        };
        assert_eq!(words(0, 30_000), 0);
        assert_eq!(words(2_999, 30_000), 5);
        assert_eq!(words(15_000, 30_000), 50);
        assert_eq!(words(40_000, 30_000), 100);
    }

    #[test]
    fn a_value_out_of_bounds_names_the_bound() {
        let set = |value: &str| percent(None).set(value.parse().unwrap());
        let bound = |mantissa| Scaled { mantissa, exponent: 0 };
        assert_eq!(set("101"), Err(ControlError::OutOfBounds(bound(100))));
        assert_eq!(set("-1"), Err(ControlError::OutOfBounds(bound(0))));
        assert_eq!(set("1.5"), Err(ControlError::NotAllowed));
        assert!(set("100").is_ok());
    }

    #[test]
    fn a_limit_is_written_in_the_unit_that_the_inverter_reports() {
        let model = FoundModel { id: 123, address: 40_182, length: 24 };
        let limit =
            |tenths| Setpoint::Limit { model, tenths, is_rounded: false, keeps_reversion: false };
        let mut words = [0; 24];
        (words[0], words[1]) = (123, 24);
        for (factor, tenths, count) in [(-1, 555, 555), (-2, 555, 5_550), (0, 550, 55)] {
            words[23] = i16::cast_unsigned(factor);
            let write = limit(tenths).write(&words).unwrap();
            assert_eq!((write.address, write.words()), (40_187, &[count, 0, 0, 0, 1][..]));
            let mut after = words;
            after[5] = count;
            assert!(!limit(tenths).holds(&after), "it is not switched on");
            after[9] = 1;
            assert!(limit(tenths).holds(&after));
        }
        assert_eq!(limit(555).write(&words), Err(SetpointError::TooFine));
        words[23] = 0x8000;
        assert_eq!(limit(550).write(&words), Err(SetpointError::NotVerified));
        (words[23], words[1]) = (0, 26);
        assert_eq!(limit(550).write(&words), Err(SetpointError::NotVerified));
        assert_eq!(limit(550).read().map(|read| (read.address, read.count)), Some((40_182, 24)));
    }

    #[test]
    fn a_part_is_rounded_down_to_what_the_register_holds() {
        let part = |control: &Control, ppm| {
            let PartLimit { setpoint, ppm } = control.limit_part(ppm).unwrap();
            let Setpoint::Registers(write, _) = setpoint else { panic!("{setpoint:?}") };
            (write.words()[0], ppm)
        };
        assert_eq!(part(&percent(None), 555_000), (55, 550_000));
        assert_eq!(part(&percent(Some(5)), 499_999), (45, 450_000));
        assert_eq!(part(&percent(None), 2_000_000), (100, 1_000_000));
        // What cannot be reached is as low as it can be.
        let floor = Control { min: Some(10), ..percent(Some(5)) };
        assert_eq!(part(&floor, 0), (10, 100_000));
    }

    #[test]
    fn what_was_found_is_told_apart_and_written_back() {
        let full = percent(None).limit_part(FULL_PPM).unwrap();
        assert_eq!(full.setpoint.part_shown(full.ppm, &[30]), Ok(300_000));
        assert_eq!(full.setpoint.part_shown(full.ppm, &[0xFFFF]), Ok(FULL_PPM));
        let found = full.setpoint.found(&[30]).unwrap();
        assert_eq!(found.write(&[50]).unwrap().words(), [30]);
        assert!(found.holds(&[30]) && !found.holds(&[50]));

        let model = FoundModel { id: 123, address: 40_182, length: 24 };
        let place = ControlPlace::Limit(model);
        let control = Control { place, exponent: -1, max: Some(1_000), ..percent(None) };
        let limit = control.limit_part(500_000).unwrap();
        let mut words = [0; 24];
        (words[0], words[1], words[23]) = (123, 24, i16::cast_unsigned(-1));
        words[5..10].copy_from_slice(&[800, 0, 60, 0, 0]);
        assert_eq!(limit.setpoint.part_shown(limit.ppm, &words), Ok(FULL_PPM), "it is off");
        // The inverter's own reversion time stays.
        let write = limit.setpoint.write(&words).unwrap();
        assert_eq!((write.address, write.words()), (40_187, &[500, 0, 60, 0, 1][..]));
        assert_eq!(limit.setpoint.address(), Some(40_187));
        assert_eq!(limit.setpoint.reversion_s(limit.setpoint.shown(&words)), Some(60));
        let found = limit.setpoint.found(limit.setpoint.shown(&words)).unwrap();
        words[5..10].copy_from_slice(write.words());
        assert_eq!(limit.setpoint.part_shown(limit.ppm, &words), Ok(500_000));
        assert!(limit.setpoint.holds(&words) && !found.holds(&words));
        let back = found.write(&words).unwrap();
        assert_eq!((back.address, back.words()), (40_187, &[800, 0, 60, 0, 0][..]));
        words[1] = 26;
        assert_eq!(found.write(&words), Err(SetpointError::NotVerified));
        assert!(limit.setpoint.part_shown(limit.ppm, &words).is_err());
    }
}
