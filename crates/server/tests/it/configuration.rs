//! Settings from an operator to a device and back, through both sockets.

use ecowatt_clock::Clock;
use ecowatt_model::{ConfigGeneration, SourceNumber};
use ecowatt_wire::{
    ConfigState, RefusedSetting, Reported, SectionList, SettingRefusal, SettingValue, UplinkWriter,
};
use serde_json::{Value, json};

use crate::events::Reader;
use crate::rig::device::TestDevice;
use crate::rig::world::{Answer, JSON, World};

const UPLOAD: u8 = 2;
const ROWS: u8 = 5;

async fn patch(world: &World, device: &str, body: &Value) -> Answer {
    let (name, token) = world.bearer();
    let target = format!("/api/v1/devices/{device}/config");
    world.send("PATCH", &target, &[(name, &token), JSON], body.to_string()).await
}

async fn set(world: &World, device: &str, body: Value) -> Value {
    let answer = patch(world, device, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The row of a setting in a device's configuration.
fn row<'a>(config: &'a Value, name: &str, inverter: &Value) -> &'a Value {
    let rows = config["settings"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name && row["inverter"] == *inverter).unwrap()
}

fn states(config: &Value, names: &[&str]) -> Vec<String> {
    let state = |name: &&str| row(config, name, &Value::Null)["state"].as_str().unwrap().into();
    names.iter().map(state).collect()
}

const fn value(setting: u8, value: u32) -> SettingValue {
    SettingValue { setting, value, source: None }
}

/// Writes that this generation is decided on, with these values in use.
fn report(
    generation: u32,
    state: ConfigState,
    values: &[SettingValue],
    refused: &[RefusedSetting],
) -> impl FnOnce(&mut UplinkWriter<'_>) {
    move |writer| {
        let generation = ConfigGeneration(generation);
        let (values, refused) = (SectionList::Given(values), SectionList::Given(refused));
        writer.reported(&Reported { generation, state, refused, values }).unwrap();
    }
}

/// What the reply to the last message carries: the generation and its values.
fn received(device: &TestDevice, answer: &Answer) -> Option<(u32, Vec<SettingValue>)> {
    device.read(answer, |reply| {
        let desired = reply.desired()?;
        Some((desired.generation.0, desired.values.iter().collect()))
    })
}

#[tokio::test]
async fn device_gets_the_change_until_it_has_reported_it() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let id = device.id.clone();
    let nothing = |_: &mut UplinkWriter<'_>| ();
    let answer = device.report(&world, nothing).await;
    assert_eq!(received(&device, &answer), None);
    let before = world.get_json(&format!("/api/v1/devices/{id}/config")).await;
    assert_eq!((&before["generation"], &before["pending"]), (&json!(0), &json!(false)));
    assert_eq!(before["report"], Value::Null);

    let wanted = json!({"set": {"upload_interval": "30s", "batch_rows": "60"}});
    let now = set(&world, &id, wanted).await;
    assert_eq!((&now["generation"], &now["pending"]), (&json!(1), &json!(true)));
    assert_eq!(states(&now, &["upload_interval", "batch_rows"]), ["pending", "pending"]);
    let sent = Some((1, vec![value(UPLOAD, 30_000), value(ROWS, 60)]));
    let answer = device.report(&world, nothing).await;
    assert_eq!(received(&device, &answer), sent);
    // The same message again, whose reply was lost.
    let message = device.sealed(report(0, ConfigState::Applied, &[value(UPLOAD, 5_000)], &[]));
    for _ in 0..2 {
        let answer = TestDevice::send_bytes(&world, &message).await;
        assert_eq!(received(&device, &answer), sent);
    }

    let refused =
        [RefusedSetting { setting: ROWS, source: None, reason: SettingRefusal::OutOfBounds }];
    let in_use = [value(UPLOAD, 30_000), value(ROWS, 12)];
    let message = device.sealed(report(1, ConfigState::Applied, &in_use, &refused));
    for _ in 0..2 {
        let answer = TestDevice::send_bytes(&world, &message).await;
        assert_eq!(received(&device, &answer), None);
    }
    let config = world.get_json(&format!("/api/v1/devices/{id}/config")).await;
    assert_eq!(
        (&config["pending"], &config["report"]["state"]),
        (&json!(false), &json!("applied"))
    );
    assert_eq!(states(&config, &["upload_interval", "batch_rows"]), ["in_use", "refused"]);
    let rows = row(&config, "batch_rows", &Value::Null);
    assert_eq!(rows["refused"], "out_of_bounds");
    assert_eq!(rows["in_use"], json!({"value": 12, "text": "12"}));
    assert_eq!(rows["desired"], json!({"value": 60, "text": "60"}));
    let answer = device.report(&world, nothing).await;
    assert_eq!(received(&device, &answer), None, "a refused generation is decided on");
}

#[tokio::test]
async fn bad_changes_are_refused_with_the_bound_and_change_nothing() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let id = device.id.clone();
    // A device that has not reported its inverters may have any.
    set(&world, &id, json!({"set": {"sampling_interval@7": "5s"}})).await;
    set(&world, &id, json!({"unset": ["sampling_interval@7"]})).await;
    let now = Clock::system().now();
    device.deliver(&world, now, &[(now, Some(1))]).await;
    for (body, status, code, message) in [
        (json!({"set": {"upload_interval": "1h"}}), 400, "invalid_setting", "from 1s to 15m"),
        (
            json!({"set": {"upload_interval": "1s", "batch_rows": "0"}}),
            400,
            "invalid_setting",
            "1 to 1024",
        ),
        (json!({"set": {"log_level": "loud"}}), 400, "invalid_setting", "error, warn, info, debug"),
        (json!({"set": {"interval": "1s"}}), 400, "setting_unknown", "sampling_interval"),
        (json!({"unset": ["interval"]}), 400, "setting_unknown", "sampling_interval"),
        (json!({"set": {"upload_interval@0": "1s"}}), 400, "invalid_setting", "whole device"),
        (json!({"set": {"sampling_interval@8": "1s"}}), 400, "invalid_setting", "inverter"),
        (json!({"set": {"sampling_interval@1": "1s"}}), 404, "inverter_unknown", "inverter 1"),
        (
            json!({"set": {"log_level": "info"}, "unset": ["log_level"]}),
            400,
            "invalid_setting",
            "at once",
        ),
        (
            json!({"set": {"log_level": "info"}, "generation": 1}),
            409,
            "config_changed",
            "generation 2",
        ),
        (json!({"set": {"batch_rows": 5}}), 422, "invalid_body", "batch_rows"),
        (json!({"sets": {}}), 422, "invalid_body", "sets"),
    ] {
        let answer = patch(&world, &id, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        let text = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(text.contains(message), "{body}: {text}");
    }
    let unknown = patch(&world, "dev-99", &json!({"set": {"log_level": "info"}})).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "device_unknown"));
    let config = world.get_json(&format!("/api/v1/devices/{id}/config")).await;
    assert_eq!(config["generation"], 2);
    // Nothing to change: the generation stays.
    let same = set(&world, &id, json!({"unset": ["log_level"], "generation": 2})).await;
    assert_eq!(same["generation"], 2);
    set(&world, &id, json!({"set": {"sampling_interval@0": "2s"}, "generation": 2})).await;
    let answer = device.report(&world, |_| ()).await;
    let of_one = SettingValue { setting: 1, value: 2_000, source: Some(SourceNumber(0)) };
    assert_eq!(received(&device, &answer), Some((3, vec![of_one])));
}

#[tokio::test]
async fn history_shows_each_change_by_page() {
    let world = World::start().await;
    let id = TestDevice::enrol(&world, "Roof").await.id;
    for body in [
        json!({"set": {"upload_interval": "30s"}}),
        json!({"set": {"upload_interval": "1m", "log_level": "debug"}}),
        json!({"unset": ["log_level"]}),
    ] {
        set(&world, &id, body).await;
    }
    let target = format!("/api/v1/devices/{id}/config/history");
    let page = world.get_json(&format!("{target}?limit=2")).await;
    let (thirty, minute) =
        (json!({"value": 30_000, "text": "30s"}), json!({"value": 60_000, "text": "1m"}));
    let debug = json!({"value": 3, "text": "debug"});
    let change = |name: &str, before: &Value, after: &Value| json!({"name": name, "before": before, "after": after});
    assert_eq!(page["changes"][0]["settings"], json!([change("log_level", &debug, &Value::Null)]));
    assert_eq!(
        page["changes"][1]["settings"],
        json!([
            change("upload_interval", &thirty, &minute),
            change("log_level", &Value::Null, &debug)
        ])
    );
    assert_eq!(page["changes"][0]["by"], "token 1 (set-up)");
    let rest = world.get_json(&format!("{target}?limit=2&cursor=2")).await;
    assert_eq!(page["next_cursor"], "2");
    assert_eq!(
        rest["changes"][0]["settings"],
        json!([change("upload_interval", &Value::Null, &thirty)])
    );
    assert_eq!((rest["changes"].as_array().unwrap().len(), rest.get("next_cursor")), (1, None));
    for (query, code) in [
        ("limit=0", "invalid_limit"),
        ("limit=101", "invalid_limit"),
        ("cursor=x", "invalid_cursor"),
    ] {
        assert_eq!(world.get(&format!("{target}?{query}")).await.code(), code, "{query}");
    }
}

#[tokio::test]
async fn change_and_report_are_told_at_once() {
    let world = World::start().await;
    let mut device = TestDevice::enrol(&world, "Roof").await;
    let id = device.id.clone();
    let mut reader = Reader::open(&world, &format!("?device={id}")).await;
    set(&world, &id, json!({"set": {"log_level": "debug"}})).await;
    assert_eq!(reader.event("config").await, json!({"device": id}));
    let answer = device.report(&world, report(1, ConfigState::Trial, &[value(6, 3)], &[])).await;
    assert_eq!(received(&device, &answer), None);
    assert_eq!(reader.event("config").await, json!({"device": id}));
    let config = world.get_json(&format!("/api/v1/devices/{id}/config")).await;
    assert_eq!(config["report"]["state"], "trial");
}

#[tokio::test]
async fn settings_are_listed_with_their_bounds() {
    let world = World::start().await;
    let list = world.get_json("/api/v1/settings").await;
    let settings = list["settings"].as_array().unwrap();
    assert_eq!(settings.len(), ecowatt_model::setting::SETTINGS.len());
    let upload = settings.iter().find(|setting| setting["name"] == "upload_interval").unwrap();
    assert_eq!(upload["min"], json!({"value": 1_000, "text": "1s"}));
    assert_eq!((&upload["kind"], &upload["scope"]), (&json!("duration"), &json!("device")));
    let level = settings.iter().find(|setting| setting["name"] == "log_level").unwrap();
    assert_eq!(level["choices"], json!(["error", "warn", "info", "debug"]));
}
