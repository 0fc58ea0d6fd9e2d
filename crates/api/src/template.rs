//! Templates: values of settings that many devices share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::configuration::{SettingChange, SettingValue};
use crate::device::DeviceState;

/// A template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigTemplate {
    #[schema(example = "mobile-uplink")]
    pub name: String,
    /// Number of the present values, which each change increases.
    #[schema(example = 3)]
    pub version: u32,
    /// When the version was made.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub changed: String,
    /// Who made it.
    #[schema(example = "token 1 (set-up)")]
    pub by: String,
    pub settings: Vec<TemplateSetting>,
    /// How many devices use it.
    #[schema(example = 120)]
    pub devices: u64,
    /// How many of them have yet to be given the version's values. Whether a device has reported
    /// them is shown with the device.
    #[schema(example = 0)]
    pub outdated: u64,
}

/// A value of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateSetting {
    #[schema(example = "upload_interval")]
    pub name: String,
    pub value: SettingValue,
}

/// All templates by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigTemplateList {
    pub templates: Vec<ConfigTemplate>,
}

/// Creates a template.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTemplate {
    /// 1 to 64 letters, digits, `-` and `_`.
    #[schema(example = "mobile-uplink")]
    pub name: String,
    /// Values by setting.
    #[serde(default)]
    #[schema(example = json!({"upload_interval": "5m", "batch_rows": "120"}))]
    pub set: BTreeMap<String, String>,
}

/// Changes a template, or asks what the change would do; what is not named stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateTemplate {
    /// Values by setting.
    #[serde(default)]
    #[schema(example = json!({"upload_interval": "10m"}))]
    pub set: BTreeMap<String, String>,
    /// Settings that the template leaves to the devices' own configurations.
    #[serde(default)]
    #[schema(example = json!(["log_level"]))]
    pub unset: Vec<String>,
    /// Refuses the change unless this is the present version.
    #[serde(default)]
    #[schema(example = 2)]
    pub version: Option<u32>,
}

/// What a change of a template would change, one page of the devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplatePreview {
    /// Devices whose settings would change. Devices with values of their own for all that changes
    /// are left out.
    pub devices: Vec<TemplatePreviewDevice>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "dev-42")]
    pub next_cursor: Option<String>,
}

/// What would change on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplatePreviewDevice {
    #[schema(example = "dev-42")]
    pub device: String,
    pub settings: Vec<SettingChange>,
}

/// Versions of a template, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplateHistory {
    pub changes: Vec<TemplateChange>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "3")]
    pub next_cursor: Option<String>,
}

/// A change of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplateChange {
    #[schema(example = 3)]
    pub version: u32,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub at: String,
    #[schema(example = "token 1 (set-up)")]
    pub by: String,
    /// What differs from the version before; for the oldest one kept, all of its values.
    pub settings: Vec<SettingChange>,
}

/// Assigns a template to a device.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignTemplate {
    /// Absent or null: the device uses no template.
    #[serde(default)]
    #[schema(example = "mobile-uplink")]
    pub template: Option<String>,
}

/// Assigns a template to a group of devices: those that are listed, or those that match the filters of
/// the device list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignTemplateToGroup {
    /// 500 at most.
    #[serde(default)]
    #[schema(example = json!(["dev-42", "dev-43"]))]
    pub devices: Vec<String>,
    /// Part of a device's name, site or id.
    #[serde(default)]
    #[schema(example = "North field")]
    pub search: Option<String>,
    #[serde(default)]
    pub state: Option<DeviceState>,
}

/// How many devices a template was given to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssignedTemplate {
    /// Devices of the group.
    #[schema(example = 120)]
    pub devices: u64,
    /// Those of them that had another template, or none.
    #[schema(example = 118)]
    pub changed: u64,
}
