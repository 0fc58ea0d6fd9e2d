//! The state of a setting in every case, without a store.

use ecowatt_model::{ConfigGeneration, KeyGeneration, SourceNumber, UnixMs};
use ecowatt_store::{Author, ConfigReport, ConfigVersion, Desired, RefusedSetting};

use super::*;

type Values<'a> = &'a [(u8, Option<u8>, u32)];

fn key(setting: u8, source: Option<u8>) -> SettingKey {
    SettingKey { setting, source: source.map(SourceNumber) }
}

fn settings(values: Values<'_>) -> Settings {
    Settings(
        values.iter().map(|(setting, source, value)| (key(*setting, *source), *value)).collect(),
    )
}

fn desired(generation: u32, values: Values<'_>) -> Desired {
    Desired { generation: ConfigGeneration(generation), settings: settings(values) }
}

/// Generation 2 is desired and this one reported, with these values in use.
fn config(wanted: Values<'_>, generation: u32, in_use: Values<'_>) -> DeviceConfig {
    let reported = ReportedConfig {
        generation: ConfigGeneration(generation),
        state: ConfigState::Applied,
        refused: Vec::new(),
        values: settings(in_use),
    };
    DeviceConfig {
        desired: Some(ConfigVersion {
            by: Author::new("a test", UnixMs(0)),
            desired: desired(2, wanted),
            own: settings(wanted),
        }),
        applied: None,
        template: None,
        report: Some(ConfigReport {
            highest: reported.generation,
            key_generation: KeyGeneration(1),
            received_at: UnixMs(0),
            reported,
        }),
        key_generation: Some(KeyGeneration(1)),
    }
}

fn state(config: &DeviceConfig, setting: u8, source: Option<u8>) -> SettingState {
    let all = statuses(config);
    all.iter().find(|status| status.key == key(setting, source)).unwrap().state
}

#[test]
fn value_is_in_use_once_it_is_reported_and_not_before() {
    let wanted: Values<'_> = &[(2, None, 30_000), (5, None, 60)];
    let all = |config: &DeviceConfig| [2, 5, 6].map(|setting| state(config, setting, None));
    use SettingState::{InUse, NotUsed, OwnConfiguration, Pending, Refused, Reverted};
    let fresh = DeviceConfig { report: None, ..config(wanted, 0, &[]) };
    assert_eq!(all(&fresh), [Pending, Pending, OwnConfiguration]);
    // A value that the device has anyway is in use, whatever the rest of the change does.
    let before = config(wanted, 1, &[(2, None, 60_000), (5, None, 60)]);
    assert_eq!(all(&before), [Pending, InUse, OwnConfiguration]);
    let mut after = config(wanted, 2, &[(2, None, 30_000), (5, None, 90), (6, None, 1)]);
    assert_eq!(all(&after), [InUse, NotUsed, OwnConfiguration]);
    let reported = |config: &mut DeviceConfig, change: fn(&mut ReportedConfig)| {
        change(&mut config.report.as_mut().unwrap().reported);
    };
    reported(&mut after, |report| {
        let reason = SettingRefusal::OutOfBounds;
        report.refused.push(RefusedSetting { key: key(5, None), reason });
    });
    assert_eq!(all(&after), [InUse, Refused(SettingRefusal::OutOfBounds), OwnConfiguration]);
    let mut reverted = config(wanted, 2, &[(2, None, 60_000), (5, None, 90)]);
    reported(&mut reverted, |report| report.state = ConfigState::Reverted);
    assert_eq!(all(&reverted), [Reverted, Reverted, OwnConfiguration]);
    // A report under an earlier key says nothing about the device under the present one.
    let replaced = DeviceConfig { key_generation: Some(KeyGeneration(2)), ..after };
    assert_eq!(all(&replaced), [Pending, Pending, OwnConfiguration]);
    assert!(statuses(&replaced).iter().all(|status| status.in_use.is_none()));
}

#[test]
fn value_that_is_no_longer_desired_is_pending_until_the_device_reports_it() {
    let mut config = config(&[], 1, &[(5, None, 60), (2, None, 9_000)]);
    config.applied = Some(desired(1, &[(5, None, 60)]));
    assert_eq!(state(&config, 5, None), SettingState::Pending);
    assert_eq!(state(&config, 2, None), SettingState::OwnConfiguration);
    config.report.as_mut().unwrap().reported.generation.0 = 2;
    assert_eq!(state(&config, 5, None), SettingState::OwnConfiguration);
}

#[test]
fn inverters_have_values_of_their_own_or_that_of_all() {
    use SettingState::{InUse, NotUsed};
    let wanted: Values<'_> = &[(1, None, 5_000), (1, Some(1), 1_000)];
    // Reported for each inverter, and for all at once.
    let each: Values<'_> = &[(1, Some(0), 5_000), (1, Some(1), 1_000), (1, Some(2), 5_000)];
    for in_use in [each, wanted] {
        let config = config(wanted, 2, in_use);
        assert_eq!((state(&config, 1, None), state(&config, 1, Some(1))), (InUse, InUse));
    }
    let differ = config(wanted, 2, &[(1, Some(0), 5_000), (1, Some(1), 5_000), (1, Some(2), 7)]);
    assert_eq!((state(&differ, 1, None), state(&differ, 1, Some(1))), (NotUsed, NotUsed));
    // An inverter without a value of its own follows the one for all.
    let follows = config(&[(1, None, 5_000)], 2, &[(1, Some(0), 5_000), (1, Some(1), 9_000)]);
    assert_eq!((state(&follows, 1, Some(0)), state(&follows, 1, Some(1))), (InUse, NotUsed));
    let mut refusing = follows.clone();
    let reason = SettingRefusal::OutOfBounds;
    let refused = RefusedSetting { key: key(1, None), reason };
    refusing.report.as_mut().unwrap().reported.refused.push(refused);
    assert_eq!(state(&refusing, 1, Some(1)), SettingState::Refused(reason));
    // The value for all applies to none here.
    let all_have_own = config(wanted, 2, &[(1, Some(1), 1_000)]);
    assert_eq!(state(&all_have_own, 1, None), InUse);
    let keys = statuses(&differ).iter().map(|status| status.key).take(5).collect::<Vec<_>>();
    let order = [(1, None), (1, Some(0)), (1, Some(1)), (1, Some(2)), (2, None)];
    assert_eq!(keys, order.map(|(setting, source)| key(setting, source)));
}

#[test]
fn value_that_is_not_the_devices_own_is_its_templates() {
    let mut followed = config(&[(2, None, 30_000), (5, None, 60)], 1, &[]);
    followed.desired.as_mut().unwrap().own = settings(&[(5, None, 60)]);
    let all = statuses(&followed);
    let origin = |setting| {
        let of = |status: &&SettingStatus| status.key == key(setting, None);
        all.iter().find(of).unwrap().origin
    };
    use SettingOrigin::{Device, Template};
    assert_eq!([2, 5, 6].map(origin), [Some(Template), Some(Device), None]);
}
