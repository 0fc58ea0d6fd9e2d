//! A real server and its owner, and a plant: an inverter with the agent that reads it.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ecowatt_clock::Clock;
use serde_json::Value;

use crate::rig::run::{DEADLINE, Process, Said, ecowatt};

/// A server with an owner's token.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    process: Process,
    pub(crate) url: String,
    token: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        let serve = ["serve", "--data", data, "--listen", "127.0.0.1:0"];
        let process = Process::start(folder.path(), "server.log", &serve);
        let line = process.line("EcoWatt listens at ");
        let url = line.split(' ').nth(3).unwrap().to_owned();
        let made = ecowatt(&["token", "create", "--role", "owner", "--data", data]);
        let server = Self { folder, process, url, token: made.out.trim().into() };
        std::fs::write(server.file("owner"), &server.token).unwrap();
        server
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Starts it again on its data, at another port.
    pub(crate) fn start_again(&mut self) {
        self.start_again_at("127.0.0.1:0");
    }

    /// Starts it again on its data, at the same address.
    pub(crate) fn start_again_there(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        self.start_again_at(&address);
    }

    fn start_again_at(&mut self, address: &str) {
        let serve = ["serve", "--data", &self.file("data"), "--listen", address];
        self.process = Process::start(self.folder.path(), "server.log", &serve);
        let line = self.process.line("EcoWatt listens at ");
        self.url = line.split(' ').nth(3).unwrap().to_owned();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.child.try_wait().unwrap()
    }

    /// Waits for a line with `words` in its log; returns the first one.
    pub(crate) fn line(&self, words: &str) -> String {
        self.process.line(words)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().into()
    }

    pub(crate) fn say_as(&self, token_file: &str, verb: &[&str]) -> Said {
        ecowatt(&[verb, &["--url", &self.url, "--token-file", &self.file(token_file)]].concat())
    }

    /// Runs a verb that must succeed; returns its standard output.
    pub(crate) fn done(&self, verb: &[&str]) -> String {
        let said = self.say_as("owner", verb);
        assert_eq!(said.code, Some(0), "{verb:?} {said:?}");
        said.out
    }

    /// Runs a verb that must fail without standard output; returns its standard error.
    pub(crate) fn refused(&self, verb: &[&str]) -> String {
        let said = self.say_as("owner", verb);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{verb:?} {said:?}");
        said.err
    }

    pub(crate) fn json(&self, verb: &[&str]) -> Value {
        let out = self.done(&[verb, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}"))
    }

    pub(crate) fn list(&self, noun: &str) -> Vec<Value> {
        self.json(&[noun, "list"]).as_array().unwrap().clone()
    }

    /// How many samples of a device the server has acknowledged.
    pub(crate) fn samples(&self, device: &str) -> u64 {
        self.json(&["device", "show", device])["link"]["samples"].as_u64().unwrap()
    }

    pub(crate) fn wait_for_more_samples(&self, device: &str, than: u64) -> u64 {
        let found = || Some(self.samples(device)).filter(|samples| *samples > than);
        wait_for(&format!("more than {than} samples of {device}"), found)
    }

    pub(crate) fn enrol(&self, name: &str, site: &str) -> String {
        let place = ["--name", name, "--site", site, "--time-zone", "Europe/Berlin"];
        self.done(&[&["device", "enrol"][..], &place].concat()).trim().into()
    }

    /// Logs in as a browser does.
    pub(crate) fn log_in(&self) {
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

/// Waits until `look` returns something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    wait_until(|| look().ok_or_else(|| format!("no {what}")))
}

/// Waits until `look` succeeds; its error describes the state so far.
pub(crate) fn wait_until<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let clock = Clock::system();
    let started = clock.mono();
    loop {
        match look() {
            Ok(found) => return found,
            Err(missing) => assert!(clock.mono().since(started) < DEADLINE, "{missing}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A simulated inverter in the midday sun, and the folder of the device that reads it.
pub(crate) struct Plant {
    pub(crate) folder: tempfile::TempDir,
    _inverter: Process,
    pub(crate) inverter: String,
    /// The profile by which the agent reads it.
    profile: &'static str,
    starts: Cell<u32>,
}

impl Plant {
    pub(crate) fn start() -> Self {
        Self::of("ecowatt/seed-sim", "ecowatt/seed-sim")
    }

    /// An inverter of a kind that the simulation has, read by a profile of the catalogue.
    pub(crate) fn of(kind: &str, profile: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args = ["inverter", "--listen", "127.0.0.1:0", "--json", "--profile", kind];
        // It checks the grid for a minute before it feeds in.
        let noon = ["--start", "2026-06-21T11:00:00Z", "--speed", "60"];
        let inverter = Process::start(folder.path(), "inverter.log", &[&args[..], &noon].concat());
        let started: Value = serde_json::from_str(&inverter.line("\"tcp\"")).unwrap();
        let address = started["tcp"].as_str().unwrap().to_owned();
        Self { folder, _inverter: inverter, inverter: address, profile, starts: Cell::new(0) }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().into()
    }

    /// Starts the device's agent with a claim code, on the data that it already has.
    pub(crate) fn agent(&self, server: &Server, code: &str) -> Process {
        self.agent_in("agent", server, code)
    }

    /// Starts the device's agent for a server at this address, which need not be ours.
    pub(crate) fn agent_of(&self, url: &str, code: &str) -> Process {
        self.start_agent("agent", url, code)
    }

    /// Starts an agent that keeps its data in a folder of this name.
    pub(crate) fn agent_in(&self, data: &str, server: &Server, code: &str) -> Process {
        self.start_agent(data, &server.url, code)
    }

    fn start_agent(&self, data: &str, url: &str, code: &str) -> Process {
        let config = self.file("agent.toml");
        let text = format!(
            "server = '{url}'\ndata = '{data}'\nclaim_code = '{}'\nsample_interval = '200ms'\n\
             sample_log = 'samples.csv'\n[upload]\ninterval = '1s'\n\
             [[inverter]]\nname = 'south'\ntransport = 'tcp://{}'\n\
             profile = '{}'\nunit = 17\n",
            code.trim(),
            self.inverter,
            self.profile
        );
        std::fs::write(&config, text).unwrap();
        self.starts.set(self.starts.get() + 1);
        let log = format!("agent-{}.log", self.starts.get());
        Process::start(self.folder.path(), &log, &["agent", "--config", &config])
    }
}
