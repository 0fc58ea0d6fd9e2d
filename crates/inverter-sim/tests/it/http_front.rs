//! The front of the earlier EcoWatt's Inverter SIM, with the frames that its devices exchange.

use std::net::SocketAddr;

use ecowatt_inverter_sim::{HttpConfig, Running, ServeConfig, Simulation};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{calm, start, within};

const READ: &str = "/api/inverter/read";
const WRITE: &str = "/api/inverter/write";

async fn running(key: Option<&str>) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let http = Some(HttpConfig { address, key: key.map(str::to_owned) });
    let config = ServeConfig { http, ..ServeConfig::default() };
    start(Simulation::healthy(calm()), &config, 1.0).await
}

/// Sends a request as the original's device does; returns status and body, or none if the
/// connection ends without an answer.
async fn post(
    running: &Running,
    path: &str,
    key: Option<&str>,
    body: &str,
) -> Option<(u16, Value)> {
    let address = running.addresses().http.unwrap();
    let key = key.map(|key| format!("Authorization: {key}\r\n")).unwrap_or_default();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         accept: */*\r\n{key}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    within(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            serde_json::from_str(body).unwrap(),
        ))
    })
    .await
}

async fn frame(running: &Running, path: &str, frame: &str) -> String {
    let body = format!("{{\"frame\": \"{frame}\"}}");
    let (status, body) = post(running, path, None, &body).await.unwrap();
    assert_eq!(status, 200, "{body}");
    body["frame"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn frames_of_the_originals_device_are_answered() {
    let running = running(None).await;
    let answer = frame(&running, READ, "11030000000AC75D").await;
    assert!(answer.starts_with("110314") && answer.len() == 50, "{answer}");
    assert_eq!(answer, answer.to_ascii_uppercase());
    // A good answer to a write is its echo.
    for write in ["1106000800328B4D", "1106000800640B73"] {
        assert_eq!(frame(&running, WRITE, write).await, write);
    }
    // Lower case is read as well; an address that does not exist is exception 2.
    assert_eq!(frame(&running, READ, &rtu("110300630001")).await, "118302C134");
    // Neither a wrong checksum nor another unit is answered.
    assert_eq!(frame(&running, READ, "11030000000AC75E").await, "");
    assert_eq!(frame(&running, READ, "010300000002C40B").await, "");
    within(running.stop()).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_and_harm_nothing() {
    let running = running(Some("secret")).await;
    let read = r#"{"frame":"11030000000AC75D"}"#;
    for (path, key, body, expected) in [
        (READ, None, read, 401),
        (READ, Some("other"), read, 401),
        (READ, Some("Bearer secret"), read, 401),
        ("/api/user/error-flag/add", None, r#"{"errorType":"DELAY","delayMs":5}"#, 401),
        ("/api/inverter/other", Some("secret"), read, 404),
        (READ, Some("secret"), "{}", 400),
        (READ, Some("secret"), "[]", 400),
        (READ, Some("secret"), "not JSON", 400),
        (READ, Some("secret"), r#"{"frame":"110"}"#, 400),
        (READ, Some("secret"), r#"{"frame":"1x"}"#, 400),
        (READ, Some("secret"), &json!({ "frame": "00".repeat(300) }).to_string(), 400),
        (READ, Some("secret"), &json!({ "frame": "00".repeat(5_000) }).to_string(), 413),
    ] {
        let (status, answer) = post(&running, path, key, body).await.unwrap();
        assert_eq!(status, expected, "{path} {key:?} {body}: {answer}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    let (status, answer) = post(&running, READ, Some("secret"), read).await.unwrap();
    assert_eq!((status, answer["frame"].as_str().unwrap().len()), (200, 50));
    within(running.stop()).await;
}

#[tokio::test]
async fn an_error_flag_spoils_the_next_request_only() {
    let running = running(None).await;
    let read = "11030000000AC75D";
    for (flag, is_spoilt) in [
        (
            json!({"errorType": "EXCEPTION", "exceptionCode": 6, "delayMs": 0}),
            is_busy as fn(&str) -> bool,
        ),
        (json!({"errorType": "CRC_ERROR", "exceptionCode": 0, "delayMs": 0}), has_wrong_crc),
        (json!({"errorType": "CORRUPT"}), has_wrong_crc),
        (json!({"errorType": "PACKET_DROP"}), str::is_empty),
        (json!({"errorType": "DELAY", "exceptionCode": 0, "delayMs": 50}), is_well),
    ] {
        let added = post(&running, "/api/user/error-flag/add", None, &flag.to_string()).await;
        assert_eq!(added.unwrap().0, 200, "{flag}");
        let spoilt = frame(&running, READ, read).await;
        assert!(is_spoilt(&spoilt), "{flag}: {spoilt}");
        assert!(is_well(&frame(&running, READ, read).await), "{flag} lasted");
    }
    for flag in [json!({"errorType": "MISCHIEF"}), json!({"fault_type": "CORRUPT"})] {
        let added = post(&running, "/api/user/error-flag/add", None, &flag.to_string()).await;
        assert_eq!(added.unwrap().0, 400, "{flag}");
    }
    let flag = json!({"errorType": "DELAY", "delayMs": 0}).to_string();
    let added = post(&running, "/api/user/error-flag/add", None, &flag).await;
    assert_eq!(added.unwrap().0, 422);
    within(running.stop()).await;
}

fn is_busy(frame: &str) -> bool {
    frame == "118306C0F7"
}

fn has_wrong_crc(frame: &str) -> bool {
    ecowatt_modbus::crc16(&bytes(frame)) != 0
}

fn is_well(frame: &str) -> bool {
    frame.starts_with("110314") && !has_wrong_crc(frame)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Appends the checksum, in lower case.
fn rtu(hex: &str) -> String {
    let crc = ecowatt_modbus::crc16(&bytes(hex)).to_le_bytes();
    format!("{hex}{:02x}{:02x}", crc[0], crc[1])
}
