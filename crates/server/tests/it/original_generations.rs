//! What devices and operators of the earlier generations call, and what was measured under the
//! original's names, through the sockets of a running server.

use ecowatt_clock::Clock;
use ecowatt_envelope::original::{NoncePlace, OriginalKey};
use serde_json::{Value, json};

use crate::original::{digits, enrol, envelope, packet, send, upload};
use crate::rig::world::{Answer, JSON, World};

const ID: &str = "ESP32_EcoWatt_Smart";
const KEY: [u8; 32] = [5; 32];

async fn call(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    world.send(method, path, &[JSON], &body.to_string()).await
}

async fn ask(world: &World, method: &str, path: &str, body: &Value) -> Value {
    let (name, token) = world.bearer();
    let answer = world.send(method, path, &[JSON, (name, &token)], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path} {}", answer.text());
    answer.json()
}

/// Sends a text as the first generation does.
async fn process(world: &World, key: [u8; 32], number: u32, text: &str) -> Answer {
    let tag = digits(&OriginalKey::new(key).tag(NoncePlace::After, number, text.as_bytes()));
    let number = number.to_string();
    let headers = [JSON, ("x-sequence-number", number.as_str()), ("x-hmac-sha256", tag.as_str())];
    world.send("POST", "/process", &headers, text).await
}

#[tokio::test]
async fn upload_of_the_first_generation_is_verified_by_its_headers() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    enrol(&world, "other", [6; 32]).await;
    let now = Clock::system().now().0;
    let mut text: Value =
        serde_json::from_str(&upload(now, now - 5000, &packet(), &json!([0, 1, 9]), 1)).unwrap();
    text["device_id"] = ID.into();
    let text = text.to_string();
    for (key, number, status, error) in [
        ([6; 32], 42, 401, "Security validation failed: HMAC verification failed!"),
        (KEY, 42, 200, ""),
        (
            KEY,
            42,
            401,
            "Security validation failed: Replay attack detected! Nonce 42 <= last valid nonce 42",
        ),
        (
            KEY,
            41,
            401,
            "Security validation failed: Replay attack detected! Nonce 41 <= last valid nonce 42",
        ),
    ] {
        let answer = process(&world, key, number, &text).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(status == 200 || answer.json()["error"] == error, "{}", answer.text());
    }
    // Both generations count with one number, and the text says whose it is.
    let body = envelope(KEY, 42, &text);
    assert_eq!(send(&world, ID, &body).await.status, 401);
    let others = text.replace(ID, "other");
    assert_eq!(process(&world, KEY, 43, &others).await.status, 401);
    let without = world.send("POST", "/process", &[JSON], &text).await;
    assert_eq!(without.status, 401, "{}", without.text());
    // It has no packets: the device's, but nothing to store.
    let plain = format!(r#"{{"device_id":"{ID}","temperature":25.5}}"#);
    assert_eq!(process(&world, KEY, 44, &plain).await.status, 400);
    let detail = world.get_json(&format!("/api/v1/devices/{device}")).await;
    assert_eq!(detail["link"]["samples"], 1);
}

#[tokio::test]
async fn settings_of_the_earlier_generations_are_the_same_settings() {
    let world = World::start().await;
    let device = enrol(&world, ID, KEY).await;
    let path = format!("/changes?device_id={ID}");
    let none = json!({
        "Changed": false, "pollFreqChanged": false, "newPollTimer": 0, "uploadFreqChanged": false,
        "newUploadTimer": 0,
    });
    assert_eq!(call(&world, "GET", &path, &Value::Null).await.json(), none);
    let body = json!({ "device_id": ID, "settings": { "poll_freq": 7, "upload_freq": 30 } });
    assert_eq!(
        ask(&world, "POST", "/device_settings", &body).await,
        json!({ "status": "updated" })
    );
    let changes = call(&world, "GET", &path, &Value::Null).await.json();
    assert_eq!((&changes["Changed"], &changes["newPollTimer"]), (&json!(true), &json!(7)));
    assert_eq!(changes["newUploadTimer"], 30);
    // The flag is cleared when it was read.
    let body = json!({ "device_id": ID });
    assert_eq!(call(&world, "POST", "/changes", &body).await.json(), none);
    let config = world.get_json(&format!("/api/v1/devices/{device}/config")).await;
    assert_eq!(config["pending"], false, "{config}");
    let body = json!({ "device_id": ID, "poll_frequency": 9 });
    assert_eq!(ask(&world, "POST", "/config/update", &body).await, json!({ "status": "success" }));
    let changes = call(&world, "POST", "/changes", &json!({ "device_id": ID })).await.json();
    assert_eq!(
        (&changes["newPollTimer"], &changes["uploadFreqChanged"]),
        (&json!(9), &json!(true))
    );
    let shown = call(&world, "GET", &format!("/config?device_id={ID}"), &Value::Null).await.json();
    assert_eq!(shown["config"]["poll_frequency"], 7, "what the device has");
    // Values that are not allowed are refused as a whole.
    let (name, token) = world.bearer();
    let body = json!({ "device_id": ID, "poll_frequency": 0 }).to_string();
    let refused = world.send("POST", "/config/update", &[JSON, (name, &token)], &body).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test]
async fn commands_of_the_earlier_generations_are_the_same_commands() {
    let world = World::start().await;
    enrol(&world, ID, KEY).await;
    enrol(&world, "other", [6; 32]).await;
    let get = format!("/command/get?device_id={ID}");
    let body = json!({ "device_id": ID });
    assert_eq!(call(&world, "POST", &get, &Value::Null).await.json(), json!({ "commands": [] }));
    assert_eq!(
        call(&world, "POST", "/command/poll", &body).await.json(),
        json!({ "command": null })
    );
    let mut queued = Vec::new();
    for parameters in [json!({ "power_value": 5000 }), json!({ "power": "40%" })] {
        let body =
            json!({ "device_id": ID, "command_type": "set_power", "parameters": parameters });
        queued.push(ask(&world, "POST", "/command/queue", &body).await["command_id"].clone());
    }
    let got = call(&world, "POST", &get, &Value::Null).await.json()["commands"][0].clone();
    assert_eq!(got["command_id"], queued[0]);
    assert_eq!(got["parameters"], json!({ "power_value": 5000 }));
    let report = |id: &str, command: &Value| json!({ "command_id": command, "device_id": id, "status": "completed", "result": "done" });
    let refused = call(&world, "POST", "/command/report", &report("other", &queued[0])).await;
    assert_eq!(refused.status, 404);
    let answer = call(&world, "POST", "/command/report", &report(ID, &queued[0])).await;
    assert_eq!(answer.json(), json!({ "status": "updated" }));
    let polled = call(&world, "POST", "/command/poll", &body).await.json()["command"].clone();
    assert_eq!(polled["command_id"], queued[1]);
    assert_eq!(polled["command_type"], "set_power_percentage");
    let result = json!({ "command_id": queued[1], "status": "failed", "result": "no" });
    let answer = call(&world, "POST", "/command/result", &result).await;
    assert_eq!(answer.json(), json!({ "status": "success" }));
    let unknown = json!({ "command_id": "cmd-99", "status": "failed" });
    assert_eq!(call(&world, "POST", "/command/result", &unknown).await.status, 404);
    let path = format!("/command/history?device_id={ID}");
    let history = ask(&world, "GET", &path, &Value::Null).await;
    let states: Vec<_> =
        history["commands"].as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(states, ["failed", "completed"]);
    let figures = ask(&world, "GET", "/command/statistics", &Value::Null).await;
    assert_eq!((&figures["completed"], &figures["failed"]), (&json!(1), &json!(1)));
    let path = format!("/command/status/{}", queued[1].as_str().unwrap());
    assert_eq!(ask(&world, "GET", &path, &Value::Null).await["status"]["status"], "failed");
    let check = json!({ "device_id": ID, "current_version": "1.0.3" });
    let update = call(&world, "POST", "/ota/check", &check).await.json();
    assert_eq!(update["update_available"], false);
}

#[tokio::test]
async fn what_was_measured_has_the_originals_names_and_the_devices_times() {
    let world = World::start().await;
    enrol(&world, ID, KEY).await;
    let now = Clock::system().now().0;
    let latest = format!("/latest/{ID}");
    let (name, token) = world.bearer();
    let none = world.send("GET", &latest, &[(name, &token)], "").await;
    assert_eq!(none.json()["error"], "No data available for this device");
    let path = format!("/aggregation/historical/{ID}?limit=2");
    assert_eq!(ask(&world, "GET", &path, &Value::Null).await["count"], 0);
    for nonce in 1..4 {
        let last = now - 30_000 + i64::from(nonce) * 5000;
        let body = envelope(KEY, nonce, &upload(now, last, &packet(), &json!([0, 1, 9]), 1));
        assert_eq!(send(&world, ID, &body).await.status, 200);
    }
    let shown = ask(&world, "GET", &latest, &Value::Null).await;
    let registers = json!({ "Vac1": 230.0, "Iac1": 15.0, "Pac": 4000.0 });
    assert_eq!(shown["registers"], registers);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970")]
    let at_s = (now - 15_000) as f64 / 1000.0;
    assert_eq!(shown["timestamp"], at_s);
    let again = ask(&world, "GET", &format!("/aggregation/latest/{ID}"), &Value::Null).await;
    assert_eq!(again, shown);
    let listed = ask(&world, "GET", &path, &Value::Null).await;
    let data = listed["data"].as_array().unwrap();
    let time = |at: i64| jiff::Timestamp::from_millisecond(at).unwrap();
    let times: Vec<_> = data
        .iter()
        .map(|row| row["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap())
        .collect();
    assert_eq!(times, [time(now - 15_000), time(now - 20_000)], "newest first, and no more");
    assert_eq!(data[0]["registers"], registers);
    // An end alone counts, too.
    let end = (now - 18_000) / 1000;
    let path = format!("/aggregation/historical/{ID}?end_time={end}");
    assert_eq!(ask(&world, "GET", &path, &Value::Null).await["count"], 2);
    let statistics = ask(&world, "GET", "/compression/stats", &Value::Null).await;
    assert_eq!(statistics["statistics"]["successful_decompressions"], 3);
    let statistics = ask(&world, "GET", "/security/stats", &Value::Null).await;
    assert_eq!(statistics["statistics"]["total_validations"], 3);
    assert_eq!(
        ask(&world, "GET", "/status", &Value::Null).await["status"]["system"],
        "operational"
    );
    assert_eq!(ask(&world, "GET", "/stats", &Value::Null).await["success"], true);
    let sync = json!({ "test_number": 1, "test_name": "a", "status": "ok", "result": "b" });
    let synced = call(&world, "POST", "/integration/test/sync", &sync).await;
    assert_eq!((synced.status, synced.json()["test_number"].as_u64()), (200, Some(1)));
    assert_eq!(call(&world, "POST", "/integration/test/sync", &json!({})).await.status, 400);
    assert_eq!(call(&world, "GET", "/ping", &Value::Null).await.json()["response"], "pong");
}
