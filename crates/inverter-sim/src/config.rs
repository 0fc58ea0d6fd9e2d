//! The simulated plant and inverter; plain data that a caller builds or parses.

use serde::{Deserialize, Serialize};

use crate::physics::grid::GridConfig;
use crate::physics::random::{Random, splitmix};

/// Maximum number of strings: SunSpec's model 160 allows more, real inverters of this size do not
/// have them.
pub const STRINGS_MAX: usize = 4;

/// The largest rated power that all register maps here can represent without overflow.
pub const RATED_W_MAX: u32 = 30_000;

const MODULES_MAX: u16 = 60;

/// An inverter with its plant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Determines everything random.
    pub seed: u64,
    /// Which register map it has.
    pub map: RegisterMap,
    /// Its unit identifier.
    pub unit: u8,
    /// Its serial number, at most 32 characters.
    pub serial: String,
    /// Rated AC power in W.
    pub rated_w: u32,
    /// Power drawn from the grid at night, in W.
    pub night_w: f64,
    /// Location of the plant.
    pub site: Site,
    /// Module strings, one tracker each.
    pub strings: Vec<PvString>,
    /// Its connection point.
    pub grid: GridConfig,
    /// Derating by heat.
    pub derating: Derating,
    /// How it follows an export limit.
    pub limit: Limit,
    /// Initial value of its lifetime counter, in Wh.
    pub lifetime_wh: u64,
    /// How fast its own clock drifts, in parts per million; positive gains time.
    pub clock_drift_ppm: f64,
    /// Whether it refuses a second TCP client while one is connected.
    pub single_client: bool,
}

/// A register map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegisterMap {
    /// The ten holding registers of the original's simulator.
    #[serde(rename = "ecowatt/seed-sim")]
    Seed,
    /// SunSpec at 40000: common, 120, 121, 103, 123, 160.
    #[serde(rename = "sunspec/generic-pv", alias = "sunspec")]
    SunSpec,
    /// SunSpec at 40000 as in inverters since IEEE 1547-2018: common, 701 to 705, 711, 714.
    #[serde(rename = "sunspec/der")]
    Der,
}

impl RegisterMap {
    /// Id of the profile that reads it.
    #[must_use]
    pub fn profile(self) -> &'static str {
        match self {
            Self::Seed => "ecowatt/seed-sim",
            Self::SunSpec | Self::Der => "sunspec/generic-pv",
        }
    }
}

/// Location of a plant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Local time minus UTC; sets when the inverter's day begins.
    pub utc_offset_s: i32,
    /// Mean air temperature in °C.
    pub air_mean_c: f64,
    /// Half the difference between afternoon and night, in K.
    pub air_swing_k: f64,
    /// From 0 (always clear) to 1 (mostly overcast); default: drawn for each day.
    pub cloudiness: Option<f64>,
}

/// Modules in series on a roof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PvString {
    /// Modules of 300 W in series.
    pub modules: u16,
    /// Degrees from horizontal.
    pub tilt_deg: f64,
    /// Degrees clockwise from north: south is 180.
    pub azimuth_deg: f64,
    /// An obstacle in front of the sun.
    #[serde(default)]
    pub shade: Option<Shade>,
}

/// An obstacle that blocks the beam while the sun is behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shade {
    /// Its left edge, degrees clockwise from north.
    pub from_azimuth_deg: f64,
    /// Its right edge.
    pub to_azimuth_deg: f64,
    /// Its top, in degrees above the horizon.
    pub elevation_deg: f64,
}

/// Full power below `start_c`, none above `end_c`, both measured inside the housing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Derating {
    /// °C.
    pub start_c: f64,
    /// °C.
    pub end_c: f64,
    /// How much warmer than the air the housing is at rated power, in K.
    pub rise_k: f64,
}

/// How an export limit is followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// Per cent of rated power per second.
    pub ramp_pct_s: f64,
    /// Seconds after which a limit written to the seed map's register expires; default: never.
    pub revert_after_s: Option<u32>,
    /// Whether 0 % puts the inverter into standby, after which it needs its start-up time again.
    pub zero_is_standby: bool,
}

/// Why a plant cannot be simulated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A value outside the range that the models and registers support.
    #[error("{field} is outside {range}")]
    OutOfRange {
        /// The field's path.
        field: &'static str,
        /// The allowed range.
        range: &'static str,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            map: RegisterMap::Seed,
            unit: 0x11,
            serial: "EWSIM-000001".to_owned(),
            rated_w: 5_000,
            night_w: 2.0,
            site: Site::default(),
            strings: vec![PvString::facing(180.0, 10), PvString::facing(110.0, 8)],
            grid: GridConfig::default(),
            derating: Derating::default(),
            limit: Limit::default(),
            lifetime_wh: 12_345_678,
            clock_drift_ppm: 0.0,
            single_client: false,
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::BERLIN
    }
}

impl Site {
    /// 52.5 N 13.4 E.
    pub const BERLIN: Self = Self {
        latitude: 52.5,
        longitude: 13.4,
        utc_offset_s: 3_600,
        air_mean_c: 14.0,
        air_swing_k: 5.0,
        cloudiness: None,
    };

    /// 6.9 N 79.9 E.
    pub const COLOMBO: Self = Self {
        latitude: 6.9,
        longitude: 79.9,
        utc_offset_s: 19_800,
        air_mean_c: 27.5,
        air_swing_k: 3.5,
        cloudiness: None,
    };

    /// Any other location: local time from its longitude, air temperature from its latitude.
    #[must_use]
    pub fn at(latitude: f64, longitude: f64) -> Self {
        let hours = (longitude / 15.0).round().clamp(-12.0, 12.0);
        let offset_s = i32::try_from(crate::scale::to_u32(hours.abs() * 3_600.0)).unwrap_or(0);
        Self {
            latitude,
            longitude,
            utc_offset_s: if hours < 0.0 { -offset_s } else { offset_s },
            // 28 °C at the equator, 14 at 52.5 degrees.
            air_mean_c: 28.0 - latitude.abs() * 0.267,
            ..Self::BERLIN
        }
    }
}

impl Default for Derating {
    fn default() -> Self {
        Self { start_c: 45.0, end_c: 70.0, rise_k: 17.0 }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self { ramp_pct_s: 5.0, revert_after_s: None, zero_is_standby: false }
    }
}

impl PvString {
    /// An unshaded string at 25 degrees of tilt.
    #[must_use]
    pub fn facing(azimuth_deg: f64, modules: u16) -> Self {
        Self { modules, tilt_deg: 25.0, azimuth_deg, shade: None }
    }
}

impl Config {
    /// Returns the `index`th plant of a fleet: realistic, and different from its neighbours in
    /// size, orientation and noise. All share the site, and so the sun; each has its own clouds.
    #[must_use]
    pub fn varied(seed: u64, index: u64, site: Site) -> Self {
        let mut state = seed ^ index.wrapping_mul(0x9E6C_63D0_876A_68E5);
        let seed = splitmix(&mut state);
        let mut random = Random::new(seed, u64::MAX);
        let sizes: [(u32, u16, u16); 6] = [
            (3_000, 7, 5),
            (3_680, 9, 6),
            (5_000, 10, 8),
            (6_000, 12, 10),
            (8_000, 16, 13),
            (10_000, 20, 17),
        ];
        let (rated_w, first, second) = sizes[random.below(sizes.len())];
        let azimuth = random.between(150.0, 215.0);
        let tilt_deg = random.between(15.0, 38.0);
        let turned = if random.happens(0.5) { 70.0 } else { -70.0 };
        let shade = random.happens(0.25).then(|| Shade {
            from_azimuth_deg: 90.0,
            to_azimuth_deg: 125.0,
            elevation_deg: random.between(15.0, 30.0),
        });
        let strings = vec![
            PvString { modules: first, tilt_deg, azimuth_deg: azimuth, shade },
            PvString { modules: second, tilt_deg, azimuth_deg: azimuth + turned, shade: None },
        ];
        let site = Site {
            latitude: site.latitude + random.between(-0.05, 0.05),
            longitude: site.longitude + random.between(-0.05, 0.05),
            air_mean_c: site.air_mean_c + random.between(-0.8, 0.8),
            ..site
        };
        let grid = GridConfig {
            volts: random.between(228.0, 233.0),
            // Small plants are on weak lines; the rise at rated power stays within a few volts.
            rise_v_per_w: random.between(2.0, 5.0) / f64::from(rated_w),
            ..GridConfig::default()
        };
        let years = random.between(0.2, 6.0);
        let lifetime_wh = years * 950.0 * f64::from(rated_w);
        Self {
            seed,
            serial: format!("EWSIM-{:06}", index + 1),
            rated_w,
            site,
            strings,
            grid,
            lifetime_wh: crate::scale::to_u64(lifetime_wh),
            clock_drift_ppm: random.between(-20.0, 20.0),
            ..Self::default()
        }
    }

    /// Checks that the models and registers support the configuration.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |is_fine: bool, field, range| {
            if is_fine { Ok(()) } else { Err(ConfigError::OutOfRange { field, range }) }
        };
        let finite = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
        within((100..=RATED_W_MAX).contains(&self.rated_w), "rated_w", "100..=30000")?;
        within((1..=247).contains(&self.unit), "unit", "1..=247")?;
        within(self.serial.len() <= 32 && self.serial.is_ascii(), "serial", "32 ASCII characters")?;
        within(finite(self.night_w, 0.0, 200.0), "night_w", "0..=200")?;
        within(finite(self.site.latitude, -90.0, 90.0), "site.latitude", "-90..=90")?;
        within(finite(self.site.longitude, -180.0, 180.0), "site.longitude", "-180..=180")?;
        let is_offset = (-50_400..=50_400).contains(&self.site.utc_offset_s);
        within(is_offset, "site.utc_offset_s", "-50400..=50400")?;
        within(finite(self.site.air_mean_c, -50.0, 60.0), "site.air_mean_c", "-50..=60")?;
        within(finite(self.site.air_swing_k, 0.0, 40.0), "site.air_swing_k", "0..=40")?;
        let cloudiness = self.site.cloudiness.unwrap_or(0.0);
        within(finite(cloudiness, 0.0, 1.0), "site.cloudiness", "0..=1")?;
        within((1..=STRINGS_MAX).contains(&self.strings.len()), "strings", "1..=4 of them")?;
        for string in &self.strings {
            within((1..=MODULES_MAX).contains(&string.modules), "strings.modules", "1..=60")?;
            within(finite(string.tilt_deg, 0.0, 90.0), "strings.tilt_deg", "0..=90")?;
            within(finite(string.azimuth_deg, -360.0, 720.0), "strings.azimuth_deg", "-360..=720")?;
        }
        within(finite(self.grid.volts, 100.0, 280.0), "grid.volts", "100..=280")?;
        within(finite(self.grid.hertz, 45.0, 65.0), "grid.hertz", "45..=65")?;
        within(finite(self.grid.rise_v_per_w, 0.0, 0.1), "grid.rise_v_per_w", "0..=0.1")?;
        within(
            finite(self.grid.outages_per_day, 0.0, 1_440.0),
            "grid.outages_per_day",
            "0..=1440",
        )?;
        let derating = &self.derating;
        let is_order = derating.start_c < derating.end_c && derating.rise_k.is_finite();
        within(is_order, "derating", "start_c below end_c")?;
        within(finite(self.limit.ramp_pct_s, 0.01, 100.0), "limit.ramp_pct_s", "0.01..=100")?;
        within(self.lifetime_wh <= 1_000_000_000_000, "lifetime_wh", "..=10^12")?;
        within(finite(self.clock_drift_ppm, -1_000.0, 1_000.0), "clock_drift_ppm", "-1000..=1000")
    }
}

impl std::fmt::Display for RegisterMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Seed => "ecowatt/seed-sim",
            Self::SunSpec => "sunspec/generic-pv",
            Self::Der => "sunspec/der",
        })
    }
}

/// A name that is not a register map's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown register map {0:?}; known are ecowatt/seed-sim, sunspec and sunspec/der")]
pub struct UnknownMap(pub String);

impl std::str::FromStr for RegisterMap {
    type Err = UnknownMap;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "ecowatt/seed-sim" | "seed-sim" | "seed" => Ok(Self::Seed),
            "sunspec/generic-pv" | "sunspec" => Ok(Self::SunSpec),
            "sunspec/der" => Ok(Self::Der),
            _ => Err(UnknownMap(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varied_plants_are_valid_and_all_different() {
        let fleet: Vec<Config> =
            (0..200).map(|index| Config::varied(42, index, Site::BERLIN)).collect();
        for config in &fleet {
            assert_eq!(config.check(), Ok(()));
        }
        assert_ne!(fleet[0].seed, fleet[1].seed);
        assert_eq!(Config::varied(42, 7, Site::BERLIN), fleet[7]);
        assert!(
            fleet.iter().any(|c| c.rated_w == 3_000) && fleet.iter().any(|c| c.rated_w == 10_000)
        );
    }

    #[test]
    fn a_plant_without_strings_is_refused() {
        let config = Config { strings: Vec::new(), ..Config::default() };
        let refused = ConfigError::OutOfRange { field: "strings", range: "1..=4 of them" };
        assert_eq!(config.check(), Err(refused));
    }

    #[test]
    fn map_names_round_trip() {
        for map in [RegisterMap::Seed, RegisterMap::SunSpec, RegisterMap::Der] {
            assert_eq!(map.to_string().parse(), Ok(map));
        }
    }
}
