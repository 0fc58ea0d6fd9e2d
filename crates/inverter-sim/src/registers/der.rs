//! A SunSpec map of the newer models alone, as inverters certified to IEEE 1547-2018 have it:
//! common, AC measurement (701), capacity (702), enter service (703), AC controls (704), volt-var
//! (705), frequency droop (711), and DC measurement (714) with one port per string.
//!
//! Model 704 limits the power. Models 703 and 711 show what the physics of the grid does and cannot
//! be written; volt-var is off, because the physics has no reactive power. Scale factors are
//! constants of this device.

use ecowatt_modbus::ExceptionCode;

use super::RegisterRange;
use super::sunspec_common::{
    BASE, NOT_I16, NOT_U16, Writer, alarms, between, common, factor, state, switch,
};
use crate::config::Config;
use crate::physics::grid;
use crate::physics::limit::{LimitOrder, UNLIMITED_PCT};
use crate::physics::plant::{OperatingState, Plant, Reading};
use crate::scale::{to_i16_bits, to_u16, to_u32, to_u64, words};

/// A 64-bit point that is not implemented.
const NOT_U64: [u16; 4] = [NOT_U16; 4];
/// A 32-bit point that is not implemented.
const NOT_U32: [u16; 2] = [NOT_U16; 2];
/// A signed 32-bit point that is not implemented.
const NOT_I32: [u16; 2] = [NOT_I16, 0];

/// 100 % with a scale factor of -1.
const LIMIT_MAX: u16 = 1_000;

/// Offsets in model 704, counted from its identifier.
mod point {
    pub(super) const ENABLE: u16 = 14;
    pub(super) const LIMIT: u16 = 15;
    pub(super) const REVERSION: u16 = 16;
    pub(super) const REVERSION_ENABLE: u16 = 17;
    pub(super) const REVERT_HIGH: u16 = 18;
    pub(super) const REVERT_LOW: u16 = 19;
}

/// Offset of model 704 from [`BASE`]: the marker and the models before it, each with its two header
/// words.
const CONTROLS_AT: u16 = 2 + (2 + 66) + (2 + 153) + (2 + 50) + (2 + 17);

/// Model 704 as written by masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Controls {
    /// Tenths of a per cent.
    limit: u16,
    is_enabled: bool,
    /// Upper and lower word of the seconds after which the limit ends; 0 for never.
    revert_s: [u16; 2],
}

impl Default for Controls {
    fn default() -> Self {
        Self { limit: LIMIT_MAX, is_enabled: false, revert_s: [0; 2] }
    }
}

/// The points after an accepted write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change(Controls);

impl Controls {
    /// The whole map.
    pub(crate) fn image(&self, plant: &Plant) -> RegisterRange {
        let (config, reading) = (plant.config(), plant.reading());
        let mut map = Writer::new();
        map.model(1, |m| common(m, config));
        map.model(701, |m| measurement(m, reading));
        map.model(702, |m| capacity(m, config));
        map.model(703, |m| enter_service(m, config));
        map.model(704, |m| self.show(m, plant));
        map.model(705, volt_var);
        map.model(711, |m| frequency_droop(m, config));
        map.model(714, |m| ports(m, reading));
        map.finish()
    }

    fn show(&self, m: &mut Writer, plant: &Plant) {
        // Power factors cannot be set.
        for _ in 0..2 {
            m.put([0, 0]);
            m.put(NOT_U32);
            m.put(NOT_U32);
        }
        m.put([u16::from(self.is_in_force(plant)), self.limit]);
        // After the reversion time the limit is lifted.
        m.put([LIMIT_MAX, 0]);
        m.put(self.revert_s);
        m.put(words(self.left_s(plant)));
        // There is no set point of active or reactive power.
        m.put([0, NOT_U16]);
        m.put(NOT_I32);
        m.put(NOT_I32);
        m.put([NOT_I16, NOT_I16, 0]);
        m.put(NOT_U32);
        m.put(NOT_U32);
        m.put([0, NOT_U16, NOT_U16]);
        m.put(NOT_I32);
        m.put(NOT_I32);
        m.put([NOT_I16, NOT_I16, 0]);
        m.put(NOT_U32);
        m.put(NOT_U32);
        m.put([to_u16(plant.config().limit.ramp_pct_s, 1.0), NOT_U16, NOT_U16, 1]);
        m.put([NOT_I16, factor(-1), NOT_I16, NOT_I16, NOT_I16, NOT_I16]);
        // Power factor and excitation, to inject and to absorb, each with its reversion.
        m.put([NOT_U16; 8]);
    }

    fn revert_s(&self) -> u32 {
        u32::from(self.revert_s[0]) << 16 | u32::from(self.revert_s[1])
    }

    /// Seconds until the limit ends.
    fn left_s(&self, plant: &Plant) -> u64 {
        let ends_at = plant.limit().revert_at().filter(|_| self.is_enabled);
        ends_at.map_or(0, |at| at.since(plant.reading().at).as_secs())
    }

    /// The limit is switched off when its time runs out.
    fn is_in_force(&self, plant: &Plant) -> bool {
        self.is_enabled && (self.revert_s() == 0 || plant.limit().revert_at().is_some())
    }

    /// Checks a write.
    pub(crate) fn written(
        &self,
        plant: &Plant,
        address: u16,
        values: &[u16],
    ) -> Result<Change, ExceptionCode> {
        let is_enabled = self.is_in_force(plant);
        Self { is_enabled, ..*self }.with(address, values)
    }

    fn with(mut self, address: u16, values: &[u16]) -> Result<Change, ExceptionCode> {
        for (register, value) in (address..=u16::MAX).zip(values) {
            self.set(register.wrapping_sub(BASE + CONTROLS_AT), *value)?;
        }
        Ok(Change(self))
    }

    fn set(&mut self, offset: u16, value: u16) -> Result<(), ExceptionCode> {
        match offset {
            point::ENABLE => self.is_enabled = switch(value)?,
            point::LIMIT if value <= LIMIT_MAX => self.limit = value,
            // A master may write the block as a whole, with the reversion that there is.
            point::REVERSION if value == LIMIT_MAX => {}
            point::REVERSION_ENABLE if value == 0 => {}
            point::LIMIT | point::REVERSION | point::REVERSION_ENABLE => {
                return Err(ExceptionCode::IllegalDataValue);
            }
            point::REVERT_HIGH => self.revert_s[0] = value,
            point::REVERT_LOW => self.revert_s[1] = value,
            _ => return Err(ExceptionCode::IllegalDataAddress),
        }
        Ok(())
    }

    /// Carries out a checked write.
    pub(crate) fn apply(&mut self, Change(controls): Change, plant: &mut Plant) {
        let was_enabled = self.is_in_force(plant);
        *self = controls;
        if self.is_enabled || was_enabled {
            let limit_pct = f64::from(self.limit) / 10.0;
            plant.order_limit(LimitOrder {
                target_pct: if self.is_enabled { limit_pct } else { UNLIMITED_PCT },
                revert_after_s: self.is_enabled.then(|| self.revert_s()),
                ramp_s: None,
            });
        }
    }
}

/// Checks whether a write to model 704 would be accepted, regardless of the plant's state.
///
/// # Errors
/// Illegal data address for a read-only register, illegal data value for a value out of range.
pub(crate) fn check(address: u16, values: &[u16]) -> Result<(), ExceptionCode> {
    Controls::default().with(address, values).map(|_| ())
}

fn measurement(m: &mut Writer, reading: &Reading) {
    let (watts, volts) = (f64::from(reading.ac_w), reading.ac_v);
    let per_phase = watts / 3.0;
    let amps = volts.map(|v| if v > 0.0 { per_phase / v } else { 0.0 });
    let line = [(0, 1), (1, 2), (2, 0)].map(|(a, b)| between(volts[a], volts[b]));
    let mean = |of: [f64; 3]| of.iter().sum::<f64>() / 3.0;
    let is_on = feeds_in(reading.state) || reading.state == OperatingState::Starting;
    // Three phases.
    m.put([3, u16::from(is_on), state(reading.state) - 1, u16::from(feeds_in(reading.state))]);
    m.put(words(alarms(reading)));
    // Grid following.
    m.put(words(1));
    m.put([to_i16_bits(watts, 1.0), to_i16_bits(watts.abs(), 1.0), 0, to_i16_bits(1.0, 100.0)]);
    m.put([to_i16_bits(amps.iter().sum(), 100.0)]);
    m.put([to_u16(mean(line), 10.0), to_u16(mean(volts), 10.0)]);
    m.put(words(u64::from(to_u32(reading.hz * 1_000.0))));
    m.put(long(reading.lifetime_wh));
    // Nothing counts what is drawn at night, nor reactive energy.
    for _ in 0..3 {
        m.put(NOT_U64);
    }
    m.put([to_i16_bits(reading.air_c, 10.0), to_i16_bits(reading.internal_c, 10.0)]);
    m.put([NOT_I16; 4]);
    for phase in 0..3 {
        m.put([to_i16_bits(per_phase, 1.0), to_i16_bits(per_phase.abs(), 1.0), 0]);
        m.put([to_i16_bits(1.0, 100.0), to_i16_bits(amps[phase], 100.0)]);
        m.put([to_u16(line[phase], 10.0), to_u16(volts[phase], 10.0)]);
        for _ in 0..4 {
            m.put(NOT_U64);
        }
    }
    // Why it delivers less than it could: bit 0 for a limit, bit 14 for heat.
    let is_limited = reading.limit_pct < UNLIMITED_PCT;
    let sources = u64::from(is_limited) | u64::from(reading.derated_to < 1.0) << 14;
    m.put([to_u16(reading.limit_pct.min(100.0 * reading.derated_to), 1.0)]);
    m.put(words(sources));
    // A, V, Hz, W, PF, VA, Var, TotWh, TotVarh, Tmp.
    m.put([factor(-2), factor(-1), factor(-3), factor(0), factor(-2), factor(0), factor(0)]);
    m.put([factor(0), NOT_I16, factor(-1)]);
    m.text("", 32);
}

fn capacity(m: &mut Writer, config: &Config) {
    let rated = f64::from(config.rated_w);
    let (watts, volts) = (to_u16(rated, 1.0), config.grid.volts);
    let (nominal, amps) = (to_u16(volts, 10.0), to_u16(rated / volts, 100.0));
    let allowed = [to_u16(grid::VOLTS_HIGH, 10.0), to_u16(grid::VOLTS_LOW, 10.0)];
    m.put([watts, NOT_U16, NOT_U16, NOT_U16, NOT_U16, watts, 0, 0]);
    // Nothing is charged.
    m.put([NOT_U16; 4]);
    m.put([nominal]);
    m.put(allowed);
    m.put([amps, NOT_U16, NOT_U16, NOT_U16]);
    // Categories A and I; it follows limits and frequency.
    m.put([0, 0]);
    m.put(words(1 | 1 << 5));
    m.put([0]);
    // The settings are the ratings.
    m.put([watts, NOT_U16, NOT_U16, NOT_U16, NOT_U16, watts, 0, 0]);
    m.put([NOT_U16; 4]);
    m.put([nominal]);
    m.put(allowed);
    m.put([amps, NOT_U16, NOT_U16, 0]);
    // W, PF, VA, Var, V, A, S.
    m.put([factor(0), NOT_I16, factor(0), factor(0), factor(-1), factor(-2), NOT_I16]);
}

fn enter_service(m: &mut Writer, config: &Config) {
    let share = |volts: f64| to_u16(100.0 * volts / config.grid.volts, 10.0);
    let hertz = |hertz: f64| words(u64::from(to_u32(hertz * 100.0)));
    m.put([1, share(grid::VOLTS_HIGH), share(grid::VOLTS_LOW)]);
    m.put(hertz(grid::HERTZ_HIGH));
    m.put(hertz(grid::HERTZ_LOW));
    m.put(words(to_u64(grid::RECONNECT_S)));
    m.put(words(0));
    m.put(words(to_u64(1.0 / grid::RECONNECT_PER_S)));
    m.put(NOT_U32);
    m.put([factor(-1), factor(-2)]);
}

/// One curve of four points, the defaults of IEEE 1547-2018 for category A (table 8), not in force.
fn volt_var(m: &mut Writer) {
    const CURVE: [(u16, i16); 4] = [(900, 250), (1_000, 0), (1_000, 0), (1_100, -250)];
    // Off; no request, and the last one completed; four points, one curve.
    m.put([0, 0, 1, 4, 1]);
    m.put(words(0));
    m.put(words(0));
    m.put([0, factor(-1), factor(-1), factor(0)]);
    // All four points count, in per cent of the largest reactive power; active power comes first.
    m.put([4, 2, 1, 1_000, NOT_U16, 0, NOT_U16]);
    m.put(words(10));
    m.put([1]);
    for (volts, var) in CURVE {
        m.put([volts, var.cast_unsigned()]);
    }
}

/// One read-only control: the power falls above a frequency, and never rises.
fn frequency_droop(m: &mut Writer, config: &Config) {
    let hertz = config.grid.hertz;
    let deadband = words(u64::from(to_u32((grid::HERTZ_DROOP - hertz).max(0.0) * 100.0)));
    // The share of the nominal frequency that takes all power away.
    let ratio = to_u16(1.0 / grid::DROOP_PER_HERTZ / hertz, 1_000.0);
    // On; control 1, and the last request completed; one control.
    m.put([1, 1, 1, 1]);
    m.put(words(0));
    m.put(words(0));
    m.put([1, factor(-2), factor(-3), factor(0)]);
    m.put(deadband);
    m.put(deadband);
    m.put([ratio, ratio]);
    m.put(words(1));
    m.put([NOT_I16, 1]);
}

fn ports(m: &mut Writer, reading: &Reading) {
    let strings = &reading.strings;
    let amps: f64 = strings.iter().map(|string| string.amps).sum();
    let energy_wh: f64 = strings.iter().map(|string| string.energy_wh).sum();
    m.put([0, 0, u16::try_from(strings.len()).unwrap_or(0)]);
    m.put([to_i16_bits(amps, 100.0), to_i16_bits(reading.dc_w, 1.0)]);
    m.put(long(to_u64(energy_wh)));
    m.put(long(0));
    // A, V, W, Wh, °C.
    m.put([factor(-2), factor(-1), factor(0), factor(0), factor(-1)]);
    for (number, string) in (1_u16..).zip(strings) {
        // Photovoltaic.
        m.put([1, number]);
        m.text(&format!("String {number}"), 8);
        m.put([to_i16_bits(string.amps, 100.0), to_u16(string.volts, 10.0)]);
        m.put([to_i16_bits(string.volts * string.amps, 1.0)]);
        m.put(long(to_u64(string.energy_wh)));
        m.put(long(0));
        m.put([to_i16_bits(string.cell_c, 10.0), u16::from(feeds_in(reading.state)), 0, 0]);
    }
}

fn feeds_in(state: OperatingState) -> bool {
    matches!(state, OperatingState::Mppt | OperatingState::Throttled)
}

/// The words of a 64-bit point.
fn long(value: u64) -> [u16; 4] {
    let [high, low] = [words(value >> 32), words(value)];
    [high[0], high[1], low[0], low[1]]
}

#[cfg(test)]
mod tests {
    use ecowatt_model::UnixMs;
    use ecowatt_profile::sunspec::Model;

    use super::super::sunspec_common::fixture::*;
    use super::*;

    #[test]
    fn the_models_have_the_lengths_of_their_definitions() {
        let image = Controls::default().image(&plant());
        let lengths: Vec<_> = chain(&image).iter().map(|(id, _, length)| (*id, *length)).collect();
        // 705: 13 and 10 words a curve and 2 a point; 711: 12 and 10 a control; 714: 18 and 25 a port.
        let expected =
            [(1, 66), (701, 153), (702, 50), (703, 17), (704, 65), (705, 31), (711, 22), (714, 68)];
        assert_eq!(lengths, expected);
        assert_eq!(at(&image, CONTROLS_AT), 704);
        for (id, _, length) in chain(&image) {
            let Some(model) = Model::find(id) else { continue };
            let per_module = model.module.map_or(0, |module| module.length);
            assert_eq!(length, model.length + model.module_count(length) * per_module, "{id}");
        }
    }

    #[test]
    fn values_times_scale_factors_are_the_reading() {
        let plant = plant();
        let (image, reading) = (Controls::default().image(&plant), plant.reading());
        let start = |id: u16| chain(&image).iter().find(|model| model.0 == id).unwrap().1;
        let shown = |id: u16, name: &str| {
            let point = Model::find(id).unwrap().point(name).unwrap();
            let words = image.slice(BASE + start(id) + point.offset, point.registers).unwrap();
            let value = words.iter().fold(0_u64, |all, word| all << 16 | u64::from(*word));
            let factor = point.scale_offset.map_or(0, |f| at(&image, start(id) + f).cast_signed());
            assert!((-4..=0).contains(&factor), "{id}:{name}");
            f64::from(to_u32(value as f64)) * 10_f64.powi(i32::from(factor))
        };
        for (id, name, expected) in [
            (701, "W", f64::from(reading.ac_w)),
            (701, "WL3", f64::from(reading.ac_w) / 3.0),
            (701, "VL1", reading.ac_v[0]),
            (701, "VL3", reading.ac_v[2]),
            (701, "Hz", reading.hz),
            (701, "TmpCab", reading.internal_c),
            (701, "InvSt", 3.0),
            (701, "TotWhInj", 12_345_678.0 + reading.day_wh as f64),
            (701, "ThrotPct", 100.0),
            (702, "WMaxRtg", 5_000.0),
            (702, "WMax", 5_000.0),
            (702, "VNomRtg", 230.0),
            (704, "WMaxLimPct", 100.0),
            (704, "WMaxLimPctEna", 0.0),
            (714, "NPrt", 2.0),
            (714, "DCW", reading.dc_w),
        ] {
            let shown = shown(id, name);
            assert!((shown - expected).abs() < 0.51, "{id}:{name} {shown} for {expected}");
        }
        let dc = Model::find(714).unwrap();
        for (index, string) in (0..).zip(&reading.strings) {
            let port = start(714) + dc.module_offset(index).unwrap();
            let volts = at(&image, port + dc.module_point("DCV").unwrap().offset);
            assert_eq!(volts, to_u16(string.volts, 10.0));
        }
    }

    #[test]
    fn a_limit_written_as_a_block_ends_with_its_time() {
        let (mut plant, mut controls) = (plant(), Controls::default());
        let block = BASE + CONTROLS_AT + point::ENABLE;
        let change = controls.written(&plant, block, &[1, 300, LIMIT_MAX, 0, 0, 20]).unwrap();
        controls.apply(change, &mut plant);
        plant.advance(UnixMs(NOON + 10_000));
        assert!((1_480..=1_520).contains(&plant.reading().ac_w), "{}", plant.reading().ac_w);
        let image = controls.image(&plant);
        assert_eq!(image.slice(block, 8).unwrap(), [1, 300, LIMIT_MAX, 0, 0, 20, 0, 10]);
        plant.advance(UnixMs(NOON + 40_000));
        assert_eq!(plant.limit().target_pct(), UNLIMITED_PCT);
        let image = controls.image(&plant);
        assert_eq!(image.slice(block, 8).unwrap(), [0, 300, LIMIT_MAX, 0, 0, 20, 0, 0]);
    }

    #[test]
    fn invalid_writes_are_refused_as_a_whole() {
        let (plant, controls) = (plant(), Controls::default());
        let base = BASE + CONTROLS_AT;
        let refused =
            |address, values: &[u16]| controls.written(&plant, address, values).unwrap_err();
        assert_eq!(refused(base + 15, &[1_001]), ExceptionCode::IllegalDataValue);
        assert_eq!(refused(base + 14, &[2]), ExceptionCode::IllegalDataValue);
        assert_eq!(refused(base + 14, &[1, 300, 500]), ExceptionCode::IllegalDataValue);
        assert_eq!(refused(base + 19, &[20, 0]), ExceptionCode::IllegalDataAddress);
        assert_eq!(refused(BASE, &[0]), ExceptionCode::IllegalDataAddress);
    }
}
