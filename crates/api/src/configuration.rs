//! Remote configuration of devices.
//!
//! A value has one spelling everywhere: a duration with its unit (`5s`, `2m`), a number, or the name
//! of a choice. A setting of one inverter is written with its number: `sampling_interval@0`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All settings that devices can be given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingList {
    pub settings: Vec<Setting>,
}

/// A setting and its allowed values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    #[schema(example = "upload_interval")]
    pub name: String,
    #[schema(example = "Time between two uploads of samples.")]
    pub summary: String,
    pub kind: SettingKind,
    pub scope: SettingScope,
    /// Lowest value of a duration or number.
    pub min: Option<SettingValue>,
    /// Highest value of a duration or number.
    pub max: Option<SettingValue>,
    /// Names of all choices; a choice's value is its position.
    #[schema(example = json!(["error", "warn", "info", "debug"]))]
    pub choices: Vec<String>,
}

/// What the value of a setting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    /// Milliseconds.
    Duration,
    Count,
    /// One of the choices.
    OneOf,
}

/// What a setting applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingScope {
    Device,
    /// Each inverter: a value without an inverter's number applies to all that have none of their
    /// own.
    Inverter,
}

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingValue {
    /// Milliseconds, a number, or a choice's position.
    #[schema(example = 30_000)]
    pub value: u32,
    /// The same as it is written in requests and shown.
    #[schema(example = "30s")]
    pub text: String,
}

/// Desired and reported configuration of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceConfig {
    /// Number of the desired configuration, which each change increases; 0 if none was ever set.
    #[schema(example = 3)]
    pub generation: u32,
    /// When it was made.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub changed: Option<String>,
    /// Who made it.
    #[schema(example = "token 1 (set-up)")]
    pub by: Option<String>,
    /// Whether the device has yet to report it.
    #[schema(example = false)]
    pub pending: bool,
    /// Its template, whose values it has where it has none of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "mobile-uplink")]
    pub template: Option<String>,
    /// What the device last reported; absent until it has reported its configuration.
    pub report: Option<ConfigReport>,
    /// Every setting, each followed by its values for single inverters.
    pub settings: Vec<SettingStatus>,
}

/// A device's last report of its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigReport {
    /// The newest generation that the device has decided on; 0 if it has its own configuration.
    #[schema(example = 3)]
    pub generation: u32,
    pub state: ConfigState,
    /// When the server received it.
    #[schema(example = "2026-11-27T10:15:05.000Z")]
    pub received: String,
}

/// State of a generation on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigState {
    /// A state that this server does not know.
    Unknown,
    /// In use, except for settings that were refused.
    Applied,
    /// In use until it turns out that the server cannot be reached with it.
    Trial,
    /// The server could not be reached with it; the earlier settings are in use again.
    Reverted,
}

/// State of a setting on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingStatus {
    #[schema(example = "upload_interval")]
    pub name: String,
    /// The inverter that the value is for; absent if it is for the device, or for all inverters
    /// without a value of their own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 0)]
    pub inverter: Option<u8>,
    /// Absent if the value for all inverters or the device's own configuration decides.
    pub desired: Option<SettingValue>,
    /// Where the desired value comes from; absent without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<SettingOrigin>,
    /// As the device last reported it.
    pub in_use: Option<SettingValue>,
    pub state: SettingState,
    /// Why the device refuses the value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<SettingRefusal>,
}

/// Where a desired value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingOrigin {
    /// It is set for the device.
    Device,
    /// It is the template's, and the device has none of its own.
    Template,
}

/// Whether a desired value is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingState {
    InUse,
    /// The device has yet to report the change.
    Pending,
    Refused,
    /// The device could not reach the server with it and uses an earlier value.
    Reverted,
    /// The device has decided on the configuration and uses another value.
    NotUsed,
    /// No value is desired; the device's own configuration decides.
    OwnConfiguration,
}

/// Why a device refuses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingRefusal {
    /// A reason that this server does not know.
    Other,
    /// The device does not know the setting.
    UnknownSetting,
    /// Not within the bounds of this device.
    OutOfBounds,
    /// The device knows the setting and cannot do it.
    Unsupported,
    /// The device has no such inverter.
    NoInverter,
}

/// Changes the desired configuration; what is not named stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// Values by setting.
    #[serde(default)]
    #[schema(example = json!({"upload_interval": "30s", "sampling_interval@0": "5s"}))]
    pub set: BTreeMap<String, String>,
    /// Settings to leave to the device's template, or else to its own configuration.
    #[serde(default)]
    #[schema(example = json!(["log_level"]))]
    pub unset: Vec<String>,
    /// Refuses the change unless this is the present generation (0: none).
    #[serde(default)]
    #[schema(example = 2)]
    pub generation: Option<u32>,
}

/// Earlier and present desired configurations of a device, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigHistory {
    pub changes: Vec<ConfigChange>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "3")]
    pub next_cursor: Option<String>,
}

/// A change of the desired configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigChange {
    #[schema(example = 3)]
    pub generation: u32,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub at: String,
    #[schema(example = "token 1 (set-up)")]
    pub by: String,
    /// What differs from the generation before; for the oldest one kept, all of its values.
    pub settings: Vec<SettingChange>,
}

/// A setting before and after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingChange {
    #[schema(example = "upload_interval")]
    pub name: String,
    /// The inverter that the value is for, if it is for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = 0)]
    pub inverter: Option<u8>,
    /// Absent if the device's own configuration decided.
    pub before: Option<SettingValue>,
    /// Absent if the device's own configuration decides.
    pub after: Option<SettingValue>,
}
