//! Devices of the earlier EcoWatt, from the command line to a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ecowatt_envelope::original::{NoncePlace, OriginalKey};

use crate::rig::server::Server;

const ID: &str = "ESP32_EcoWatt_Smart";
const KEY: [u8; 32] = [0x5a; 32];
const PUBLISHED: &str = "2b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfe";

/// Milliseconds of the first packet; one follows every five seconds.
const START_MS: i64 = 1_795_248_000_000;

fn base64(bytes: &[u8]) -> String {
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

/// The device: it puts a packet without an answer into its next upload.
struct Esp32 {
    nonce: u32,
    packet: i64,
}

impl Esp32 {
    /// The upload of its present packet under its next nonce.
    fn upload(&mut self) -> String {
        self.nonce += 1;
        let at = START_MS + 5000 * self.packet;
        // One sample of three registers, written out.
        let packet = base64(&[0x70, 3, 0, 1, 9, 0xfc, 8, 50, 0, self.packet.to_le_bytes()[0], 1]);
        let text = format!(
            "{{\"timestamp\":{},\"sampling_interval\":5,\"compressed_data\":[{{\"compressed_binary\":\
             \"{packet}\",\"decompression_metadata\":{{\"sample_count\":1,\"timestamp\":{},\
             \"register_layout\":[0,1,9]}}}}]}}",
            at / 1000,
            at & 0xffff_ffff,
        );
        let tag = OriginalKey::new(KEY).tag(NoncePlace::Before, self.nonce, text.as_bytes());
        let mac: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{{\"nonce\":{},\"payload\":\"{}\",\"mac\":\"{mac}\",\"encrypted\":false,\
             \"compressed\":false}}",
            self.nonce,
            base64(text.as_bytes())
        )
    }
}

/// Posts an upload; returns the status, 0 if no answer came.
fn post(url: &str, body: &str) -> u16 {
    let host = url.strip_prefix("http://").unwrap();
    let Ok(mut stream) = TcpStream::connect(host) else { return 0 };
    let request = format!(
        "POST /aggregated/{ID} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).is_err() || stream.read_to_end(&mut answer).is_err() {
        return 0;
    }
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

fn hex(key: [u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn device_is_enrolled_and_listed_and_the_published_key_is_not() {
    let server = Server::start();
    let key = hex(KEY);
    let enrol = ["device", "enrol", ID, "--original", "--key"];
    assert_eq!(server.done(&[&enrol[..], &[&key]].concat()).trim(), "dev-1");
    let listed = server.list("device");
    assert_eq!((listed.len(), listed[0]["name"].as_str()), (1, Some(ID)));
    assert_eq!(listed[0]["site"]["name"], "Original devices");
    for asks in [&[][..], &["--published-key"]] {
        let said = server.refused(&[&enrol[..], &[PUBLISHED], asks].concat());
        assert!(said.contains("everybody knows this key"), "{said}");
    }
    // Again, with another key: the same device.
    let place = ["--name", "Barn", "--site", "Home", "--time-zone", "Asia/Colombo"];
    assert_eq!(server.json(&[&enrol[..], &[&hex([1; 32])]].concat())["device"], "dev-1");
    let other = [&["device", "enrol", "two", "--original", "--key", &key][..], &place].concat();
    assert_eq!(server.json(&other)["device"], "dev-2");
    assert_eq!(server.list("device")[1]["site"]["name"], "Home");
    let mut device = Esp32 { nonce: 11_000, packet: 0 };
    assert_eq!(post(&server.url, &device.upload()), 401);
    server.done(&[&enrol[..], &[&key]].concat());
    let body = device.upload();
    assert_eq!((post(&server.url, &body), post(&server.url, &body)), (200, 401));
    assert_eq!(server.samples("dev-1"), 1);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_server_is_killed_between() {
    let mut server = Server::start();
    server.done(&["device", "enrol", ID, "--original", "--key", &hex(KEY)]);
    let mut device = Esp32 { nonce: 11_000, packet: 0 };
    let mut unanswered = 0;
    for life in 0..6u64 {
        let url = server.url.clone();
        let uploads = std::thread::spawn(move || {
            loop {
                let body = device.upload();
                match post(&url, &body) {
                    200 => device.packet += 1,
                    0 => return device,
                    other => panic!("{other}"),
                }
            }
        });
        std::thread::sleep(Duration::from_millis(150 + 37 * life));
        server.kill();
        device = uploads.join().unwrap();
        unanswered += 1;
        server.start_again();
        let stored = server.samples("dev-1");
        let sent = u64::try_from(device.packet).unwrap();
        assert!((sent..=sent + 1).contains(&stored), "{stored} stored, {sent} answered");
        assert_eq!(post(&server.url, &device.upload()), 200);
        device.packet += 1;
        assert_eq!(server.samples("dev-1"), u64::try_from(device.packet).unwrap());
    }
    assert!(device.packet > 2 * unanswered, "{} packets", device.packet);
}
