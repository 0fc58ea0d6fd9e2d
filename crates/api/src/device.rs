//! Devices, their sites and inverters.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line for a device: is it well, and how much does it make?
///
/// Ordered so that a later one is worse.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// At least one inverter feeds in.
    Producing,
    /// Inverters answer and make nothing while the sun is up.
    Idle,
    /// Inverters sleep, as they do at night.
    Asleep,
    /// Enrolled, nothing received yet.
    Waiting,
    /// An inverter does not answer or answers with faults.
    Faulty,
    /// The device itself has not been heard of for longer than it should be.
    Silent,
}

/// How an inverter was when its device last reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InverterState {
    /// Nothing is known yet.
    Unknown,
    Online,
    /// Went quiet the way inverters do at dusk.
    Asleep,
    /// Does not answer, and night is no excuse.
    Offline,
    /// Answers, but with errors or in a fault state.
    Faulty,
}

/// A place with devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    pub id: i64,
    pub name: String,
    /// IANA name; days begin and end by it.
    pub time_zone: String,
}

/// A device in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Such as `dev-42`.
    pub id: String,
    pub name: String,
    pub site: Site,
    pub state: DeviceState,
    /// When its state became what it is, if that is known.
    pub state_since: Option<String>,
    /// AC power of its inverters at their latest good readings; absent when none is recent.
    pub power_w: Option<f64>,
    /// Energy of the site's present day.
    pub energy_today_wh: Option<i64>,
    /// When the server last took a message from it.
    pub last_seen: Option<String>,
    /// Time of its newest sample.
    pub last_sample: Option<String>,
    /// Software the device runs, as it reported.
    pub firmware: Option<String>,
    /// What is the matter with it, as far as the server knows; absent if nothing is.
    pub trouble: Option<Trouble>,
    /// Today's AC power, for a small picture.
    pub spark: Spark,
    pub created: String,
}

/// Why a device needs somebody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    pub cause: TroubleCause,
    /// The inverters that it is about, as in `inverter=`; none if it is about the device itself.
    pub inverters: Vec<u8>,
    /// How the latest attempt to read the power of one of them ended, if not well.
    pub quality: Option<String>,
    /// Since when, if that is known. A silence began when the device or inverter was last heard of,
    /// not when the server noticed.
    pub since: Option<String>,
    /// When power was last read well: of these inverters, or of any of the device.
    pub last_good: Option<String>,
}

/// What is the matter with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TroubleCause {
    /// Its claim code was not redeemed yet.
    NotClaimed,
    /// It was given a key and has sent nothing yet.
    NothingReceived,
    /// Its key is revoked: nothing that it sends is taken until it is enrolled again.
    KeyRevoked,
    /// No message has come for longer than it should take.
    NotHeard,
    /// Inverters do not answer, and night is no excuse.
    InverterOffline,
    /// Inverters answer with errors, or say that they are in a fault state.
    InverterFaulty,
}

/// Mean AC power per quarter hour of the site's present day.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Spark {
    /// Start of the first quarter hour, RFC 3339; the site's midnight.
    pub from: Option<String>,
    /// Seconds from `from` to the start of each bucket.
    pub offset_s: Vec<u32>,
    pub power_w: Vec<f64>,
}

/// One page of devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceList {
    pub devices: Vec<Device>,
    /// Give it as `cursor` for the next page; absent on the last one.
    pub next_cursor: Option<String>,
    /// All devices, not only this page's.
    pub total: u64,
}

/// A device with everything that was last measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceDetail {
    #[serde(flatten)]
    pub device: Device,
    pub inverters: Vec<InverterSummary>,
    pub link: LinkState,
    /// What the device said of itself, by name (uptime, spool fill, link counters, reboot reason).
    pub diagnostics: Vec<(String, String)>,
}

/// One inverter of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InverterSummary {
    /// From 0 in the order of the device's configuration; `inverter=` in telemetry queries.
    pub number: u8,
    pub profile: String,
    pub title: String,
    pub state: InverterState,
    pub points: Vec<PointValue>,
}

/// The newest reading of a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PointValue {
    /// Canonical name such as `ac.power`.
    pub point: String,
    pub unit: String,
    /// Decimals that the sensor has.
    pub decimals: u8,
    /// Newest good value; absent if there never was one.
    pub value: Option<f64>,
    /// Time of that value.
    pub read_at: Option<String>,
    /// Quality of the latest attempt to read the point, which may be later than `read_at`.
    pub quality: String,
    /// Time of that attempt.
    pub tried_at: Option<String>,
    /// Words for enumerated points, such as `mppt` for a state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
}

/// The link between device and server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkState {
    /// The key that it was last heard with; 0 if it was not heard of yet.
    pub key_generation: u16,
    /// When the key that it was given last was revoked; nothing that the device sends is taken until it is enrolled again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_revoked: Option<String>,
    pub boot_epoch: Option<u32>,
    pub messages: u64,
    pub batches: u64,
    pub samples: u64,
    /// Batches that came again and were not stored again.
    pub duplicates: u64,
    /// Bytes of the messages received, transport headers aside.
    pub bytes: u64,
}

/// A description of an inverter model that every agent knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// What an agent's configuration calls it, such as `sunspec/generic-pv`.
    pub id: String,
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
    pub name: String,
    /// IANA name, such as `Europe/Berlin`; needed for a site that does not exist yet.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A claim code, shown once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Enrolment {
    pub device: String,
    /// Give it to the agent; it can be redeemed once.
    pub claim_code: String,
    pub expires: String,
    /// What may be wrong with what was asked for, such as a name that another device has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub warning: Option<String>,
}

/// Changes a device; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateDevice {
    /// 1 to 80 characters.
    #[serde(default)]
    pub name: Option<String>,
    /// The site by name; made if there is none of that name.
    #[serde(default)]
    pub site: Option<NewSite>,
    /// Whether days that are stored may stay as they were cut, by another time zone.
    #[serde(default)]
    pub keep_past_days: bool,
}

/// Changes a site; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSite {
    /// 1 to 80 characters, and no other site's name.
    #[serde(default)]
    pub name: Option<String>,
    /// IANA name.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Whether days that are stored may stay as they were cut, by another time zone.
    #[serde(default)]
    pub keep_past_days: bool,
}

/// A change that was made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Updated {
    /// What may be wrong with it, such as a name that another device has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub warning: Option<String>,
}
