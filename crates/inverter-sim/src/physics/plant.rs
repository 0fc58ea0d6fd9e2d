//! The whole plant: daylight, strings, trackers, inverter, housing, grid and counters, advanced one
//! step at a time.
//!
//! A step's values are measured once and kept until the next step, so that two reads within one
//! second agree; the energy counters add up exactly the power that was shown.

use ecowatt_model::UnixMs;
use serde::Serialize;

use crate::config::{Config, PvString};
use crate::physics::clouds::Clouds;
use crate::physics::diode::{CS1K_300MS, Curve, Point};
use crate::physics::energy::{Energy, InverterClock};
use crate::physics::grid::{Grid, GridReading, TripCause};
use crate::physics::limit::{ExportLimit, LimitOrder};
use crate::physics::random::Random;
use crate::physics::sky::{Daylight, clear_sky};
use crate::physics::sun::Sun;
use crate::physics::{STEP_MS, STEP_S, lag};
use crate::scale;
use crate::series::Series;

/// The longest time that a plant catches up step by step (about three seconds of computing). It
/// treats a longer gap as time during which it was switched off.
pub const CATCH_UP_MAX_MS: i64 = 7 * 86_400_000;

/// How long an inverter checks the grid before it starts feeding in.
const START_S: f64 = 60.0;
/// How long there must be too little light before the inverter goes to sleep.
const SLEEP_S: f64 = 60.0;
/// Fractions of rated power that the modules must be able to deliver, to wake and to stay awake.
const WAKE_SHARE: f64 = 0.008;
const SLEEP_SHARE: f64 = 0.004;
/// Losses: fixed, linear in power and quadratic in power, as fractions of rated power.
const LOSS_FIXED: f64 = 0.0025;
const LOSS_LINEAR: f64 = 0.010;
const LOSS_SQUARE: f64 = 0.012;
const TRACKER_TAU_S: f64 = 2.5;
/// Perturb and observe: this fraction of the voltage up, back, down and back, for some seconds
/// each.
const RIPPLE: f64 = 0.006;
const RIPPLE_HOLD_S: u32 = 4;
const CELL_TAU_S: f64 = 420.0;
const HOUSING_TAU_S: f64 = 900.0;
/// Faiman's coefficients u0 and u1 at 1.5 m/s of wind, in W/(m²·K).
const CELL_COOLING: f64 = 25.0 + 6.84 * 1.5;
const CELL_ABOVE_MODULE_K: f64 = 3.0;
const HOUSING_ABOVE_AIR_K: f64 = 3.0;
/// Standard deviations of the measurements: V, A, V, A, Hz, K, and a fraction of AC power.
const NOISE_AC_V: f64 = 0.12;
const NOISE_AC_A: f64 = 0.03;
const NOISE_PV_V: f64 = 0.35;
const NOISE_PV_A: f64 = 0.02;
const NOISE_HZ: f64 = 0.004;
const NOISE_K: f64 = 0.08;
const NOISE_AC_SHARE: f64 = 0.001;

/// Source of a plant's irradiance and air temperature.
#[derive(Debug, Clone)]
pub enum Weather {
    /// The clear sky of the site, and clouds from the seed.
    Modelled,
    /// Measured global irradiance (column `ghi`, W/m²) and, if present, air temperature (`temp`, °C).
    Measured(Series<f64>),
}

/// SunSpec's operating states (model 103, `St`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatingState {
    /// Too dark.
    Sleeping,
    /// Checking the grid before feeding in.
    Starting,
    /// Feeding in all that is available.
    Mppt,
    /// Feeding in less than is available.
    Throttled,
    /// The grid is out of bounds.
    Fault,
    /// Ordered not to feed in.
    Standby,
}

/// Everything an inverter measures at one instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Time in Unix milliseconds.
    #[serde(serialize_with = "as_ms", rename = "t_ms")]
    pub at: UnixMs,
    /// The operating state.
    pub state: OperatingState,
    /// Elevation of the sun in degrees.
    pub sun_elevation_deg: f64,
    /// Global irradiance in W/m².
    pub ghi_w_m2: f64,
    /// Fraction of clear-sky irradiance.
    pub clear_sky_index: f64,
    /// Air temperature in °C.
    pub air_c: f64,
    /// Temperature inside the housing in °C.
    pub internal_c: f64,
    /// The strings.
    pub strings: Vec<StringReading>,
    /// DC power in W.
    pub dc_w: f64,
    /// AC power in whole watts, as shown in registers and added up by counters; negative when
    /// drawn.
    pub ac_w: i32,
    /// Phase to neutral voltages in V.
    pub ac_v: [f64; 3],
    /// Total AC current in A, as if on one phase.
    pub ac_a: f64,
    /// Grid frequency in Hz.
    pub hz: f64,
    /// Why it disconnected from the grid, if it did.
    pub tripped: Option<TripCause>,
    /// Fraction of rated power that derating allows.
    pub derated_to: f64,
    /// Current export limit, per cent.
    pub limit_pct: f64,
    /// Export limit ordered, per cent.
    pub limit_target_pct: f64,
    /// Lifetime counter in Wh.
    pub lifetime_wh: u64,
    /// Day counter in Wh.
    pub day_wh: u64,
    /// Lifetime counter in watt-milliseconds, exactly.
    pub lifetime_wms: u64,
    /// Reading of the inverter's own clock, in milliseconds since 1970 in its own time.
    pub own_clock_ms: i64,
}

/// One string.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StringReading {
    /// Irradiance on the plane in W/m².
    pub plane_w_m2: f64,
    /// Cell temperature in °C.
    pub cell_c: f64,
    /// V.
    pub volts: f64,
    /// A.
    pub amps: f64,
    /// Energy taken from it since the start, in Wh.
    pub energy_wh: f64,
}

/// A plant at one instant.
#[derive(Debug, Clone)]
pub struct Plant {
    config: Config,
    weather: Weather,
    forced: Option<Forced>,
    at: UnixMs,
    clouds: Clouds,
    grid: Grid,
    limit: ExportLimit,
    energy: Energy,
    clock: InverterClock,
    noise: Random,
    air_wobble: f64,
    strings: Vec<Tracker>,
    mode: Mode,
    dim_for_s: f64,
    is_connected: bool,
    reconnect_at: Option<UnixMs>,
    loss_w: f64,
    internal_c: f64,
    reading: Reading,
}

/// Irradiance set from outside for a limited time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Forced {
    ghi: f64,
    until: UnixMs,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Sleeping,
    Starting { left_s: f64 },
    Running,
}

#[derive(Debug, Clone)]
struct Tracker {
    string: PvString,
    plane: f64,
    module_c: f64,
    cell_c: f64,
    curve: Option<Curve>,
    maximum: Point,
    /// Current diode voltage of the tracker.
    diode_volts: f64,
    phase: u32,
    point: Point,
    energy_ws: f64,
}

impl Plant {
    /// A plant that starts at the last whole second not after `start`, and has been dark until
    /// then.
    #[must_use]
    pub fn new(config: Config, weather: Weather, start: UnixMs) -> Self {
        // The first step ends at the start.
        let at = UnixMs(start.0.div_euclid(STEP_MS) * STEP_MS - STEP_MS);
        let seed = config.seed;
        let clock = InverterClock::new(at, config.site.utc_offset_s, config.clock_drift_ppm);
        let air_c = air_temperature(&config, at);
        let strings =
            config.strings.iter().map(|string| Tracker::new(string.clone(), air_c)).collect();
        let mut plant = Self {
            clouds: Clouds::new(seed, 1, config.site.cloudiness),
            grid: Grid::new(config.grid.clone(), seed, 2),
            limit: ExportLimit::new(config.limit.ramp_pct_s),
            energy: Energy::new(config.lifetime_wh, clock.day(at)),
            noise: Random::new(seed, 3),
            air_wobble: 0.0,
            mode: Mode::Sleeping,
            dim_for_s: 0.0,
            is_connected: true,
            reconnect_at: None,
            loss_w: 0.0,
            internal_c: air_c + HOUSING_ABOVE_AIR_K,
            forced: None,
            clock,
            strings,
            at,
            reading: Reading::dark(at, air_c),
            config,
            weather,
        };
        plant.step();
        plant
    }

    /// Advances to the last whole second not after `to`.
    pub fn advance(&mut self, to: UnixMs) {
        let behind = to.0.saturating_sub(self.at.0);
        if behind > CATCH_UP_MAX_MS {
            self.at = UnixMs(to.0.div_euclid(STEP_MS) * STEP_MS - STEP_MS);
            self.lose_power(self.at);
        }
        while self.at.0.saturating_add(STEP_MS) <= to.0 {
            self.step();
        }
    }

    /// The measurements of the current second.
    #[must_use]
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The export limit and its history.
    #[must_use]
    pub fn limit(&self) -> &ExportLimit {
        &self.limit
    }

    /// Whether it is allowed to feed in.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Applies an export limit.
    pub fn order_limit(&mut self, order: LimitOrder) {
        self.limit.order(order, self.at);
        // Visible at once: a master reads back what it wrote.
        self.reading.limit_target_pct = self.limit.target_pct();
    }

    /// Connects the inverter on request: it checks the grid again first.
    pub fn connect(&mut self) {
        if !self.is_connected && self.mode == Mode::Running {
            self.mode = Mode::Starting { left_s: START_S };
        }
        self.is_connected = true;
        self.reconnect_at = None;
    }

    /// Disconnects the inverter on request, for some seconds or until it is connected again.
    pub fn disconnect(&mut self, for_s: Option<u32>) {
        self.is_connected = false;
        self.reconnect_at = for_s
            .filter(|s| *s > 0)
            .map(|s| UnixMs(self.at.0.saturating_add(i64::from(s) * 1_000)));
    }

    /// Sets global irradiance (W/m²) until `until`, regardless of the weather.
    pub fn force_irradiance(&mut self, ghi: f64, until: UnixMs) {
        self.forced = Some(Forced { ghi: ghi.clamp(0.0, 1_500.0), until });
    }

    /// Returns to the weather's irradiance.
    pub fn release_irradiance(&mut self) {
        self.forced = None;
    }

    /// Cuts the grid for some seconds.
    pub fn cut_grid(&mut self, seconds: f64) {
        self.grid.cut(seconds);
    }

    /// Simulates a loss of power: the clock starts at 2000, the day counter, limit and tracker
    /// start over; the lifetime counter is kept.
    pub fn lose_power(&mut self, now: UnixMs) {
        self.clock.lose_power(now);
        self.energy.turn_day(self.clock.day(now));
        self.energy.forget_day();
        self.limit.forget();
        self.is_connected = true;
        self.reconnect_at = None;
        self.mode = Mode::Sleeping;
    }

    fn step(&mut self) {
        self.at = UnixMs(self.at.0.saturating_add(STEP_MS));
        let now = self.at;
        let sun = Sun::seen_from(self.config.site.latitude, self.config.site.longitude, now);
        let (light, index) = self.daylight(&sun);
        let air_c = self.air_c();
        for tracker in &mut self.strings {
            tracker.expose(&light, &sun, air_c);
        }
        if self.reconnect_at.is_some_and(|at| at <= now) {
            self.connect();
        }
        let limit_pct = self.limit.step(now);
        let grid = self.grid.step(f64::from(self.reading.ac_w.max(0)));
        let derated_to = self.derated_to();
        let state = self.operate(&grid, limit_pct, derated_to);
        let dc_w: f64 = self.strings.iter().map(|t| t.watts()).sum();
        let ac_w = self.convert(dc_w, state);
        self.warm_housing(air_c);

        self.energy.turn_day(self.clock.day(now));
        let delivered = u32::try_from(ac_w).unwrap_or(0);
        self.energy.add(delivered, STEP_MS.unsigned_abs());
        for tracker in &mut self.strings {
            tracker.energy_ws += tracker.watts() * STEP_S;
        }
        self.measure(Measured {
            sun,
            light,
            index,
            air_c,
            grid,
            limit_pct,
            derated_to,
            state,
            dc_w,
            ac_w,
        });
    }

    fn daylight(&mut self, sun: &Sun) -> (Daylight, f64) {
        let day = self.at.0.div_euclid(86_400_000);
        // The clouds always advance: forcing irradiance for a while does not change anything after
        // it.
        let index = self.clouds.step(day);
        let clear = clear_sky(sun);
        let modelled = match &self.weather {
            Weather::Modelled => clear * index,
            Weather::Measured(series) => {
                let column = series.column("ghi").unwrap_or(0);
                series.interpolated(column, self.at).unwrap_or(0.0).clamp(0.0, 1_500.0)
            }
        };
        if self.forced.is_some_and(|forced| forced.until <= self.at) {
            self.forced = None;
        }
        match self.forced {
            // From straight above, so that its effect is the same at any hour.
            Some(Forced { ghi, .. }) => (Daylight { global: ghi, beam: 0.0, diffuse: ghi }, 1.0),
            None => {
                let index = if clear > 1.0 { modelled / clear } else { index };
                (Daylight::split(modelled, sun), index)
            }
        }
    }

    fn air_c(&mut self) -> f64 {
        self.air_wobble += -self.air_wobble * lag(1_800.0) + 0.01 * self.noise.normal();
        let measured = match &self.weather {
            Weather::Modelled => None,
            Weather::Measured(series) => {
                series.column("temp").and_then(|column| series.interpolated(column, self.at))
            }
        };
        measured
            .map(|c| c.clamp(-60.0, 70.0))
            .unwrap_or_else(|| air_temperature(&self.config, self.at) + self.air_wobble)
    }

    fn derated_to(&self) -> f64 {
        let derating = &self.config.derating;
        let span = derating.end_c - derating.start_c;
        (1.0 - (self.internal_c - derating.start_c) / span).clamp(0.0, 1.0)
    }

    /// Decides what the inverter does in this step and sets each string's operating point.
    fn operate(&mut self, grid: &GridReading, limit_pct: f64, derated_to: f64) -> OperatingState {
        let rated = f64::from(self.config.rated_w);
        let available: f64 = self.strings.iter().map(|t| t.available()).sum();
        self.dim_for_s =
            if available < rated * SLEEP_SHARE { self.dim_for_s + STEP_S } else { 0.0 };
        // Standby keeps its start-up time: it is waited for only once the limit is lifted.
        let stops = limit_pct <= 0.0 && self.config.limit.zero_is_standby;
        self.mode = match self.mode {
            Mode::Sleeping if available >= rated * WAKE_SHARE => Mode::Starting { left_s: START_S },
            Mode::Sleeping => Mode::Sleeping,
            Mode::Starting { .. } | Mode::Running if self.dim_for_s >= SLEEP_S => Mode::Sleeping,
            Mode::Running if stops => Mode::Starting { left_s: START_S },
            Mode::Starting { left_s } if grid.tripped.is_some() || stops || !self.is_connected => {
                Mode::Starting { left_s }
            }
            Mode::Starting { left_s } if left_s <= STEP_S => Mode::Running,
            Mode::Starting { left_s } => Mode::Starting { left_s: left_s - STEP_S },
            Mode::Running => Mode::Running,
        };

        let idle = match self.mode {
            Mode::Sleeping => Some(OperatingState::Sleeping),
            _ if grid.tripped.is_some() => Some(OperatingState::Fault),
            _ if !self.is_connected || stops => Some(OperatingState::Standby),
            Mode::Starting { .. } => Some(OperatingState::Starting),
            Mode::Running => None,
        };
        if let Some(state) = idle {
            for tracker in &mut self.strings {
                tracker.rest(state == OperatingState::Sleeping);
            }
            return state;
        }

        let share = (limit_pct / 100.0).min(derated_to).min(grid.allowed);
        let dc_max = dc_for(rated * share, rated);
        let tracked: f64 = self.strings.iter_mut().map(Tracker::track).sum();
        if tracked <= dc_max {
            return OperatingState::Mppt;
        }
        // Tracking has already advanced the ripple; throttling only replaces the operating point.
        let share = dc_max / available;
        for tracker in &mut self.strings {
            tracker.throttle(share);
        }
        OperatingState::Throttled
    }

    fn convert(&mut self, dc_w: f64, state: OperatingState) -> i32 {
        let rated = f64::from(self.config.rated_w);
        let is_feeding = matches!(state, OperatingState::Mppt | OperatingState::Throttled);
        let jitter = 1.0 + NOISE_AC_SHARE * self.noise.normal();
        let drawn = -self.config.night_w;
        if !is_feeding {
            self.loss_w = 0.0;
            return signed(if state == OperatingState::Sleeping { drawn } else { 0.0 });
        }
        self.loss_w = loss_for(dc_w, rated);
        signed(((dc_w - self.loss_w) * jitter).clamp(0.0, rated * 1.01))
    }

    fn warm_housing(&mut self, air_c: f64) {
        let rated = f64::from(self.config.rated_w);
        let full = loss_for(dc_for(rated, rated), rated);
        let rise = (self.config.derating.rise_k - HOUSING_ABOVE_AIR_K) * self.loss_w / full;
        let target = air_c + HOUSING_ABOVE_AIR_K + rise;
        self.internal_c += (target - self.internal_c) * lag(HOUSING_TAU_S);
    }

    fn measure(&mut self, m: Measured) {
        // Noise is drawn even for values that are 0, so that later draws do not depend on the state.
        let noise = &mut self.noise;
        let is_live = m.grid.hertz > 0.0;
        let ac_v = m.grid.volts.map(|v| {
            let error = NOISE_AC_V * noise.normal();
            if v > 0.0 { v + error } else { 0.0 }
        });
        let hz_error = NOISE_HZ * noise.normal();
        let amps_error = NOISE_AC_A * noise.normal();
        let internal_error = NOISE_K * noise.normal();
        let watts = f64::from(m.ac_w.max(0));
        let ac_a = if watts > 0.0 && ac_v[0] > 0.0 {
            (watts / ac_v[0] + amps_error).max(0.0)
        } else {
            0.0
        };
        let strings = self
            .strings
            .iter()
            .map(|tracker| {
                let (volts, amps) = tracker.at_terminals();
                let (v_error, a_error) = (NOISE_PV_V * noise.normal(), NOISE_PV_A * noise.normal());
                StringReading {
                    plane_w_m2: tracker.plane,
                    cell_c: tracker.cell_c,
                    volts: if volts > 0.0 { (volts + v_error).max(0.0) } else { 0.0 },
                    amps: if amps > 0.0 { (amps + a_error).max(0.0) } else { 0.0 },
                    energy_wh: tracker.energy_ws / 3_600.0,
                }
            })
            .collect();
        self.reading = Reading {
            at: self.at,
            state: m.state,
            sun_elevation_deg: m.sun.elevation_deg(),
            ghi_w_m2: m.light.global,
            clear_sky_index: m.index,
            air_c: m.air_c,
            internal_c: self.internal_c + internal_error,
            strings,
            dc_w: m.dc_w,
            ac_w: m.ac_w,
            ac_v,
            ac_a,
            hz: if is_live { m.grid.hertz + hz_error } else { 0.0 },
            tripped: m.grid.tripped,
            derated_to: m.derated_to,
            limit_pct: m.limit_pct,
            limit_target_pct: self.limit.target_pct(),
            lifetime_wh: self.energy.lifetime_wh(),
            day_wh: self.energy.day_wh(),
            lifetime_wms: self.energy.lifetime_wms(),
            own_clock_ms: self.clock.face_ms(self.at),
        };
    }
}

/// The results of one step, before measurement.
struct Measured {
    sun: Sun,
    light: Daylight,
    index: f64,
    air_c: f64,
    grid: GridReading,
    limit_pct: f64,
    derated_to: f64,
    state: OperatingState,
    dc_w: f64,
    ac_w: i32,
}

impl Tracker {
    fn new(string: PvString, air_c: f64) -> Self {
        Self {
            string,
            plane: 0.0,
            module_c: air_c,
            cell_c: air_c,
            curve: None,
            maximum: Point::default(),
            diode_volts: 0.0,
            phase: 0,
            point: Point::default(),
            energy_ws: 0.0,
        }
    }

    fn expose(&mut self, light: &Daylight, sun: &Sun, air_c: f64) {
        let is_shaded = self.string.shade.as_ref().is_some_and(|shade| {
            let azimuth = sun.azimuth.to_degrees().rem_euclid(360.0);
            (shade.from_azimuth_deg..shade.to_azimuth_deg).contains(&azimuth)
                && sun.elevation_deg() < shade.elevation_deg
        });
        let light = if is_shaded { Daylight { beam: 0.0, ..*light } } else { *light };
        self.plane = light.on_plane(sun, self.string.tilt_deg, self.string.azimuth_deg);
        let target = air_c + self.plane / CELL_COOLING;
        self.module_c += (target - self.module_c) * lag(CELL_TAU_S);
        self.cell_c = self.module_c + CELL_ABOVE_MODULE_K * self.plane / 1_000.0;
        self.curve = CS1K_300MS.curve(self.plane, self.cell_c);
        self.maximum = self.curve.as_ref().map(Curve::maximum).unwrap_or_default();
    }

    /// Maximum power that could be taken, in W.
    fn available(&self) -> f64 {
        self.maximum.watts() * f64::from(self.string.modules)
    }

    /// Power taken at present, in W.
    fn watts(&self) -> f64 {
        self.point.watts() * f64::from(self.string.modules)
    }

    fn at_terminals(&self) -> (f64, f64) {
        (self.point.volts * f64::from(self.string.modules), self.point.amps)
    }

    /// Takes no power: asleep with dead inputs, otherwise at open circuit.
    fn rest(&mut self, is_asleep: bool) {
        self.point = match &self.curve {
            Some(curve) if !is_asleep => curve.open_circuit(),
            _ => Point::default(),
        };
        self.diode_volts = self.point.diode_volts;
    }

    /// Follows the maximum with lag and ripple; returns the watts taken.
    fn track(&mut self) -> f64 {
        let Some(curve) = &self.curve else {
            self.point = Point::default();
            return 0.0;
        };
        self.diode_volts += (self.maximum.diode_volts - self.diode_volts) * lag(TRACKER_TAU_S);
        self.phase = (self.phase + 1) % (4 * RIPPLE_HOLD_S);
        let ripple = match self.phase / RIPPLE_HOLD_S {
            0 => RIPPLE,
            2 => -RIPPLE,
            _ => 0.0,
        };
        self.point = curve.at(self.diode_volts * (1.0 + ripple));
        self.watts()
    }

    /// Takes this fraction of the available power.
    fn throttle(&mut self, share: f64) {
        let Some(curve) = &self.curve else { return };
        self.point = curve.throttled(&self.maximum, self.maximum.watts() * share);
        self.diode_volts = self.point.diode_volts;
    }
}

impl Reading {
    fn dark(at: UnixMs, air_c: f64) -> Self {
        Self {
            at,
            state: OperatingState::Sleeping,
            sun_elevation_deg: 0.0,
            ghi_w_m2: 0.0,
            clear_sky_index: 1.0,
            air_c,
            internal_c: air_c,
            strings: Vec::new(),
            dc_w: 0.0,
            ac_w: 0,
            ac_v: [0.0; 3],
            ac_a: 0.0,
            hz: 0.0,
            tripped: None,
            derated_to: 1.0,
            limit_pct: 100.0,
            limit_target_pct: 100.0,
            lifetime_wh: 0,
            day_wh: 0,
            lifetime_wms: 0,
            own_clock_ms: 0,
        }
    }
}

/// Loss of an inverter that takes `dc_w`.
fn loss_for(dc_w: f64, rated: f64) -> f64 {
    (LOSS_FIXED * rated + LOSS_LINEAR * dc_w + LOSS_SQUARE * dc_w * dc_w / rated).min(dc_w)
}

/// DC power that an inverter must take to deliver `ac_w`: the inverse of [`loss_for`].
fn dc_for(ac_w: f64, rated: f64) -> f64 {
    if ac_w <= 0.0 {
        return 0.0;
    }
    let (square, linear) = (LOSS_SQUARE / rated, 1.0 - LOSS_LINEAR);
    let root = (linear * linear - 4.0 * square * (ac_w + LOSS_FIXED * rated)).sqrt();
    (linear - root) / (2.0 * square)
}

/// Warmest in the middle of the afternoon, by solar time.
fn air_temperature(config: &Config, at: UnixMs) -> f64 {
    let site = &config.site;
    let solar_hours = at.0.rem_euclid(86_400_000) as f64 / 3_600_000.0 + site.longitude / 15.0;
    site.air_mean_c + site.air_swing_k * ((solar_hours - 14.5) / 24.0 * std::f64::consts::TAU).cos()
}

fn signed(watts: f64) -> i32 {
    let magnitude = i32::try_from(scale::to_u32(watts.abs())).unwrap_or(i32::MAX);
    if watts < 0.0 { -magnitude } else { magnitude }
}

fn as_ms<S: serde::Serializer>(at: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Site;

    /// 2026-06-21T00:00Z.
    const MIDSUMMER: UnixMs = UnixMs(1_782_000_000_000);
    const HOUR: i64 = 3_600_000;

    fn clear(site: Site) -> Config {
        let mut config = Config {
            site: Site { cloudiness: Some(0.0), utc_offset_s: 0, ..site },
            ..Config::default()
        };
        config.grid.outages_per_day = 0.0;
        config
    }

    fn at(hours: i64) -> UnixMs {
        UnixMs(MIDSUMMER.0 + hours * HOUR)
    }

    fn plant(config: Config, start: UnixMs) -> Plant {
        Plant::new(config, Weather::Modelled, start)
    }

    #[test]
    fn a_reading_does_not_depend_on_earlier_reads() {
        let config = Config { seed: 99, ..Config::default() };
        let (mut often, mut once) = (plant(config.clone(), at(7)), plant(config, at(7)));
        let mut random = Random::new(1, 1);
        let mut now = at(7);
        while now < at(9) {
            often.advance(now);
            now = UnixMs(now.0 + 1 + i64::try_from(random.below(9_000)).unwrap());
        }
        often.advance(at(9));
        once.advance(at(9));
        assert_eq!(often.reading(), once.reading());
        assert!(once.reading().ac_w > 0);
    }

    #[test]
    fn seeds_differ() {
        let mut plants = [1, 2].map(|seed| plant(Config { seed, ..Config::default() }, at(9)));
        let readings = plants.each_mut().map(|p| {
            p.advance(at(11));
            p.reading().clone()
        });
        assert_ne!(readings[0], readings[1]);
    }

    #[test]
    fn the_counters_add_up_the_shown_power() {
        let mut plant = plant(Config::default(), at(3));
        let before = plant.reading().lifetime_wms;
        let mut sum = 0;
        for second in 1..=(6 * 3_600) {
            plant.advance(UnixMs(at(3).0 + second * 1_000 + 1_000));
            sum += u64::try_from(plant.reading().ac_w.max(0)).unwrap() * 1_000;
        }
        assert_eq!(plant.reading().lifetime_wms - before, sum);
        assert!(sum / crate::physics::energy::WMS_PER_WH > 1_000, "{sum}");
    }

    #[test]
    fn a_clear_midsummer_day_in_berlin_has_a_realistic_yield() {
        let mut plant = plant(clear(Site::BERLIN), MIDSUMMER);
        plant.advance(UnixMs(MIDSUMMER.0 + 24 * HOUR - 2_000));
        // 5.4 kWp: 6 to 8 kWh per kWp on a day like this.
        let wh = plant.reading().day_wh;
        assert!((30_000..44_000).contains(&wh), "{wh}");
    }

    #[test]
    fn a_large_roof_is_clipped_at_rated_power() {
        let mut config = clear(Site::BERLIN);
        config.rated_w = 3_000;
        config.derating.start_c = 90.0;
        config.derating.end_c = 100.0;
        let mut plant = plant(config, at(8));
        plant.advance(at(11));
        let reading = plant.reading();
        assert_eq!(reading.state, OperatingState::Throttled);
        assert!((2_980..=3_030).contains(&reading.ac_w), "{}", reading.ac_w);
        // Less power is taken at a higher voltage: the maximum is at about 28 V per module, with 10
        // modules.
        assert!(reading.strings[0].volts > 300.0, "{}", reading.strings[0].volts);
    }

    #[test]
    fn heat_reduces_power() {
        let hot = Site { air_mean_c: 45.0, ..Site::COLOMBO };
        let mut plant = plant(clear(hot), at(3));
        plant.advance(at(7));
        let reading = plant.reading();
        assert!(reading.internal_c > 50.0, "{}", reading.internal_c);
        assert!(reading.derated_to < 0.8, "{}", reading.derated_to);
        let allowed = 5_000.0 * reading.derated_to;
        assert!(f64::from(reading.ac_w) < allowed * 1.01, "{} of {allowed}", reading.ac_w);
    }

    #[test]
    fn a_limit_is_reached_along_its_ramp_and_held() {
        let mut config = clear(Site::BERLIN);
        config.limit.ramp_pct_s = 2.0;
        let mut plant = plant(config, at(9));
        plant.advance(at(11));
        let before = plant.reading().ac_w;
        assert!(before > 3_000, "{before}");
        plant.order_limit(LimitOrder { target_pct: 20.0, revert_after_s: None, ramp_s: None });
        plant.advance(UnixMs(at(11).0 + 25_000));
        let half = plant.reading();
        assert!((half.limit_pct - 50.0).abs() < 0.01, "{}", half.limit_pct);
        assert!((2_470..=2_530).contains(&half.ac_w), "{}", half.ac_w);
        plant.advance(UnixMs(at(11).0 + 60_000));
        assert!((985..=1_015).contains(&plant.reading().ac_w), "{}", plant.reading().ac_w);
    }

    #[test]
    fn at_night_it_draws_power_and_shows_dead_inputs() {
        let mut plant = plant(clear(Site::BERLIN), at(22));
        plant.advance(at(23));
        let reading = plant.reading();
        assert_eq!(reading.state, OperatingState::Sleeping);
        assert_eq!(reading.ac_w, -2);
        assert_eq!((reading.strings[0].volts, reading.strings[0].amps), (0.0, 0.0));
        assert!(reading.ac_v[0] > 215.0 && reading.hz > 49.9);
    }

    #[test]
    fn it_wakes_after_sunrise_waits_and_sleeps_after_sunset() {
        let mut plant = plant(clear(Site::BERLIN), MIDSUMMER);
        let mut states = vec![plant.reading().state];
        for minute in 0..(24 * 60) {
            plant.advance(UnixMs(MIDSUMMER.0 + minute * 60_000 + 30_000));
            let state = plant.reading().state;
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
        assert_eq!(states.first(), Some(&OperatingState::Sleeping));
        assert_eq!(states[1], OperatingState::Starting, "{states:?}");
        assert_eq!(states[2], OperatingState::Mppt, "{states:?}");
        assert_eq!(states.last(), Some(&OperatingState::Sleeping), "{states:?}");
    }

    #[test]
    fn the_day_counter_starts_over_at_the_inverters_midnight() {
        let mut config = clear(Site::BERLIN);
        config.site.utc_offset_s = 7_200;
        let mut plant = plant(config, at(10));
        plant.advance(UnixMs(at(22).0 - 2_000));
        assert!(plant.reading().day_wh > 1_000);
        let lifetime = plant.reading().lifetime_wh;
        plant.advance(UnixMs(at(22).0 + 1_000));
        assert_eq!(plant.reading().day_wh, 0);
        assert!(plant.reading().lifetime_wh >= lifetime);
    }

    #[test]
    fn an_outage_stops_the_feed_in_and_it_ramps_up_slowly() {
        let mut plant = plant(clear(Site::BERLIN), at(9));
        plant.advance(at(11));
        plant.cut_grid(10.0);
        plant.advance(UnixMs(at(11).0 + 5_000));
        let reading = plant.reading().clone();
        assert_eq!((reading.state, reading.ac_w), (OperatingState::Fault, 0));
        assert_eq!((reading.ac_v[0], reading.hz), (0.0, 0.0));
        plant.advance(UnixMs(at(11).0 + 3 * 60_000));
        let watts = plant.reading().ac_w;
        assert!((300..1_500).contains(&watts), "{watts}");
        plant.advance(UnixMs(at(11).0 + 13 * 60_000));
        assert!(plant.reading().ac_w > 3_000);
    }

    #[test]
    fn a_shaded_string_delivers_less() {
        let mut config = clear(Site::BERLIN);
        config.strings = vec![PvString::facing(180.0, 10), PvString::facing(180.0, 10)];
        config.strings[0].shade = Some(crate::config::Shade {
            from_azimuth_deg: 90.0,
            to_azimuth_deg: 270.0,
            elevation_deg: 80.0,
        });
        let mut plant = plant(config, at(9));
        plant.advance(at(11));
        let strings = &plant.reading().strings;
        assert!(strings[0].amps < strings[1].amps / 3.0, "{strings:?}");
    }

    #[test]
    fn measured_irradiance_drives_it() {
        let csv = format!("t,ghi,temp\n{},500,10\n{},500,10\n", at(9).0 / 1_000, at(13).0 / 1_000);
        let series = Series::from_csv(csv.as_bytes()).unwrap();
        let mut plant = Plant::new(clear(Site::BERLIN), Weather::Measured(series), at(9));
        plant.advance(at(11));
        assert!((plant.reading().ghi_w_m2 - 500.0).abs() < 1e-9);
        assert!((plant.reading().air_c - 10.0).abs() < 1e-9);
        assert!((1_500..3_000).contains(&plant.reading().ac_w), "{}", plant.reading().ac_w);
    }

    #[test]
    fn a_week_of_absence_is_a_loss_of_power() {
        let mut plant = plant(clear(Site::BERLIN), at(9));
        let lifetime = plant.reading().lifetime_wh;
        plant.advance(UnixMs(at(9).0 + CATCH_UP_MAX_MS + HOUR));
        assert_eq!(plant.reading().lifetime_wh, lifetime);
        assert!(plant.reading().own_clock_ms < 946_684_800_000 + 10_000);
    }

    #[test]
    fn losses_are_undone_by_their_inverse() {
        for ac in [10.0, 500.0, 2_500.0, 5_000.0] {
            let dc = dc_for(ac, 5_000.0);
            assert!((dc - loss_for(dc, 5_000.0) - ac).abs() < 1e-6, "{ac}");
        }
    }
}
