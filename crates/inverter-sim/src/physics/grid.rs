//! The grid as an inverter sees it: slow noise, rare disturbances, protection and reconnection.
//!
//! Voltage and frequency are Ornstein-Uhlenbeck processes around 230 V and 50 Hz. Feed-in raises
//! the voltage across the line's resistance. Limits and waiting times are those of a European
//! generating plant of this size (EN 50549-1, VDE-AR-N 4105), rounded.

use serde::{Deserialize, Serialize};

use crate::physics::random::Random;
use crate::physics::{STEP_S, lag};

/// Properties of one connection point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GridConfig {
    /// Voltage without feed-in, in V.
    pub volts: f64,
    /// Frequency in Hz.
    pub hertz: f64,
    /// Voltage rise in V per W of feed-in.
    pub rise_v_per_w: f64,
    /// Expected number of outages per day.
    pub outages_per_day: f64,
}

impl Default for GridConfig {
    fn default() -> Self {
        Self { volts: 230.0, hertz: 50.0, rise_v_per_w: 0.000_8, outages_per_day: 0.03 }
    }
}

const VOLTS_DEVIATION: f64 = 2.0;
const VOLTS_TAU_S: f64 = 60.0;
const HERTZ_DEVIATION: f64 = 0.015;
const HERTZ_TAU_S: f64 = 45.0;
/// Protection: outside these limits the inverter disconnects at once.
pub(crate) const VOLTS_LOW: f64 = 184.0;
pub(crate) const VOLTS_HIGH: f64 = 264.5;
pub(crate) const HERTZ_LOW: f64 = 47.5;
pub(crate) const HERTZ_HIGH: f64 = 51.5;
/// Above this the inverter reduces its power: by 40 % of rated power per Hz.
pub(crate) const HERTZ_DROOP: f64 = 50.2;
pub(crate) const DROOP_PER_HERTZ: f64 = 0.4;
/// How long the grid must be stable before the inverter reconnects, and how fast its power then
/// rises.
pub(crate) const RECONNECT_S: f64 = 60.0;
pub(crate) const RECONNECT_PER_S: f64 = 0.10 / 60.0;

/// The grid at one connection point.
#[derive(Debug, Clone)]
pub struct Grid {
    config: GridConfig,
    random: Random,
    volts: [Noise; 3],
    hertz: Noise,
    outage_left_s: f64,
    sound_for_s: f64,
    tripped: Option<TripCause>,
    /// Fraction of rated power allowed during the ramp after reconnection.
    ramp: f64,
}

/// Why the inverter disconnected from the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TripCause {
    /// The grid was lost.
    GridLoss,
    /// The voltage was too high.
    OverVoltage,
    /// The voltage was too low.
    UnderVoltage,
    /// The frequency was too high.
    OverFrequency,
    /// The frequency was too low.
    UnderFrequency,
}

/// The inverter's grid measurements, and its permitted power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridReading {
    /// Phase to neutral, in V.
    pub volts: [f64; 3],
    /// In Hz; 0 without a grid.
    pub hertz: f64,
    /// Why the inverter must stay disconnected, if it must.
    pub tripped: Option<TripCause>,
    /// Fraction of rated power that may be fed in, from 0 to 1.
    pub allowed: f64,
}

impl Grid {
    /// A grid with its own random stream.
    #[must_use]
    pub fn new(config: GridConfig, seed: u64, stream: u64) -> Self {
        let mut random = Random::new(seed, stream);
        let volts =
            std::array::from_fn(|_| Noise::settled(VOLTS_DEVIATION, VOLTS_TAU_S, &mut random));
        let hertz = Noise::settled(HERTZ_DEVIATION, HERTZ_TAU_S, &mut random);
        Self {
            config,
            random,
            volts,
            hertz,
            outage_left_s: 0.0,
            sound_for_s: RECONNECT_S,
            tripped: None,
            ramp: 1.0,
        }
    }

    /// Cuts the grid for some seconds.
    pub fn cut(&mut self, seconds: f64) {
        self.outage_left_s = self.outage_left_s.max(seconds);
    }

    /// Advances by one step in which `watts` were fed in.
    pub fn step(&mut self, watts: f64) -> GridReading {
        for noise in &mut self.volts {
            noise.step(&mut self.random);
        }
        self.hertz.step(&mut self.random);
        if self.random.happens(self.config.outages_per_day * STEP_S / 86_400.0) {
            let seconds = self.random.log_normal(8.0, 1.0).clamp(1.0, 600.0);
            self.cut(seconds);
        }

        let is_cut = self.outage_left_s > 0.0;
        self.outage_left_s = (self.outage_left_s - STEP_S).max(0.0);
        let rise = watts * self.config.rise_v_per_w;
        let (volts, hertz) = if is_cut {
            ([0.0; 3], 0.0)
        } else {
            let volts = std::array::from_fn(|i| self.config.volts + self.volts[i].value + rise);
            (volts, self.config.hertz + self.hertz.value)
        };
        self.protect(is_cut, &volts, hertz);
        let droop = 1.0 - (hertz - HERTZ_DROOP).max(0.0) * DROOP_PER_HERTZ;
        let allowed =
            if self.tripped.is_some() { 0.0 } else { self.ramp.min(droop).clamp(0.0, 1.0) };
        GridReading { volts, hertz, tripped: self.tripped, allowed }
    }

    fn protect(&mut self, is_cut: bool, volts: &[f64; 3], hertz: f64) {
        let violation = if is_cut {
            Some(TripCause::GridLoss)
        } else if volts.iter().any(|v| *v > VOLTS_HIGH) {
            Some(TripCause::OverVoltage)
        } else if volts.iter().any(|v| *v < VOLTS_LOW) {
            Some(TripCause::UnderVoltage)
        } else if hertz > HERTZ_HIGH {
            Some(TripCause::OverFrequency)
        } else if hertz < HERTZ_LOW {
            Some(TripCause::UnderFrequency)
        } else {
            None
        };
        if violation.is_some() {
            self.tripped = self.tripped.or(violation);
            self.sound_for_s = 0.0;
            self.ramp = 0.0;
            return;
        }
        if self.tripped.is_some() {
            self.sound_for_s += STEP_S;
            if self.sound_for_s >= RECONNECT_S {
                self.tripped = None;
            }
            return;
        }
        self.ramp = (self.ramp + RECONNECT_PER_S * STEP_S).min(1.0);
    }
}

/// An Ornstein-Uhlenbeck process around 0.
#[derive(Debug, Clone)]
struct Noise {
    value: f64,
    pull: f64,
    kick: f64,
}

impl Noise {
    fn settled(deviation: f64, tau_s: f64, random: &mut Random) -> Self {
        let pull = lag(tau_s);
        // Exact for the discrete process: keeps the stationary deviation at any step.
        let kick = deviation * (1.0 - (1.0 - pull).powi(2)).sqrt();
        Self { value: deviation * random.normal(), pull, kick }
    }

    fn step(&mut self, random: &mut Random) {
        self.value += -self.value * self.pull + self.kick * random.normal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> GridConfig {
        GridConfig { outages_per_day: 0.0, ..GridConfig::default() }
    }

    #[test]
    fn noise_has_the_stated_deviation() {
        let mut grid = Grid::new(quiet(), 11, 0);
        let seen: Vec<f64> = (0..200_000).map(|_| grid.step(0.0).volts[0]).collect();
        let mean = seen.iter().sum::<f64>() / 200_000.0;
        let deviation = (seen.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 200_000.0).sqrt();
        assert!((mean - 230.0).abs() < 0.3, "{mean}");
        assert!((deviation - 2.0).abs() < 0.2, "{deviation}");
    }

    #[test]
    fn feeding_in_raises_the_voltage() {
        let (mut idle, mut busy) = (Grid::new(quiet(), 1, 0), Grid::new(quiet(), 1, 0));
        let rise = busy.step(5_000.0).volts[0] - idle.step(0.0).volts[0];
        assert!((rise - 4.0).abs() < 1e-9, "{rise}");
    }

    #[test]
    fn after_an_outage_it_waits_and_ramps_up_slowly() {
        let mut grid = Grid::new(quiet(), 1, 0);
        grid.cut(5.0);
        let mut seen = Vec::new();
        for _ in 0..700 {
            seen.push(grid.step(0.0));
        }
        assert_eq!(seen[0].tripped, Some(TripCause::GridLoss));
        assert_eq!(seen[4].hertz, 0.0);
        assert!(seen[5].hertz > 49.0);
        assert_eq!(seen[63].tripped, Some(TripCause::GridLoss));
        assert_eq!(seen[64].tripped, None);
        let later = seen[64 + 60].allowed;
        assert!((later - 0.10).abs() < 0.005, "{later}");
        assert!((seen[699].allowed - 1.0).abs() < 1e-9);
    }
}
