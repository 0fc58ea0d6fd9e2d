//! The control port as curl sees it.

use ecowatt_inverter_sim::{Running, ServeConfig, ServeError, Simulation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{READ_TEN, calm, everywhere, exchange, get, healthy, http, start, tcp, within};

#[tokio::test]
async fn state_shows_clock_reading_registers_and_counts() {
    let running = healthy().await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    within(exchange(&mut stream, &tcp(1, 0x11, &READ_TEN))).await;
    let state = get(&running, "/state").await;
    assert_eq!(state["map"], "ecowatt/seed-sim");
    assert!(state["time"].as_str().unwrap().starts_with("2026-06-21T11:00:"), "{state}");
    assert_eq!(state["registers"].as_array().unwrap().len(), 10);
    assert_eq!(state["counts"]["requests"], 1);
    assert!(state["reading"]["sun_elevation_deg"].as_f64().unwrap() > 55.0, "{state}");
}

#[tokio::test]
async fn faults_are_created_listed_and_deleted() {
    let running = healthy().await;
    let order = r#"{"kind":"crc_error","probability":0.5,"for_s":60}"#;
    let (status, body) = http(&running, "POST", "/faults", Some(order)).await;
    assert_eq!((status, body.as_str()), (201, r#"{"id":1}"#));
    let faults = get(&running, "/faults").await;
    assert_eq!(
        (faults[0]["kind"].as_str(), faults[0]["is_active"].as_bool()),
        (Some("wrong_crc"), Some(true))
    );
    assert_eq!(http(&running, "DELETE", "/faults/1", None).await.0, 204);
    assert_eq!(http(&running, "DELETE", "/faults/1", None).await.0, 404);
    assert_eq!(get(&running, "/faults").await, serde_json::json!([]));
}

#[tokio::test]
async fn irradiance_can_be_forced_and_released() {
    let running = start(Simulation::healthy(calm()), &everywhere(), 60.0).await;
    let order = r#"{"ghi_w_m2":321,"for_s":100000}"#;
    assert_eq!(http(&running, "POST", "/irradiance", Some(order)).await.0, 204);
    let ghi = async || get(&running, "/state").await["reading"]["ghi_w_m2"].as_f64().unwrap();
    within(async { while ghi().await != 321.0 {} }).await;
    assert_eq!(http(&running, "DELETE", "/irradiance", None).await.0, 204);
    within(async { while ghi().await == 321.0 {} }).await;
}

#[tokio::test]
async fn the_log_and_the_file_contain_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let config = ServeConfig { journal: Some(journal.clone()), ..everywhere() };
    let running = start(Simulation::healthy(calm()), &config, 1.0).await;
    let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
    let answer = within(exchange(&mut stream, &tcp(1, 0x11, &READ_TEN))).await;
    within(exchange(&mut stream, &tcp(2, 0x11, &[3, 0, 99, 0, 1]))).await;
    within(exchange(&mut stream, &tcp(3, 0x11, &[4, 0, 8, 0, 1]))).await;

    let log = get(&running, "/log?since=0").await;
    let words: Vec<u16> = answer[9..].chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect();
    assert_eq!(log.as_array().unwrap().len(), 2, "an exception is not a reading: {log}");
    assert_eq!(log[0]["words"], serde_json::json!(words));
    assert_eq!((&log[1]["table"], &log[1]["address"]), (&"input".into(), &8.into()));
    assert_eq!(get(&running, "/log?since=1").await[0]["seq"], 2);

    let mut lines: Vec<serde_json::Value> = std::fs::read_to_string(&journal)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Only the file has the wall-clock time.
    let world_ms = lines.iter_mut().map(|line| line.as_object_mut().unwrap().remove("world_ms"));
    assert!(world_ms.flatten().all(|ms| ms.is_i64()));
    assert_eq!(serde_json::json!(lines), log);
}

#[tokio::test]
async fn invalid_requests_are_client_errors() {
    let running = healthy().await;
    for (method, path, body, status, code) in [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("PUT", "/state", None, 405, "method_not_allowed"),
        ("POST", "/faults", Some("{"), 400, "invalid_body"),
        ("POST", "/faults", Some(r#"{"kind":"mischief"}"#), 422, "invalid_body"),
        ("POST", "/faults", Some(r#"{"kind":"delay"}"#), 422, "invalid_fault"),
        ("POST", "/faults", None, 415, "invalid_body"),
        ("POST", "/irradiance", Some(r#"{"ghi_w_m2":-1,"for_s":1}"#), 422, "invalid_irradiance"),
        ("POST", "/irradiance", Some(r#"{"ghi_w_m2":1e400,"for_s":1}"#), 400, "invalid_body"),
        ("DELETE", "/faults/x", None, 404, "unknown_fault"),
        ("GET", "/log?since=-1", None, 400, "invalid_query"),
    ] {
        let (got, answer) = http(&running, method, path, body).await;
        assert_eq!(got, status, "{method} {path} {body:?}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{method} {path} {body:?}");
    }
    let long = format!(r#"{{"kind":"silence","x":"{}"}}"#, "y".repeat(20_000));
    assert_eq!(http(&running, "POST", "/faults", Some(&long)).await.0, 413);
}

#[tokio::test]
async fn the_control_port_listens_only_on_loopback() {
    let everywhere = Some(([0, 0, 0, 0], 0).into());
    let config = ServeConfig { control: everywhere, ..ServeConfig::default() };
    let clock = ecowatt_clock::Clock::system();
    let simulation = Simulation::healthy(calm());
    let refused =
        ecowatt_inverter_sim::serve(simulation, &config, clock, std::future::pending()).await;
    assert!(matches!(refused, Err(ServeError::ControlAddress(_))));
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let running = healthy().await;
    let port = running.addresses().control.unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let at = |host: &str, more: &str| format!("Host: {host}\r\n{more}");
    let cases = [
        (at(&own, ""), 201),
        (at("localhost", ""), 201),
        (at("[::1]:80", ""), 201),
        (at(&own, &format!("Origin: http://{own}\r\n")), 201),
        (at(&own, "Sec-Fetch-Site: same-origin\r\n"), 201),
        (at("evil.example", ""), 421),
        (at(&format!("evil.example:{port}"), ""), 421),
        (at("127.0.0.1.evil.example", ""), 421),
        (at("localhost.evil.example", ""), 421),
        (at(&own, "Origin: http://evil.example\r\n"), 403),
        (at(&own, "Origin: null\r\n"), 403),
        (at(&own, "Origin: http://localhost:1\r\n"), 403),
        (at(&own, "Sec-Fetch-Site: cross-site\r\n"), 403),
        (at(&own, "Sec-Fetch-Site: same-site\r\n"), 403),
        (String::new(), 400),
        (at(&own, &at(&own, "")), 400),
    ];
    for (headers, expected) in cases {
        let body = r#"{"kind":"crc_error"}"#;
        let request = format!(
            "POST /faults HTTP/1.1\r\n{headers}Connection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let status = send(&running, &request).await;
        assert_eq!(status, expected, "{headers}");
    }
}

/// Sends a request unchanged and returns the status of the answer.
async fn send(running: &Running, request: &str) -> u16 {
    let mut stream = TcpStream::connect(running.addresses().control.unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
