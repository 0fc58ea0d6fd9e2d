//! Settings of devices: what an operator wants, checked against the list of all settings, and what
//! each device makes of it. Delivery to devices is part of ingest.

mod original;
mod setting_text;
mod status;
mod templates;

use std::collections::{BTreeMap, BTreeSet};

use ecowatt_model::setting::Setting;
use ecowatt_model::{ConfigGeneration, SourceNumber};
use ecowatt_store::{
    Author, ConfigVersion, DeviceConfig, EditConfig, EditConfigError, SettingKey, Settings, Store,
    StoreError,
};

use crate::fleet::Reached;
use crate::live::Live;
use crate::waiting_devices::WaitingDevices;
pub(crate) use original::{ORIGINAL_SETTINGS, OriginalOffer, OriginalSetting, original_values};
pub(crate) use setting_text::{SettingError, value_text};
pub(crate) use status::{SettingOrigin, SettingState, SettingStatus};
pub(crate) use templates::{
    ChangeTemplateError, DevicePreview, TemplateLine, TemplateRequest, Templates,
};

/// A change as an operator writes it: names of settings and values as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigRequest {
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) unset: Vec<String>,
    pub(crate) expected: Option<ConfigGeneration>,
}

/// Why a configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("the device has no inverter {}", .0.0)]
    NoInverter(SourceNumber),
    #[error(transparent)]
    Edit(#[from] EditConfigError),
}

/// A device's configuration with the state of each setting.
#[derive(Debug, Clone)]
pub(crate) struct ConfigStatus {
    pub(crate) config: DeviceConfig,
    pub(crate) settings: Vec<SettingStatus>,
}

/// A change in the history of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct HistoryLine {
    pub(crate) version: ConfigVersion,
    pub(crate) changes: Vec<SettingChange>,
}

/// A value that a generation has and the one before had not, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SettingChange {
    pub(crate) setting: &'static Setting,
    pub(crate) source: Option<SourceNumber>,
    pub(crate) before: Option<u32>,
    pub(crate) after: Option<u32>,
}

/// One page of the history, newest first.
#[derive(Debug, Clone)]
pub(crate) struct HistoryPage {
    pub(crate) lines: Vec<HistoryLine>,
    pub(crate) next: Option<ConfigGeneration>,
}

/// Reads and changes the configurations of devices.
#[derive(Debug, Clone)]
pub(crate) struct DesiredConfigs {
    store: Store,
    live: Live,
    waiting: WaitingDevices,
}

impl DesiredConfigs {
    #[must_use]
    pub(crate) fn new(store: Store, live: Live, waiting: WaitingDevices) -> Self {
        Self { store, live, waiting }
    }

    /// Returns the configuration of a device.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn find(&self, device: &Reached) -> Result<ConfigStatus, StoreError> {
        let config = self.store.find_config(device.number()).await?;
        Ok(ConfigStatus { settings: status::statuses(&config), config })
    }

    /// Changes the desired configuration of a device; returns whether anything changed.
    ///
    /// # Errors
    /// If a setting or value is not allowed, another generation was expected, or the store fails.
    pub(crate) async fn edit(
        &self,
        by: Author,
        device: &Reached,
        request: &ConfigRequest,
    ) -> Result<bool, ConfigError> {
        let edit = checked(device, request)?;
        let edited = self.store.edit_config(by, edit).await?;
        if edited.is_changed {
            self.live.publish_config(device.number());
            self.waiting.tell(device.number());
        }
        Ok(edited.is_changed)
    }

    /// Returns the generations below the given one.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn history(
        &self,
        device: &Reached,
        before: Option<ConfigGeneration>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError> {
        // One more, which the last one of the page is compared with.
        let wanted = limit.saturating_add(1);
        let mut versions = self.store.list_configs(device.number(), before, wanted).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = versions.len() > limit;
        let olds = versions.iter().skip(1).map(|old| old.desired.settings.clone());
        let olds: Vec<_> = olds.chain(std::iter::once(Settings::default())).collect();
        versions.truncate(limit);
        let next = versions.last().map(|last| last.desired.generation).filter(|_| has_more);
        let line = |(version, old): (ConfigVersion, &Settings)| HistoryLine {
            changes: difference(old, &version.desired.settings),
            version,
        };
        Ok(HistoryPage { lines: versions.into_iter().zip(&olds).map(line).collect(), next })
    }
}

/// Checks a request against the list of settings and the device's inverters.
fn checked(device: &Reached, request: &ConfigRequest) -> Result<EditConfig, ConfigError> {
    let mut edit = EditConfig {
        device: device.number(),
        set: Settings::default(),
        unset: Vec::new(),
        expected: request.expected,
    };
    for name in &request.unset {
        edit.unset.push(setting_text::key(name)?.1);
    }
    for (name, value) in &request.set {
        let (setting, key) = setting_text::key(name)?;
        if edit.unset.contains(&key) {
            return Err(SettingError::Both(name.clone()).into());
        }
        if let Some(source) = key.source.filter(|source| !device.may_have(*source)) {
            return Err(ConfigError::NoInverter(source));
        }
        edit.set.0.insert(key, setting_text::value(setting, value)?);
    }
    Ok(edit)
}

/// Returns what changed from one configuration to the next, in the order of the keys.
fn difference(old: &Settings, new: &Settings) -> Vec<SettingChange> {
    let keys: BTreeSet<&SettingKey> = old.0.keys().chain(new.0.keys()).collect();
    let change = |key: &SettingKey| {
        let (before, after) = (old.0.get(key).copied(), new.0.get(key).copied());
        let setting = Setting::numbered(key.setting)?;
        (before != after).then_some(SettingChange { setting, source: key.source, before, after })
    };
    keys.into_iter().filter_map(change).collect()
}
