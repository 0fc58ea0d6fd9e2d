//! History of a device.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Resolution of a history query.
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

/// Columns of one inverter's history; every list is as long as `t_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Telemetry {
    #[schema(example = "dev-42")]
    pub device: String,
    #[schema(example = 0)]
    pub inverter: u8,
    pub resolution: Resolution,
    #[schema(example = "2026-11-26T23:00:00.000Z")]
    pub from: String,
    #[schema(example = "2026-11-27T23:00:00.000Z")]
    pub to: String,
    /// Instants (raw) or starts of buckets, Unix milliseconds, ascending. Only instants and buckets
    /// with data are listed, so a gap shows as a step in time.
    #[schema(example = json!([1_795_774_440_000_i64, 1_795_774_500_000_i64]))]
    pub t_ms: Vec<i64>,
    pub series: Vec<Series>,
    /// Ranges of samples whose times are uncertain, only in raw answers:
    /// (index of the first into `t_ms`, index after the last, why).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!([[0, 2, "estimated"]]))]
    pub unsure_times: Option<Vec<(u32, u32, UnsureTime)>>,
    /// Data of this resolution from before this instant was removed by the server's retention. Only
    /// present if the range begins before it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "2026-08-29T00:00:00.000Z")]
    pub removed_before: Option<String>,
    /// Whether the range holds more than fits in one answer.
    #[schema(example = false)]
    pub truncated: bool,
    /// Where the rest begins, if there is more: repeat the query with this `cursor`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "1795774500000.7.12.3")]
    pub next_cursor: Option<String>,
}

/// Why the time of a sample is uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnsureTime {
    /// The device lost power before its clock was confirmed: the samples of that run are right
    /// relative to one another, but all of them may be shifted.
    Estimated,
    /// The device's clock was impossibly wrong.
    Suspect,
}

impl UnsureTime {
    /// Returns its name in JSON.
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
    #[schema(example = "ac.power")]
    pub point: String,
    #[schema(example = "W")]
    pub unit: String,
    #[schema(example = 0)]
    pub decimals: u8,
    /// The reading (raw), or the mean of the bucket's good readings.
    #[schema(example = json!([6_810.5, null]))]
    pub value: Vec<Option<f64>>,
    /// Absent in raw answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!([6_790.0, null]))]
    pub min: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!([6_840.0, null]))]
    pub max: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!([6_840.0, null]))]
    pub last: Option<Vec<Option<f64>>>,
    /// Good readings in the bucket.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!([12, 0]))]
    pub count: Option<Vec<u32>>,
    /// Names of qualities by reading, only in raw answers and only where not `good`:
    /// (index into `t_ms`, quality).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = json!([[1, "timeout"]]))]
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
    #[schema(example = "dev-42")]
    pub device: String,
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    #[schema(example = "2026-11-26T23:00:00.000Z")]
    pub from: String,
    #[schema(example = "2026-11-27T23:00:00.000Z")]
    pub to: String,
    pub days: Vec<EnergyDay>,
    /// The first day whose gaps are not listed, if there are more than fit in one answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "2026-11-27")]
    pub gaps_listed_until: Option<String>,
}

/// One local day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnergyDay {
    /// `YYYY-MM-DD` in the site's time zone.
    #[schema(example = "2026-11-27")]
    pub date: String,
    /// Whole watt-hours of all inverters.
    #[schema(example = 23_410)]
    pub energy_wh: i64,
    pub source: EnergySource,
    /// Impossible readings of lifetime counters that were left out, and steps at which another counter
    /// began. Many of them day after day mean that an inverter or its bus is faulty.
    /// Absent if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false, example = 4)]
    pub refused_steps: u64,
    /// Ranges without readings; an integrated figure does not cover them, a counter does.
    pub gaps: Vec<EnergyGap>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A range of time without readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnergyGap {
    #[schema(example = 0)]
    pub inverter: u8,
    #[schema(example = "2026-11-27T10:14:55.000Z")]
    pub from: String,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub to: String,
}
