//! Clouds as a clear-sky index: the fraction of clear-sky irradiance that reaches the ground.
//!
//! A chain of three states (clear, broken, overcast) with log-normal dwell times, after the Markov
//! approach of Bright et al., "Stochastic generation of synthetic minutely irradiance time series",
//! Solar Energy 115 (2015). A broken sky alternates between cloud and gap; the edge of a gap
//! reflects extra light for some seconds. Edges pass over a plant in 5 to 20 s. The numbers are
//! chosen to resemble one-minute records; they are not fitted.

use crate::physics::random::{Random, splitmix};
use crate::physics::{STEP_S, lag};

/// Cloud cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// Almost no clouds.
    Clear,
    /// Clouds with gaps.
    Broken,
    /// No gaps.
    Overcast,
}

/// The sky over one site.
#[derive(Debug, Clone)]
pub struct Clouds {
    seed: u64,
    random: Random,
    /// Fixed by configuration; default: drawn for each day.
    cloudiness: Option<f64>,
    cover: Cover,
    cover_left_s: f64,
    /// Target of the index, and how long it keeps that target.
    target: f64,
    target_left_s: f64,
    /// Target after the bright edge of a gap.
    after_rim: Option<f64>,
    in_cloud: bool,
    edge: f64,
    index: f64,
}

const RIM_MAX: f64 = 1.2;

impl Clouds {
    /// A sky with this seed; `cloudiness` from 0 (always clear) to 1 (mostly overcast); default:
    /// drawn for each day.
    #[must_use]
    pub fn new(seed: u64, stream: u64, cloudiness: Option<f64>) -> Self {
        Self {
            seed,
            random: Random::new(seed, stream),
            cloudiness,
            cover: Cover::Clear,
            cover_left_s: 0.0,
            target: 1.0,
            target_left_s: 0.0,
            after_rim: None,
            in_cloud: false,
            edge: lag(10.0),
            index: 1.0,
        }
    }

    /// The current cloud cover.
    #[must_use]
    pub fn cover(&self) -> Cover {
        self.cover
    }

    /// Advances by one step on day number `day` and returns the clear-sky index.
    pub fn step(&mut self, day: i64) -> f64 {
        self.cover_left_s -= STEP_S;
        if self.cover_left_s <= 0.0 {
            self.change_cover(day);
        }
        self.target_left_s -= STEP_S;
        if self.target_left_s <= 0.0 {
            self.change_target();
        }
        self.index += (self.target - self.index) * self.edge;
        self.index
    }

    fn change_cover(&mut self, day: i64) {
        let cloudiness = self.cloudiness.unwrap_or_else(|| mood(self.seed, day)).clamp(0.0, 1.0);
        let (clear, broken) = ((1.0 - cloudiness).powi(2), 2.0 * cloudiness * (1.0 - cloudiness));
        let draw = self.random.unit();
        self.cover = if draw < clear {
            Cover::Clear
        } else if draw < clear + broken {
            Cover::Broken
        } else {
            Cover::Overcast
        };
        let median_s = match self.cover {
            Cover::Clear => 2_400.0,
            Cover::Broken => 1_800.0,
            Cover::Overcast => 3_000.0,
        };
        self.cover_left_s = self.random.log_normal(median_s, 0.8).clamp(120.0, 6.0 * 3_600.0);
        self.target_left_s = 0.0;
        self.after_rim = None;
    }

    fn change_target(&mut self) {
        if let Some(gap) = self.after_rim.take() {
            self.target = gap;
            self.target_left_s = self.random.log_normal(60.0, 0.9).clamp(5.0, 900.0);
            return;
        }
        match self.cover {
            Cover::Clear => {
                self.in_cloud = false;
                self.target = self.random.between(0.97, 1.01);
                self.target_left_s = self.random.log_normal(180.0, 0.5);
                self.edge = lag(20.0);
            }
            Cover::Broken => {
                self.in_cloud = !self.in_cloud;
                self.edge = lag(self.random.between(5.0, 20.0) / 2.0);
                if self.in_cloud {
                    self.target = self.random.between(0.30, 0.75);
                    self.target_left_s = self.random.log_normal(50.0, 0.9).clamp(5.0, 900.0);
                } else {
                    self.target = self.random.between(1.05, RIM_MAX);
                    self.target_left_s = self.random.between(4.0, 15.0);
                    self.after_rim = Some(self.random.between(0.92, 1.02));
                }
            }
            Cover::Overcast => {
                self.in_cloud = true;
                self.target = self.random.between(0.10, 0.40);
                self.target_left_s = self.random.log_normal(150.0, 0.6).clamp(20.0, 1_800.0);
                self.edge = lag(25.0);
            }
        }
    }
}

/// Cloudiness of a day, from 0 to 1; fair days are more frequent than grey ones.
fn mood(seed: u64, day: i64) -> f64 {
    let mut state = seed ^ day.unsigned_abs().wrapping_mul(0xD1B5_4A32_D192_ED03);
    let draw = (splitmix(&mut state) >> 11) as f64 / 9_007_199_254_740_992.0;
    draw * draw * 0.3 + draw * 0.6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloudless_site_stays_near_one() {
        let mut clouds = Clouds::new(1, 0, Some(0.0));
        for _ in 0..20_000 {
            let index = clouds.step(0);
            assert!((0.95..1.03).contains(&index), "{index}");
        }
    }

    #[test]
    fn a_broken_sky_goes_below_a_half_and_above_clear() {
        let mut clouds = Clouds::new(5, 0, Some(0.5));
        let seen: Vec<f64> = (0..86_400).map(|_| clouds.step(0)).collect();
        let low = seen.iter().copied().fold(f64::MAX, f64::min);
        let high = seen.iter().copied().fold(f64::MIN, f64::max);
        assert!(low < 0.4, "{low}");
        assert!(high > 1.05 && high <= RIM_MAX, "{high}");
    }

    #[test]
    fn days_of_one_seed_differ() {
        let moods: Vec<f64> = (0..30).map(|day| mood(9, day)).collect();
        assert!(moods.iter().any(|m| *m < 0.25), "{moods:?}");
        assert!(moods.iter().any(|m| *m > 0.6), "{moods:?}");
    }
}
