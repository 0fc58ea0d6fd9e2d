//! The settings of a device that can be changed remotely.
//!
//! [`SETTINGS`] is the only list of them: the device and the server check values against it, and
//! the API document, the pages and `docs/settings.md` take names, units and bounds from it.

/// A setting, its unit and its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its number on the wire and in a device's slot; never used again for another setting.
    pub number: u8,
    /// Its name in the API, on the command line and on pages.
    pub name: &'static str,
    pub kind: SettingKind,
    pub scope: SettingScope,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

/// What a value means, and the values that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// Milliseconds, from `min` to `max`.
    Duration { min_ms: u32, max_ms: u32 },
    /// A number from `min` to `max`.
    Count { min: u32, max: u32 },
    /// A position in this list.
    OneOf(&'static [&'static str]),
}

/// What a setting applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingScope {
    Device,
    /// Each inverter; a value that names no inverter applies to all that have none of their own.
    Inverter,
}

impl Setting {
    /// Whether the value is allowed.
    #[must_use]
    pub const fn allows(&self, value: u32) -> bool {
        match self.kind {
            SettingKind::Duration { min_ms: min, max_ms: max }
            | SettingKind::Count { min, max } => min <= value && value <= max,
            SettingKind::OneOf(names) => (value as usize) < names.len(),
        }
    }

    /// Finds a setting by its number on the wire.
    #[must_use]
    pub fn numbered(number: u8) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.number == number)
    }

    /// Finds a setting by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

/// Seconds in milliseconds.
const S: u32 = 1_000;
const MIN: u32 = 60 * S;
const H: u32 = 60 * MIN;

/// Time between two samples of an inverter.
pub const SAMPLING_INTERVAL: u8 = 1;
/// Time between two uploads.
pub const UPLOAD_INTERVAL: u8 = 2;
/// Time between two questions for settings and commands.
pub const CHECK_IN_INTERVAL: u8 = 3;
/// How long the server may hold the answer to such a question.
pub const COMMAND_WAIT: u8 = 4;
/// Samples in a batch.
pub const BATCH_ROWS: u8 = 5;
/// What the device logs.
pub const LOG_LEVEL: u8 = 6;
/// When the device saves power.
pub const POWER_POLICY: u8 = 7;
/// When new settings are given up.
pub const REVERT_AFTER: u8 = 8;

/// All settings, in the order in which pages show them.
pub const SETTINGS: [Setting; 8] = [
    Setting {
        number: SAMPLING_INTERVAL,
        name: "sampling_interval",
        kind: SettingKind::Duration { min_ms: 200, max_ms: 15 * MIN },
        scope: SettingScope::Inverter,
        summary: "Time between two samples of an inverter.",
    },
    Setting {
        number: UPLOAD_INTERVAL,
        name: "upload_interval",
        kind: SettingKind::Duration { min_ms: S, max_ms: 15 * MIN },
        scope: SettingScope::Device,
        summary: "Time between two uploads of samples.",
    },
    Setting {
        number: CHECK_IN_INTERVAL,
        name: "check_in_interval",
        kind: SettingKind::Duration { min_ms: S, max_ms: H },
        scope: SettingScope::Device,
        summary: "Time between two requests for settings and commands while no upload is due.",
    },
    Setting {
        number: COMMAND_WAIT,
        name: "command_wait",
        kind: SettingKind::Duration { min_ms: 0, max_ms: MIN },
        scope: SettingScope::Device,
        summary: "How long the server may hold its reply to wait for a command; 0 turns waiting off.",
    },
    Setting {
        number: BATCH_ROWS,
        name: "batch_rows",
        kind: SettingKind::Count { min: 1, max: 1_024 },
        scope: SettingScope::Device,
        summary: "Samples after which a batch is written to storage.",
    },
    Setting {
        number: LOG_LEVEL,
        name: "log_level",
        kind: SettingKind::OneOf(&["error", "warn", "info", "debug"]),
        scope: SettingScope::Device,
        summary: "The least severe messages that the device logs.",
    },
    Setting {
        number: POWER_POLICY,
        name: "power_policy",
        kind: SettingKind::OneOf(&["normal", "night", "battery"]),
        scope: SettingScope::Device,
        summary: "When the device saves power: never, while all inverters sleep, or always.",
    },
    Setting {
        number: REVERT_AFTER,
        name: "revert_after",
        kind: SettingKind::Duration { min_ms: MIN, max_ms: 24 * H },
        scope: SettingScope::Device,
        summary: "Time without a reply after which a device returns from new settings to the \
                  previous ones.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_found() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(Setting::numbered(setting.number), Some(setting));
            assert_eq!(Setting::named(setting.name), Some(setting));
            assert!(SETTINGS[..index].iter().all(|other| other.number != setting.number));
        }
        assert_eq!(Setting::numbered(0), None);
        assert_eq!(Setting::named("sampling"), None);
    }

    #[test]
    fn a_value_is_allowed_from_bound_to_bound() {
        let interval = Setting::numbered(SAMPLING_INTERVAL).unwrap();
        assert_eq!(
            [199, 200, 900_000, 900_001].map(|v| interval.allows(v)),
            [false, true, true, false]
        );
        let level = Setting::numbered(LOG_LEVEL).unwrap();
        assert_eq!([0, 3, 4].map(|v| level.allows(v)), [true, true, false]);
    }
}
