//! The state of every setting of a device, derived from what is desired and what it reported.
//!
//! Nothing is shown as in use that the device did not report under its present key.

use std::collections::BTreeSet;

use ecowatt_model::setting::{SETTINGS, Setting};
use ecowatt_store::{
    ConfigState, DeviceConfig, ReportedConfig, SettingKey, SettingRefusal, Settings,
};

/// State of a setting on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingState {
    /// The desired value is in use.
    InUse,
    /// The device has yet to report the change.
    Pending,
    Refused(SettingRefusal),
    /// The device could not reach the server with it and uses an earlier value.
    Reverted,
    /// The device has decided on the configuration and uses another value.
    NotUsed,
    /// No value is desired.
    OwnConfiguration,
}

/// Where a desired value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingOrigin {
    /// It is set for the device.
    Device,
    /// The device has none of its own, and its template has this one.
    Template,
}

/// A setting of a device, or of one of its inverters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SettingStatus {
    pub(crate) setting: &'static Setting,
    pub(crate) key: SettingKey,
    pub(crate) desired: Option<u32>,
    /// Absent without a desired value.
    pub(crate) origin: Option<SettingOrigin>,
    pub(crate) in_use: Option<u32>,
    pub(crate) state: SettingState,
}

/// Returns all settings, in the order of [`SETTINGS`], each followed by its values for single
/// inverters. What only a later version knows is left out.
pub(super) fn statuses(config: &DeviceConfig) -> Vec<SettingStatus> {
    let nothing = Settings::default();
    let desired = config.desired.as_ref().map_or(&nothing, |version| &version.desired.settings);
    let reported = config.current_report().map(|report| &report.reported);
    let in_use = reported.map_or(&nothing, |reported| &reported.values);
    let alone = |setting: &Setting| SettingKey { setting: setting.number, source: None };
    let keys: BTreeSet<SettingKey> = desired.0.keys().chain(in_use.0.keys()).copied().collect();
    let keys_of = |setting: &'static Setting| {
        let of_inverters =
            keys.iter().filter(move |key| key.setting == setting.number && key.source.is_some());
        std::iter::once(alone(setting)).chain(of_inverters.copied()).map(move |key| (setting, key))
    };
    let status = |(setting, key): (&'static Setting, SettingKey)| {
        let own = desired.0.get(&key).copied();
        // What has no value of its own has that for all inverters, whose key is the same otherwise.
        let decisive = if own.is_some() { key } else { alone(setting) };
        let used = used(desired, in_use, key);
        let state = match desired.0.get(&decisive) {
            _ if own.is_none() && is_being_unset(config, key) => SettingState::Pending,
            Some(wanted) if used == Some(*wanted) || has_no_user(desired, in_use, key) => {
                SettingState::InUse
            }
            Some(_) => undone(config, reported, decisive),
            None => SettingState::OwnConfiguration,
        };
        let origin = own.map(|_| origin(config, key));
        SettingStatus { setting, key, desired: own, origin, in_use: used, state }
    };
    SETTINGS.iter().flat_map(keys_of).map(status).collect()
}

/// Returns where the desired value of a key comes from.
fn origin(config: &DeviceConfig, key: SettingKey) -> SettingOrigin {
    match &config.desired {
        Some(version) if !version.own.0.contains_key(&key) => SettingOrigin::Template,
        _ => SettingOrigin::Device,
    }
}

/// Returns why a desired value is not in use.
fn undone(
    config: &DeviceConfig,
    reported: Option<&ReportedConfig>,
    key: SettingKey,
) -> SettingState {
    let Some(reported) = reported.filter(|_| !config.is_pending()) else {
        return SettingState::Pending;
    };
    let refused = reported.refused.iter().find(|refused| refused.key == key);
    match (refused, reported.state) {
        (Some(refused), _) => SettingState::Refused(refused.reason),
        (None, ConfigState::Reverted) => SettingState::Reverted,
        (None, _) => SettingState::NotUsed,
    }
}

/// Returns the value in use for a key. A device may report a setting of its inverters for all at
/// once or for each; for all it is the value that those have in common that have none of their own.
fn used(desired: &Settings, in_use: &Settings, key: SettingKey) -> Option<u32> {
    if let Some(value) = in_use.0.get(&key) {
        return Some(*value);
    }
    if key.source.is_some() {
        return in_use.0.get(&SettingKey { source: None, ..key }).copied();
    }
    let of_inverters = in_use
        .0
        .iter()
        .filter(|(held, _)| held.setting == key.setting && !desired.0.contains_key(held));
    let mut values = of_inverters.map(|(_, value)| *value);
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Whether every inverter that the device reports has a value of its own, so that the one for all
/// has nothing to apply to.
fn has_no_user(desired: &Settings, in_use: &Settings, key: SettingKey) -> bool {
    let mut of_setting = in_use.0.keys().filter(|held| held.setting == key.setting).peekable();
    key.source.is_none()
        && of_setting.peek().is_some()
        && of_setting.all(|held| held.source.is_some() && desired.0.contains_key(held))
}

/// Whether the device still has a value that is no longer desired.
fn is_being_unset(config: &DeviceConfig, key: SettingKey) -> bool {
    let applied = config.applied.as_ref();
    config.is_pending() && applied.is_some_and(|applied| applied.settings.0.contains_key(&key))
}

#[cfg(test)]
mod tests;
