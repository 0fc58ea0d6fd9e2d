//! The original's server as its devices see it: checks envelopes and derives rows as it does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding as _};
use ecowatt_envelope::original::{NoncePlace, OriginalKey};
use ecowatt_original::{History, Shape};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const DEVICE: &str = "ESP32_001";
pub(crate) const KEY: [u8; 32] = [0x5a; 32];

/// What it was sent, and what it is about to send.
#[derive(Default)]
pub(crate) struct Kept {
    /// Time in seconds and values.
    pub(crate) rows: Vec<(i64, Vec<u16>)>,
    pub(crate) nonces: Vec<u32>,
    /// Each packet with its time, and its number of rows.
    pub(crate) packets: Vec<(String, usize)>,
    pub(crate) registrations: Vec<Value>,
    pub(crate) reports: Vec<Value>,
    pub(crate) acknowledgements: Vec<Value>,
    pub(crate) results: Vec<Value>,
    pub(crate) pending: Option<Value>,
    pub(crate) commands: Vec<Value>,
    /// Stores uploads and closes the connection without an answer.
    pub(crate) loses_answers: bool,
    violations: Vec<String>,
}

/// A running server.
pub(crate) struct OriginalServer {
    pub(crate) address: SocketAddr,
    pub(crate) kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

impl Drop for OriginalServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OriginalServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let shared = kept.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(answer(stream, shared.clone()));
            }
        });
        Self { address, kept, task }
    }

    /// Rows so far. Fails if the device broke a rule.
    pub(crate) fn rows(&self) -> Vec<(i64, Vec<u16>)> {
        let kept = self.kept.lock().unwrap();
        assert_eq!(kept.violations, Vec::<String>::new());
        kept.rows.clone()
    }
}

async fn answer(mut stream: TcpStream, kept: Arc<Mutex<Kept>>) {
    let mut request = Vec::new();
    let (head, length) = loop {
        let mut buffer = [0; 4_096];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if request.len() >= text.find("\r\n\r\n").unwrap() + 4 + length {
            break (text, length);
        }
    };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let body = String::from_utf8(request[request.len() - length..].to_vec()).unwrap();
    let answered = kept.lock().unwrap().take(&method, &path, &body);
    let Some((status, body)) = answered else { return };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

impl Kept {
    fn take(&mut self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let path = path.replace(DEVICE, "ID");
        Some(match (method, path.as_str()) {
            ("POST", "/devices") => {
                self.registrations.push(body);
                let status = if self.registrations.len() == 1 { 201 } else { 409 };
                (status, json!({ "success": status == 201 }))
            }
            ("POST", "/config/ID/current") => {
                self.reports.push(body);
                (200, json!({ "success": true }))
            }
            ("GET", "/config/ID") => {
                let mut answer = json!({ "success": true, "is_pending": self.pending.is_some() });
                if let Some(update) = &self.pending {
                    answer["pending_config"] = json!({ "config_update": update });
                }
                (200, answer)
            }
            ("POST", "/config/ID/acknowledge") => {
                self.acknowledgements.push(body);
                self.pending = None;
                (200, json!({ "success": true }))
            }
            ("GET", "/commands/ID/poll") => {
                // All at once, and never again.
                let commands = std::mem::take(&mut self.commands);
                (200, json!({ "count": commands.len(), "commands": commands }))
            }
            ("POST", "/commands/ID/result") => {
                self.results.push(body["command_result"].clone());
                (200, json!({ "success": true }))
            }
            ("POST", "/aggregated/ID") => {
                let answer = match self.store(&body) {
                    Ok(()) => (200, json!({ "success": true })),
                    Err(error) => {
                        self.violations.push(error.clone());
                        (401, json!({ "success": false, "error": error }))
                    }
                };
                if self.loses_answers {
                    return None;
                }
                answer
            }
            _ => {
                self.violations.push(format!("{method} {path}"));
                (404, json!({}))
            }
        })
    }

    fn store(&mut self, envelope: &Value) -> Result<(), String> {
        let nonce = envelope["nonce"].as_u64().and_then(|nonce| u32::try_from(nonce).ok());
        let nonce = nonce.ok_or("no nonce")?;
        if self.nonces.last().is_some_and(|last| nonce <= *last) {
            return Err(format!("nonce {nonce} was used"));
        }
        let payload = Base64::decode_vec(envelope["payload"].as_str().unwrap()).unwrap();
        let mac = envelope["mac"].as_str().unwrap();
        if !OriginalKey::new(KEY).verifies(NoncePlace::Before, nonce, &payload, mac) {
            return Err("wrong tag".to_owned());
        }
        self.nonces.push(nonce);
        let upload: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        let packet = &upload["compressed_data"][0];
        let layout = packet["decompression_metadata"]["register_layout"].as_array().unwrap();
        let registers: Vec<u8> =
            layout.iter().map(|it| u8::try_from(it.as_u64().unwrap()).unwrap()).collect();
        let bytes = Base64::decode_vec(packet["compressed_binary"].as_str().unwrap()).unwrap();
        // Without the number of samples: its server does not read it.
        let shape = Shape { registers: &registers, samples: None };
        let values = shape.decode(&bytes, &History::default()).map_err(|it| it.to_string())?;
        let name = format!("{} {packet}", upload["timestamp"]);
        self.packets.push((name, values.len() / registers.len()));
        let (start, step) = (upload["timestamp"].as_i64(), upload["sampling_interval"].as_i64());
        for (place, row) in (0..).zip(values.chunks(registers.len())) {
            self.rows.push((start.unwrap() + place * step.unwrap(), row.to_vec()));
        }
        Ok(())
    }
}
