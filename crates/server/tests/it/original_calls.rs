//! Settings and commands of devices of the earlier EcoWatt, through the sockets of a running server.

use ecowatt_clock::Clock;
use serde_json::{Value, json};

use crate::original::{enrol, envelope, packet, send, upload};
use crate::rig::world::{Answer, JSON, World};

const ID: &str = "ESP32_001";
const KEY: [u8; 32] = [7; 32];

async fn call(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    world.send(method, path, &[JSON], &body.to_string()).await
}

/// Calls as an operator.
async fn ask(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    let (name, token) = world.bearer();
    world.send(method, path, &[JSON, (name, &token)], &body.to_string()).await
}

async fn pending(world: &World) -> Value {
    let answer = call(world, "GET", &format!("/config/{ID}"), &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // What the device's parser has room for.
    assert!(answer.body.len() < 4096);
    let answer = answer.json();
    assert_eq!(answer["is_pending"], answer.get("pending_config").is_some());
    answer["pending_config"]["config_update"].clone()
}

async fn acknowledge(world: &World) -> u16 {
    let body = json!({
        "status": "applied",
        "timestamp": 1_795_248_000,
        "error_msg": "Configuration updated successfully",
        "power_management": { "enabled": false, "techniques": 8, "energy_poll_freq": 300_000_000 },
    });
    call(world, "POST", &format!("/config/{ID}/acknowledge"), &body).await.status
}

async fn set(world: &World, update: Value) -> Value {
    let body = json!({ "config_update": update });
    let answer = ask(world, "PUT", &format!("/config/{ID}"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["config_ack"].clone()
}

async fn is_pending(world: &World, device: &str) -> bool {
    let config = world.get_json(&format!("/api/v1/devices/{device}/config")).await;
    config["pending"].as_bool().unwrap()
}

#[tokio::test]
async fn settings_reach_the_device_and_count_as_applied_when_it_says_so() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    assert_eq!(pending(&world).await, Value::Null);
    assert_eq!(acknowledge(&world).await, 404);
    let ack = set(
        &world,
        json!({
            "sampling_interval": 2, "upload_interval": 0, "registers": ["Vac1"],
            "compression_enabled": true, "command_poll_interval": "8",
        }),
    )
    .await;
    assert_eq!(ack["accepted"], json!(["sampling_interval"]));
    assert_eq!(ack["unchanged"], json!(["compression_enabled"]));
    assert_eq!(ack["rejected"], json!(["command_poll_interval", "registers", "upload_interval"]));
    // A later change does not discard the earlier one, and rejected values go nowhere.
    set(&world, json!({ "upload_interval": 30 })).await;
    let both = json!({ "sampling_interval": 2, "upload_interval": 30 });
    assert_eq!(pending(&world).await, both);
    assert!(is_pending(&world, &device).await);
    assert_eq!((acknowledge(&world).await, acknowledge(&world).await), (200, 404));
    assert_eq!(pending(&world).await, Value::Null);
    // An acknowledgement is of what was shown, not of what is wanted by then.
    let change = r#"{"set":{"sampling_interval":"4s","log_level":"debug"}}"#;
    let target = format!("/api/v1/devices/{device}/config");
    let (name, token) = world.bearer();
    assert_eq!(world.send("PATCH", &target, &[JSON, (name, &token)], change).await.status, 200);
    assert_eq!(pending(&world).await["sampling_interval"], 4);
    set(&world, json!({ "sampling_interval": 6 })).await;
    assert_eq!(acknowledge(&world).await, 200);
    assert_eq!(pending(&world).await["sampling_interval"], 6);
    assert_eq!(acknowledge(&world).await, 200);
    let config = world.get_json(&target).await;
    let of = |name: &str| {
        let found = config["settings"].as_array().unwrap().iter();
        found.into_iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(of("sampling_interval")["in_use"]["text"], "6s", "{config}");
    assert_eq!(of("log_level")["refused"], "unsupported", "{config}");
    let history = ask(&world, "GET", &format!("/config/{ID}/history"), &Value::Null).await.json();
    assert_eq!(history["count"], 4);
    assert_eq!(history["history"][0]["status"], "applied");
    assert_eq!(history["history"][0]["config"]["sampling_interval"], 6);
}

#[tokio::test]
async fn settings_that_the_device_has_already_do_not_stay_pending() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    let current = json!({
        "sampling_interval": 5, "upload_interval": 15, "config_poll_interval": 5,
        "command_poll_interval": 10, "firmware_check_interval": 6000, "energy_poll_interval": 300,
        "power_management": { "enabled": false, "techniques": 8 }, "compression_enabled": true,
        "timestamp": 1_795_248_000, "registers": ["Vac1", "Pac"],
    });
    let path = format!("/config/{ID}/current");
    assert_eq!(call(&world, "POST", &path, &current).await.status, 200);
    set(&world, json!({ "sampling_interval": 5 })).await;
    assert!(is_pending(&world, &device).await);
    assert_eq!(pending(&world).await, Value::Null);
    assert!(!is_pending(&world, &device).await);
    // Its first message leaves the report as it is.
    let now = Clock::system().now().0;
    let first = upload(now, now - 5000, &packet(), &json!([0, 1, 9]), 1);
    assert_eq!(send(&world, ID, &envelope(KEY, 1, &first)).await.status, 200);
    assert!(!is_pending(&world, &device).await);
    // Both poll intervals are one of ours, so one that differs is sent.
    set(&world, json!({ "command_poll_interval": 10 })).await;
    let both =
        json!({ "sampling_interval": 5, "config_poll_interval": 10, "command_poll_interval": 10 });
    assert_eq!(pending(&world).await, both);
    // The acknowledgement is lost; the next start shows it.
    let mut later = current.clone();
    later["config_poll_interval"] = 10.into();
    assert_eq!(call(&world, "POST", &path, &later).await.status, 200);
    assert_eq!(pending(&world).await, Value::Null);
    assert!(!is_pending(&world, &device).await);
    // A caller cannot fill the store with reports.
    let mut last = 0;
    for second in 1..=40 {
        later["sampling_interval"] = second.into();
        last = call(&world, "POST", &path, &later).await.status;
    }
    assert_eq!(last, 429);
}

async fn poll(world: &World) -> Vec<Value> {
    let answer = call(world, "GET", &format!("/commands/{ID}/poll?limit=5"), &Value::Null).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(answer.body.len() < 380, "the device's parser has room for it");
    let answer = answer.json();
    let commands = answer["commands"].as_array().unwrap().clone();
    assert_eq!(answer["count"], commands.len());
    commands
}

async fn report(world: &World, id: &str, command: &Value, status: &str) -> u16 {
    let result = json!({
        "command_id": command, "status": status, "executed_at": "2026-11-28T09:00:00Z",
    });
    let body = json!({ "command_result": result });
    call(world, "POST", &format!("/commands/{id}/result"), &body).await.status
}

async fn queue(world: &World, command: Value) -> Value {
    let body = json!({ "command": command });
    let answer = ask(world, "POST", &format!("/commands/{ID}"), &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["command_id"].clone()
}

async fn state(world: &World, command: &Value) -> String {
    let target = format!("/api/v1/commands/{}", command.as_str().unwrap());
    world.get_json(&target).await["state"].as_str().unwrap().into()
}

#[tokio::test]
async fn commands_are_polled_one_at_a_time_and_their_results_end_them() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    enrol(&world, "other", [8; 32]).await;
    assert_eq!(poll(&world).await, [Value::Null; 0]);
    let first = queue(&world, json!({ "action": "set_power", "value": 5000 })).await;
    let limit =
        json!({ "action": "write_register", "target_register": "export_power", "value": 50 });
    let second = queue(&world, limit).await;
    let body = r#"{"kind":"set_power_percentage","inverter":0,"arguments":{"percent":"20"}}"#;
    let made = world.post(&format!("/api/v1/devices/{device}/commands"), body).await.json();
    let sent = poll(&world).await;
    assert_eq!(sent[0]["command_id"], first);
    assert_eq!(sent[0]["command"], json!({ "action": "set_power", "value": 5000 }));
    // Not the other device's, not one that was not sent, not one that does not exist.
    assert_eq!(report(&world, "other", &first, "success").await, 404);
    assert_eq!(report(&world, ID, &second, "success").await, 404);
    assert_eq!(report(&world, ID, &json!("cmd-999"), "success").await, 404);
    assert_eq!(report(&world, ID, &first, "success").await, 200);
    assert_eq!(state(&world, &first).await, "succeeded");
    // It has ended; another word changes nothing.
    assert_eq!(report(&world, ID, &first, "failed").await, 200);
    assert_eq!(state(&world, &first).await, "succeeded");
    let sent = poll(&world).await;
    assert_eq!(sent[0]["command_id"], second);
    assert_eq!(sent[0]["command"], json!({ "action": "set_power_percentage", "value": 50 }));
    assert_eq!(report(&world, ID, &second, "failed").await, 200);
    assert_eq!(poll(&world).await[0]["command"]["value"], 20);
    assert_eq!(report(&world, ID, &made["id"], "success").await, 200);
    let path = format!("/commands/{ID}/history");
    let history = ask(&world, "GET", &path, &Value::Null).await.json();
    let of = |name: &str| -> Vec<Value> {
        history["commands"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    };
    assert_eq!(of("status"), ["completed", "failed", "completed"]);
    assert_eq!(of("command_id")[2], first);
    let path = format!("/commands/status/{}", second.as_str().unwrap());
    let found = ask(&world, "GET", &path, &Value::Null).await.json();
    assert_eq!(found["status"]["status"], "failed");
    let figures = ask(&world, "GET", "/commands/stats", &Value::Null).await.json();
    assert_eq!(figures["statistics"]["successful_commands"], 2);
    assert_eq!(figures["statistics"]["total_commands"], 3);
}

#[tokio::test]
async fn command_whose_answer_or_result_was_lost_is_unknown_and_not_sent_again() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    let first = queue(&world, json!({ "action": "set_power_percentage", "value": 10 })).await;
    let second = queue(&world, json!({ "action": "set_power_percentage", "value": 20 })).await;
    assert_eq!(poll(&world).await[0]["command_id"], first);
    assert_eq!(poll(&world).await[0]["command_id"], second);
    assert_eq!(state(&world, &first).await, "unknown");
    // A late result of the device is better than what the server concluded.
    assert_eq!(report(&world, ID, &first, "success").await, 200);
    assert_eq!(state(&world, &first).await, "succeeded");
    assert_eq!(poll(&world).await, [Value::Null; 0]);
    assert_eq!(state(&world, &second).await, "unknown");
    // What it cannot execute, or not yet, it is not sent.
    let target = format!("/api/v1/devices/{device}/commands");
    for kind in
        [r#""reboot""#, r#""set_power_percentage","inverter":0,"arguments":{"percent":"1.5"}"#]
    {
        let refused = world.post(&target, &format!(r#"{{"kind":{kind}}}"#)).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid_command".into()), "{kind}");
    }
    let body = r#"{"kind":"set_power","inverter":0,"arguments":{"watts":"1"},"not_before":"2099-"#;
    assert_eq!(world.post(&target, &format!(r#"{body}01-01T00:00:00Z"}}"#)).await.status, 400);
    let soon = ecowatt_model::UnixMs(Clock::system().now().0 + 600_000);
    let soon = jiff::Timestamp::from_millisecond(soon.0).unwrap().to_string();
    let body = json!({
        "kind": "set_power", "inverter": 0, "arguments": { "watts": "1" }, "not_before": soon,
    });
    assert_eq!(world.post(&target, &body.to_string()).await.status, 201);
    assert_eq!(poll(&world).await, [Value::Null; 0]);
}

#[tokio::test]
async fn unknown_device_and_bad_bodies_get_the_originals_answers() {
    let world = World::start().await;
    enrol(&world, ID, KEY).await;
    let known = call(&world, "GET", &format!("/config/{ID}"), &Value::Null).await.json();
    let unknown = call(&world, "GET", "/config/stranger", &Value::Null).await.json();
    assert_eq!(
        (&known["config"], &known["is_pending"]),
        (&unknown["config"], &unknown["is_pending"])
    );
    for (method, path, body, status, error) in [
        ("POST", "/config/ESP32_001/acknowledge", "{}", 400, "Missing required field: status"),
        ("POST", "/commands/ESP32_001/result", "{}", 400, "command_result field is required"),
        ("POST", "/commands/ESP32_001/result", "[]", 400, "the body is not a JSON object"),
        ("POST", "/commands/ESP32_001/result", "{", 400, "the body is not valid JSON"),
        (
            "POST",
            "/commands/ESP32_001/result",
            r#"{"command_result":{}}"#,
            400,
            "command_result.command_id is required",
        ),
        ("POST", "/commands/ESP32_001", "{}", 400, "command field is required"),
        ("POST", "/commands/stranger", "{}", 404, "Device stranger not found"),
        ("PUT", "/config/ESP32_001", "{}", 400, "Missing config_update in request body"),
        ("GET", "/commands/status/cmd-5", "", 404, "Command cmd-5 not found"),
        (
            "DELETE",
            "/commands/ESP32_001/poll",
            "",
            405,
            "the route exists, but not with this method",
        ),
        ("GET", "/commands/a/b/c", "", 404, "there is no such route"),
    ] {
        let (name, token) = world.bearer();
        let answer = world.send(method, path, &[JSON, (name, &token)], body).await;
        assert_eq!(answer.status, status, "{path} {}", answer.text());
        assert_eq!(answer.json(), json!({ "success": false, "error": error }), "{path}");
    }
    let plain = [("content-type", "text/plain")];
    let answer = world.send("POST", "/config/ESP32_001/current", &plain, "{}").await;
    assert_eq!(answer.json()["error"], "Content-Type must be application/json");
}

#[tokio::test]
async fn start_of_a_device_is_answered_and_what_it_says_is_stored_with_its_next_upload() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    let energy = r#"{"device_id":"ESP32_001","timestamp":1795248000000,"power_management":{"enabled":false,
        "techniques":"0x08","avg_current_ma":nan,"energy_saved_mah":-nan,"peripheral_savings_mah":0.63,
        "uptime_ms":5,"high_perf_ms":5,"normal_ms":0,"low_power_ms":0,"sleep_ms":0}}"#;
    let recovery = r#"{"device_id":"ESP32_001","timestamp":1795248000,"fault_type":"crc_error",
        "recovery_action":"retry_read","success":true,"details":"recovered","retry_count":1}"#;
    let registration = r#"{"device_id":"ESP32_001","device_name":"a","firmware_version":"1.3.4",
        "location":"Default Location","description":"EcoWatt Energy Monitor"}"#;
    let complete = r#"{"version":"1.3.5","status":"success","timestamp":1795248000}"#;
    for (method, path, body, status) in [
        ("GET", "/ota/status", "", 200),
        ("POST", "/devices", registration, 200),
        ("POST", "/ota/ESP32_001/complete", complete, 200),
        ("GET", "/ota/check/ESP32_001?version=1.3.5", "", 200),
        ("POST", "/ota/initiate/ESP32_001", r#"{"firmware_version":"2"}"#, 400),
        ("GET", "/ota/chunk/ESP32_001?version=2&chunk=0", "", 400),
        ("POST", "/ota/ESP32_001/progress", r#"{"phase":"failed","progress":3}"#, 200),
        ("POST", "/power/energy/ESP32_001", energy, 201),
        ("POST", "/power/energy/ESP32_001", r#"{"power_management":{}}"#, 400),
        ("POST", "/power/energy/ESP32_001", "{", 400),
        ("POST", "/fault/recovery", recovery, 200),
        ("POST", "/fault/recovery", "{}", 400),
        ("POST", "/diagnostics/ESP32_001", r#"{"free_heap":50000,"wifi_rssi":-61}"#, 201),
        ("POST", "/diagnostics/ESP32_001", "[]", 400),
        // A device that is not enrolled is answered alike.
        ("POST", "/ota/stranger/complete", complete, 200),
        ("POST", "/power/energy/stranger", energy, 201),
    ] {
        let answer = world.send(method, path, &[JSON], body).await;
        assert_eq!(answer.status, status, "{path} {}", answer.text());
    }
    let checked = call(&world, "GET", "/ota/check/ESP32_001", &Value::Null).await.json();
    assert_eq!(checked["update_available"], false);
    let shown = world.get_json(&format!("/api/v1/devices/{device}")).await;
    assert_eq!(shown["last_seen"], Value::Null, "nothing of it was a message");
    let now = Clock::system().now().0;
    let body = envelope(KEY, 1, &upload(now, now - 5000, &packet(), &json!([0, 1, 9]), 1));
    assert_eq!(send(&world, ID, &body).await.status, 200);
    let shown = world.get_json(&format!("/api/v1/devices/{device}")).await;
    assert_eq!(shown["firmware"], "1.3.5", "{shown}");
    let text = shown["diagnostics"].to_string();
    for expected in ["faults_recovered", "crc_error", "-61", "uptime_ms"] {
        assert!(text.contains(expected), "{expected} {text}");
    }
    let ask = async |path: &str| ask(&world, "GET", path, &Value::Null).await.json();
    assert_eq!(ask("/fault/recovery/ESP32_001").await["statistics"]["successful"], 1);
    let reports = ask("/power/energy/ESP32_001").await;
    assert_eq!(reports["reports"][0]["avg_current_ma"], Value::Null);
    assert_eq!(reports["reports"][0]["techniques"], "0x08");
    assert_eq!(ask("/diagnostics/ESP32_001").await["diagnostics"][0]["free_heap"], 50_000);
    let listed = ask("/devices").await;
    assert_eq!((&listed["count"], &listed["devices"][0]["device_id"]), (&json!(1), &json!(ID)));
}
