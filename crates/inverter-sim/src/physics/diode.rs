//! A photovoltaic module by the single-diode model, without Lambert W.
//!
//! Parameters depend on irradiance and cell temperature as in De Soto, Klein and Beckman (2006)
//! with the adjustment of the CEC model. The diode's voltage is the free variable (Bishop 1988):
//! current and terminal voltage follow from it with one exponential, and the power maximum is found
//! by golden-section search.

/// Boltzmann's constant in eV/K.
const BOLTZMANN_EV: f64 = 8.617_333_262e-5;
/// Band gap of silicon at the reference temperature in eV, and its relative change per kelvin.
const BAND_GAP_EV: f64 = 1.121;
const BAND_GAP_CHANGE: f64 = -0.000_267_7;
const REFERENCE_C: f64 = 25.0;
const KELVIN: f64 = 273.15;
const GOLDEN: f64 = 0.618_033_988_749_894_8;
/// 0.618⁴² of the interval is below the width at which an f64 still resolves a change of power.
const GOLDEN_STEPS: usize = 42;
const BISECTION_STEPS: usize = 32;

/// A module's parameters at 1000 W/m² and 25 °C.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Module {
    /// Light current in A.
    pub light_current: f64,
    /// Saturation current in A.
    pub saturation_current: f64,
    /// Series resistance in Ω.
    pub series_ohm: f64,
    /// Shunt resistance in Ω.
    pub shunt_ohm: f64,
    /// Modified ideality factor in V.
    pub ideality: f64,
    /// Change of the short-circuit current in A/K.
    pub alpha_sc: f64,
    /// The CEC model's adjustment of `alpha_sc` in per cent.
    pub adjust: f64,
}

/// Canadian Solar CS1K-300MS; measured values from the CEC module list of 2019-03-05.
pub const CS1K_300MS: Module = Module {
    light_current: 10.911_398,
    saturation_current: 1.343_55e-10,
    series_ohm: 0.191_415,
    shunt_ohm: 97.418_976,
    ideality: 1.439_062,
    alpha_sc: 0.005_881,
    adjust: 13.800_624,
};

/// A module under given light and temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    light_current: f64,
    saturation_current: f64,
    series_ohm: f64,
    shunt_siemens: f64,
    ideality: f64,
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// At the terminals, in V.
    pub volts: f64,
    /// In A.
    pub amps: f64,
    /// The diode's own voltage in V, the parameter of the curve.
    pub diode_volts: f64,
}

impl Point {
    /// Power in W.
    #[must_use]
    pub fn watts(&self) -> f64 {
        self.volts * self.amps
    }
}

impl Module {
    /// Returns the curve at this irradiance (W/m²) and cell temperature (°C); `None` in the dark.
    #[must_use]
    pub fn curve(&self, irradiance: f64, cell_c: f64) -> Option<Curve> {
        if irradiance < 0.1 {
            return None;
        }
        let sun = irradiance / 1_000.0;
        let (kelvin, reference) = (cell_c + KELVIN, REFERENCE_C + KELVIN);
        let ratio = kelvin / reference;
        let gap = BAND_GAP_EV * (1.0 + BAND_GAP_CHANGE * (cell_c - REFERENCE_C));
        let growth = BAND_GAP_EV / (BOLTZMANN_EV * reference) - gap / (BOLTZMANN_EV * kelvin);
        let alpha = self.alpha_sc * (1.0 - self.adjust / 100.0);
        Some(Curve {
            light_current: sun * (self.light_current + alpha * (cell_c - REFERENCE_C)),
            saturation_current: self.saturation_current * ratio.powi(3) * growth.exp(),
            series_ohm: self.series_ohm,
            shunt_siemens: sun / self.shunt_ohm,
            ideality: self.ideality * ratio,
        })
    }
}

impl Curve {
    /// Returns the point at this diode voltage; beyond open circuit the current is 0, as behind a
    /// blocking diode.
    #[must_use]
    pub fn at(&self, diode_volts: f64) -> Point {
        let amps = self.light_current
            - self.saturation_current * ((diode_volts / self.ideality).exp() - 1.0)
            - diode_volts * self.shunt_siemens;
        let amps = amps.max(0.0);
        Point { volts: diode_volts - amps * self.series_ohm, amps, diode_volts }
    }

    /// The point of maximum power.
    #[must_use]
    pub fn maximum(&self) -> Point {
        let power = |v: f64| self.at(v).watts();
        let (mut low, mut high) = (0.0, self.open_circuit_bound());
        let (mut left, mut right) = (high - GOLDEN * high, GOLDEN * high);
        let (mut at_left, mut at_right) = (power(left), power(right));
        for _ in 0..GOLDEN_STEPS {
            if at_left < at_right {
                (low, left, at_left) = (left, right, at_right);
                right = low + GOLDEN * (high - low);
                at_right = power(right);
            } else {
                (high, right, at_right) = (right, left, at_left);
                left = high - GOLDEN * (high - low);
                at_left = power(left);
            }
        }
        self.at(0.5 * (low + high))
    }

    /// The point with no current.
    #[must_use]
    pub fn open_circuit(&self) -> Point {
        let (mut low, mut high) = (0.0, self.open_circuit_bound());
        for _ in 0..BISECTION_STEPS {
            let middle = 0.5 * (low + high);
            if self.at(middle).amps > 0.0 { low = middle } else { high = middle }
        }
        Point { volts: high, amps: 0.0, diode_volts: high }
    }

    /// The point between `maximum` and open circuit with `watts` of power: how an inverter takes
    /// less than the maximum.
    #[must_use]
    pub fn throttled(&self, maximum: &Point, watts: f64) -> Point {
        if watts >= maximum.watts() {
            return *maximum;
        }
        let (mut low, mut high) = (maximum.diode_volts, self.open_circuit_bound());
        for _ in 0..BISECTION_STEPS {
            let middle = 0.5 * (low + high);
            if self.at(middle).watts() > watts { low = middle } else { high = middle }
        }
        self.at(0.5 * (low + high))
    }

    /// Open-circuit voltage of the same diode without its shunt: never below the real one.
    fn open_circuit_bound(&self) -> f64 {
        self.ideality * (self.light_current / self.saturation_current).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Irradiance, cell temperature, then power, voltage and current at the maximum, from pvlib
    /// 0.16.1 `max_power_point(method='brentq')`.
    const VECTORS: [[f64; 5]; 6] = [
        [1000.0, 25.0, 300.3841, 29.8000, 10.0800],
        [800.0, 45.0, 221.5933, 27.3465, 8.1032],
        [400.0, 35.0, 114.7268, 28.3094, 4.0526],
        [200.0, 20.0, 59.9161, 29.6505, 2.0207],
        [50.0, 10.0, 14.8242, 29.4226, 0.5038],
        [1000.0, 65.0, 252.0949, 24.8750, 10.1345],
    ];

    #[test]
    fn maximum_power_agrees_with_pvlib_to_four_decimals() {
        for [irradiance, cell_c, watts, volts, amps] in VECTORS {
            let curve = CS1K_300MS.curve(irradiance, cell_c).unwrap();
            let point = curve.maximum();
            for (got, want) in [(point.watts(), watts), (point.volts, volts), (point.amps, amps)] {
                assert!((got - want).abs() < 0.000_06, "{irradiance}, {cell_c}: {got} for {want}");
            }
        }
    }

    #[test]
    fn throttling_takes_the_requested_power_at_a_higher_voltage() {
        let curve = CS1K_300MS.curve(900.0, 40.0).unwrap();
        let maximum = curve.maximum();
        for share in [0.9, 0.5, 0.1] {
            let point = curve.throttled(&maximum, maximum.watts() * share);
            assert!((point.watts() - maximum.watts() * share).abs() < 0.01, "{share}");
            assert!(point.volts > maximum.volts);
        }
    }

    #[test]
    fn open_circuit_carries_no_current_and_darkness_has_no_curve() {
        let curve = CS1K_300MS.curve(1000.0, 25.0).unwrap();
        let point = curve.open_circuit();
        assert!((35.0..37.0).contains(&point.volts), "{}", point.volts);
        assert_eq!(CS1K_300MS.curve(0.0, 25.0), None);
    }
}
