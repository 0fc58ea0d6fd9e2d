//! Starts inverters on free ports and talks to them in raw bytes.

use std::net::SocketAddr;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_inverter_sim::{Config, Running, ServeConfig, Simulation, serve};
use ecowatt_model::UnixMs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// 2026-06-21T11:00Z.
pub(crate) const NOON: UnixMs = UnixMs(1_782_039_600_000);

/// Far longer than anything here takes, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A read of registers 0 to 9 of unit 0x11.
pub(crate) const READ_TEN: [u8; 5] = [3, 0, 0, 0, 10];

pub(crate) fn everywhere() -> ServeConfig {
    let any: Option<SocketAddr> = Some(([127, 0, 0, 1], 0).into());
    ServeConfig { tcp: any, rtu_tcp: any, control: any, ..ServeConfig::default() }
}

pub(crate) fn calm() -> Config {
    let mut config = Config::default();
    config.site.cloudiness = Some(0.0);
    config.grid.outages_per_day = 0.0;
    config
}

pub(crate) async fn start(simulation: Simulation, config: &ServeConfig, speed: f64) -> Running {
    let clock = Clock::simulated(NOON, speed);
    serve(simulation, config, clock, std::future::pending()).await.unwrap()
}

/// A healthy inverter on every front except the pty.
pub(crate) async fn healthy() -> Running {
    start(Simulation::healthy(calm()), &everywhere(), 1.0).await
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("finished within the deadline")
}

pub(crate) fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = vec![unit];
    bytes.extend_from_slice(pdu);
    let crc = ecowatt_modbus::crc16(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

pub(crate) fn tcp(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = transaction.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, u8::try_from(pdu.len() + 1).unwrap(), unit]);
    bytes.extend_from_slice(pdu);
    bytes
}

/// The bytes returned for `request`, until the peer is quiet for a while or closes.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.unwrap();
    listen(stream).await
}

pub(crate) async fn listen(stream: &mut TcpStream) -> Vec<u8> {
    /// For the first byte: after this, silence is assumed.
    const PATIENCE: Duration = Duration::from_millis(1_500);
    /// For the rest of an answer, which is written in one piece.
    const QUIET: Duration = Duration::from_millis(100);
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let patience = if answer.is_empty() { PATIENCE } else { QUIET };
        match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Err(_) | Ok(Ok(0) | Err(_)) => return answer,
            Ok(Ok(read)) => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Checks that both TCP fronts answer a new client correctly.
pub(crate) async fn assert_well(running: &Running) {
    within(async {
        let mut stream = TcpStream::connect(running.addresses().tcp.unwrap()).await.unwrap();
        let answer = exchange(&mut stream, &tcp(9, 0x11, &READ_TEN)).await;
        assert_eq!((answer.len(), &answer[..9]), (29, &[0, 9, 0, 0, 0, 23, 0x11, 3, 20][..]));
        let mut stream = TcpStream::connect(running.addresses().rtu_tcp.unwrap()).await.unwrap();
        let answer = exchange(&mut stream, &rtu(0x11, &READ_TEN)).await;
        assert_eq!((answer.len(), &answer[..3]), (25, &[0x11, 3, 20][..]));
        assert_eq!(ecowatt_modbus::crc16(&answer), 0);
    })
    .await;
}

/// An HTTP exchange with the control port: status and body.
pub(crate) async fn http(
    running: &Running,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> (u16, String) {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if let Some(body) = body {
        let length = body.len();
        request
            .push_str(&format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body.unwrap_or(""));
    within(async {
        let mut stream = TcpStream::connect(running.addresses().control.unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    })
    .await
}

/// The same, with the body parsed as JSON.
pub(crate) async fn get(running: &Running, path: &str) -> serde_json::Value {
    let (status, body) = http(running, "GET", path, None).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}
