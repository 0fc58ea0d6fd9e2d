//! Settings as devices of the earlier EcoWatt know them: names of their own, and whole seconds.

use ecowatt_model::SourceNumber;
use ecowatt_model::setting::{CHECK_IN_INTERVAL, SAMPLING_INTERVAL, UPLOAD_INTERVAL};
use ecowatt_store::{RefusedSetting, SettingKey, SettingRefusal, Settings};

/// Their one inverter.
const INVERTER: SourceNumber = SourceNumber(0);

/// A setting of such a device that is one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OriginalSetting {
    /// Its name in the device's protocol.
    pub(crate) name: &'static str,
    number: u8,
    /// What the device keeps across a restart, in seconds.
    pub(crate) min_s: u32,
    pub(crate) max_s: u32,
    /// What it has from the factory, in seconds.
    pub(crate) default_s: u32,
}

/// All of them. The device asks for settings and for commands at intervals of their own; we know one
/// interval for both.
pub(crate) const ORIGINAL_SETTINGS: [OriginalSetting; 4] = [
    OriginalSetting {
        name: "sampling_interval",
        number: SAMPLING_INTERVAL,
        min_s: 1,
        max_s: 300,
        default_s: 5,
    },
    OriginalSetting {
        name: "upload_interval",
        number: UPLOAD_INTERVAL,
        min_s: 1,
        max_s: 900,
        default_s: 15,
    },
    OriginalSetting {
        name: "config_poll_interval",
        number: CHECK_IN_INTERVAL,
        min_s: 5,
        max_s: 300,
        default_s: 5,
    },
    OriginalSetting {
        name: "command_poll_interval",
        number: CHECK_IN_INTERVAL,
        min_s: 5,
        max_s: 300,
        default_s: 10,
    },
];

/// A desired configuration as far as such a device can have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OriginalOffer {
    /// Names and seconds.
    pub(crate) update: Vec<(&'static str, u32)>,
    /// The same as settings of ours.
    pub(crate) values: Settings,
    /// What it cannot have.
    pub(crate) refused: Vec<RefusedSetting>,
}

impl OriginalSetting {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ORIGINAL_SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// Returns our name of the setting.
    pub(crate) fn own_name(&self) -> &'static str {
        ecowatt_model::setting::Setting::numbered(self.number).map_or("", |setting| setting.name)
    }

    /// Returns its value in some settings, in seconds.
    pub(crate) fn seconds_in(&self, settings: &Settings) -> Option<u32> {
        settings.0.get(&key(self.number)).map(|ms| ms / 1000)
    }
}

fn key(number: u8) -> SettingKey {
    SettingKey { setting: number, source: None }
}

impl OriginalOffer {
    pub(crate) fn of(desired: &Settings) -> Self {
        let mut offer = Self::default();
        for (held, value) in &desired.0 {
            let refuse = |reason| RefusedSetting { key: *held, reason };
            let own = SettingKey { source: Some(INVERTER), ..*held };
            match held.source {
                Some(INVERTER) => {}
                Some(_) => {
                    offer.refused.push(refuse(SettingRefusal::NoSource));
                    continue;
                }
                // The inverter's own value counts.
                None if desired.0.contains_key(&own) => continue,
                None => {}
            }
            let names: Vec<_> = ORIGINAL_SETTINGS
                .iter()
                .filter(|setting| setting.number == held.setting)
                .map(|setting| (setting, value / 1000))
                .collect();
            let fits = |(setting, seconds): &(&OriginalSetting, u32)| {
                value % 1000 == 0 && (setting.min_s..=setting.max_s).contains(seconds)
            };
            if names.is_empty() {
                offer.refused.push(refuse(SettingRefusal::Unsupported));
            } else if names.iter().all(fits) {
                offer
                    .update
                    .extend(names.iter().map(|(setting, seconds)| (setting.name, *seconds)));
                offer.values.0.insert(key(held.setting), *value);
            } else {
                offer.refused.push(refuse(SettingRefusal::OutOfBounds));
            }
        }
        offer
    }

    /// Whether a device with these values has all that is offered.
    pub(crate) fn is_held_in(&self, values: &Settings) -> bool {
        self.values.0.iter().all(|(key, value)| values.0.get(key) == Some(value))
    }
}

/// Translates what a device reports to have. Of two settings that are one of ours, both must have
/// the same value.
pub(crate) fn original_values(seconds: impl Fn(&str) -> Option<u32>) -> Settings {
    let mut values = Settings::default();
    let mut unequal = Vec::new();
    for setting in &ORIGINAL_SETTINGS {
        let Some(seconds) = seconds(setting.name) else { continue };
        let ms = seconds.saturating_mul(1000);
        if values.0.insert(key(setting.number), ms).is_some_and(|before| before != ms) {
            unequal.push(key(setting.number));
        }
    }
    values.0.retain(|key, _| !unequal.contains(key));
    values
}

#[cfg(test)]
mod tests {
    use ecowatt_model::setting::LOG_LEVEL;

    use super::*;

    #[test]
    fn what_the_device_cannot_have_is_refused_and_the_rest_is_offered() {
        let of =
            |setting, source: Option<u8>| SettingKey { setting, source: source.map(SourceNumber) };
        let desired = Settings(
            [
                (of(SAMPLING_INTERVAL, None), 7_000),
                (of(SAMPLING_INTERVAL, Some(0)), 2_000),
                (of(SAMPLING_INTERVAL, Some(1)), 2_000),
                (of(UPLOAD_INTERVAL, None), 1_500),
                (of(CHECK_IN_INTERVAL, None), 6_000),
                (of(LOG_LEVEL, None), 1),
            ]
            .into(),
        );
        let offer = OriginalOffer::of(&desired);
        let update =
            [("sampling_interval", 2), ("config_poll_interval", 6), ("command_poll_interval", 6)];
        assert_eq!(offer.update, update);
        let refused: Vec<_> = offer.refused.iter().map(|held| held.reason).collect();
        let [source, bounds, other] =
            [SettingRefusal::NoSource, SettingRefusal::OutOfBounds, SettingRefusal::Unsupported];
        assert_eq!(refused, [source, bounds, other]);
        let has = |command| {
            let seconds = |name: &str| match name {
                "sampling_interval" => Some(2),
                "config_poll_interval" => Some(6),
                "command_poll_interval" => Some(command),
                _ => None,
            };
            offer.is_held_in(&original_values(seconds))
        };
        assert_eq!([has(6), has(10)], [true, false]);
    }
}
