//! Position of the sun, to about a hundredth of a degree.
//!
//! The low-precision formulas of the Astronomical Almanac as given by Michalsky, "The Astronomical
//! Almanac's algorithm for approximate solar position (1950-2050)", Solar Energy 40 (1988).

use ecowatt_model::UnixMs;

/// The solar constant in W/m².
pub const SOLAR_CONSTANT: f64 = 1_361.0;

/// The sun as seen from one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sun {
    /// Cosine of the zenith angle; negative below the horizon.
    pub cos_zenith: f64,
    /// Sine of the zenith angle.
    pub sin_zenith: f64,
    /// Clockwise from north, in radians.
    pub azimuth: f64,
    /// Irradiance outside the atmosphere on a plane that faces the sun, in W/m².
    pub extraterrestrial: f64,
}

impl Sun {
    /// The sun at `at`, seen from a latitude and longitude in degrees (north and east positive).
    #[must_use]
    pub fn seen_from(latitude: f64, longitude: f64, at: UnixMs) -> Self {
        // Days since 2000-01-01T12:00Z; 10957.5 days lie between that and the Unix epoch.
        let days = at.0 as f64 / 86_400_000.0 - 10_957.5;
        let hours = at.0.rem_euclid(86_400_000) as f64 / 3_600_000.0;

        let anomaly = (357.528 + 0.985_600_3 * days).to_radians();
        let mean_longitude = 280.460 + 0.985_647_4 * days;
        let ecliptic =
            (mean_longitude + 1.915 * anomaly.sin() + 0.020 * (2.0 * anomaly).sin()).to_radians();
        let obliquity = (23.439 - 0.000_000_4 * days).to_radians();
        let right_ascension = (obliquity.cos() * ecliptic.sin()).atan2(ecliptic.cos());
        let sin_declination = obliquity.sin() * ecliptic.sin();
        let cos_declination = (1.0 - sin_declination * sin_declination).sqrt();

        let sidereal_hours = 6.697_375 + 0.065_709_824_2 * days + hours;
        let hour_angle = (sidereal_hours * 15.0 + longitude).to_radians() - right_ascension;
        let (sin_latitude, cos_latitude) = latitude.to_radians().sin_cos();

        let cos_zenith = (sin_declination * sin_latitude
            + cos_declination * cos_latitude * hour_angle.cos())
        .clamp(-1.0, 1.0);
        let azimuth = (-cos_declination * hour_angle.sin()).atan2(
            sin_declination * cos_latitude - cos_declination * sin_latitude * hour_angle.cos(),
        );
        let distance = 1.000_14 - 0.016_71 * anomaly.cos() - 0.000_14 * (2.0 * anomaly).cos();
        Self {
            cos_zenith,
            sin_zenith: (1.0 - cos_zenith * cos_zenith).sqrt(),
            azimuth,
            extraterrestrial: SOLAR_CONSTANT / (distance * distance),
        }
    }

    /// Degrees above the horizon.
    #[must_use]
    pub fn elevation_deg(&self) -> f64 {
        self.cos_zenith.asin().to_degrees()
    }

    /// Cosine of the angle between the sun and the normal of a plane; arguments in degrees, the
    /// azimuth clockwise from north. Negative behind the plane.
    #[must_use]
    pub fn cos_incidence(&self, tilt_deg: f64, azimuth_deg: f64) -> f64 {
        let (sin_tilt, cos_tilt) = tilt_deg.to_radians().sin_cos();
        self.cos_zenith * cos_tilt
            + self.sin_zenith * sin_tilt * (self.azimuth - azimuth_deg.to_radians()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equinox_noon_in_moratuwa_is_almost_overhead() {
        // 2026-03-21T06:50Z is about solar noon at 79.9 E.
        let sun = Sun::seen_from(6.8, 79.9, UnixMs(1_774_075_800_000));
        assert!((82.0..84.5).contains(&sun.elevation_deg()), "{}", sun.elevation_deg());
    }

    #[test]
    fn the_position_agrees_with_a_worked_example() {
        // Reda and Andreas, NREL/TP-560-34302, appendix A.5: 2003-10-17 12:30:30 at UTC-7,
        // 39.742476 N 105.1786 W: zenith 50.11162, azimuth 194.34024 degrees.
        let sun = Sun::seen_from(39.742_476, -105.178_6, UnixMs(1_066_419_030_000));
        assert!((sun.elevation_deg() - 39.888).abs() < 0.05, "{}", sun.elevation_deg());
        assert!((sun.azimuth.to_degrees().rem_euclid(360.0) - 194.340).abs() < 0.05);
    }

    #[test]
    fn a_horizontal_plane_has_the_zenith_angle() {
        let sun = Sun::seen_from(52.5, 13.4, UnixMs(1_750_500_000_000));
        assert!((sun.cos_incidence(0.0, 77.0) - sun.cos_zenith).abs() < 1e-12);
    }
}
