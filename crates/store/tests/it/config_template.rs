//! Values that devices share reach each of them once, whenever the change is cut short.

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::limits::{TEMPLATE_DEVICES_PER_COMMIT, TEMPLATE_VERSIONS_KEPT, TEMPLATES_MAX};
use ecowatt_store::{Author, EditConfig, EditTemplate, SettingKey, Settings, Store, TemplateError};

use crate::fixture::{Fixture, by, by_at, enrol};

const ROWS: SettingKey = SettingKey { setting: 5, source: None };
const UPLOAD: SettingKey = SettingKey { setting: 2, source: None };

fn settings(values: &[(SettingKey, u32)]) -> Settings {
    Settings(values.iter().copied().collect())
}

fn edit(name: &str, set: &[(SettingKey, u32)], unset: &[SettingKey]) -> EditTemplate {
    EditTemplate { name: name.into(), set: settings(set), unset: unset.to_vec(), expected: None }
}

async fn create(store: &Store, name: &str, values: &[(SettingKey, u32)]) {
    store.create_template(by(), name.into(), settings(values)).await.unwrap();
}

async fn assign(store: &Store, device: DeviceNumber, name: Option<&str>) -> bool {
    store.assign_template(by(), device, name.map(Into::into)).await.unwrap()
}

/// What a device should have, with the generation.
async fn desired(store: &Store, device: DeviceNumber) -> (u32, Settings) {
    let desired = store.find_config(device).await.unwrap().desired.unwrap().desired;
    (desired.generation.0, desired.settings)
}

/// Derives until all devices are up to date; returns how many were changed.
async fn derive_all(store: &Store) -> usize {
    let mut count = 0;
    loop {
        match store.derive_outdated().await.unwrap().len() {
            0 => return count,
            some => count += some,
        }
    }
}

#[tokio::test]
async fn device_follows_its_template_except_where_it_has_values_of_its_own() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    create(store, "modem", &[(UPLOAD, 300_000), (ROWS, 60)]).await;
    assert!(assign(store, device, Some("modem")).await);
    assert!(!assign(store, device, Some("modem")).await, "it has the template");
    assert_eq!(desired(store, device).await, (1, settings(&[(UPLOAD, 300_000), (ROWS, 60)])));

    let own =
        EditConfig { device, set: settings(&[(ROWS, 12)]), unset: Vec::new(), expected: None };
    store.edit_config(by(), own.clone()).await.unwrap();
    let author = Author::new("the fleet's operator", UnixMs(77));
    let change = edit("modem", &[(ROWS, 90)], &[UPLOAD]);
    assert!(store.edit_template(author.clone(), change.clone()).await.unwrap());
    assert!(!store.edit_template(author.clone(), change).await.unwrap(), "nothing differs");
    assert_eq!(derive_all(store).await, 1);
    assert_eq!(derive_all(store).await, 0);
    assert_eq!(desired(store, device).await, (3, settings(&[(ROWS, 12)])));
    let newest = store.find_config(device).await.unwrap();
    assert_eq!(newest.template.as_deref(), Some("modem"));
    assert_eq!(newest.desired.unwrap().by, author, "who changed the template changed the device");

    let unset = EditConfig { set: Settings::default(), unset: vec![ROWS], ..own };
    store.edit_config(by(), unset).await.unwrap();
    assert_eq!(desired(store, device).await, (4, settings(&[(ROWS, 90)])));
    assert!(assign(store, device, None).await);
    assert_eq!(desired(store, device).await, (5, Settings::default()));
    assert_eq!(store.find_config(device).await.unwrap().template, None);
}

#[tokio::test]
async fn change_reaches_all_devices_in_small_steps_and_each_once() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    create(store, "all", &[(ROWS, 60)]).await;
    let count = TEMPLATE_DEVICES_PER_COMMIT + 3;
    let mut devices = Vec::new();
    for number in 0..count {
        let device = enrol(store, &format!("device {number}")).await;
        assign(store, device, Some("all")).await;
        devices.push(device);
    }
    store.edit_template(by(), edit("all", &[(ROWS, 90)], &[])).await.unwrap();
    let first = store.derive_outdated().await.unwrap();
    assert_eq!(first.len(), usize::try_from(TEMPLATE_DEVICES_PER_COMMIT).unwrap());
    let held = store.find_template("all".into()).await.unwrap().unwrap();
    assert_eq!((held.devices, held.outdated), (u64::from(count), 3));

    // A server that was killed here goes on where it was.
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(derive_all(&store).await, 3);
    for device in devices {
        assert_eq!(desired(&store, device).await, (2, settings(&[(ROWS, 90)])));
    }
    let held = store.find_template("all".into()).await.unwrap().unwrap();
    assert_eq!((held.version, held.outdated), (2, 0));
}

#[tokio::test]
async fn preview_lists_what_would_change_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (store, first) = (&fixture.store, fixture.device());
    create(store, "all", &[(ROWS, 60)]).await;
    let second = enrol(store, "second").await;
    let third = enrol(store, "third").await;
    for device in [first, second, third] {
        assign(store, device, Some("all")).await;
    }
    let own = settings(&[(ROWS, 12)]);
    let pinned = EditConfig { device: second, set: own, unset: Vec::new(), expected: None };
    store.edit_config(by(), pinned).await.unwrap();
    let next = settings(&[(ROWS, 90)]);
    let preview = |after, limit| store.preview_template("all".into(), next.clone(), after, limit);
    let found = preview(None, 9).await.unwrap();
    let devices: Vec<_> = found.iter().map(|preview| preview.device).collect();
    assert_eq!(devices, [first, third], "the second has a value of its own");
    assert_eq!((&found[0].before, &found[0].after), (&settings(&[(ROWS, 60)]), &next));
    assert_eq!(preview(None, 1).await.unwrap(), found[..1]);
    assert_eq!(preview(Some(first), 9).await.unwrap(), found[1..]);
    assert_eq!(desired(store, first).await, (1, settings(&[(ROWS, 60)])));
}

#[tokio::test]
async fn templates_have_names_versions_and_a_limit() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    create(store, "one", &[]).await;
    let again = store.create_template(by(), "one".into(), Settings::default()).await;
    assert!(matches!(again, Err(TemplateError::NameTaken)));
    let mut change = edit("one", &[(ROWS, 60)], &[]);
    change.expected = Some(2);
    let early = store.edit_template(by(), change.clone()).await;
    assert!(matches!(early, Err(TemplateError::OtherVersion(1))), "{early:?}");
    change.expected = Some(1);
    store.edit_template(by(), change).await.unwrap();

    assign(store, device, Some("one")).await;
    let used = store.delete_template(by(), "one".into()).await;
    assert!(matches!(used, Err(TemplateError::InUse(1))), "{used:?}");
    let unknown = store.assign_template(by(), device, Some("none".into())).await;
    assert!(matches!(unknown, Err(TemplateError::Unknown)), "{unknown:?}");
    let missing = store.assign_template(by(), DeviceNumber(999), None).await;
    assert!(matches!(missing, Err(TemplateError::UnknownDevice)), "{missing:?}");
    let config = store.find_config(device).await.unwrap();
    assert_eq!(config.template.as_deref(), Some("one"), "a refused change changes nothing");
    store.delete_device(by_at(UnixMs(9)), device).await.unwrap();
    while store.sweep().await.unwrap() {}
    store.delete_template(by(), "one".into()).await.unwrap();
    assert!(store.list_templates().await.unwrap().is_empty());

    for number in 0..TEMPLATES_MAX {
        create(store, &number.to_string(), &[]).await;
    }
    let more = store.create_template(by(), "more".into(), Settings::default()).await;
    assert!(matches!(more, Err(TemplateError::TooMany)), "{more:?}");
}

#[tokio::test]
async fn group_is_given_a_template_in_one_commit_and_each_device_is_in_the_audit() {
    let fixture = Fixture::new().await;
    let (store, first) = (&fixture.store, fixture.device());
    let second = enrol(store, "second").await;
    create(store, "all", &[(ROWS, 60)]).await;
    assign(store, first, Some("all")).await;
    let group = vec![first, DeviceNumber(999), second];
    let changed = store.assign_templates(by(), group.clone(), Some("all".into())).await.unwrap();
    assert_eq!(changed, [second], "the first has it, and there is no third");
    for device in [first, second] {
        assert_eq!(desired(store, device).await, (1, settings(&[(ROWS, 60)])));
    }
    let audit = store.list_audit(None, 1).await.unwrap();
    assert_eq!(
        (&*audit[0].change, &audit[0].subject),
        ("config_template.assign", &second.to_string())
    );
    let unknown = store.assign_templates(by(), group, Some("none".into())).await;
    assert!(matches!(unknown, Err(TemplateError::Unknown)), "{unknown:?}");
}

#[tokio::test]
async fn versions_are_kept_with_their_authors() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    create(store, "all", &[(ROWS, 1)]).await;
    for number in 0..TEMPLATE_VERSIONS_KEPT + 2 {
        let author = Author::new(format!("operator {number}"), UnixMs(77));
        let change = edit("all", &[(ROWS, number + 2)], &[]);
        store.edit_template(author, change).await.unwrap();
    }
    let kept = store.list_template_versions("all".into(), None, u32::MAX).await.unwrap();
    assert_eq!(kept.len(), usize::try_from(TEMPLATE_VERSIONS_KEPT).unwrap());
    let newest = TEMPLATE_VERSIONS_KEPT + 3;
    assert_eq!((kept[0].version, &kept[0].settings), (newest, &settings(&[(ROWS, newest)])));
    assert_eq!(kept[0].by.who, format!("operator {}", newest - 2));
    let next = store.list_template_versions("all".into(), Some(newest), 1).await.unwrap();
    assert_eq!(next, kept[1..2]);
    store.delete_template(by(), "all".into()).await.unwrap();
    create(store, "all", &[]).await;
    let kept = store.list_template_versions("all".into(), None, 9).await.unwrap();
    assert_eq!(kept.len(), 1, "another template of that name has its own history");
}
