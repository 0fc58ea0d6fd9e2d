//! History of a device.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How finely history is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Resolution {
    /// Samples as they were taken.
    #[serde(rename = "raw")]
    Raw,
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "15m")]
    Quarter,
    /// Days in the site's time zone.
    #[serde(rename = "1d")]
    Day,
}

/// Columns of one inverter's history; all lists have as many items as `t_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Telemetry {
    pub device: String,
    pub inverter: u8,
    pub resolution: Resolution,
    pub from: String,
    pub to: String,
    /// Instants (raw) or starts of buckets, Unix milliseconds, ascending. Only instants and buckets
    /// with data are listed, so a gap shows as a step in time.
    pub t_ms: Vec<i64>,
    pub series: Vec<Series>,
    /// Stretches of samples whose times are not sure, only in raw answers:
    /// (index of the first into `t_ms`, index after the last, why).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unsure_times: Option<Vec<(u32, u32, UnsureTime)>>,
    /// The range had more than one answer holds.
    pub truncated: bool,
    /// Where the rest begins, if there is more: ask again with the same range and this `cursor`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_cursor: Option<String>,
}

/// Why the time of a sample is not sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnsureTime {
    /// Nobody confirmed the device's clock before its power went: distances are right, but all samples
    /// of that run may have been taken earlier or later.
    Estimated,
    /// The device's clock gave a time that cannot be.
    Suspect,
}

impl UnsureTime {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Estimated => "estimated",
            Self::Suspect => "suspect",
        }
    }
}

/// One point over time. `null` where there is no good reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    pub point: String,
    pub unit: String,
    pub decimals: u8,
    /// The reading (raw), or the mean of the bucket's good readings.
    pub value: Vec<Option<f64>>,
    /// Absent in raw answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<Vec<Option<f64>>>,
    /// Good readings in the bucket.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<Vec<u32>>,
    /// Names of qualities by reading, only in raw answers and only where not `good`:
    /// (index into `t_ms`, quality).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_good: Option<Vec<(u32, String)>>,
}

/// Where an energy figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnergySource {
    /// Differences of the inverter's lifetime counter.
    Counter,
    /// Power over time, for inverters without a counter.
    Integrated,
}

/// Energy by day in the site's time zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Energy {
    pub device: String,
    pub time_zone: String,
    pub from: String,
    pub to: String,
    pub days: Vec<EnergyDay>,
    /// There are more gaps than an answer holds; days from here on list none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gaps_listed_until: Option<String>,
}

/// One local day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnergyDay {
    /// `YYYY-MM-DD` in the site's time zone.
    pub date: String,
    /// Whole watt-hours of all inverters.
    pub energy_wh: i64,
    pub source: EnergySource,
    /// Readings of lifetime counters that were passed over because they cannot be, and steps at which
    /// another counter began. Many of them, day after day, mean that an inverter or its line is sick.
    /// Left out if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub refused_steps: u64,
    /// Stretches without readings, which an integrated figure does not cover and a counter bridges.
    pub gaps: Vec<EnergyGap>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A stretch without readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnergyGap {
    pub inverter: u8,
    pub from: String,
    pub to: String,
}
