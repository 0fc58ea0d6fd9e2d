//! `ecowatt import-original`: a database of the original, and a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding as _};
use ecowatt_envelope::original::{NoncePlace, OriginalKey};
use rusqlite::{Connection, params};

use crate::rig::run::ecowatt;
use crate::rig::server::Server;

const KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// Samples of the first device: more than fit one upload.
const SAMPLES: u32 = 12_000;

/// The original's tables, as far as they are read.
const SCHEMA: &str = "
    CREATE TABLE sensor_data (
        id INTEGER PRIMARY KEY AUTOINCREMENT, device_id TEXT NOT NULL, timestamp DATETIME NOT NULL,
        register_data TEXT NOT NULL, compression_method TEXT, compression_ratio REAL,
        created_at DATETIME DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE devices (
        device_id TEXT PRIMARY KEY, device_name TEXT NOT NULL, location TEXT, description TEXT,
        status TEXT DEFAULT 'active', firmware_version TEXT,
        registered_at DATETIME DEFAULT CURRENT_TIMESTAMP, last_seen DATETIME);
    CREATE TABLE commands (id INTEGER PRIMARY KEY AUTOINCREMENT, command_id TEXT UNIQUE NOT NULL);";

struct Original {
    folder: tempfile::TempDir,
}

impl Original {
    fn new() -> Self {
        let it = Self { folder: tempfile::tempdir().unwrap() };
        let mut db = Connection::open(it.file("ecowatt_data.db")).unwrap();
        db.execute_batch(SCHEMA).unwrap();
        let add = db.transaction().unwrap();
        for (id, name) in [("ESP32_001", "EcoWatt roof"), ("ESP32_002", "EcoWatt barn")] {
            add.execute("INSERT INTO devices (device_id, device_name) VALUES (?1, ?2)", [id, name])
                .unwrap();
        }
        for sample in 0..SAMPLES {
            // 2026-06-21 16:30:00 in Colombo is 11:00 UTC.
            let (hour, minute) = (16 + (30 + sample / 60) / 60, (30 + sample / 60) % 60);
            let time = format!("2026-06-21 {hour:02}:{minute:02}:{:02}", sample % 60);
            let registers =
                format!("{{\"Vac1\": 230.1, \"Iac1\": 1.5, \"Pac\": {}}}", sample % 4_000);
            Self::add(&add, "ESP32_001", &time, &registers);
        }
        add.execute("INSERT INTO commands (command_id) VALUES ('x')", []).unwrap();
        add.commit().unwrap();
        std::fs::write(
            it.file("nonce_state.json"),
            r#"{"nonces": {"ESP32_001": 14023, "ESP32_002": 11007}, "last_updated": "2026-06-21"}"#,
        )
        .unwrap();
        std::fs::write(it.file("keys.toml"), format!("ESP32_001 = \"{KEY}\"\n")).unwrap();
        it
    }

    fn add(db: &Connection, device: &str, time: &str, registers: &str) {
        let add =
            "INSERT INTO sensor_data (device_id, timestamp, register_data) VALUES (?1, ?2, ?3)";
        db.execute(add, params![device, time, registers]).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verb<'a>(&self, files: &'a [PathBuf; 3], more: &[&'a str]) -> Vec<&'a str> {
        let text = |path: &'a PathBuf| path.to_str().unwrap();
        let [database, nonces, keys] = files;
        let verb = ["import-original", "--database", text(database), "--nonces", text(nonces)];
        let options = ["--keys", text(keys), "--time-zone", "Asia/Colombo"];
        [&verb[..], &options, more].concat()
    }

    fn files(&self) -> [PathBuf; 3] {
        ["ecowatt_data.db", "nonce_state.json", "keys.toml"].map(|name| self.file(name))
    }
}

fn firmware() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/original/ota");
    folder.to_str().unwrap().to_owned()
}

/// Posts an upload without packets as the first device; returns the status.
fn post(url: &str, nonce: u32) -> u16 {
    let text = br#"{"compressed_data":[]}"#;
    let tag = OriginalKey::new([0x5a; 32]).tag(NoncePlace::Before, nonce, text);
    let mac: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let payload = Base64::encode_string(text);
    let body = format!("{{\"nonce\":{nonce},\"payload\":\"{payload}\",\"mac\":\"{mac}\"}}");
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "POST /aggregated/ESP32_001 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn history_devices_and_nonces_are_taken_over_once() {
    let (server, original) = (Server::start(), Original::new());
    let files = original.files();
    let more = ["--new-keys", "--site", "Home"];
    let out = server.done(&original.verb(&files, &more));
    assert!(out.contains("ESP32_001: 12000 samples of 12000 rows taken over"), "{out}");
    let devices = server.list("device");
    let names: Vec<&str> = devices.iter().map(|device| device["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["EcoWatt roof", "EcoWatt barn"]);
    assert_eq!(devices[0]["site"]["name"], "Home");
    assert_eq!((server.samples("dev-1"), server.samples("dev-2")), (u64::from(SAMPLES), 0));

    // At their own times, with their own values.
    let range = ["--from", "2026-06-21T11:00:00Z", "--to", "2026-06-21T11:00:10Z"];
    let export = ["telemetry", "export", "--device", "dev-1", "--resolution", "raw"];
    let csv = server.done(&[&export[..], &range].concat());
    assert!(csv.contains("2026-06-21T11:00:05.000Z,,1.5,230.1,5,"), "{csv}");

    // The device goes on above the nonce that it had.
    assert_eq!((post(&server.url, 14_023), post(&server.url, 14_024)), (401, 200));

    // Again: everything is there, and the new key of the second device was kept.
    let said = server.say_as("owner", &original.verb(&files, &more));
    assert!(said.err.contains("later uploads of it (nonce 14024)"), "{}", said.err);
    let out = said.out;
    assert!(out.contains("in 3 uploads (3 were there"), "{out}");
    assert_eq!(server.samples("dev-1"), u64::from(SAMPLES));
    assert_eq!(server.list("device").len(), 2);
    let keys = std::fs::read_to_string(original.file("keys.toml")).unwrap();
    assert_eq!(keys.lines().count(), 2, "{keys}");
}

#[test]
fn an_interrupted_run_goes_on_where_the_server_is() {
    let (mut server, original) = (Server::start(), Original::new());
    let files = original.files();
    // Enrolled, and nothing taken: the server goes away at once.
    let verb = original.verb(&files, &["--new-keys"]);
    let url = server.url.clone();
    let token = server.file("owner");
    let importing = {
        let verb: Vec<String> = verb.iter().map(ToString::to_string).collect();
        std::thread::spawn(move || {
            let mut args: Vec<&str> = verb.iter().map(String::as_str).collect();
            args.extend(["--url", &url, "--token-file", &token]);
            ecowatt(&args)
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(120));
    server.kill();
    let _ = importing.join().unwrap();
    server.start_again();
    server.done(&verb);
    assert_eq!(server.samples("dev-1"), u64::from(SAMPLES));
    server.done(&verb);
    assert_eq!(server.samples("dev-1"), u64::from(SAMPLES));
}

#[test]
fn a_device_that_uploaded_first_keeps_its_nonce_and_is_named() {
    let (server, original) = (Server::start(), Original::new());
    server.done(&["device", "enrol", "ESP32_001", "--original", "--key", KEY]);
    // As after its flash was erased: above the uploads of its history, below its last nonce.
    assert_eq!(post(&server.url, 11_001), 200);
    let files = original.files();
    let said = server.say_as("owner", &original.verb(&files, &["--new-keys"]));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("the server has nonce 11001 of it"), "{}", said.err);
    assert_eq!(server.samples("dev-1"), 0);
    assert_eq!(post(&server.url, 11_002), 200);
}

#[test]
fn every_problem_is_named_and_a_dry_run_sends_nothing() {
    let (server, original) = (Server::start(), Original::new());
    let db = Connection::open(original.file("ecowatt_data.db")).unwrap();
    Original::add(&db, "ESP32_001", "soon", r#"{"Vac1": 230.1}"#);
    Original::add(&db, "ESP32_001", "2026-06-22 16:30:00", r#"{"battery": 1}"#);
    Original::add(&db, "ESP32_003", "2026-06-22 16:30:00", r#"{"Vac1": 230.05}"#);
    drop(db);
    let nonces = original.file("nonce_state.json");
    let text = std::fs::read_to_string(&nonces).unwrap().replace("ESP32_002", "ESP32_009");
    std::fs::write(&nonces, text).unwrap();
    let files = original.files();
    let folder = firmware();
    let said = ecowatt(&original.verb(&files, &["--dry-run", "--firmware", &folder]));
    assert_eq!(said.code, Some(1), "{said:?}");
    for part in [
        "ESP32_001: sensor_data row 12001 is not taken over: its timestamp",
        "ESP32_001: sensor_data row 12002 is not taken over: `battery` is not the name",
        "ESP32_002: not taken over",
        "ESP32_003: not taken over",
        "ESP32_009: ",
        "1 rows of commands are not taken over",
        "problems; what they do not concern",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert!(said.out.contains("12000 samples of 12002 rows can be taken over"), "{}", said.out);
    assert!(said.out.contains("firmware 1.2.3: complete, 5008 bytes"), "{}", said.out);
    assert_eq!(server.list("device").len(), 0);

    let no_database = original.file("nonce_state.json");
    let files = [no_database, original.file("nonce_state.json"), original.file("keys.toml")];
    let said = ecowatt(&original.verb(&files, &["--dry-run"]));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("nonce_state.json"), "{}", said.err);
}
