//! Devices, their sites and inverters.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a device.
///
/// Later states are worse.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// At least one inverter produces power.
    Producing,
    /// The inverters answer but produce nothing in daylight.
    Idle,
    /// The inverters are asleep, as at night.
    Asleep,
    /// Enrolled, nothing received yet.
    Waiting,
    /// An inverter does not answer or answers with faults.
    Faulty,
    /// The device has not sent anything for longer than it should.
    Silent,
}

/// State of an inverter in its device's latest report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InverterState {
    /// Nothing is known yet.
    Unknown,
    Online,
    /// Stopped answering the way inverters do at dusk.
    Asleep,
    /// Does not answer although it should be awake.
    Offline,
    /// Answers, but with errors or in a fault state.
    Faulty,
}

/// A place with devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    #[schema(example = 1)]
    pub id: i64,
    #[schema(example = "Havelberg")]
    pub name: String,
    /// IANA name. Days begin and end in this time zone.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
}

/// A device in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Such as `dev-42`.
    #[schema(example = "dev-42")]
    pub id: String,
    #[schema(example = "Barn")]
    pub name: String,
    pub site: Site,
    pub state: DeviceState,
    /// Since when it has been in this state, if known.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub state_since: Option<String>,
    /// AC power of its inverters by their latest good readings; absent if none is recent.
    #[schema(example = 6_840.0)]
    pub power_w: Option<f64>,
    /// Energy so far on the site's current day.
    #[schema(example = 23_410)]
    pub energy_today_wh: Option<i64>,
    /// When the server last took a message from it.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub last_seen: Option<String>,
    /// Time of its newest sample.
    #[schema(example = "2026-11-27T10:14:55.000Z")]
    pub last_sample: Option<String>,
    /// Software the device runs, as it reported.
    #[schema(example = "ecowatt 0.1.0")]
    pub firmware: Option<String>,
    /// What is wrong with it, as far as the server knows; absent if nothing is.
    pub trouble: Option<Trouble>,
    /// Today's AC power, for a sparkline.
    pub spark: Spark,
    #[schema(example = "2026-03-02T08:00:00.000Z")]
    pub created: String,
}

/// Why a device needs attention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    pub cause: TroubleCause,
    /// The affected inverters, numbered as in `inverter=`; empty if the device itself is affected.
    #[schema(example = json!([0]))]
    pub inverters: Vec<u8>,
    /// Quality of the latest attempt to read the power of one of them, if it failed.
    #[schema(example = "timeout")]
    pub quality: Option<String>,
    /// Since when, if known. Silence counts from when the device or inverter was last heard, not
    /// from when the server noticed.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub since: Option<String>,
    /// When power was last read successfully: of these inverters, or of any of the device's.
    #[schema(example = "2026-11-27T10:14:55.000Z")]
    pub last_good: Option<String>,
}

/// What is wrong with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TroubleCause {
    /// Its claim code has not been redeemed yet.
    NotClaimed,
    /// It has a key but has not sent anything yet.
    NothingReceived,
    /// Its key is revoked; the server accepts nothing from it until it is enrolled again.
    KeyRevoked,
    /// No message has arrived for longer than it should take.
    NotHeard,
    /// Inverters do not answer although they should be awake.
    InverterOffline,
    /// Inverters answer with errors or report a fault state.
    InverterFaulty,
}

/// Mean AC power per quarter hour of the site's current day.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Spark {
    /// Start of the first quarter hour, RFC 3339; the site's midnight.
    #[schema(example = "2026-11-26T23:00:00.000Z")]
    pub from: Option<String>,
    /// Seconds from `from` to the start of each bucket.
    #[schema(example = json!([36_000, 36_900]))]
    pub offset_s: Vec<u32>,
    #[schema(example = json!([6_810.5, 6_840.0]))]
    pub power_w: Vec<f64>,
}

/// One page of devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceList {
    pub devices: Vec<Device>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[schema(example = "dev-42")]
    pub next_cursor: Option<String>,
    /// Number of all matching devices, not only those of this page.
    #[schema(example = 1_240)]
    pub total: u64,
}

/// A device with everything that was last measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceDetail {
    #[serde(flatten)]
    pub device: Device,
    pub inverters: Vec<InverterSummary>,
    pub link: LinkState,
    /// What the device reports about itself, by name (fill of the spool, failures of the link, reason of the last start).
    #[schema(example = json!([["boot_reason", "clean"], ["backlog_batches", "0"]]))]
    pub diagnostics: Vec<(String, String)>,
}

/// One inverter of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InverterSummary {
    /// Counts from 0 in the order of the device's configuration; `inverter=` in telemetry queries.
    #[schema(example = 0)]
    pub number: u8,
    #[schema(example = "sunspec/generic-pv")]
    pub profile: String,
    #[schema(example = "Any SunSpec PV inverter")]
    pub title: String,
    pub state: InverterState,
    pub points: Vec<PointValue>,
}

/// The newest reading of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PointValue {
    /// Canonical name such as `ac.power`.
    #[schema(example = "ac.power")]
    pub point: String,
    #[schema(example = "W")]
    pub unit: String,
    /// Decimals of the sensor.
    #[schema(example = 0)]
    pub decimals: u8,
    /// Newest good value; absent if there never was one.
    #[schema(example = 6_840.0)]
    pub value: Option<f64>,
    /// Time of that value.
    #[schema(example = "2026-11-27T10:14:55.000Z")]
    pub read_at: Option<String>,
    /// Quality of the latest attempt to read the point, which may be later than `read_at`.
    #[schema(example = "good")]
    pub quality: String,
    /// Time of that attempt.
    #[schema(example = "2026-11-27T10:14:55.000Z")]
    pub tried_at: Option<String>,
    /// Name of the value of an enumerated point, such as `mppt` for a state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "mppt")]
    pub text: Option<String>,
}

/// The link between device and server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkState {
    /// Generation of the key that it last used; 0 if it has not sent anything yet.
    #[schema(example = 1)]
    pub key_generation: u16,
    /// When its latest key was revoked; the server accepts nothing from the device until it is enrolled again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub key_revoked: Option<String>,
    #[schema(example = 7)]
    pub boot_epoch: Option<u32>,
    #[schema(example = 9_120)]
    pub messages: u64,
    #[schema(example = 9_118)]
    pub batches: u64,
    #[schema(example = 136_770)]
    pub samples: u64,
    /// Batches that arrived again and were not stored twice.
    #[schema(example = 2)]
    pub duplicates: u64,
    /// Batches that could not be read. They are acknowledged, so that the device stops sending them.
    #[schema(example = 0)]
    pub refused: u64,
    /// Samples that the device has reported as lost, such as those that a full disk had no room for.
    #[schema(example = 0)]
    pub dropped_samples: u64,
    /// Bytes of the messages received, without transport headers.
    #[schema(example = 3_410_220)]
    pub bytes: u64,
}

/// A description of an inverter model that every agent knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Name in an agent's configuration, such as `sunspec/generic-pv`.
    #[schema(example = "sunspec/generic-pv")]
    pub id: String,
    #[schema(example = "Any SunSpec PV inverter")]
    pub title: String,
}

/// A new device, which gets a claim code.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDevice {
    /// 1 to 80 characters.
    #[schema(example = "Barn")]
    pub name: String,
    /// The site by name; created if no site has it.
    pub site: NewSite,
    /// How long the code can be redeemed; default: one day, at most 30 days.
    #[serde(default)]
    #[schema(example = 86_400)]
    pub valid_for_s: Option<u64>,
}

/// A new claim code for an existing device.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateClaim {
    /// How long the code can be redeemed; default: one day, at most 30 days.
    #[serde(default)]
    #[schema(example = 86_400)]
    pub valid_for_s: Option<u64>,
}

/// The site that a device is enrolled at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSite {
    #[schema(example = "Havelberg")]
    pub name: String,
    /// IANA name, such as `Europe/Berlin`; required for a site that does not exist yet.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
}

/// A claim code, shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Enrolment {
    #[schema(example = "dev-42")]
    pub device: String,
    /// For the agent's configuration; it can be redeemed once.
    #[schema(example = "7KQM2-D4XPA-90RTC-VW3HN")]
    pub claim_code: String,
    #[schema(example = "2026-11-28T10:15:00.000Z")]
    pub expires: String,
    /// A possible mistake in the request, such as a name that another device has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "there is another device of that name at that site: dev-7")]
    pub warning: Option<String>,
}

/// Changes a device; absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateDevice {
    /// 1 to 80 characters.
    #[serde(default)]
    #[schema(example = "Barn")]
    pub name: Option<String>,
    /// The site by name; created if no site has it.
    #[serde(default)]
    pub site: Option<NewSite>,
    /// Accepts that past days stay as they were stored, in another time zone.
    #[serde(default)]
    #[schema(example = false)]
    pub keep_past_days: bool,
}

/// Changes a site; absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSite {
    /// 1 to 80 characters, and not the name of another site.
    #[serde(default)]
    #[schema(example = "Havelberg")]
    pub name: Option<String>,
    /// IANA name.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// Accepts that past days stay as they were stored, in another time zone.
    #[serde(default)]
    #[schema(example = false)]
    pub keep_past_days: bool,
}

/// The result of a change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Updated {
    /// A possible mistake in the change, such as a name that another device has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "there is another device of that name at that site: dev-7")]
    pub warning: Option<String>,
}
