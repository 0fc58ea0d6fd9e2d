//! Remote configuration: what a device should have, and what it reports to have.
//!
//! Pure: merges changes, numbers generations, and decides whether a reply must carry the desired
//! configuration. What a setting means and which values it may have is the caller's knowledge.

use std::collections::BTreeMap;

use ecowatt_model::{ConfigGeneration, DeviceNumber, KeyGeneration, SourceNumber, UnixMs};

use crate::audit::Author;
use crate::error::StoreError;
use crate::limits::{LOST_GENERATIONS_MAX, SETTINGS_MAX};
use crate::varint::{put_u64, take_u8, take_u32, take_u64};

/// Names a value: a setting, and an inverter if the value is for that one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingKey {
    /// Number in [`ecowatt_model::setting::SETTINGS`], or one of a later version.
    pub setting: u8,
    pub source: Option<SourceNumber>,
}

/// Values of settings, in the setting's unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(pub BTreeMap<SettingKey, u32>);

/// The configuration that a device should have. What it lacks, the device's own configuration
/// decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub generation: ConfigGeneration,
    pub settings: Settings,
}

/// State of a generation on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigState {
    /// A state that this version does not know.
    Unknown,
    Applied,
    /// In use until it turns out that the device cannot reach the server with it.
    Trial,
    /// The device could not reach the server with it and uses the previous settings.
    Reverted,
}

/// Why a device refuses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettingRefusal {
    /// A reason that this version does not know.
    Other,
    UnknownSetting,
    OutOfBounds,
    Unsupported,
    NoSource,
}

/// A value that a device refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedSetting {
    pub key: SettingKey,
    pub reason: SettingRefusal,
}

/// What a device reports of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedConfig {
    /// The newest generation that it decided on; 0 if it never had one.
    pub generation: ConfigGeneration,
    pub state: ConfigState,
    pub refused: Vec<RefusedSetting>,
    /// The values in use, those of its own configuration included.
    pub values: Settings,
}

/// A device's last report of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigReport {
    /// The newest generation that it ever reported. `reported` is older if the device has lost its
    /// settings since.
    pub highest: ConfigGeneration,
    /// The key that it reported under.
    pub key_generation: KeyGeneration,
    pub received_at: UnixMs,
    pub reported: ReportedConfig,
}

/// A generation of a device's desired configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigVersion {
    pub by: Author,
    pub desired: Desired,
    /// The values that are set for this device. The others come from its template.
    pub own: Settings,
}

/// Desired and reported configuration of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceConfig {
    pub desired: Option<ConfigVersion>,
    /// The desired configuration that the device reported, if it is kept and is not the newest.
    pub applied: Option<Desired>,
    /// The name of its template.
    pub template: Option<String>,
    pub report: Option<ConfigReport>,
    /// The key of the device's last message; of a device of the earlier EcoWatt, its key.
    pub key_generation: Option<KeyGeneration>,
}

/// A change of the values that are set for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditConfig {
    pub device: DeviceNumber,
    pub set: Settings,
    /// Values to leave to the device's template, or to its own configuration.
    pub unset: Vec<SettingKey>,
    /// The generation that the change was made for, if the caller insists on it; 0 for none.
    pub expected: Option<ConfigGeneration>,
}

/// Outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditedConfig {
    pub generation: ConfigGeneration,
    /// False if everything was as wanted already.
    pub is_changed: bool,
}

/// Why a desired configuration was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EditConfigError {
    #[error("there is no such device")]
    UnknownDevice,
    #[error("the configuration has generation {}", .0.0)]
    OtherGeneration(ConfigGeneration),
    #[error("a configuration has {SETTINGS_MAX} values at most")]
    TooMany,
    #[error("the device has no further generation")]
    Exhausted,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Derives a device's configuration after a change of its own values; `None` if everything is as
/// wanted already.
pub(crate) fn edited(
    newest: Option<&ConfigVersion>,
    template: &Settings,
    report: Option<&ConfigReport>,
    edit: &EditConfig,
) -> Result<Option<NextConfig>, EditConfigError> {
    let generation = newest.map_or(ConfigGeneration(0), |newest| newest.desired.generation);
    if edit.expected.is_some_and(|expected| expected != generation) {
        return Err(EditConfigError::OtherGeneration(generation));
    }
    let mut own = newest.map(|newest| newest.own.clone()).unwrap_or_default();
    own.change(&edit.set, &edit.unset);
    derived(newest, template, report, own)
}

/// A device's configuration about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextConfig {
    pub(crate) desired: Desired,
    pub(crate) own: Settings,
}

/// Derives a device's configuration from its template's values and its own, which count first;
/// `None` if it has both already. The new generation is above all that the device reported, too,
/// within [`LOST_GENERATIONS_MAX`]: a restored backup may lack those.
pub(crate) fn derived(
    newest: Option<&ConfigVersion>,
    template: &Settings,
    report: Option<&ConfigReport>,
    own: Settings,
) -> Result<Option<NextConfig>, EditConfigError> {
    let settings = template.overlaid(&own);
    let is_held = match newest {
        Some(newest) => newest.desired.settings == settings && newest.own == own,
        None => settings.0.is_empty() && own.0.is_empty(),
    };
    if is_held {
        return Ok(None);
    }
    if settings.0.len() > SETTINGS_MAX {
        return Err(EditConfigError::TooMany);
    }
    let generation = newest.map_or(0, |newest| newest.desired.generation.0);
    let reported = report.map_or(0, |report| report.highest.0);
    let believed = reported.min(generation.saturating_add(LOST_GENERATIONS_MAX));
    let next = generation.max(believed).checked_add(1).ok_or(EditConfigError::Exhausted)?;
    let desired = Desired { generation: ConfigGeneration(next), settings };
    Ok(Some(NextConfig { desired, own }))
}

/// Returns the configuration that a reply to a message under this key must carry: the desired one,
/// until the device has reported it. What it reported under an earlier key counts no longer: the
/// hardware may be another.
pub(crate) fn pending(
    desired: Option<&Desired>,
    report: Option<&ConfigReport>,
    under: KeyGeneration,
) -> Option<Desired> {
    let report = report.filter(|report| report.key_generation == under);
    let reported = report.map_or(ConfigGeneration(0), |report| report.reported.generation);
    desired.filter(|desired| desired.generation > reported).cloned()
}

impl DeviceConfig {
    /// Returns what the device reported under its present key.
    #[must_use]
    pub fn current_report(&self) -> Option<&ConfigReport> {
        self.report.as_ref().filter(|report| Some(report.key_generation) == self.key_generation)
    }

    /// Returns whether the device has yet to report the desired configuration.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let desired = self.desired.as_ref().map(|version| &version.desired);
        let under = self.key_generation.unwrap_or_default();
        pending(desired, self.report.as_ref(), under).is_some()
    }
}

impl DeviceConfig {
    /// Returns what the device reported under a key.
    #[must_use]
    pub fn report_under(&self, under: KeyGeneration) -> Option<&ReportedConfig> {
        let report = self.report.as_ref().filter(|report| report.key_generation == under);
        report.map(|report| &report.reported)
    }

    /// Returns the desired configuration, if the device has yet to report it under a key.
    #[must_use]
    pub fn pending_under(&self, under: KeyGeneration) -> Option<&Desired> {
        let reported = self.report_under(under).map_or(ConfigGeneration(0), |held| held.generation);
        let desired = self.desired.as_ref().map(|version| &version.desired);
        desired.filter(|desired| desired.generation > reported)
    }
}

impl ConfigReport {
    /// Returns the report after a message. Messages are accepted in the order in which they were
    /// made, so the last report is the truth, even if it is of an older generation: the device has
    /// lost its settings then, and gets them again.
    pub(crate) fn next(
        held: Option<&Self>,
        key_generation: KeyGeneration,
        received_at: UnixMs,
        reported: ReportedConfig,
    ) -> Self {
        let highest =
            held.map_or(reported.generation, |held| held.highest.max(reported.generation));
        Self { highest, key_generation, received_at, reported }
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of_val(&self.reported.refused[..]) + self.reported.values.weight()
    }
}

impl Settings {
    /// Sets and removes values.
    pub fn change(&mut self, set: &Self, unset: &[SettingKey]) {
        self.0.extend(&set.0);
        self.0.retain(|key, _| !unset.contains(key));
    }

    /// Returns these values with others over them.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let mut all = self.clone();
        all.0.extend(&over.0);
        all
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        self.0.len() * 2 * size_of::<(SettingKey, u32)>()
    }

    /// Encodes setting, inverter and value of each.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in &self.0 {
            key.put(&mut out);
            put_u64(&mut out, u64::from(*value));
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut settings = Self::default();
        while !bytes.is_empty() {
            let key = SettingKey::take(&mut bytes)?;
            settings.0.insert(key, take_u32(&mut bytes)?);
        }
        Some(settings)
    }
}

impl SettingKey {
    /// The inverter's number plus 1; 0 for none.
    fn put(self, out: &mut Vec<u8>) {
        out.push(self.setting);
        put_u64(out, self.source.map_or(0, |source| u64::from(source.0) + 1));
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let setting = take_u8(bytes)?;
        let source = take_u64(bytes)?.checked_sub(1).map(u8::try_from).transpose().ok()?;
        Some(Self { setting, source: source.map(SourceNumber) })
    }
}

impl ReportedConfig {
    /// Encodes all but the generation: the state, the number of refused values, setting, inverter
    /// and reason of each, then the values in use.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.state.code()];
        put_u64(&mut out, u64::try_from(self.refused.len()).unwrap_or(u64::MAX));
        for refused in &self.refused {
            refused.key.put(&mut out);
            out.push(refused.reason.code());
        }
        out.extend(self.values.encode());
        out
    }

    pub(crate) fn decode(generation: ConfigGeneration, mut bytes: &[u8]) -> Option<Self> {
        let state = ConfigState::from_code(take_u8(&mut bytes)?)?;
        let mut refused = Vec::new();
        for _ in 0..take_u64(&mut bytes)? {
            let key = SettingKey::take(&mut bytes)?;
            let reason = SettingRefusal::from_code(take_u8(&mut bytes)?)?;
            refused.push(RefusedSetting { key, reason });
        }
        Some(Self { generation, state, refused, values: Settings::decode(bytes)? })
    }
}

impl ConfigState {
    const ALL: [Self; 4] = [Self::Unknown, Self::Applied, Self::Trial, Self::Reverted];

    fn code(self) -> u8 {
        self as u8
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl SettingRefusal {
    const ALL: [Self; 5] =
        [Self::Other, Self::UnknownSetting, Self::OutOfBounds, Self::Unsupported, Self::NoSource];

    fn code(self) -> u8 {
        self as u8
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests;
