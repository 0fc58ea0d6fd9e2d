//! `ecowatt store` together with real servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::rig::run::{Process, ecowatt};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A server with three plants that upload all the time.
pub(crate) struct Demo {
    folder: tempfile::TempDir,
    pub(crate) process: Process,
    pub(crate) token: PathBuf,
    pub(crate) url: String,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("demo");
        let args = ["demo", "--speed", "200", "--listen", "127.0.0.1:0", "--data", text(&data)];
        let process = Process::start(folder.path(), "demo.log", &args);
        process.line("dev-3");
        let ready: Value =
            serde_json::from_slice(&fs::read(data.join("demo.json")).unwrap()).unwrap();
        let token = folder.path().join("token");
        fs::write(&token, ready["token"].as_str().unwrap()).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { folder, process, token, url }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("demo/server")
    }

    /// Samples of the first device that were acknowledged.
    fn samples(&self) -> u64 {
        let args = ["--url", &self.url, "--token-file", text(&self.token), "--json", "dev-1"];
        let said = ecowatt(&[&["device", "show"][..], &args].concat());
        let device: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        device["link"]["samples"].as_u64().unwrap()
    }

    pub(crate) fn wait_for_more_than(&self, samples: u64) -> u64 {
        for _ in 0..600 {
            let found = self.samples();
            if found > samples {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no more than {samples} samples arrive");
    }
}

#[test]
fn rebuild_after_a_kill_changes_no_roll_up() {
    let mut demo = Demo::start();
    demo.wait_for_more_than(200);
    let data = demo.data();
    let refused = ecowatt(&["store", "rebuild", "--data", text(&data)]);
    assert_eq!(refused.code, Some(1), "a server is running: {refused:?}");
    // The report works while the server runs.
    let said = ecowatt(&["store", "report", "--json", "--data", text(&data)]);
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    assert!(report["samples"].as_u64().unwrap() > 200, "{report}");
    for kind in ["samples", "minutes", "energy", "states", "all"] {
        let of = report["kinds"].as_array().unwrap().iter().find(|of| of["kind"] == kind).unwrap();
        assert!(of["bytes"].as_u64().unwrap() >= 4096, "{report}");
    }
    demo.process.child.kill().unwrap();
    demo.process.child.wait().unwrap();
    for check in [&["--check"][..], &[]] {
        let args = [&["store", "rebuild", "--json", "--data", text(&data)][..], check].concat();
        let said = ecowatt(&args);
        assert_eq!(said.code, Some(0), "{said:?}");
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&report["devices"], &report["rows_changed"]), (&3.into(), &0.into()));
        assert!(report["batches"].as_u64().unwrap() > 3, "{report}");
    }
}

/// Rows of each of the three devices that a rebuild would change.
fn rows_to_change(data: &Path) -> Vec<u64> {
    let rows = |device| {
        let check = ["store", "rebuild", "--check", "--json", "--device", device, "--data"];
        let said = ecowatt(&[&check[..], &[text(data)]].concat());
        let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        let rows = report["rows_changed"].as_u64().unwrap();
        assert_eq!(said.code, Some(i32::from(rows > 0)), "{said:?}");
        rows
    };
    ["dev-1", "dev-2", "dev-3"].map(rows).into()
}

#[test]
fn killed_rebuild_leaves_each_device_unchanged_or_complete() {
    let mut demo = Demo::start();
    let server = ["--url", &demo.url, "--token-file", text(&demo.token)];
    // 25 hours apart: the two never have the same date.
    for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago"] {
        let seen = demo.samples();
        demo.wait_for_more_than(seen + 100);
        let correct = ["site", "set-time-zone", "1", zone, "--keep-past-days"];
        let said = ecowatt(&[&correct[..], &server].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    demo.process.child.kill().unwrap();
    demo.process.child.wait().unwrap();
    let data = demo.data();
    let before = rows_to_change(&data);
    assert!(before.iter().any(|rows| *rows > 0), "{before:?}");
    for delay in 0..24 {
        let rebuild = ["store", "rebuild", "--data", text(&data)];
        let mut process = Process::start(demo.folder.path(), "rebuild.log", &rebuild);
        std::thread::sleep(Duration::from_millis(delay));
        let _ = process.child.kill();
        process.child.wait().unwrap();
        let after = rows_to_change(&data);
        for (before, after) in before.iter().zip(&after) {
            assert!([0, *before].contains(after), "{before} rows were wrong, now {after}");
        }
    }
    let said = ecowatt(&["store", "rebuild", "--data", text(&data)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(rows_to_change(&data), [0, 0, 0]);
}

#[test]
fn copy_of_a_running_server_holds_what_it_acknowledged() {
    let demo = Demo::start();
    let before = demo.wait_for_more_than(50);
    let copies = demo.folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let data = demo.data();
    let said =
        ecowatt(&["store", "backup", "--data", text(&data), "--to", text(&copies), "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let copied: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(copied["devices"], 3);
    assert!(copied["samples"].as_u64().unwrap() >= before, "{copied} but {before} acknowledged");
    demo.wait_for_more_than(before);

    let copy = copied["file"].as_str().unwrap();
    let restored = demo.folder.path().join("restored");
    let args = ["store", "restore", "--from", copy, "--data", text(&restored)];
    let said = ecowatt(&args);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("revoked after the copy was made"), "{said:?}");
    let again = ecowatt(&args);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("nothing is overwritten"), "{again:?}");
    let tokens = ecowatt(&["token", "list", "--data", text(&restored)]);
    assert!(tokens.out.contains("demonstration"), "{tokens:?}");
    // The folder of a running server is locked.
    let running = ecowatt(&["store", "restore", "--from", copy, "--data", text(&data)]);
    assert!(running.err.contains("another process has"), "{running:?}");
}

#[test]
fn killed_backup_leaves_no_file_with_the_name_of_a_copy() {
    let demo = Demo::start();
    demo.wait_for_more_than(50);
    let copies = demo.folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    for n in 0..12u64 {
        let to = copies.join(format!("copy-{n}.db"));
        let mut backup = Command::new(env!("CARGO_BIN_EXE_ecowatt"))
            .args(["store", "backup", "--data", text(&demo.data()), "--to", text(&to)])
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Kills come at every stage of the copy, the first ones before it has begun.
        std::thread::sleep(Duration::from_millis(n * n));
        let _ = backup.kill();
        let is_reported = backup.wait().unwrap().success();
        assert!(to.exists() || !is_reported, "copy {n} was reported");
    }
    for (n, entry) in fs::read_dir(&copies).unwrap().enumerate() {
        let path = entry.unwrap().path();
        let data = demo.folder.path().join(format!("restored-{n}"));
        let said = ecowatt(&["store", "restore", "--from", text(&path), "--data", text(&data)]);
        if path.extension().is_some_and(|extension| extension == "db") {
            assert_eq!(said.code, Some(0), "{} has its name: {said:?}", path.display());
        } else if said.code == Some(0) {
            // All pages were there when it was killed.
            assert!(ecowatt(&["token", "list", "--data", text(&data)]).out.contains("demo"));
        }
    }
    // The leftovers do not disturb the next backup.
    let to = copies.join("copy-0.db");
    if !to.exists() {
        let data = demo.data();
        let said = ecowatt(&["store", "backup", "--data", text(&data), "--to", text(&to)]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

#[test]
fn folder_without_a_database_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let data = folder.path().join("nothing");
    let said = ecowatt(&["store", "backup", "--data", text(&data), "--to", text(&to)]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("ecowatt.db") && !to.exists() && !data.exists(), "{said:?}");
}
