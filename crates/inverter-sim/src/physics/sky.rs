//! Clear-sky irradiance, its split into beam and diffuse, and irradiance on a tilted plane.
//!
//! Haurwitz (1945) for the clear sky, Erbs, Klein and Duffie (1982) for the split, an isotropic sky
//! with a ground of albedo 0.2 for the plane (Liu and Jordan 1963).

use crate::physics::sun::Sun;

const ALBEDO: f64 = 0.2;

/// Below this cosine of the zenith angle (about 2 degrees of elevation) the beam counts as diffuse:
/// dividing by the cosine would turn small errors into glare.
const BEAM_COS_MIN: f64 = 0.035;

/// Daylight on the ground, in W/m².
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Daylight {
    /// On a horizontal plane.
    pub global: f64,
    /// Directly from the sun, on a plane that faces it.
    pub beam: f64,
    /// From the rest of the sky, on a horizontal plane.
    pub diffuse: f64,
}

/// Global irradiance under a clear sky (Haurwitz), in W/m².
#[must_use]
pub fn clear_sky(sun: &Sun) -> f64 {
    if sun.cos_zenith <= 0.0 {
        return 0.0;
    }
    1_098.0 * sun.cos_zenith * (-0.059 / sun.cos_zenith).exp()
}

impl Daylight {
    /// Splits global irradiance by the clearness of the sky (Erbs).
    #[must_use]
    pub fn split(global: f64, sun: &Sun) -> Self {
        if global <= 0.0 {
            return Self::default();
        }
        if sun.cos_zenith < BEAM_COS_MIN {
            return Self { global, beam: 0.0, diffuse: global };
        }
        let k = (global / (sun.extraterrestrial * sun.cos_zenith)).clamp(0.0, 1.0);
        let diffuse_share = if k <= 0.22 {
            1.0 - 0.09 * k
        } else if k <= 0.80 {
            0.9511 + k * (-0.1604 + k * (4.388 + k * (-16.638 + k * 12.336)))
        } else {
            0.165
        };
        let diffuse = global * diffuse_share;
        let beam = ((global - diffuse) / sun.cos_zenith).min(sun.extraterrestrial);
        Self { global, beam, diffuse }
    }

    /// Irradiance on a plane with this tilt and azimuth (degrees, clockwise from north), in W/m².
    #[must_use]
    pub fn on_plane(&self, sun: &Sun, tilt_deg: f64, azimuth_deg: f64) -> f64 {
        let cos_tilt = tilt_deg.to_radians().cos();
        let beam = self.beam * sun.cos_incidence(tilt_deg, azimuth_deg).max(0.0);
        let from_sky = self.diffuse * (1.0 + cos_tilt) / 2.0;
        let from_ground = self.global * ALBEDO * (1.0 - cos_tilt) / 2.0;
        beam + from_sky + from_ground
    }
}

#[cfg(test)]
mod tests {
    use ecowatt_model::UnixMs;

    use super::*;

    #[test]
    fn clear_noon_in_moratuwa_has_the_haurwitz_value() {
        let start = 1_774_051_200_000; // 2026-03-21T00:00Z
        let noon = (0..1_440)
            .map(|minute| Sun::seen_from(6.8, 79.9, UnixMs(start + minute * 60_000)))
            .map(|sun| clear_sky(&sun))
            .fold(0.0, f64::max);
        assert!((noon - 1_025.0).abs() < 4.0, "{noon}");
    }

    #[test]
    fn beam_and_diffuse_add_up_to_global() {
        let sun = Sun::seen_from(6.8, 79.9, UnixMs(1_774_075_800_000));
        for global in [50.0, 300.0, 700.0, 1_000.0] {
            let light = Daylight::split(global, &sun);
            let sum = light.beam * sun.cos_zenith + light.diffuse;
            assert!((sum - global).abs() < 1e-9, "{global}: {sum}");
        }
    }

    #[test]
    fn a_horizontal_plane_gets_global_irradiance() {
        let sun = Sun::seen_from(52.5, 13.4, UnixMs(1_750_500_000_000));
        let light = Daylight::split(600.0, &sun);
        assert!((light.on_plane(&sun, 0.0, 180.0) - 600.0).abs() < 1e-9);
    }
}
