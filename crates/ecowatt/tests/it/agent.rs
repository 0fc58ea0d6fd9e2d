//! An installer's first minutes: what the agent says when something is not as it should be.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ecowatt_clock::Clock;

use crate::run::ecowatt;

/// Longest wait for something to be said.
const DEADLINE: Duration = Duration::from_secs(30);

/// A process of the binary that writes what it says to a file, and is killed with the test.
struct Process {
    child: Child,
    said: PathBuf,
}

impl Process {
    fn start(folder: &Path, name: &str, args: &[&str]) -> Self {
        let said = folder.join(name);
        let file = std::fs::File::create(&said).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ecowatt"))
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, said }
    }

    /// The first line that holds `words`, once there is one.
    fn line(&self, words: &str) -> String {
        let clock = Clock::system();
        let started = clock.mono();
        loop {
            let said = std::fs::read_to_string(&self.said).unwrap();
            let complete = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = complete.map(str::trim_end).find(|line| line.contains(words)) {
                return line.into();
            }
            assert!(clock.mono().since(started) < DEADLINE, "{words:?} was not said: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn wrong_unit_and_revoked_key_are_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = path("server");
    let serve = ["serve", "--data", &data, "--listen", "127.0.0.1:0"];
    let server = Process::start(folder.path(), "server.log", &serve);
    let url = server.line("EcoWatt listens at ");
    let url = url.split(' ').nth(3).unwrap();
    let inverter = ["inverter", "--listen", "127.0.0.1:0", "--json"];
    let inverter = Process::start(folder.path(), "inverter.log", &inverter);
    let started: serde_json::Value = serde_json::from_str(&inverter.line("\"tcp\"")).unwrap();
    let address = started["tcp"].as_str().unwrap();

    let token = ecowatt(&["token", "create", "--role", "owner", "--data", &data]);
    let token_file = path("token");
    std::fs::write(&token_file, &token.out).unwrap();
    let operator = ["--url", url, "--token-file", &token_file];
    let none = ecowatt(&[&["device", "list"][..], &operator].concat());
    assert!(none.err.contains("ecowatt device enrol"), "{none:?}");
    let enrol = ["device", "enrol", "--name", "Roof", "--site", "Home", "--time-zone", "UTC"];
    let claim = ecowatt(&[&enrol[..], &operator].concat());
    assert_eq!(claim.code, Some(0), "{claim:?}");

    let config = path("agent.toml");
    let text = format!(
        "server = '{url}'\ndata = 'agent'\nclaim_code = '{}'\nsample_interval = '200ms'\n\
         [upload]\ninterval = '1s'\n\
         [[inverter]]\nname = 'south'\ntransport = 'tcp://{address}'\nunit = 3\n\
         profile = 'ecowatt/seed-sim'\n",
        claim.out.trim()
    );
    let unclaimed: String = text
        .lines()
        .filter(|line| !line.starts_with("claim_code"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&config, unclaimed).unwrap();
    let said = ecowatt(&["agent", "--config", &config]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("`ecowatt device enrol` makes one"), "{said:?}");
    std::fs::write(&config, text).unwrap();
    let agent = Process::start(folder.path(), "agent.log", &["agent", "--config", &config]);
    let offline = agent.line("to=Offline");
    for words in ["WARN", "south", address, "unit=3", "is the unit right"] {
        assert!(offline.contains(words), "{words} is not in {offline}");
    }

    let revoked = ecowatt(&[&["keys", "revoke", "dev-1"][..], &operator].concat());
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let refused = agent.line("server refuses this device");
    assert!(refused.contains("ecowatt device enrol --device dev-1"), "{refused}");
    let shown = ecowatt(&[&["keys", "show", "dev-1"][..], &operator].concat());
    assert!(shown.out.contains("revoked at"), "{shown:?}");
}
