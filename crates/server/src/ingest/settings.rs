//! Settings in messages, from the wire's types to the store's and back.

use ecowatt_store::{
    ConfigState, Desired, RefusedSetting, ReportedConfig, SettingKey, SettingRefusal, Settings,
    limits,
};
use ecowatt_wire::{self as wire, ITEMS_MAX, SettingValue};

/// A desired configuration always fits into a reply.
const _: () = assert!(limits::SETTINGS_MAX <= ITEMS_MAX);

/// Returns what a device reports of its configuration.
pub(super) fn reported(reported: &wire::Reported<'_>) -> ReportedConfig {
    let values = reported.values.iter().map(|item| {
        let SettingValue { setting, value, source } = item;
        (SettingKey { setting, source }, value)
    });
    let refused = reported.refused.iter().map(|item| {
        let wire::RefusedSetting { setting, source, reason } = item;
        RefusedSetting { key: SettingKey { setting, source }, reason: refusal(reason) }
    });
    ReportedConfig {
        generation: reported.generation,
        state: match reported.state {
            wire::ConfigState::Unknown => ConfigState::Unknown,
            wire::ConfigState::Applied => ConfigState::Applied,
            wire::ConfigState::Trial => ConfigState::Trial,
            wire::ConfigState::Reverted => ConfigState::Reverted,
        },
        refused: refused.collect(),
        values: Settings(values.collect()),
    }
}

fn refusal(reason: wire::SettingRefusal) -> SettingRefusal {
    match reason {
        wire::SettingRefusal::Other => SettingRefusal::Other,
        wire::SettingRefusal::Unknown => SettingRefusal::UnknownSetting,
        wire::SettingRefusal::OutOfBounds => SettingRefusal::OutOfBounds,
        wire::SettingRefusal::Unsupported => SettingRefusal::Unsupported,
        wire::SettingRefusal::NoSource => SettingRefusal::NoSource,
    }
}

/// Returns the values of a desired configuration for a reply.
pub(super) fn values(desired: &Desired) -> Vec<SettingValue> {
    let value = |(key, value): (&SettingKey, &u32)| SettingValue {
        setting: key.setting,
        value: *value,
        source: key.source,
    };
    desired.settings.0.iter().map(value).collect()
}
