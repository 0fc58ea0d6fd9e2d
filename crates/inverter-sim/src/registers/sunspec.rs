//! A SunSpec map at 40000: common, nameplate (120), settings (121), three-phase inverter (103),
//! controls (123), one module per string (160).
//!
//! Scale factors are constants of this device.

use ecowatt_modbus::ExceptionCode;

use super::RegisterRange;
use super::sunspec_common::{
    BASE, NOT_I16, NOT_U16, Writer, alarms, between, common, factor, state, switch,
};
use crate::config::Config;
use crate::physics::limit::LimitOrder;
use crate::physics::plant::{Plant, Reading};
use crate::scale::{to_i16_bits, to_u16, to_u32, words};

/// Seconds from 1970 to 2000, the epoch of model 160's time stamps.
const EPOCH_2000_S: i64 = 946_684_800;

/// Model 123 as written by masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Controls {
    conn_window_s: u16,
    conn_revert_s: u16,
    /// Tenths of a per cent.
    limit: u16,
    window_s: u16,
    revert_s: u16,
    ramp_s: u16,
    is_enabled: bool,
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            conn_window_s: 0,
            conn_revert_s: 0,
            limit: LIMIT_MAX,
            window_s: 0,
            revert_s: 0,
            ramp_s: 0,
            is_enabled: false,
        }
    }
}

/// 100 % with a scale factor of -1.
const LIMIT_MAX: u16 = 1_000;

/// Offsets in model 123, counted from its identifier.
mod point {
    pub(super) const CONN_WINDOW: u16 = 2;
    pub(super) const CONN_REVERT: u16 = 3;
    pub(super) const CONN: u16 = 4;
    pub(super) const LIMIT: u16 = 5;
    pub(super) const WINDOW: u16 = 6;
    pub(super) const REVERT: u16 = 7;
    pub(super) const RAMP: u16 = 8;
    pub(super) const ENABLE: u16 = 9;
}

/// The changes by a write to model 123.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    controls: Controls,
    /// `Some(true)` connects.
    connection: Option<bool>,
    /// Whether the limit, its timers or its switch were written.
    touches_limit: bool,
}

impl Controls {
    /// The whole map.
    pub(crate) fn image(&self, plant: &Plant) -> RegisterRange {
        let (config, reading) = (plant.config(), plant.reading());
        let mut map = Writer::new();
        map.model(1, |m| common(m, config));
        map.model(120, |m| nameplate(m, config));
        map.model(121, |m| settings(m, config));
        map.model(103, |m| inverter(m, reading));
        map.model(123, |m| self.show(m, plant));
        map.model(160, |m| strings(m, reading));
        map.finish()
    }

    fn show(&self, m: &mut Writer, plant: &Plant) {
        m.put([self.conn_window_s, self.conn_revert_s, u16::from(plant.is_connected())]);
        m.put([self.limit, self.window_s, self.revert_s, self.ramp_s]);
        m.put([u16::from(self.is_in_force(plant))]);
        // Power factor and reactive power are not adjustable here.
        m.put([NOT_I16, NOT_U16, NOT_U16, NOT_U16, 0]);
        m.put([NOT_I16, NOT_I16, NOT_I16, NOT_U16, NOT_U16, NOT_U16, NOT_U16, 0]);
        m.put([factor(-1), factor(-2), NOT_I16]);
    }

    /// The limit is switched off when its lease runs out.
    fn is_in_force(&self, plant: &Plant) -> bool {
        self.is_enabled && (self.revert_s == 0 || plant.limit().revert_at().is_some())
    }

    /// Checks a write.
    pub(crate) fn written(
        &self,
        plant: &Plant,
        address: u16,
        values: &[u16],
    ) -> Result<Change, ExceptionCode> {
        let enabled = self.is_in_force(plant);
        Change::written(Self { is_enabled: enabled, ..*self }, address, values)
    }

    /// Carries out a checked write.
    pub(crate) fn apply(&mut self, change: Change, plant: &mut Plant) {
        let was_enabled = self.is_in_force(plant);
        *self = change.controls;
        match change.connection {
            Some(true) => plant.connect(),
            Some(false) => plant.disconnect(Some(u32::from(self.conn_revert_s))),
            None => {}
        }
        if change.touches_limit && (self.is_enabled || was_enabled) {
            let target_pct = if self.is_enabled { f64::from(self.limit) / 10.0 } else { 100.0 };
            plant.order_limit(LimitOrder {
                target_pct,
                revert_after_s: self.is_enabled.then(|| u32::from(self.revert_s)),
                ramp_s: Some(u32::from(self.ramp_s)),
            });
        }
    }
}

/// Checks whether a write to model 123 would be accepted, regardless of the plant's state.
///
/// # Errors
/// Illegal data address for a read-only register, illegal data value for a value out of range.
pub(crate) fn check(address: u16, values: &[u16]) -> Result<(), ExceptionCode> {
    Change::written(Controls::default(), address, values).map(|_| ())
}

impl Change {
    fn written(controls: Controls, address: u16, values: &[u16]) -> Result<Self, ExceptionCode> {
        let mut change = Self { controls, connection: None, touches_limit: false };
        for (register, value) in (address..=u16::MAX).zip(values) {
            change.point(register.wrapping_sub(BASE + CONTROLS_AT), *value)?;
        }
        Ok(change)
    }

    fn point(&mut self, offset: u16, value: u16) -> Result<(), ExceptionCode> {
        let controls = &mut self.controls;
        match offset {
            point::CONN_WINDOW => controls.conn_window_s = value,
            point::CONN_REVERT => controls.conn_revert_s = value,
            point::CONN => self.connection = Some(switch(value)?),
            point::LIMIT if value > LIMIT_MAX => return Err(ExceptionCode::IllegalDataValue),
            point::LIMIT => controls.limit = value,
            point::WINDOW => controls.window_s = value,
            point::REVERT => controls.revert_s = value,
            point::RAMP => controls.ramp_s = value,
            point::ENABLE => controls.is_enabled = switch(value)?,
            _ => return Err(ExceptionCode::IllegalDataAddress),
        }
        self.touches_limit |= (point::LIMIT..=point::ENABLE).contains(&offset);
        Ok(())
    }
}

/// Offset of model 123 from [`BASE`]: the marker and the models before it, each with its two header
/// words.
const CONTROLS_AT: u16 = 2 + (2 + 66) + (2 + 26) + (2 + 30) + (2 + 50);

fn nameplate(m: &mut Writer, config: &Config) {
    let rated = f64::from(config.rated_w);
    let watts = to_u16(rated, 1.0);
    // 4 means PV.
    m.put([4, watts, factor(0), watts, factor(0)]);
    m.put([NOT_I16; 4]);
    m.put([NOT_I16]);
    m.put([to_u16(rated / 230.0, 10.0), factor(-1)]);
    m.put([10_000, NOT_I16, NOT_I16, 10_000, factor(-4)]);
    // Storage.
    m.put([NOT_U16, NOT_I16, NOT_U16, NOT_I16, NOT_U16, NOT_I16, NOT_U16, NOT_I16, NOT_I16]);
}

fn settings(m: &mut Writer, config: &Config) {
    let watts = to_u16(f64::from(config.rated_w), 1.0);
    m.put([watts, to_u16(config.grid.volts, 10.0), 0, NOT_U16, NOT_U16, watts]);
    m.put([NOT_I16; 4]);
    m.put([to_u16(config.limit.ramp_pct_s, 10.0)]);
    m.put([NOT_I16; 4]);
    m.put([NOT_U16, NOT_U16, NOT_U16, to_u16(config.grid.hertz, 100.0), NOT_U16]);
    // Scale factors: WMax, VRef, VRefOfs, VMinMax, VAMax, VArMax, WGra, PFMin, MaxRmpRte, ECPNomHz.
    m.put([factor(0), factor(-1), factor(-1), NOT_I16, factor(0), NOT_I16, factor(-1)]);
    m.put([NOT_I16, NOT_I16, factor(-2)]);
}

fn inverter(m: &mut Writer, reading: &Reading) {
    let watts = f64::from(reading.ac_w);
    let volts = reading.ac_v;
    let amps = volts.map(|v| if v > 0.0 { watts.max(0.0) / 3.0 / v } else { 0.0 });
    m.put([to_u16(amps.iter().sum(), 100.0)]);
    m.put(amps.map(|a| to_u16(a, 100.0)));
    m.put([factor(-2)]);
    m.put([(0, 1), (1, 2), (2, 0)].map(|(a, b)| to_u16(between(volts[a], volts[b]), 10.0)));
    m.put(volts.map(|v| to_u16(v, 10.0)));
    m.put([factor(-1)]);
    m.put([to_i16_bits(watts, 1.0), factor(0)]);
    m.put([to_u16(reading.hz, 100.0), factor(-2)]);
    m.put([to_i16_bits(watts.abs(), 1.0), factor(0)]);
    m.put([0, factor(0)]);
    m.put([to_i16_bits(100.0, 100.0), factor(-2)]);
    m.put(words(reading.lifetime_wh));
    m.put([factor(0)]);
    // DC current and voltage are not defined for several trackers: model 160 has them.
    m.put([NOT_U16, NOT_I16, NOT_U16, NOT_I16]);
    m.put([to_i16_bits(reading.dc_w, 1.0), factor(0)]);
    m.put([to_i16_bits(reading.internal_c, 10.0), NOT_I16, NOT_I16, NOT_I16, factor(-1)]);
    m.put([state(reading.state), NOT_U16]);
    m.put(words(alarms(reading)));
    m.put([0; 2]);
    m.put([NOT_U16; 8]);
}

fn strings(m: &mut Writer, reading: &Reading) {
    let count = u16::try_from(reading.strings.len()).unwrap_or(0);
    m.put([factor(-2), factor(-1), factor(0), factor(0)]);
    m.put([0, 0, count, NOT_U16]);
    let seconds = reading.own_clock_ms.div_euclid(1_000).saturating_sub(EPOCH_2000_S);
    let seconds = u64::try_from(seconds).unwrap_or(0);
    for (number, string) in (1_u16..).zip(&reading.strings) {
        m.put([number]);
        m.text(&format!("String {number}"), 8);
        m.put([to_u16(string.amps, 100.0), to_u16(string.volts, 10.0)]);
        m.put([to_u16(string.volts * string.amps, 1.0)]);
        m.put(words(u64::from(to_u32(string.energy_wh))));
        m.put(words(seconds));
        m.put([to_i16_bits(string.cell_c, 1.0), state(reading.state), 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::UnixMs;

    use super::super::sunspec_common::fixture::*;
    use super::*;
    use crate::physics::plant::OperatingState;

    #[test]
    fn the_chain_of_models_leads_to_the_end() {
        let image = Controls::default().image(&plant());
        assert_eq!(image.slice(BASE, 2).unwrap(), [0x5375, 0x6E53]);
        let seen: Vec<_> = chain(&image).iter().map(|(id, _, length)| (*id, *length)).collect();
        // Lengths as in the model files; 160 has 8 words plus 20 for each string.
        assert_eq!(seen, [(1, 66), (120, 26), (121, 30), (103, 50), (123, 24), (160, 48)]);
        assert_eq!(at(&image, CONTROLS_AT), 123);
    }

    #[test]
    fn every_point_is_where_the_published_models_define_it() {
        use ecowatt_profile::sunspec::Model;

        let plant = plant();
        let image = Controls::default().image(&plant);
        for (id, offset, length) in chain(&image) {
            let model = Model::find(id).expect("the tables know what is shown");
            let modules = model.module_count(length);
            let per_module = model.module.map_or(0, |module| module.length);
            assert_eq!(length, model.length + modules * per_module, "{id}");
            for point in model.points {
                let Some(scale) = point.scale_offset else { continue };
                let scale = at(&image, offset + scale).cast_signed();
                let value = at(&image, offset + point.offset);
                let is_shown = (-4..=0).contains(&scale);
                let is_absent = matches!(value, NOT_U16 | NOT_I16);
                assert!(is_shown || is_absent, "{id}:{} {value:#06x} {scale}", point.name);
            }
        }

        // Values that only the right offset yields.
        let start = |id: u16| chain(&image).iter().find(|model| model.0 == id).unwrap().1;
        let point = |id, name| {
            let point = Model::find(id).unwrap().point(name).unwrap();
            let value = f64::from(at(&image, start(id) + point.offset).cast_signed());
            let scale =
                point.scale_offset.map_or(0, |at_| at(&image, start(id) + at_).cast_signed());
            value * 10_f64.powi(i32::from(scale))
        };
        let reading = plant.reading();
        for (id, name, expected) in [
            (120, "WRtg", 5_000.0),
            (121, "WMax", 5_000.0),
            (121, "VRef", 230.0),
            (103, "W", f64::from(reading.ac_w)),
            (103, "PhVphA", reading.ac_v[0]),
            (103, "Hz", reading.hz),
            (103, "TmpCab", reading.internal_c),
            (103, "St", 4.0),
            (123, "WMaxLimPct", 100.0),
            (123, "Conn", 1.0),
            (160, "N", 2.0),
        ] {
            let shown = point(id, name);
            assert!((shown - expected).abs() < 0.51, "{id}:{name} {shown} for {expected}");
        }
        let mppt = Model::find(160).unwrap();
        for (index, string) in (0..).zip(&reading.strings) {
            let module = start(160) + mppt.module_offset(index).unwrap();
            let volts = at(&image, module + mppt.module_point("DCV").unwrap().offset);
            assert_eq!(volts, to_u16(string.volts, 10.0));
        }
    }

    #[test]
    fn values_times_scale_factors_are_the_reading() {
        let plant = plant();
        let (image, reading) = (Controls::default().image(&plant), plant.reading());
        let model = 2 + 68 + 28 + 32;
        let signed = |offset: u16| at(&image, offset).cast_signed();
        let scaled = |value: u16, factor: u16| {
            f64::from(at(&image, model + value)) * 10_f64.powi(i32::from(signed(model + factor)))
        };
        assert!((scaled(14, 15) - f64::from(reading.ac_w)).abs() < 0.5);
        assert!((scaled(10, 13) - reading.ac_v[0]).abs() < 0.051);
        assert!((scaled(16, 17) - reading.hz).abs() < 0.0051);
        assert!((scaled(33, 37) - reading.internal_c).abs() < 0.051);
        let energy = [at(&image, model + 24), at(&image, model + 25)];
        assert_eq!(energy, words(reading.lifetime_wh));
        assert_eq!(at(&image, model + 38), 4);
        let amps = scaled(2, 6) * scaled(10, 13);
        assert!((amps / f64::from(reading.ac_w) - 1.0).abs() < 0.02, "{amps}");
    }

    #[test]
    fn a_limit_takes_effect_when_enabled_and_expires_with_its_lease() {
        let mut plant = plant();
        let mut controls = Controls::default();
        let base = BASE + CONTROLS_AT;
        // 30 %, no window, 20 s, no ramp.
        let change = controls.written(&plant, base + 5, &[300, 0, 20, 0]).unwrap();
        controls.apply(change, &mut plant);
        assert_eq!(plant.limit().target_pct(), 100.0);
        let change = controls.written(&plant, base + 9, &[1]).unwrap();
        controls.apply(change, &mut plant);
        assert_eq!(plant.limit().target_pct(), 30.0);
        plant.advance(UnixMs(NOON + 10_000));
        assert!((1_480..=1_520).contains(&plant.reading().ac_w), "{}", plant.reading().ac_w);
        assert_eq!(at(&controls.image(&plant), CONTROLS_AT + 9), 1);
        plant.advance(UnixMs(NOON + 40_000));
        assert_eq!(plant.limit().target_pct(), 100.0);
        assert_eq!(at(&controls.image(&plant), CONTROLS_AT + 9), 0);
    }

    #[test]
    fn disabling_restores_full_power() {
        let mut plant = plant();
        let mut controls = Controls::default();
        let base = BASE + CONTROLS_AT;
        for (offset, value) in [(5, 100), (9, 1), (9, 0)] {
            let change = controls.written(&plant, base + offset, &[value]).unwrap();
            controls.apply(change, &mut plant);
        }
        assert_eq!(plant.limit().target_pct(), 100.0);
    }

    #[test]
    fn a_disconnected_inverter_delivers_nothing_until_its_timer_ends() {
        let mut plant = plant();
        let mut controls = Controls::default();
        let change = controls.written(&plant, BASE + CONTROLS_AT + 3, &[30, 0]).unwrap();
        controls.apply(change, &mut plant);
        plant.advance(UnixMs(NOON + 5_000));
        assert_eq!((plant.reading().state, plant.reading().ac_w), (OperatingState::Standby, 0));
        plant.advance(UnixMs(NOON + 120_000));
        assert!(plant.reading().ac_w > 1_000);
    }

    #[test]
    fn invalid_writes_are_refused_as_a_whole() {
        let plant = plant();
        let controls = Controls::default();
        let base = BASE + CONTROLS_AT;
        let refused =
            |address, values: &[u16]| controls.written(&plant, address, values).unwrap_err();
        assert_eq!(refused(base + 5, &[1_001]), ExceptionCode::IllegalDataValue);
        assert_eq!(refused(base + 9, &[2]), ExceptionCode::IllegalDataValue);
        assert_eq!(refused(base + 10, &[0]), ExceptionCode::IllegalDataAddress);
        assert_eq!(refused(base + 9, &[1, 0]), ExceptionCode::IllegalDataAddress);
        assert_eq!(refused(BASE, &[0]), ExceptionCode::IllegalDataAddress);
        assert_eq!(refused(0, &[0]), ExceptionCode::IllegalDataAddress);
    }
}
