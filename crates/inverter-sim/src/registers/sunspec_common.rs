//! What SunSpec maps have in common: the marker, the chain of models, "not implemented" values,
//! scale factors, and the model that names the device.
//!
//! Lengths, order of points and "not implemented" values are those of the SunSpec model definitions
//! (github.com/sunspec/models, `json/model_*.json`) and of the SunSpec Device Information Model
//! Specification.

use ecowatt_modbus::ExceptionCode;

use super::RegisterRange;
use crate::config::Config;
use crate::physics::grid::TripCause;
use crate::physics::plant::{OperatingState, Reading};

/// Address of the marker.
pub(crate) const BASE: u16 = 40_000;

/// For an unsigned point, an enumeration and each word of a longer one.
pub(super) const NOT_U16: u16 = 0xFFFF;
/// For a signed point, a scale factor and a pad.
pub(super) const NOT_I16: u16 = 0x8000;

/// Derating below this fraction of rated power is an alarm.
const HOT_BELOW: f64 = 0.5;

/// Writes a map from the marker on.
pub(super) struct Writer {
    words: Vec<u16>,
}

impl Writer {
    /// A map that has its marker alone.
    pub(super) fn new() -> Self {
        Self { words: vec![0x5375, 0x6E53] }
    }

    /// Appends a model; its length is that of what `fill` writes.
    pub(super) fn model(&mut self, id: u16, fill: impl FnOnce(&mut Self)) {
        let at = self.words.len();
        self.words.extend([id, 0]);
        fill(self);
        self.words[at + 1] = u16::try_from(self.words.len() - at - 2).unwrap_or(0);
    }

    pub(super) fn put<const N: usize>(&mut self, words: [u16; N]) {
        self.words.extend(words);
    }

    /// ASCII, two characters per register, padded with NUL, truncated to `registers`.
    pub(super) fn text(&mut self, text: &str, registers: usize) {
        let bytes = text.as_bytes();
        let byte = |index: usize| bytes.get(index).copied().unwrap_or(0);
        self.words
            .extend((0..registers).map(|r| u16::from_be_bytes([byte(2 * r), byte(2 * r + 1)])));
    }

    /// Appends the end model.
    pub(super) fn finish(mut self) -> RegisterRange {
        self.words.extend([NOT_U16, 0]);
        RegisterRange { first: BASE, words: self.words }
    }
}

/// Model 1.
pub(super) fn common(m: &mut Writer, config: &Config) {
    m.text("EcoWatt", 16);
    m.text(&format!("Simulator {}", config.rated_w), 16);
    m.text("", 8);
    m.text(env!("CARGO_PKG_VERSION"), 8);
    m.text(&config.serial, 16);
    m.put([u16::from(config.unit), NOT_I16]);
}

/// Model 103 `Evt1`; model 701 `Alrm` has the same bits.
pub(super) fn alarms(reading: &Reading) -> u64 {
    let grid = reading.tripped.map_or(0, |trip| match trip {
        TripCause::GridLoss => 1 << 4,
        TripCause::OverFrequency => 1 << 8,
        TripCause::UnderFrequency => 1 << 9,
        TripCause::OverVoltage => 1 << 10,
        TripCause::UnderVoltage => 1 << 11,
    });
    grid | if reading.derated_to < HOT_BELOW { 1 << 7 } else { 0 }
}

/// Model 103 `St` and model 160 `DCSt`. Model 701 `InvSt` is one less: it counts from zero.
pub(super) fn state(state: OperatingState) -> u16 {
    match state {
        OperatingState::Sleeping => 2,
        OperatingState::Starting => 3,
        OperatingState::Mppt => 4,
        OperatingState::Throttled => 5,
        OperatingState::Fault => 7,
        OperatingState::Standby => 8,
    }
}

/// The voltage between two phases 120 degrees apart.
pub(super) fn between(a: f64, b: f64) -> f64 {
    (a * a + b * b + a * b).sqrt()
}

/// A scale factor: a power of ten.
pub(super) fn factor(power: i16) -> u16 {
    power.cast_unsigned()
}

/// What a write to a point that is on (1) or off (0) asks for.
pub(super) fn switch(value: u16) -> Result<bool, ExceptionCode> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ExceptionCode::IllegalDataValue),
    }
}

/// What the tests of the maps have in common.
#[cfg(test)]
pub(super) mod fixture {
    use ecowatt_model::UnixMs;

    use super::{BASE, RegisterRange};
    use crate::config::Config;
    use crate::physics::plant::{Plant, Weather};

    /// 2026-06-21T11:00Z.
    pub(crate) const NOON: i64 = 1_782_039_600_000;

    /// A plant under a clear sky, after two hours.
    pub(crate) fn plant() -> Plant {
        let mut config = Config::default();
        config.site.cloudiness = Some(0.0);
        config.grid.outages_per_day = 0.0;
        config.limit.ramp_pct_s = 100.0;
        let mut plant = Plant::new(config, Weather::Modelled, UnixMs(NOON - 7_200_000));
        plant.advance(UnixMs(NOON));
        plant
    }

    pub(crate) fn at(image: &RegisterRange, offset: u16) -> u16 {
        image.slice(BASE + offset, 1).unwrap()[0]
    }

    /// The models with their offsets and lengths, up to the end of the map.
    pub(crate) fn chain(image: &RegisterRange) -> Vec<(u16, u16, u16)> {
        let (mut offset, mut models) = (2, Vec::new());
        while at(image, offset) != 0xFFFF {
            models.push((at(image, offset), offset, at(image, offset + 1)));
            offset += 2 + at(image, offset + 1);
        }
        assert_eq!(usize::from(offset) + 2, image.words.len());
        models
    }
}
