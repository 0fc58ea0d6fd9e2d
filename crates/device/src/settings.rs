//! Values of settings: which a device accepts, and which it uses.
//!
//! What the server wants replaces a device's own configuration, value by value. Entries have the
//! form of the slot *desired* in memory too: a microcontroller holds two sets of them.

use core::time::Duration;

use ecowatt_model::setting::{
    BATCH_ROWS, CHECK_IN_INTERVAL, COMMAND_WAIT, LOG_LEVEL, POWER_POLICY, REVERT_AFTER,
    SAMPLING_INTERVAL, SETTINGS, UPLOAD_INTERVAL,
};
use ecowatt_model::{SOURCES_MAX, Setting, SettingKind, SettingScope, SourceNumber};
use ecowatt_wire::{SettingRefusal, SettingValue};
use heapless::Vec;

use crate::limits::{REVERT_AFTER_DEFAULT, STATUS_INTERVAL};

/// Most values in a set: each setting once for the device or all inverters, and one setting for
/// each inverter.
pub(crate) const VALUES_MAX: usize = SETTINGS.len() + SOURCES_MAX;

/// Bytes of an entry: setting, source, value (big-endian).
pub(crate) const VALUE_LEN: usize = 1 + 1 + 4;

/// Added to the first byte of an entry that is for one source.
pub(crate) const FOR_SOURCE: u8 = 0x80;

/// What the device logs, in the order of the setting's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LogLevel {
    Error = 0,
    Warn = 1,
    Info = 2,
    Debug = 3,
}

impl LogLevel {
    const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Its name in the list of settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match Setting::numbered(LOG_LEVEL).map(|setting| setting.kind) {
            Some(SettingKind::OneOf(names)) => names.get(self as usize).copied().unwrap_or(""),
            Some(SettingKind::Duration { .. } | SettingKind::Count { .. }) | None => "",
        }
    }

    fn from_value(value: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(value).ok()?).copied()
    }
}

/// When the device saves power, in the order of the setting's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PowerPolicy {
    Normal,
    /// While all inverters sleep.
    Night,
    /// Always.
    Battery,
}

impl PowerPolicy {
    fn from_value(value: u32) -> Self {
        match value {
            1 => Self::Night,
            2 => Self::Battery,
            _ => Self::Normal,
        }
    }
}

/// A set of values: at most one for each setting and source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings(Vec<[u8; VALUE_LEN], VALUES_MAX, u8>);

impl Settings {
    /// Adds a value, in place of one for the same setting and source.
    pub(crate) fn set(&mut self, value: &SettingValue) {
        let key = key(value.setting, value.source);
        let [a, b, c, d] = value.value.to_be_bytes();
        let entry = [key[0], key[1], a, b, c, d];
        match self.0.iter_mut().find(|held| held[..2] == key) {
            Some(held) => *held = entry,
            // There is room for all values that `Abilities::check` lets through.
            None => drop(self.0.push(entry)),
        }
    }

    /// The value for exactly this setting and source.
    pub(crate) fn get(&self, setting: u8, source: Option<SourceNumber>) -> Option<u32> {
        let key = key(setting, source);
        let [_, _, value @ ..] = self.0.iter().find(|held| held[..2] == key)?;
        Some(u32::from_be_bytes(*value))
    }

    pub(crate) fn entries(&self) -> &[[u8; VALUE_LEN]] {
        &self.0
    }

    /// Returns `None` if there are too many.
    pub(crate) fn from_entries(entries: &[[u8; VALUE_LEN]]) -> Option<Self> {
        Vec::from_slice(entries).ok().map(Self)
    }
}

fn key(setting: u8, source: Option<SourceNumber>) -> [u8; 2] {
    match source {
        Some(source) => [setting | FOR_SOURCE, source.0],
        None => [setting, 0],
    }
}

/// The device's own configuration, as far as settings can replace it. Inverters know their own
/// intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) upload_ms: u32,
    pub(crate) batch_rows: u16,
    /// `None` if the device does not log.
    pub(crate) log_level: Option<LogLevel>,
}

/// What a device can do of what settings ask for.
pub(crate) struct Abilities<'a> {
    /// Samples for which an inverter has room.
    pub(crate) rows: usize,
    pub(crate) has_log: bool,
    pub(crate) sources: &'a [SourceNumber],
}

impl Abilities<'_> {
    /// Checks one value of a desired configuration. A value that the device would not follow is
    /// refused, rather than accepted and ignored.
    pub(crate) fn check(&self, value: &SettingValue) -> Result<(), SettingRefusal> {
        let setting = Setting::numbered(value.setting).ok_or(SettingRefusal::Unknown)?;
        match (setting.scope, value.source) {
            (SettingScope::Device, Some(_)) => return Err(SettingRefusal::Unsupported),
            (SettingScope::Inverter, Some(source)) if !self.sources.contains(&source) => {
                return Err(SettingRefusal::NoSource);
            }
            (SettingScope::Device | SettingScope::Inverter, _) => {}
        }
        let is_within = match usize::try_from(value.value) {
            Ok(rows) if value.setting == BATCH_ROWS => rows <= self.rows,
            Ok(_) => true,
            Err(_) => false,
        };
        if !setting.allows(value.value) || !is_within {
            return Err(SettingRefusal::OutOfBounds);
        }
        let is_supported = match value.setting {
            // An interval that is too short for a slow bus is not refused, as in the device's own
            // configuration: samples are then taken as often as the bus allows.
            SAMPLING_INTERVAL | UPLOAD_INTERVAL | CHECK_IN_INTERVAL | BATCH_ROWS | REVERT_AFTER => {
                true
            }
            // The list has no other policies than `PowerPolicy`.
            POWER_POLICY | COMMAND_WAIT => true,
            LOG_LEVEL => self.has_log,
            _ => false,
        };
        if is_supported { Ok(()) } else { Err(SettingRefusal::Unsupported) }
    }
}

/// The settings in use: the server's where there is one, otherwise the device's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InUse<'a> {
    pub(crate) own: &'a Own,
    pub(crate) settings: &'a Settings,
}

impl InUse<'_> {
    /// The value of a setting of the whole device; `None` if the device does not have it.
    pub(crate) fn value(&self, setting: u8) -> Option<u32> {
        self.settings.get(setting, None).or_else(|| match setting {
            UPLOAD_INTERVAL => Some(self.own.upload_ms),
            // With nothing else to send, a message with the status is the next one.
            CHECK_IN_INTERVAL => {
                let status_ms = u32::try_from(STATUS_INTERVAL.as_millis()).unwrap_or(u32::MAX);
                Some(self.value(UPLOAD_INTERVAL)?.max(status_ms))
            }
            BATCH_ROWS => Some(self.own.batch_rows.into()),
            LOG_LEVEL => self.own.log_level.map(|level| level as u32),
            REVERT_AFTER => u32::try_from(REVERT_AFTER_DEFAULT.as_millis()).ok(),
            COMMAND_WAIT | POWER_POLICY => Some(0),
            _ => None,
        })
    }

    /// The same as a duration.
    pub(crate) fn duration(&self, setting: u8) -> Duration {
        Duration::from_millis(self.value(setting).unwrap_or_default().into())
    }

    /// When the device saves power.
    pub(crate) fn power_policy(&self) -> PowerPolicy {
        PowerPolicy::from_value(self.value(POWER_POLICY).unwrap_or_default())
    }

    /// Samples in a batch.
    pub(crate) fn batch_rows(&self) -> usize {
        self.value(BATCH_ROWS).and_then(|rows| usize::try_from(rows).ok()).unwrap_or(1).max(1)
    }

    /// What the device logs.
    pub(crate) fn log_level(&self) -> Option<LogLevel> {
        self.value(LOG_LEVEL).and_then(LogLevel::from_value)
    }

    /// Time between samples of an inverter, if the server wants one.
    pub(crate) fn sampling_ms(&self, source: SourceNumber) -> Option<u32> {
        let of = |source| self.settings.get(SAMPLING_INTERVAL, source);
        of(Some(source)).or_else(|| of(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(setting: u8, value: u32, source: Option<u8>) -> SettingValue {
        SettingValue { setting, value, source: source.map(SourceNumber) }
    }

    #[test]
    fn levels_are_those_of_the_setting() {
        let names = LogLevel::ALL.map(LogLevel::name);
        let setting = Setting::numbered(LOG_LEVEL).unwrap();
        assert_eq!(setting.kind, SettingKind::OneOf(&["error", "warn", "info", "debug"]));
        assert_eq!(names, ["error", "warn", "info", "debug"]);
        assert_eq!(LogLevel::from_value(4), None);
    }

    #[test]
    fn policies_are_those_of_the_setting() {
        let setting = Setting::numbered(POWER_POLICY).unwrap();
        assert_eq!(setting.kind, SettingKind::OneOf(&["normal", "night", "battery"]));
        let policies = [PowerPolicy::Normal, PowerPolicy::Night, PowerPolicy::Battery];
        assert_eq!([0, 1, 2].map(PowerPolicy::from_value), policies);
    }

    #[test]
    fn a_value_replaces_the_one_for_its_setting_and_source_only() {
        let mut settings = Settings::default();
        settings.set(&value(SAMPLING_INTERVAL, 1_000, None));
        settings.set(&value(SAMPLING_INTERVAL, 2_000, Some(0)));
        settings.set(&value(SAMPLING_INTERVAL, 3_000, Some(255)));
        settings.set(&value(SAMPLING_INTERVAL, 4_000, None));
        let own = Own { upload_ms: 60_000, batch_rows: 180, log_level: None };
        let in_use = InUse { own: &own, settings: &settings };
        let sampling = |source| in_use.sampling_ms(SourceNumber(source));
        assert_eq!([0, 1, 255].map(sampling), [Some(2_000), Some(4_000), Some(3_000)]);
        assert_eq!(settings.entries().len(), 3);
        assert_eq!(Settings::from_entries(settings.entries()), Some(settings.clone()));
    }

    #[test]
    fn a_device_refuses_what_it_would_not_follow() {
        let sources = [SourceNumber(0), SourceNumber(4)];
        let abilities = Abilities { rows: 512, has_log: false, sources: &sources };
        let cases = [
            (value(SAMPLING_INTERVAL, 200, None), Ok(())),
            (value(SAMPLING_INTERVAL, 200, Some(4)), Ok(())),
            (value(SAMPLING_INTERVAL, 200, Some(1)), Err(SettingRefusal::NoSource)),
            (value(SAMPLING_INTERVAL, 199, None), Err(SettingRefusal::OutOfBounds)),
            (value(UPLOAD_INTERVAL, 5_000, Some(0)), Err(SettingRefusal::Unsupported)),
            (value(BATCH_ROWS, 512, None), Ok(())),
            (value(BATCH_ROWS, 513, None), Err(SettingRefusal::OutOfBounds)),
            (value(COMMAND_WAIT, 0, None), Ok(())),
            (value(COMMAND_WAIT, 60_000, None), Ok(())),
            (value(COMMAND_WAIT, 60_001, None), Err(SettingRefusal::OutOfBounds)),
            (value(POWER_POLICY, 2, None), Ok(())),
            (value(POWER_POLICY, 3, None), Err(SettingRefusal::OutOfBounds)),
            (value(LOG_LEVEL, 3, None), Err(SettingRefusal::Unsupported)),
            (value(REVERT_AFTER, 60_000, None), Ok(())),
            (value(0, 0, None), Err(SettingRefusal::Unknown)),
            (value(200, 0, Some(1)), Err(SettingRefusal::Unknown)),
        ];
        for (value, expected) in cases {
            assert_eq!(abilities.check(&value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_set_has_room_for_every_value_that_passes() {
        let sources: Vec<SourceNumber, SOURCES_MAX> =
            (0..).map(SourceNumber).take(SOURCES_MAX).collect();
        let abilities = Abilities { rows: 1_024, has_log: true, sources: &sources };
        let mut settings = Settings::default();
        let mut passed = 0;
        for setting in 0..=255 {
            for source in core::iter::once(None).chain((0..=255).map(Some)) {
                for least in [0, 1, 1_000, 60_000] {
                    let value = value(setting, least, source);
                    if abilities.check(&value).is_ok() {
                        settings.set(&value);
                        passed += 1;
                        assert_eq!(settings.get(setting, value.source), Some(least));
                    }
                }
            }
        }
        assert_eq!(settings.entries().len(), VALUES_MAX);
        assert!(passed > VALUES_MAX);
    }
}
