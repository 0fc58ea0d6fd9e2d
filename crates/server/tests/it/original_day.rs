//! A day of a device of the earlier EcoWatt, through the sockets of a running server and under faults
//! of the network: requests that never arrive or break off, and answers that are lost.
//!
//! The device sends what the firmware sends, in its order, with its queue, its retries and its
//! counter. Its encoder is checked against the recorded packets first.

use std::collections::BTreeMap;

use ecowatt_clock::Clock;
use ecowatt_server::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::original::{base64, enrol, envelope};
use crate::rig::world::{JSON, World};

const ID: &str = "ESP32_001";
const KEY: [u8; 32] = [9; 32];
const PACKETS: &str = include_str!("../../../../testdata/original/compression.jsonl");

/// The registers that the firmware reads until it gets others.
const REGISTERS: [u8; 6] = [0, 1, 5, 9, 6, 7];

/// Decimal places and points of the registers.
const POINTS: [(&str, f64); 6] = [
    ("ac.l1.voltage", 0.1),
    ("ac.l1.current", 0.1),
    ("pv.1.current", 0.1),
    ("ac.power", 1.0),
    ("pv.2.current", 0.1),
    ("temp.internal", 0.1),
];

/// Samples of a packet; they are 20 seconds apart, and there is an upload each minute.
const ROWS: i64 = 3;
const SAMPLE_MS: i64 = 20_000;
const MINUTES: i64 = 24 * 60;

/// Packets that the firmware queues, and that one upload has.
const QUEUE_MAX: usize = 20;
const PACKETS_MAX: usize = 8;

/// Packs values as the firmware does: all with as many bits as the largest needs, 8 at least.
fn bit_pack(values: &[u16]) -> Vec<u8> {
    let largest = values.iter().max().copied().unwrap_or_default();
    let bits = (u16::BITS - largest.leading_zeros()).max(8);
    let mut packet = vec![1, u8::try_from(bits).unwrap(), u8::try_from(values.len()).unwrap()];
    let (mut held, mut count) = (0u32, 0);
    for value in values {
        held = held << bits | u32::from(*value);
        count += bits;
        while count >= 8 {
            count -= 8;
            packet.push(u8::try_from(held >> count & 0xff).unwrap());
        }
        held &= (1 << count) - 1;
    }
    if count > 0 {
        packet.push(u8::try_from(held << (8 - count) & 0xff).unwrap());
    }
    packet
}

#[test]
fn encoder_of_the_device_makes_the_recorded_packets() {
    let mut compared = 0;
    for line in PACKETS.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["name"].as_str().unwrap();
        let rows = line["samples"].as_array().unwrap();
        let values: Vec<u16> = rows
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|value| u16::try_from(value.as_u64().unwrap()).unwrap())
            .collect();
        let is_wide = line["method"].as_str().unwrap().contains("BITPACK_");
        if line["marker"] != "0x01" || values.len() > 255 || is_wide {
            continue;
        }
        let made: String = bit_pack(&values).iter().map(|byte| format!("{byte:02x}")).collect();
        if line["hex"].as_str().unwrap()[2..4] != made[2..4] {
            // Packed with an explicit width.
            continue;
        }
        assert_eq!(line["hex"], made.as_str(), "{name}");
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It never arrives.
    Lost,
    /// Its connection breaks off half-way.
    Cut,
    /// The answer is lost.
    AnswerLost,
}

/// Chooses as a shuffled deck would, from one seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn fault(&mut self) -> Fault {
        match self.next(100) {
            0..4 => Fault::Lost,
            4..8 => Fault::Cut,
            8..14 => Fault::AnswerLost,
            _ => Fault::None,
        }
    }
}

/// A packet in the queue of the device.
#[derive(Debug, Clone)]
struct Packet {
    last_ms: i64,
    bytes: Vec<u8>,
}

struct Device {
    chance: Chance,
    /// Kept in flash.
    nonce: u32,
    queue: Vec<Packet>,
    settings: BTreeMap<String, u64>,
    /// Commands that it has executed.
    executed: Vec<String>,
    /// Those of them whose result was answered.
    reported: Vec<String>,
    /// Packets that its queue had no room for.
    dropped: Vec<Packet>,
}

impl Device {
    /// Sends a request and returns status and body; `None` if no answer came.
    async fn send(
        &mut self,
        world: &World,
        method: &str,
        path: &str,
        body: &str,
    ) -> Option<(u16, Value)> {
        let fault = self.chance.fault();
        if fault == Fault::Lost {
            return None;
        }
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: ESP32HTTPClient\r\n\
             connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            world.address,
            body.len()
        );
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        if fault == Fault::Cut {
            stream.write_all(&request.as_bytes()[..request.len() / 2]).await.unwrap();
            return None;
        }
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        if fault == Fault::AnswerLost {
            return None;
        }
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        Some((status, serde_json::from_str(body).unwrap()))
    }

    /// What the firmware does when it starts.
    async fn boot(&mut self, world: &World) {
        // Without an answer it skips registration and report until its next start.
        let probe = self.send(world, "GET", "/ota/status", "").await;
        if probe.is_some_and(|(status, _)| status == 200) {
            let body = json!({
                "device_id": ID, "device_name": "EcoWatt Smart Gateway", "firmware_version": "1.3.4",
                "location": "Default Location", "description": "EcoWatt Energy Monitor",
            });
            let answer = self.send(world, "POST", "/devices", &body.to_string()).await;
            assert!(answer.is_none_or(|(status, _)| [200, 201, 409].contains(&status)));
            let body = json!({ "version": "1.3.4", "status": "success", "timestamp": 1 });
            let path = format!("/ota/{ID}/complete");
            let answer = self.send(world, "POST", &path, &body.to_string()).await;
            assert!(answer.is_none_or(|(status, _)| status == 200));
        }
        let mut body = json!(self.settings);
        body["power_management"] = json!({ "enabled": false, "techniques": 8 });
        body["compression_enabled"] = true.into();
        body["registers"] = json!(["Vac1", "Iac1", "Ipv1", "Pac", "Ipv2", "Temp"]);
        let path = format!("/config/{ID}/current");
        let answer = self.send(world, "POST", &path, &body.to_string()).await;
        assert!(answer.is_none_or(|(status, _)| status == 200));
    }

    fn sample(&mut self, last_ms: i64, values: &[u16]) {
        // The firmware keeps the newest.
        if self.queue.len() >= QUEUE_MAX {
            self.dropped.push(self.queue.remove(0));
        }
        self.queue.push(Packet { last_ms, bytes: bit_pack(values) });
    }

    async fn upload(&mut self, world: &World, sent_ms: i64) {
        if self.queue.is_empty() {
            return;
        }
        let count = self.queue.len().min(PACKETS_MAX);
        let packets: Vec<Packet> = self.queue.drain(..count).collect();
        let described = |packet: &Packet| {
            json!({
                "compressed_binary": base64(&packet.bytes),
                "decompression_metadata": {
                    "method": "bitpack", "register_count": REGISTERS.len(), "sample_count": ROWS,
                    "original_size_bytes": 36, "compressed_size_bytes": packet.bytes.len(),
                    "timestamp": packet.last_ms & 0xffff_ffff, "register_layout": REGISTERS,
                },
                "performance_metrics": { "compression_time_us": 0, "lossless_verified": false },
            })
        };
        let text = json!({
            "device_id": ID, "timestamp": sent_ms / 1000, "data_type": "compressed_sensor_batch",
            "total_samples": count, "sampling_interval": SAMPLE_MS / 1000,
            "register_mapping": { "0": "Vac1", "1": "Iac1" },
            "compressed_data": packets.iter().map(described).collect::<Vec<_>>(),
            "session_summary": { "total_original_bytes": 36 },
        });
        self.nonce += 1;
        let body = envelope(KEY, self.nonce, &text.to_string());
        let answer = self.send(world, "POST", &format!("/aggregated/{ID}"), &body).await;
        match answer {
            Some((200, _)) => {}
            // What failed goes behind what is newer, and the oldest falls out.
            None => {
                self.queue.extend(packets);
                while self.queue.len() > QUEUE_MAX {
                    self.dropped.push(self.queue.remove(0));
                }
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    async fn poll(&mut self, world: &World) {
        let path = format!("/commands/{ID}/poll");
        let Some((200, answer)) = self.send(world, "GET", &path, "").await else { return };
        if answer["count"] == 0 {
            return;
        }
        let command = answer["commands"][0]["command_id"].as_str().unwrap().to_owned();
        self.executed.push(command.clone());
        let result = json!({
            "command_id": command, "status": "success", "executed_at": "2026-11-28T09:00:00Z",
        });
        let body = json!({ "command_result": result }).to_string();
        let path = format!("/commands/{ID}/result");
        if self.send(world, "POST", &path, &body).await.is_some_and(|(status, _)| status == 200) {
            self.reported.push(command);
        }
    }

    async fn fetch_settings(&mut self, world: &World) {
        let path = format!("/config/{ID}");
        let Some((200, answer)) = self.send(world, "GET", &path, "").await else { return };
        if answer["is_pending"] != true {
            return;
        }
        let before = self.settings.clone();
        for (name, value) in answer["pending_config"]["config_update"].as_object().unwrap() {
            self.settings.insert(name.clone(), value.as_u64().unwrap());
        }
        // It acknowledges only what was a change.
        if self.settings != before {
            let body = json!({ "status": "applied", "timestamp": 1, "error_msg": "updated" });
            let path = format!("/config/{ID}/acknowledge");
            let answer = self.send(world, "POST", &path, &body.to_string()).await;
            assert!(answer.is_none_or(|(status, _)| status == 200));
        }
    }

    async fn report(&mut self, world: &World, minute: i64) {
        if minute % 5 == 0 {
            let body = format!(
                r#"{{"device_id":"{ID}","timestamp":1,"power_management":{{"enabled":false,"techniques":"0x08","avg_current_ma":nan,"energy_saved_mah":0.63,"uptime_ms":1}}}}"#
            );
            let path = format!("/power/energy/{ID}");
            let answer = self.send(world, "POST", &path, &body).await;
            assert!(answer.is_none_or(|(status, _)| [200, 201].contains(&status)));
        }
        if self.chance.next(60) == 0 {
            let body = json!({
                "device_id": ID, "timestamp": 1, "fault_type": "crc_error",
                "recovery_action": "retry_read", "success": true, "retry_count": 1,
            });
            let answer = self.send(world, "POST", "/fault/recovery", &body.to_string()).await;
            assert!(answer.is_none_or(|(status, _)| [200, 201].contains(&status)));
        }
        if minute % 100 == 0 {
            let path = format!("/ota/check/{ID}?version=1.3.4");
            let answer = self.send(world, "GET", &path, "").await;
            assert!(answer.is_none_or(|(_, body)| body["update_available"] == false));
        }
    }
}

/// The registers of a sample; Pac and Vac1 tell it from its neighbours.
fn values(number: i64) -> [u16; 6] {
    let of = |factor: i64, modulus: i64| u16::try_from(number * factor % modulus).unwrap();
    [2300 + of(7, 90), of(3, 180), of(1, 70), of(1, 5000), of(1, 65), 300 + of(1, 60)]
}

/// Everything that the server has of the day, by time.
async fn stored(world: &World, device: &str, from: i64) -> BTreeMap<i64, Vec<Option<f64>>> {
    let mut all = BTreeMap::new();
    let mut cursor = String::new();
    let from = jiff::Timestamp::from_millisecond(from).unwrap();
    loop {
        let target = format!(
            "/api/v1/devices/{device}/telemetry?resolution=raw&from={from}&points={}{cursor}",
            POINTS.map(|(point, _)| point).join(",")
        );
        let page = world.get_json(&target).await;
        let times: Vec<i64> = serde_json::from_value(page["t_ms"].clone()).unwrap();
        for (row, time) in times.iter().enumerate() {
            let value = |(point, _): &(&str, f64)| {
                let series = page["series"].as_array().unwrap();
                let series = series.iter().find(|series| series["point"] == *point).unwrap();
                series["value"][row].as_f64()
            };
            let before = all.insert(*time, POINTS.iter().map(value).collect::<Vec<_>>());
            assert!(before.is_none(), "{time} twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn day_of_a_device_is_stored_once_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start_in(folder.path(), Config::default()).await;
    let body = format!(r#"{{"code":"{}"}}"#, world.code());
    let answer = world.send("POST", "/api/v1/setup", &[JSON], &body).await;
    world.token = answer.json()["token"].as_str().unwrap().into();
    let number = enrol(&world, ID, KEY).await;
    // The day ends now.
    let begin = Clock::system().now().0 / 1000 * 1000 - (MINUTES + 1) * 60_000;
    let settings = [
        ("sampling_interval", 5),
        ("upload_interval", 15),
        ("config_poll_interval", 5),
        ("command_poll_interval", 10),
    ];
    let mut device = Device {
        chance: Chance(20_261_128),
        nonce: 11_000,
        queue: Vec::new(),
        settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        executed: Vec::new(),
        reported: Vec::new(),
        dropped: Vec::new(),
    };
    let (mut commands, mut sample) = (Vec::new(), 0);
    for minute in 0..MINUTES {
        if minute % 360 == 0 {
            device.boot(&world).await;
        }
        if minute == MINUTES / 2 {
            // The server is restarted between two uploads.
            let token = std::mem::take(&mut world.token);
            world.stop();
            world.stopped().await;
            world = World::start_in(folder.path(), Config::default()).await;
            world.token = token;
        }
        if minute % 90 == 30 {
            let body =
                json!({ "command": { "action": "set_power_percentage", "value": minute % 100 } });
            let (name, token) = world.bearer();
            let path = format!("/commands/{ID}");
            let made = world.send("POST", &path, &[JSON, (name, &token)], &body.to_string()).await;
            commands.push(made.json()["command_id"].as_str().unwrap().to_owned());
        }
        if minute % 240 == 100 {
            let body = json!({ "config_update": { "sampling_interval": 2 + minute / 240 } });
            let (name, token) = world.bearer();
            let path = format!("/config/{ID}");
            let made = world.send("PUT", &path, &[JSON, (name, &token)], &body.to_string()).await;
            assert_eq!(made.json()["config_ack"]["accepted"], json!(["sampling_interval"]));
        }
        let rows: Vec<u16> = (sample..sample + ROWS).flat_map(values).collect();
        sample += ROWS;
        device.sample(begin + (sample - 1) * SAMPLE_MS, &rows);
        // An hour without a network.
        if !(600..660).contains(&minute) {
            device.upload(&world, begin + sample * SAMPLE_MS).await;
            device.poll(&world).await;
            device.fetch_settings(&world).await;
            device.report(&world, minute).await;
        }
    }
    // What is left goes out, and what the last faults have hidden shows itself.
    while !device.queue.is_empty() {
        device.upload(&world, begin + sample * SAMPLE_MS).await;
    }
    device.chance = Chance(0);
    let mut expected = BTreeMap::new();
    for number in 0..sample {
        let scaled =
            values(number).into_iter().zip(POINTS).map(|(raw, (_, scale))| f64::from(raw) * scale);
        expected.insert(begin + number * SAMPLE_MS, scaled.collect::<Vec<_>>());
    }
    // What the firmware's queue dropped before it could arrive is lost; what it dropped after an
    // answer was lost has arrived.
    let stored = stored(&world, &number, begin).await;
    let may_lack: Vec<i64> = device
        .dropped
        .iter()
        .flat_map(|packet| (0..ROWS).map(|row| packet.last_ms - row * SAMPLE_MS))
        .collect();
    for (time, values) in &expected {
        match stored.get(time) {
            Some(stored) => {
                let is_near = |(stored, value): (&Option<f64>, &f64)| {
                    stored.is_some_and(|stored| (stored - value).abs() < 1e-6)
                };
                assert!(stored.iter().zip(values).all(is_near), "{time} {stored:?} {values:?}");
            }
            None => assert!(may_lack.contains(time), "{time} is lost"),
        }
    }
    assert!(stored.keys().all(|time| expected.contains_key(time)), "nothing else");
    let lacking = expected.len() - stored.len();
    assert!(lacking < 3 * 60 && stored.len() > 4_000, "{lacking} of {}", expected.len());
    let detail = world.get_json(&format!("/api/v1/devices/{number}")).await;
    assert_eq!(detail["link"]["samples"], stored.len());
    assert_eq!(detail["link"]["refused"], 0);

    // Each command was executed once at most, and its state is what the device knows of it.
    let mut executed = device.executed.clone();
    executed.sort();
    executed.dedup();
    assert_eq!(executed.len(), device.executed.len(), "nothing twice");
    assert!(executed.len() > commands.len() / 2);
    for command in &commands {
        let state = world.get_json(&format!("/api/v1/commands/{command}")).await["state"].clone();
        if device.reported.contains(command) {
            assert_eq!(state, "succeeded", "{command}");
        } else {
            // A result whose answer was lost has arrived.
            assert!(["succeeded", "unknown", "sent"].contains(&state.as_str().unwrap()), "{state}");
            assert!(state != "succeeded" || device.executed.contains(command));
        }
    }
    // The device has what was wanted last, and reports it at its next start at the latest.
    assert_eq!(device.settings["sampling_interval"], 7);
    while world.get_json(&format!("/api/v1/devices/{number}/config")).await["pending"] == true {
        device.boot(&world).await;
        device.fetch_settings(&world).await;
    }
}
