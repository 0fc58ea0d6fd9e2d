//! Templates: values of settings that many devices share.
//!
//! A device's desired configuration has the values of its template, and its own over them. A change
//! of a template is derived into its devices' configurations afterwards, a limited number per commit.

use ecowatt_model::DeviceNumber;

use crate::audit::Author;
use crate::configuration::{SettingKey, Settings};
use crate::error::StoreError;

/// A template as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigTemplate {
    pub name: String,
    /// Grows with each change.
    pub version: u32,
    /// Author of the version.
    pub by: Author,
    pub settings: Settings,
    /// How many devices use it.
    pub devices: u64,
    /// How many of them have yet to get the version's values.
    pub outdated: u64,
}

/// A version of a template: its values, and who made them so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateVersion {
    pub version: u32,
    pub by: Author,
    pub settings: Settings,
}

/// A change of a template's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditTemplate {
    pub name: String,
    pub set: Settings,
    pub unset: Vec<SettingKey>,
    /// The version that the change was made for, if the caller insists on it.
    pub expected: Option<u32>,
}

/// What a device's configuration is, and what it would be after a change of its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPreview {
    pub device: DeviceNumber,
    pub before: Settings,
    pub after: Settings,
}

/// Why a template was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TemplateError {
    #[error("there is no such template")]
    Unknown,
    #[error("there is no such device")]
    UnknownDevice,
    #[error("there is a template of that name")]
    NameTaken,
    #[error("{0} devices use the template")]
    InUse(u64),
    #[error("the template has version {0}")]
    OtherVersion(u32),
    #[error("there are as many templates as there may be")]
    TooMany,
    #[error("the template or a device has no further version")]
    Exhausted,
    #[error("{0} has as many values as a device can be given")]
    TooManyValues(DeviceNumber),
    #[error(transparent)]
    Store(#[from] StoreError),
}
