//! Devices of the earlier EcoWatt, through the sockets of a running server.

use ecowatt_clock::Clock;
use ecowatt_envelope::original::{NoncePlace, OriginalKey, PUBLISHED_KEY};
use ecowatt_model::{DeviceNumber, KeyGeneration};
use ecowatt_server::Config;
use ecowatt_store::Store;
use serde_json::{Value, json};

use crate::rig::world::{Answer, JSON, World};

const ENVELOPES: &str = include_str!("../../../../testdata/original/envelope.jsonl");
const PACKETS: &str = include_str!("../../../../testdata/original/compression.jsonl");

/// Decimal places of the ten registers, and their points.
const POINTS: [(&str, f64); 10] = [
    ("ac.l1.voltage", 0.1),
    ("ac.l1.current", 0.1),
    ("ac.frequency", 0.01),
    ("pv.1.voltage", 0.1),
    ("pv.2.voltage", 0.1),
    ("pv.1.current", 0.1),
    ("pv.2.current", 0.1),
    ("temp.internal", 0.1),
    ("control.p_limit", 1.0),
    ("ac.power", 1.0),
];

pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 4];
        three[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(three);
        for place in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * place) & 0x3f) as usize]);
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

/// Signs a text as a device does.
pub(crate) fn envelope(key: [u8; 32], nonce: u32, text: &str) -> String {
    let tag = OriginalKey::new(key).tag(NoncePlace::Before, nonce, text.as_bytes());
    let (payload, mac) = (base64(text.as_bytes()), digits(&tag));
    format!(
        r#"{{"nonce":{nonce},"payload":"{payload}","mac":"{mac}","encrypted":false,"compressed":false}}"#
    )
}

/// An upload of one packet whose last sample was read at `last_ms`.
pub(crate) fn upload(
    sent_ms: i64,
    last_ms: i64,
    packet: &[u8],
    registers: &Value,
    samples: usize,
) -> String {
    json!({
        "timestamp": sent_ms / 1000,
        "sampling_interval": 5,
        "compressed_data": [{
            "compressed_binary": base64(packet),
            "decompression_metadata": {
                "sample_count": samples,
                "timestamp": last_ms & 0xffff_ffff,
                "register_layout": registers,
            },
        }],
    })
    .to_string()
}

pub(crate) async fn demo() -> World {
    World::start_with(Config { is_demo: true, ..Config::default() }).await
}

/// Enrols a device; returns its number as text.
pub(crate) async fn enrol(world: &World, id: &str, key: [u8; 32]) -> String {
    let body = json!({ "id": id, "key": digits(&key), "published_key": key == PUBLISHED_KEY });
    let answer = world.post("/api/v1/original-devices", &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["device"].as_str().unwrap().into()
}

pub(crate) async fn send(world: &World, id: &str, body: &str) -> Answer {
    world.send("POST", &format!("/aggregated/{id}"), &[JSON], body).await
}

pub(crate) async fn samples(world: &World, device: &str) -> u64 {
    let detail = world.get_json(&format!("/api/v1/devices/{device}")).await;
    detail["link"]["samples"].as_u64().unwrap()
}

#[tokio::test]
async fn every_recorded_envelope_is_accepted_or_refused_as_by_the_original() {
    let world = demo().await;
    let (mut accepted, mut refused) = (0, 0);
    for (number, line) in ENVELOPES.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap();
        let id = format!("{}.{number}", line["device_id"].as_str().unwrap());
        enrol(&world, &id, PUBLISHED_KEY).await;
        if let Some(last) = line["last_nonce_before"].as_u64() {
            let before = envelope(PUBLISHED_KEY, last.try_into().unwrap(), "{}");
            assert_eq!(send(&world, &id, &before).await.status, 400, "{name}");
        }
        let wire = line["wire"].as_str().unwrap();
        let answer = send(&world, &id, wire).await;
        if line["python_accepts"] == true {
            let is_upload = name.starts_with("device_upload");
            assert_eq!(answer.status, if is_upload { 200 } else { 400 }, "{name} {answer:?}");
            let again = send(&world, &id, wire).await;
            assert_eq!(again.status, 401, "{name}");
            assert!(again.text().contains("failed: Replay attack detected! Nonce"), "{name}");
            accepted += 1;
        } else {
            assert_eq!(answer.status, 401, "{name} {answer:?}");
            let error = line["python_error"].as_str().unwrap();
            let cause = error.split(['!', ':']).next().unwrap();
            // Not ours: that a text has other characters than digits is a wrong tag like any other.
            if name != "reject_mac_nonascii" {
                let text = format!("Security validation failed: {cause}");
                assert!(answer.text().contains(&text), "{name} {}", answer.text());
            }
            refused += 1;
        }
    }
    assert!(accepted >= 25 && refused >= 12, "{accepted} accepted, {refused} refused");
}

#[tokio::test]
async fn every_recorded_packet_is_stored_exactly_or_acknowledged_and_counted() {
    let world = demo().await;
    let now = Clock::system().now().0;
    let (mut exact, mut refused, mut compared) = (0, 0, 0);
    for (number, line) in PACKETS.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = format!("{} {}", line["name"], line["method"]);
        let id = format!("vec.{number}");
        let device = enrol(&world, &id, PUBLISHED_KEY).await;
        let rows = line["samples"].as_array().unwrap();
        let packet = bytes(line["hex"].as_str().unwrap());
        let text = upload(now, now, &packet, &line["registers"], rows.len());
        let answer = send(&world, &id, &envelope(PUBLISHED_KEY, 11_001, &text)).await;
        assert_eq!(answer.status, 200, "{name} {}", answer.text());
        let stored = samples(&world, &device).await;
        if ["0x50", "0x71"].contains(&line["marker"].as_str().unwrap()) {
            assert_eq!(stored, 0, "{name}");
            refused += 1;
            continue;
        }
        assert_eq!(stored, rows.len() as u64, "{name}");
        exact += 1;
        let target = format!("/api/v1/devices/{device}/telemetry?resolution=raw");
        let telemetry = world.get_json(&target).await;
        let times: Vec<i64> = serde_json::from_value(telemetry["t_ms"].clone()).unwrap();
        let expected = (0..rows.len()).map(|row| now - 5000 * (rows.len() - 1 - row) as i64);
        // The newest may be as new as the end of the range.
        assert!(expected.take(times.len()).eq(times.iter().copied()), "{name} {times:?}");
        for series in telemetry["series"].as_array().unwrap() {
            let register = POINTS.iter().position(|(point, _)| series["point"] == *point).unwrap();
            let column = line["registers"].as_array().unwrap();
            let Some(column) = column.iter().position(|known| *known == register) else {
                assert!(series["value"].as_array().unwrap().iter().all(Value::is_null));
                continue;
            };
            // A reading that the inverter cannot have is kept, but not shown as a value.
            for (row, value) in series["value"].as_array().unwrap().iter().enumerate() {
                let Some(value) = value.as_f64() else { continue };
                let raw = rows[row][column].as_i64().unwrap();
                let raw = if register == 7 {
                    i64::from(u16::try_from(raw).unwrap().cast_signed())
                } else {
                    raw
                };
                let difference = value - raw as f64 * POINTS[register].1;
                assert!(difference.abs() < 1e-6, "{name} {register} {row}: {value}, {raw}");
                compared += 1;
            }
        }
    }
    assert_eq!((exact, refused), (257, 85));
    assert!(compared > 10_000, "{compared}");
}

/// One sample of three registers.
const PACKET: &str = "01 0c 03 8fc 096 fa0";

pub(crate) fn packet() -> Vec<u8> {
    let digits: String = PACKET.split(' ').collect();
    bytes(&format!("{digits}0"))
}

#[tokio::test]
async fn packet_that_is_sent_again_is_stored_once_and_a_nonce_counts_once() {
    let world = World::start().await;
    let key = [7; 32];
    let device = enrol(&world, "ESP32_001", key).await;
    let now = Clock::system().now().0;
    let registers = json!([0, 1, 9]);
    let first = envelope(key, 11_001, &upload(now, now - 20_000, &packet(), &registers, 1));
    assert_eq!(send(&world, "ESP32_001", &first).await.status, 200);
    // The answer was lost: the same packet under the next nonce, at another second.
    let again = envelope(key, 11_003, &upload(now + 2000, now - 20_000, &packet(), &registers, 1));
    let answer = send(&world, "ESP32_001", &again).await;
    assert_eq!((answer.status, answer.json()["samples_count"].as_u64()), (200, Some(0)));
    assert_eq!(samples(&world, &device).await, 1);
    // Another packet of the same values.
    let next = upload(now + 5000, now - 15_000, &packet(), &registers, 1);
    for (nonce, status) in [(11_003, 401), (11_002, 401), (11_004, 200), (11_004, 401)] {
        let answer = send(&world, "ESP32_001", &envelope(key, nonce, &next)).await;
        assert_eq!(answer.status, status, "{nonce} {}", answer.text());
    }
    assert_eq!(samples(&world, &device).await, 2);
    let answer = send(&world, "ESP32_001", &envelope(key, 11_004, &next)).await;
    assert!(answer.text().contains("Nonce 11004 <= last valid nonce 11004"), "{answer:?}");
    // Whatever follows a nonce that was used, it is a replay; without the key the last nonce stays
    // unknown.
    for nonce in [11_004, 5] {
        let other = format!(r#"{{"nonce":{nonce},"payload":"","mac":"{}"}}"#, "0".repeat(64));
        let answer = send(&world, "ESP32_001", &other).await;
        let text = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(text, "Security validation failed: Replay attack detected!");
    }
}

#[tokio::test]
async fn command_stays_queued_while_the_device_only_uploads() {
    let world = World::start().await;
    let key = [7; 32];
    let device = enrol(&world, "ESP32_001", key).await;
    let now = Clock::system().now().0;
    let registers = json!([0, 1, 9]);
    for nonce in 1..3 {
        let last = now - 60_000 + i64::from(nonce) * 5000;
        let body = envelope(key, nonce, &upload(now, last, &packet(), &registers, 1));
        assert_eq!(send(&world, "ESP32_001", &body).await.status, 200);
        let target = format!("/api/v1/devices/{device}/commands");
        let order = r#"{"kind":"set_power_percentage","arguments":{"percent":"50"},"key":"k"}"#;
        let made = world.post(&target, order).await;
        assert!([200, 201].contains(&made.status), "{}", made.text());
        assert_eq!(made.json()["state"], "queued", "{}", made.text());
    }
}

#[tokio::test]
async fn one_packet_as_a_text_is_stored_and_aggregates_in_json_are_only_acknowledged() {
    let world = World::start().await;
    let key = [7; 32];
    let device = enrol(&world, "ESP32_001", key).await;
    let now_s = Clock::system().now().0 / 1000;
    // Without a layout a packet has all ten registers.
    let ten = [0x70, 10].into_iter().chain(0..10).chain(
        [2300u16, 150, 5000, 0, 0, 0, 0, 353, 50, 4000].into_iter().flat_map(u16::to_le_bytes),
    );
    let text = base64(&ten.collect::<Vec<u8>>());
    let one = json!({ "timestamp": now_s - 60, "compressed_data": text }).to_string();
    let row = json!({ "current": 1.5, "voltage": 230, "power": 345, "timestamp": now_s });
    let rows = json!({ "aggregated_data": [row] }).to_string();
    let no_list = json!({ "aggregated_data": 5 }).to_string();
    for (nonce, text, status) in [(1, &one, 200), (2, &rows, 200), (3, &no_list, 400)] {
        let answer = send(&world, "ESP32_001", &envelope(key, nonce, text)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(samples(&world, &device).await, 1);
}

#[tokio::test]
async fn uploads_at_once_are_taken_one_after_the_other() {
    let world = World::start().await;
    let key = [7; 32];
    let device = enrol(&world, "ESP32_001", key).await;
    let now = Clock::system().now().0;
    let registers = json!([0, 1, 9]);
    let bodies: Vec<String> = (0..16)
        .map(|number| {
            let last = now - 80_000 + i64::from(number) * 5000;
            envelope(key, 1 + number, &upload(now, last, &packet(), &registers, 1))
        })
        .collect();
    let sent = bodies.iter().map(|body| send(&world, "ESP32_001", body));
    let answers = futures_util::future::join_all(sent).await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(answers.iter().all(|answer| [200, 401].contains(&answer.status)), "{answers:?}");
    assert!(taken > 0);
    assert_eq!(samples(&world, &device).await, taken as u64);
}

#[tokio::test]
async fn key_opens_uploads_of_its_device_and_protocol_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start_in(folder.path(), Config::default()).await;
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    world.token = answer.json()["token"].as_str().unwrap().into();
    let (one, other) = ([1; 32], [2; 32]);
    enrol(&world, "one", one).await;
    enrol(&world, "other", other).await;
    let now = Clock::system().now().0;
    let text = upload(now, now - 5000, &packet(), &json!([0, 1, 9]), 1);
    for (id, key, status) in [
        ("one", other, 401),
        ("other", one, 401),
        ("unknown", one, 401),
        ("one", one, 200),
        ("other", other, 200),
    ] {
        assert_eq!(send(&world, id, &envelope(key, 11_001, &text)).await.status, status, "{id}");
    }
    // Without a tag nothing is data.
    let answer = send(&world, "one", &text).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("Missing required security fields"), "{}", answer.text());
    let store = Store::open_beside(folder.path()).unwrap();
    let link_key = store.find_key(DeviceNumber(1), KeyGeneration(1)).await.unwrap();
    assert!(link_key.is_none(), "a key of the original opens no message of ours");
    // A key of ours, given to the same device, opens no upload.
    let claim = world.post("/api/v1/devices/dev-1/claim", "{}").await.json();
    crate::rig::device::TestDevice::redeemed(&world, claim).await;
    assert!(store.find_original("one".into()).await.unwrap().is_none());
    assert_eq!(send(&world, "one", &envelope(one, 11_002, &text)).await.status, 401);
    // With another key its nonces start again; a deleted device's id is free.
    enrol(&world, "one", one).await;
    assert_eq!(send(&world, "one", &envelope(one, 1, &text)).await.status, 200);
    let (name, bearer) = world.bearer();
    let deleted = world.send("DELETE", "/api/v1/devices/dev-1", &[(name, &bearer)], "").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    assert_eq!(send(&world, "one", &envelope(one, 2, &text)).await.status, 401);
    assert_eq!(enrol(&world, "one", one).await, "dev-3");
}

#[tokio::test]
async fn published_key_is_for_demonstrations_that_ask_for_it() {
    let key = digits(&PUBLISHED_KEY);
    for (is_demo, asks, status) in [(false, true, 400), (true, false, 400), (true, true, 201)] {
        let world = World::start_with(Config { is_demo, ..Config::default() }).await;
        let body = json!({ "id": "ESP32_001", "key": key, "published_key": asks }).to_string();
        let answer = world.post("/api/v1/original-devices", &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(world.get_json("/api/v1/devices").await["total"], i32::from(status == 201));
    }
    let world = World::start().await;
    for (id, key, code) in [
        ("a/b", "1".repeat(64), "invalid_id"),
        ("", "1".repeat(64), "invalid_id"),
        ("a", "1".repeat(63), "invalid_body"),
        ("a", "g".repeat(64), "invalid_body"),
    ] {
        let body = json!({ "id": id, "key": key }).to_string();
        assert_eq!(world.post("/api/v1/original-devices", &body).await.code(), code, "{id}");
    }
}
