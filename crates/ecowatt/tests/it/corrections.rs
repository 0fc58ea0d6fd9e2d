//! The verbs that correct things and take access back, against a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ecowatt_clock::Clock;
use serde_json::Value;

use crate::run::{DEADLINE, Process, Said, ecowatt};

/// A server with an owner's token.
struct Server {
    folder: tempfile::TempDir,
    _process: Process,
    url: String,
    token: String,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        let serve = ["serve", "--data", data, "--listen", "127.0.0.1:0"];
        let process = Process::start(folder.path(), "server.log", &serve);
        let line = process.line("EcoWatt listens at ");
        let url = line.split(' ').nth(3).unwrap().to_owned();
        let made = ecowatt(&["token", "create", "--role", "owner", "--data", data]);
        let server = Self { folder, _process: process, url, token: made.out.trim().into() };
        std::fs::write(server.file("owner"), &server.token).unwrap();
        server
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().into()
    }

    fn say_as(&self, token_file: &str, verb: &[&str]) -> Said {
        ecowatt(&[verb, &["--url", &self.url, "--token-file", &self.file(token_file)]].concat())
    }

    /// What a verb that must succeed writes to standard output.
    fn done(&self, verb: &[&str]) -> String {
        let said = self.say_as("owner", verb);
        assert_eq!(said.code, Some(0), "{verb:?} {said:?}");
        said.out
    }

    /// What a verb that must fail says; standard output stays empty.
    fn refused(&self, verb: &[&str]) -> String {
        let said = self.say_as("owner", verb);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{verb:?} {said:?}");
        said.err
    }

    fn list(&self, noun: &str) -> Vec<Value> {
        let out = self.done(&[noun, "list", "--json"]);
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}"))
    }

    fn enrol(&self, name: &str, site: &str) -> String {
        let place = ["--name", name, "--site", site, "--time-zone", "Europe/Berlin"];
        self.done(&[&["device", "enrol"][..], &place].concat()).trim().into()
    }

    /// Logs in as a browser does.
    fn log_in(&self) {
        let host = self.url.strip_prefix("http://").unwrap();
        let body = format!("{{\"token\":\"{}\"}}", self.token);
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "POST /api/v1/session HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn sessions_are_listed_and_ended() {
    let server = Server::start();
    assert!(server.list("session").is_empty());
    for _ in 0..3 {
        server.log_in();
    }
    let sessions = server.list("session");
    assert_eq!(sessions.len(), 3);
    let id = sessions[0]["id"].to_string();
    let table = server.done(&["session", "list"]);
    assert_eq!(table.lines().count(), 4, "{table}");

    assert_eq!(server.done(&["session", "revoke", &id]), "");
    let left = server.list("session");
    assert!(left.len() == 2 && left.iter().all(|session| session["id"] != sessions[0]["id"]));
    assert!(server.refused(&["session", "revoke", &id]).contains(&id));
    server.done(&["session", "revoke", "--all"]);
    assert!(server.list("session").is_empty());
    // One or all has to be said.
    assert_eq!(server.say_as("owner", &["session", "revoke"]).code, Some(2));
}

#[test]
fn claim_codes_are_listed_without_their_secret_and_voided() {
    let server = Server::start();
    let code = server.enrol("Roof", "Home");
    let first = code.split('-').next().unwrap();
    let claims = server.list("claim");
    assert_eq!((claims.len(), &claims[0]["id"]), (1, &first.into()));
    let table = server.done(&["claim", "list"]);
    assert!(table.contains(first) && table.contains("dev-1") && !table.contains(&code), "{table}");

    // The whole code, as it is at hand, does as well as its first group.
    server.done(&["claim", "revoke", &code]);
    assert!(server.list("claim").is_empty());
    server.refused(&["claim", "revoke", first]);
}

#[test]
fn tokens_are_made_for_a_role_and_a_time_and_revoked() {
    let server = Server::start();
    let make = ["token", "create", "--role", "viewer", "--name", "Hall", "--valid-for", "12h"];
    std::fs::write(server.file("viewer"), server.done(&make)).unwrap();
    let tokens = server.list("token");
    let made = tokens.iter().find(|token| token["name"] == "Hall").unwrap();
    assert!(made["role"] == "viewer" && made["expires"].is_string(), "{made}");
    let id = made["id"].to_string();

    assert_eq!(server.say_as("viewer", &["device", "list"]).code, Some(0));
    let said = server.say_as("viewer", &["token", "list"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    server.done(&["token", "revoke", &id]);
    assert_eq!(server.say_as("viewer", &["device", "list"]).code, Some(1));
    assert!(server.list("token").iter().all(|token| token["name"] != "Hall"));
    server.refused(&["token", "revoke", &id]);
}

#[test]
fn sites_are_corrected_and_deleted_when_empty() {
    let server = Server::start();
    server.enrol("Roof", "Hme");
    let id = server.list("site")[0]["id"].to_string();
    server.done(&["site", "rename", &id, "Home"]);
    server.done(&["site", "set-time-zone", &id, "Europe/Lisbon"]);
    let site = &server.list("site")[0];
    assert_eq!((&site["name"], &site["time_zone"]), (&"Home".into(), &"Europe/Lisbon".into()));
    assert!(server.done(&["site", "list"]).contains("Europe/Lisbon"));

    server.refused(&["site", "set-time-zone", &id, "Europe/Lisboa"]);
    server.refused(&["site", "delete", &id]);
    server.done(&["device", "delete", "dev-1", "--yes"]);
    // What a deleted device stored is removed in the background; until then its site is in use.
    let clock = Clock::system();
    let deleted = clock.mono();
    loop {
        let said = server.say_as("owner", &["site", "delete", &id]);
        if said.code == Some(0) {
            break;
        }
        assert!(said.err.contains("site_in_use"), "{said:?}");
        assert!(clock.mono().since(deleted) < DEADLINE, "{said:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(server.list("site").is_empty());
    server.refused(&["site", "rename", &id, "Gone"]);
}

#[test]
fn devices_are_renamed_moved_reset_and_deleted() {
    let server = Server::start();
    server.enrol("Rof", "Home");
    server.done(&["device", "rename", "dev-1", "Roof"]);
    server.refused(&["device", "move", "dev-1", "--site", "Farm"]);
    server.done(&["device", "move", "dev-1", "--site", "Farm", "--time-zone", "Europe/Berlin"]);
    let device = &server.list("device")[0];
    assert_eq!((&device["name"], &device["site"]["name"]), (&"Roof".into(), &"Farm".into()));

    server.done(&["device", "reset", "dev-1"]);
    assert!(server.list("claim").is_empty(), "a code from before opens nothing");
    let code = server.done(&["device", "enrol", "--device", "dev-1"]);
    assert_eq!(code.lines().count(), 1, "{code}");

    // Nobody is there to answer the question.
    let asked = server.refused(&["device", "delete", "dev-1"]);
    assert!(asked.contains("Roof at Farm") && asked.contains("nothing was deleted"), "{asked}");
    assert_eq!(server.list("device").len(), 1);
    server.done(&["device", "delete", "dev-1", "--yes"]);
    assert!(server.list("device").is_empty() && server.list("claim").is_empty());
    for verb in [
        &["device", "rename", "dev-1", "x"][..],
        &["device", "reset", "dev-1"],
        &["device", "delete", "dev-1", "--yes"],
        &["device", "delete", "dev-1"],
        &["device", "enrol", "--device", "dev-1"],
    ] {
        server.refused(verb);
    }
}

#[test]
fn agent_of_a_reset_device_delivers_with_another_code() {
    let server = Server::start();
    let inverter = ["inverter", "--listen", "127.0.0.1:0", "--json"];
    let inverter = Process::start(server.folder.path(), "inverter.log", &inverter);
    let started: Value = serde_json::from_str(&inverter.line("\"tcp\"")).unwrap();
    let address = started["tcp"].as_str().unwrap();
    let config = server.file("agent.toml");
    let start = |code: &str, log: &str| {
        let text = format!(
            "server = '{}'\ndata = 'agent'\nclaim_code = '{code}'\nsample_interval = '200ms'\n\
             [upload]\ninterval = '1s'\n\
             [[inverter]]\nname = 'south'\ntransport = 'tcp://{address}'\n\
             profile = 'ecowatt/seed-sim'\n",
            server.url
        );
        std::fs::write(&config, text).unwrap();
        Process::start(server.folder.path(), log, &["agent", "--config", &config])
    };
    let wait_for_more_than = |samples: u64| {
        let clock = Clock::system();
        let started = clock.mono();
        loop {
            let shown = server.done(&["device", "show", "dev-1", "--json"]);
            let device: Value = serde_json::from_str(&shown).unwrap();
            let found = device["link"]["samples"].as_u64().unwrap();
            if found > samples {
                return found;
            }
            assert!(clock.mono().since(started) < DEADLINE, "{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let agent = start(&server.enrol("Roof", "Home"), "first.log");
    wait_for_more_than(3);
    drop(agent);

    server.done(&["device", "reset", "dev-1"]);
    let code = server.done(&["device", "enrol", "--device", "dev-1"]);
    let shown = server.done(&["device", "show", "dev-1", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let before = shown["link"]["samples"].as_u64().unwrap();
    let agent = start(code.trim(), "second.log");
    wait_for_more_than(before + 3);
    let key = server.done(&["keys", "show", "dev-1", "--json"]);
    let key: Value = serde_json::from_str(&key).unwrap();
    assert_eq!(key["generation"], 2, "{key}");

    server.done(&["device", "delete", "dev-1", "--yes"]);
    assert!(server.list("device").is_empty());
    agent.line("server answered 401");
}
