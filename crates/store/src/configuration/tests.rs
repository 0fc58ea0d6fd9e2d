//! Merging, numbering and delivery without a database.

use super::*;

const KEY: KeyGeneration = KeyGeneration(1);

fn key(setting: u8, source: Option<u8>) -> SettingKey {
    SettingKey { setting, source: source.map(SourceNumber) }
}

fn settings(values: &[(u8, u32)]) -> Settings {
    Settings(values.iter().map(|(setting, value)| (key(*setting, None), *value)).collect())
}

fn desired(generation: u32, values: &[(u8, u32)]) -> Desired {
    Desired { generation: ConfigGeneration(generation), settings: settings(values) }
}

/// A configuration of a device without a template.
fn version(desired: Desired) -> ConfigVersion {
    let own = desired.settings.clone();
    ConfigVersion { by: Author::new("operator", UnixMs(0)), desired, own }
}

/// The configuration after a change on a device without a template.
fn next(
    held: Option<&Desired>,
    report: Option<&ConfigReport>,
    edit: &EditConfig,
) -> Result<Option<Desired>, EditConfigError> {
    let held = held.cloned().map(version);
    let next = edited(held.as_ref(), &Settings::default(), report, edit)?;
    Ok(next.map(|next| next.desired))
}

fn edit(set: &[(u8, u32)], unset: &[u8]) -> EditConfig {
    EditConfig {
        device: DeviceNumber(1),
        set: settings(set),
        unset: unset.iter().map(|setting| key(*setting, None)).collect(),
        expected: None,
    }
}

fn report(held: Option<&ConfigReport>, generation: u32) -> ConfigReport {
    let reported = ReportedConfig {
        generation: ConfigGeneration(generation),
        state: ConfigState::Applied,
        refused: Vec::new(),
        values: Settings::default(),
    };
    ConfigReport::next(held, KEY, UnixMs(0), reported)
}

#[test]
fn change_is_merged_and_numbered_once() {
    let first = next(None, None, &edit(&[(2, 5_000), (5, 60)], &[])).unwrap().unwrap();
    assert_eq!(first, desired(1, &[(2, 5_000), (5, 60)]));
    let second = next(Some(&first), None, &edit(&[(2, 9_000)], &[5])).unwrap().unwrap();
    assert_eq!(second, desired(2, &[(2, 9_000)]));
    for same in [edit(&[(2, 9_000)], &[5]), edit(&[], &[])] {
        assert_eq!(next(Some(&second), None, &same).unwrap(), None);
    }
    // A value for one inverter is not the one for all.
    let mut one = edit(&[], &[]);
    one.set.0.insert(key(2, Some(0)), 9_000);
    assert_eq!(next(Some(&second), None, &one).unwrap().unwrap().settings.0.len(), 2);
}

#[test]
fn generation_is_above_all_that_the_device_reported() {
    let change = edit(&[(5, 60)], &[]);
    let lost = report(Some(&report(None, 7)), 0);
    assert_eq!((lost.highest.0, lost.reported.generation.0), (7, 0));
    let after = next(Some(&desired(4, &[])), Some(&lost), &change).unwrap().unwrap();
    assert_eq!(after.generation.0, 8);
}

#[test]
fn thief_of_a_key_uses_up_no_generations() {
    let change = edit(&[(5, 60)], &[]);
    let forged = report(None, u32::MAX);
    let after = next(Some(&desired(4, &[])), Some(&forged), &change).unwrap().unwrap();
    assert_eq!(after.generation.0, 4 + LOST_GENERATIONS_MAX + 1);
    // What one report costs is a small part of all generations.
    const { assert!(u32::MAX / LOST_GENERATIONS_MAX > 4_000) };
    let last = desired(u32::MAX, &[]);
    assert!(matches!(next(Some(&last), None, &change), Err(EditConfigError::Exhausted)));
}

#[test]
fn change_for_another_generation_or_beyond_the_limit_is_refused() {
    let held = desired(4, &[]);
    let mut change = edit(&[(5, 60)], &[]);
    for (expected, is_taken) in [(3, false), (4, true), (5, false)] {
        change.expected = Some(ConfigGeneration(expected));
        let edited = next(Some(&held), None, &change);
        assert_eq!(edited.is_ok(), is_taken, "{expected} {edited:?}");
    }
    let mut change = edit(&[], &[]);
    for source in 0..24 {
        change.set.0.insert(key(1, Some(source)), 1_000);
    }
    assert!(matches!(next(None, None, &change), Err(EditConfigError::TooMany)));
    change.set.0.pop_last();
    assert!(next(None, None, &change).unwrap().is_some());
}

#[test]
fn desired_is_sent_until_it_is_reported_under_the_present_key() {
    let wanted = desired(4, &[(5, 60)]);
    let sent = |report: Option<&ConfigReport>, under| {
        pending(Some(&wanted), report, KeyGeneration(under)).is_some()
    };
    assert!(sent(None, 1));
    assert!(sent(Some(&report(None, 3)), 1));
    assert!(!sent(Some(&report(None, 4)), 1));
    assert!(!sent(Some(&report(None, 5)), 1), "a restored backup lacks it");
    assert!(sent(Some(&report(Some(&report(None, 4)), 0)), 1), "the device lost its settings");
    assert!(sent(Some(&report(None, 4)), 2), "the hardware may be another");
    assert_eq!(pending(None, Some(&report(None, 0)), KEY), None);
}

#[test]
fn report_and_settings_come_back() {
    let mut values = settings(&[(1, 200), (8, u32::MAX)]);
    values.0.insert(key(1, Some(255)), 0);
    assert_eq!(Settings::decode(&values.encode()), Some(values.clone()));
    let reported = ReportedConfig {
        generation: ConfigGeneration(9),
        state: ConfigState::Reverted,
        refused: vec![RefusedSetting { key: key(9, Some(3)), reason: SettingRefusal::NoSource }],
        values,
    };
    assert_eq!(
        ReportedConfig::decode(ConfigGeneration(9), &reported.encode()),
        Some(reported.clone())
    );
    for length in [0, 1, 2, 4] {
        let cut = &reported.encode()[..length];
        assert_eq!(ReportedConfig::decode(ConfigGeneration(9), cut), None, "{length}");
    }
}

#[test]
fn values_of_a_device_count_before_those_of_its_template() {
    let template = settings(&[(2, 5_000), (5, 60)]);
    let first = derived(None, &template, None, Settings::default()).unwrap().unwrap();
    assert_eq!(first.desired, desired(1, &[(2, 5_000), (5, 60)]));
    let held = ConfigVersion {
        by: Author::new("operator", UnixMs(0)),
        desired: first.desired,
        own: first.own,
    };
    let second = edited(Some(&held), &template, None, &edit(&[(2, 9_000)], &[])).unwrap().unwrap();
    assert_eq!(second.desired, desired(2, &[(2, 9_000), (5, 60)]));
    assert_eq!(second.own, settings(&[(2, 9_000)]));
    let held = ConfigVersion { desired: second.desired, own: second.own, ..held };

    // A change of the template reaches what the device has no value of its own for.
    let template = settings(&[(2, 7_000), (6, 1)]);
    let third = derived(Some(&held), &template, None, held.own.clone()).unwrap().unwrap();
    assert_eq!(third.desired, desired(3, &[(2, 9_000), (6, 1)]));
    let held = ConfigVersion { desired: third.desired, own: third.own, ..held };
    assert_eq!(derived(Some(&held), &template, None, held.own.clone()).unwrap(), None);

    // What is left to the template has its value again.
    let fourth = edited(Some(&held), &template, None, &edit(&[], &[2])).unwrap().unwrap();
    assert_eq!(fourth.desired, desired(4, &[(2, 7_000), (6, 1)]));
    // A value of its own that is the template's is kept for when the template changes.
    let held = ConfigVersion { desired: fourth.desired, own: fourth.own, ..held };
    let fifth = edited(Some(&held), &template, None, &edit(&[(6, 1)], &[])).unwrap().unwrap();
    assert_eq!((fifth.desired.settings, fifth.own), (template, settings(&[(6, 1)])));
}
