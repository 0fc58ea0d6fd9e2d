//! How keys and values of settings are written: `sampling_interval@0` and `5s`.

use std::time::Duration;

use ecowatt_config_text::{duration, duration_text};
use ecowatt_model::setting::{SETTINGS, Setting, SettingKind, SettingScope};
use ecowatt_model::{SOURCES_MAX, SourceNumber};
use ecowatt_store::SettingKey;

/// Why a text is not a key or a value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("there is no setting `{0}`; the settings are {names}", names = names())]
    Unknown(String),
    #[error("`{0}` applies to the whole device and not to one inverter")]
    NotOfInverter(&'static str),
    #[error("`{0}` ends with an inverter's number, such as `@0`")]
    Inverter(String),
    #[error("`{0}` is not set and unset at once")]
    Both(String),
    #[error("`{name}` is {allowed}, not `{value}`")]
    Value { name: &'static str, allowed: String, value: String },
}

fn names() -> String {
    SETTINGS.map(|setting| setting.name).join(", ")
}

/// Parses a setting's name, which an inverter's number may follow.
pub(super) fn key(text: &str) -> Result<(&'static Setting, SettingKey), SettingError> {
    let (name, inverter) = match text.split_once('@') {
        Some((name, inverter)) => (name, Some(inverter)),
        None => (text, None),
    };
    let setting = Setting::named(name).ok_or_else(|| SettingError::Unknown(name.into()))?;
    let Some(inverter) = inverter else {
        return Ok((setting, SettingKey { setting: setting.number, source: None }));
    };
    if setting.scope != SettingScope::Inverter {
        return Err(SettingError::NotOfInverter(setting.name));
    }
    let number = inverter.parse().ok().filter(|number| usize::from(*number) < SOURCES_MAX);
    let source = number.ok_or_else(|| SettingError::Inverter(text.into()))?;
    Ok((setting, SettingKey { setting: setting.number, source: Some(SourceNumber(source)) }))
}

/// Parses a value and checks that the setting allows it: a duration such as `5s` or `2m`, a number,
/// or a choice's name.
pub(super) fn value(setting: &'static Setting, text: &str) -> Result<u32, SettingError> {
    let parsed = match setting.kind {
        SettingKind::Duration { .. } => {
            duration(text).and_then(|duration| u32::try_from(duration.as_millis()).ok())
        }
        SettingKind::Count { .. } => text.parse().ok(),
        SettingKind::OneOf(names) => {
            names.iter().position(|name| *name == text).and_then(|at| u32::try_from(at).ok())
        }
    };
    parsed.filter(|value| setting.allows(*value)).ok_or_else(|| SettingError::Value {
        name: setting.name,
        allowed: allowed(setting),
        value: text.into(),
    })
}

/// Writes a value as [`value`] reads it; a choice of a later version as its number.
pub(crate) fn value_text(setting: &Setting, value: u32) -> String {
    match setting.kind {
        SettingKind::Duration { .. } => duration_text(Duration::from_millis(u64::from(value))),
        SettingKind::Count { .. } => value.to_string(),
        SettingKind::OneOf(names) => usize::try_from(value)
            .ok()
            .and_then(|at| names.get(at))
            .map_or_else(|| value.to_string(), |name| (*name).into()),
    }
}

/// Describes the allowed values.
fn allowed(setting: &Setting) -> String {
    let text = |value| value_text(setting, value);
    match setting.kind {
        SettingKind::Duration { min_ms, max_ms } => {
            format!("a duration from {} to {}", text(min_ms), text(max_ms))
        }
        SettingKind::Count { min, max } => format!("a number from {min} to {max}"),
        SettingKind::OneOf(names) => format!("one of {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(key_text: &str, value_text: &str) -> Result<(SettingKey, u32), SettingError> {
        let (setting, key) = key(key_text)?;
        Ok((key, value(setting, value_text)?))
    }

    #[test]
    fn keys_and_values_come_back() {
        for (name, text, number, source, expected) in [
            ("sampling_interval", "5s", 1, None, 5_000),
            ("sampling_interval@7", "200ms", 1, Some(7), 200),
            ("upload_interval", "1m 30s", 2, None, 90_000),
            ("command_wait", "0s", 4, None, 0),
            ("revert_after", "24h", 8, None, 86_400_000),
            ("batch_rows", "1024", 5, None, 1_024),
            ("log_level", "debug", 6, None, 3),
        ] {
            let key = SettingKey { setting: number, source: source.map(SourceNumber) };
            assert_eq!(parsed(name, text), Ok((key, expected)), "{name}={text}");
            let setting = Setting::numbered(number).unwrap();
            assert_eq!(value_text(setting, expected), text);
        }
        // Every bound can be written and read.
        for setting in &SETTINGS {
            let bounds = match setting.kind {
                SettingKind::Duration { min_ms: min, max_ms: max }
                | SettingKind::Count { min, max } => [min, max],
                SettingKind::OneOf(names) => [0, u32::try_from(names.len()).unwrap() - 1],
            };
            for bound in bounds {
                assert_eq!(value(setting, &value_text(setting, bound)), Ok(bound));
            }
        }
    }

    #[test]
    fn other_keys_and_values_are_refused_with_what_is_allowed() {
        for (name, text, message) in [
            (
                "sampling",
                "5s",
                "there is no setting `sampling`; the settings are sampling_interval, ",
            ),
            ("sampling_interval@8", "5s", "`sampling_interval@8` ends with an inverter's number"),
            ("sampling_interval@", "5s", "`sampling_interval@` ends with an inverter's number"),
            ("upload_interval@0", "5s", "`upload_interval` applies to the whole device"),
            ("upload_interval", "5", "`upload_interval` is a duration from 1s to 15m, not `5`"),
            ("upload_interval", "16m", "`upload_interval` is a duration from 1s to 15m, not `16m`"),
            ("upload_interval", "-5s", "`upload_interval` is a duration"),
            ("upload_interval", "1000.5ms", "`upload_interval` is a duration"),
            ("upload_interval", "99999999h", "`upload_interval` is a duration"),
            ("batch_rows", "0", "`batch_rows` is a number from 1 to 1024, not `0`"),
            ("batch_rows", "", "`batch_rows` is a number from 1 to 1024, not ``"),
            ("log_level", "trace", "`log_level` is one of error, warn, info, debug, not `trace`"),
        ] {
            let error = parsed(name, text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn page_lists_every_setting_as_it_is() {
        let page = include_str!("../../../../docs/settings.md");
        let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |setting: &Setting| {
            let values = allowed(setting);
            let values = ["a duration from ", "a number from ", "one of "]
                .iter()
                .find_map(|head| values.strip_prefix(head))
                .unwrap();
            let scope = match setting.scope {
                SettingScope::Device => "the device",
                SettingScope::Inverter => "each inverter",
            };
            format!("| `{}` | {values} | {scope} | {} |", setting.name, setting.summary)
        };
        assert_eq!(listed, SETTINGS.iter().map(row).collect::<Vec<_>>());
    }
}
