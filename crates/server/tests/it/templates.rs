//! Templates from an operator to the devices that use them.

use serde_json::{Value, json};

use crate::events::Reader;
use crate::rig::device::TestDevice;
use crate::rig::world::{Answer, JSON, LOOK_AGAIN, World, within};

const TEMPLATES: &str = "/api/v1/config/templates";

async fn send(world: &World, method: &str, target: &str, body: &Value) -> Answer {
    let (name, token) = world.bearer();
    world.send(method, target, &[(name, &token), JSON], body.to_string()).await
}

/// Sends what must be taken, and returns the answer.
async fn taken(world: &World, method: &str, target: &str, body: Value) -> Value {
    let answer = send(world, method, target, &body).await;
    assert!((200..300).contains(&answer.status), "{method} {target}: {}", answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

async fn config(world: &World, device: &str) -> Value {
    world.get_json(&format!("/api/v1/devices/{device}/config")).await
}

/// The desired values of a device: name, text and origin.
fn desired(config: &Value) -> Vec<(&str, &str, &str)> {
    let rows = config["settings"].as_array().unwrap();
    let desired = rows.iter().filter(|row| !row["desired"].is_null());
    let text = |value: &'_ Value| value.as_str().unwrap().to_owned().leak() as &'static str;
    desired
        .map(|row| (text(&row["name"]), text(&row["desired"]["text"]), text(&row["origin"])))
        .collect()
}

/// Waits until a template's change has reached all of its devices.
async fn derived(world: &World, name: &str) {
    let target = format!("{TEMPLATES}/{name}");
    within("the devices follow their template", async {
        while world.get_json(&target).await["outdated"] != 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

async fn fleet(world: &World, names: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(TestDevice::enrol(world, name).await.id);
    }
    ids
}

#[tokio::test]
async fn devices_follow_their_template_and_keep_what_is_their_own() {
    let world = World::start().await;
    let ids = fleet(&world, &["North 1", "North 2", "South"]).await;
    let values = json!({"name": "modem", "set": {"upload_interval": "5m", "batch_rows": "60"}});
    let made = taken(&world, "POST", TEMPLATES, values).await;
    assert_eq!((&made["version"], &made["devices"]), (&json!(1), &json!(0)));
    assert_eq!(made["by"], "token 1 (set-up)");

    // A group by filter, then a device by name.
    let group = format!("{TEMPLATES}/modem/devices");
    let assigned = taken(&world, "PUT", &group, json!({"search": "north"})).await;
    assert_eq!(assigned, json!({"devices": 2, "changed": 2}));
    let assigned = taken(&world, "PUT", &group, json!({"devices": [ids[0]]})).await;
    assert_eq!(assigned, json!({"devices": 1, "changed": 0}));
    let own = format!("/api/v1/devices/{}/config", ids[0]);
    taken(&world, "PATCH", &own, json!({"set": {"batch_rows": "12"}})).await;
    let first = config(&world, &ids[0]).await;
    assert_eq!((&first["template"], &first["generation"]), (&json!("modem"), &json!(2)));
    assert_eq!(
        desired(&first),
        [("upload_interval", "5m", "template"), ("batch_rows", "12", "device")]
    );
    assert_eq!(desired(&config(&world, &ids[2]).await), []);

    // The dry run names who would change, and changes nothing.
    let change = json!({"set": {"batch_rows": "90"}, "version": 1});
    let preview =
        taken(&world, "POST", &format!("{TEMPLATES}/modem/preview"), change.clone()).await;
    let (sixty, ninety) = (json!({"value": 60, "text": "60"}), json!({"value": 90, "text": "90"}));
    let settings = json!([{"name": "batch_rows", "before": sixty, "after": ninety}]);
    assert_eq!(preview, json!({"devices": [{"device": ids[1], "settings": settings}]}));
    assert_eq!(config(&world, &ids[1]).await["generation"], 1);

    let mut reader = Reader::open(&world, &format!("?device={}", ids[1])).await;
    let target = format!("{TEMPLATES}/modem");
    assert_eq!(taken(&world, "PATCH", &target, change).await["version"], 2);
    assert_eq!(reader.event("config").await, json!({"device": ids[1]}));
    derived(&world, "modem").await;
    let second = config(&world, &ids[1]).await;
    assert_eq!((&second["generation"], &second["by"]), (&json!(2), &json!("token 1 (set-up)")));
    assert_eq!(config(&world, &ids[0]).await["generation"], 2, "its effective values are the same");
    let history = world.get_json(&format!("{target}/history?limit=1")).await;
    assert_eq!(
        (&history["changes"][0]["settings"], &history["next_cursor"]),
        (&settings, &json!("2"))
    );
    let older = world.get_json(&format!("{target}/history?cursor=2")).await;
    assert_eq!(older["changes"][0]["settings"][0]["before"], Value::Null);

    // Without its own value, and without the template.
    taken(&world, "PATCH", &own, json!({"unset": ["batch_rows"]})).await;
    assert_eq!(desired(&config(&world, &ids[0]).await)[1], ("batch_rows", "90", "template"));
    assert_eq!(send(&world, "DELETE", &target, &Value::Null).await.code(), "template_in_use");
    for id in &ids[..2] {
        taken(&world, "PUT", &format!("/api/v1/devices/{id}/config/template"), json!({})).await;
        assert_eq!(desired(&config(&world, id).await), []);
    }
    taken(&world, "DELETE", &target, Value::Null).await;
    assert_eq!(world.get_json(TEMPLATES).await, json!({"templates": []}));
}

#[tokio::test]
async fn preview_has_pages() {
    let world = World::start().await;
    let ids = fleet(&world, &["A", "B", "C"]).await;
    taken(&world, "POST", TEMPLATES, json!({"name": "all"})).await;
    let group = json!({"devices": ids});
    taken(&world, "PUT", &format!("{TEMPLATES}/all/devices"), group).await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let target = format!("{TEMPLATES}/all/preview?limit=2{cursor}");
        let page = taken(&world, "POST", &target, json!({"set": {"log_level": "debug"}})).await;
        let devices = page["devices"].as_array().unwrap();
        found.extend(devices.iter().map(|device| device["device"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, ids);
}

#[tokio::test]
async fn bad_templates_are_refused_and_change_nothing() {
    let world = World::start().await;
    let id = TestDevice::enrol(&world, "Roof").await.id;
    taken(&world, "POST", TEMPLATES, json!({"name": "all", "set": {"batch_rows": "60"}})).await;
    let long = "x".repeat(65);
    let (all, group) = (format!("{TEMPLATES}/all"), format!("{TEMPLATES}/all/devices"));
    let (preview, none) = (format!("{all}/preview"), format!("{TEMPLATES}/none"));
    let of_device = format!("/api/v1/devices/{id}/config/template");
    let many: Vec<_> = (0..501).map(|number| format!("dev-{number}")).collect();
    for (method, target, body, status, code) in [
        ("POST", TEMPLATES, json!({"name": ""}), 400, "invalid_name"),
        ("POST", TEMPLATES, json!({"name": "a/b"}), 400, "invalid_name"),
        ("POST", TEMPLATES, json!({"name": long}), 400, "invalid_name"),
        ("POST", TEMPLATES, json!({"name": "all"}), 409, "template_name_taken"),
        ("POST", TEMPLATES, json!({"name": "b", "set": {"x": "1"}}), 400, "setting_unknown"),
        (
            "POST",
            TEMPLATES,
            json!({"name": "b", "set": {"sampling_interval@0": "5s"}}),
            400,
            "invalid_setting",
        ),
        ("PATCH", &all, json!({"set": {"batch_rows": "0"}}), 400, "invalid_setting"),
        ("PATCH", &all, json!({"unset": ["batch_rows"], "version": 2}), 409, "config_changed"),
        ("PATCH", &none, json!({}), 404, "template_unknown"),
        ("POST", &preview, json!({"set": {"batch_rows": "0"}}), 400, "invalid_setting"),
        ("POST", &preview, json!({"version": 7}), 409, "config_changed"),
        ("DELETE", &none, Value::Null, 404, "template_unknown"),
        ("PUT", &group, json!({}), 400, "invalid_group"),
        ("PUT", &group, json!({"devices": [id], "search": "x"}), 400, "invalid_group"),
        ("PUT", &group, json!({"devices": many}), 400, "invalid_group"),
        ("PUT", &group, json!({"devices": [id, "dev-99"]}), 404, "device_unknown"),
        ("PUT", &of_device, json!({"template": "none"}), 404, "template_unknown"),
    ] {
        let answer = send(&world, method, target, &body).await;
        let got = (answer.status, answer.code());
        assert_eq!((got.0, got.1.as_str()), (status, code), "{method} {target} {body}");
    }
    let held = world.get_json(&all).await;
    assert_eq!((&held["version"], &held["devices"]), (&json!(1), &json!(0)));
    assert_eq!(config(&world, &id).await["generation"], 0);
    let history = world.get(&format!("{none}/history")).await;
    assert_eq!((history.status, history.code().as_str()), (404, "template_unknown"));
}
