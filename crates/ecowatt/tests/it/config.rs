//! `ecowatt config` against a real server.

use serde_json::json;

use crate::rig::server::{Plant, Server};

#[test]
fn settings_are_changed_shown_and_remembered() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    let show = |config: &[&str]| server.json(&[&["config"][..], config, &["dev-1"]].concat());
    assert_eq!(show(&["show"])["generation"], 0);

    let table = server.done(&["config", "set", "dev-1", "upload_interval=30s", "log_level=debug"]);
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("upload_interval"), ["upload_interval", "30s", "-", "pending"]);
    assert_eq!(row("batch_rows"), ["batch_rows", "-", "-", "own", "configuration"]);
    server.done(&["config", "unset", "dev-1", "log_level", "--generation", "1"]);
    let config = show(&["show"]);
    assert_eq!((&config["generation"], &config["pending"]), (&json!(2), &json!(true)));

    let changes = show(&["history"]);
    assert_eq!(changes[0]["settings"][0]["before"], json!({"value": 3, "text": "debug"}));
    assert_eq!(changes[1]["generation"], 1);
    let history = server.done(&["config", "history", "dev-1"]);
    assert_eq!(history.lines().count(), 4, "a head and one line for each setting: {history}");
    assert_eq!(server.done(&["config", "history", "dev-1", "--limit", "1"]).lines().count(), 2);

    let list = server.done(&["config", "settings"]);
    let upload = list.lines().find(|line| line.starts_with("upload_interval")).unwrap();
    assert!(upload.contains("1s to 15m"), "{list}");
}

#[test]
fn what_is_not_allowed_is_refused_with_the_bound() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    for (change, reason) in [
        ("upload_interval=1h", "from 1s to 15m"),
        ("batch_rows=many", "from 1 to 1024"),
        ("interval=5s", "sampling_interval"),
        ("upload_interval@0=5s", "whole device"),
    ] {
        let said = server.refused(&["config", "set", "dev-1", change]);
        assert!(said.contains(reason) && said.contains("ecowatt config settings"), "{said}");
    }
    let said = server.refused(&["config", "set", "dev-1", "batch_rows=1", "batch_rows=2"]);
    assert!(said.contains("given twice"), "{said}");
    let late = ["config", "set", "dev-1", "batch_rows=1", "--generation", "7"];
    assert!(server.refused(&late).contains("generation 0"));
    assert_eq!(server.say_as("owner", &["config", "set", "dev-1", "batch_rows"]).code, Some(2));
    assert_eq!(server.say_as("owner", &["config", "set", "dev-1"]).code, Some(2));
    // The device is not there, so the change stays pending.
    let wait = ["config", "set", "dev-1", "batch_rows=60", "--wait", "--timeout", "1s"];
    assert!(server.refused(&wait).contains("has not reported generation 1 yet"));
    let viewer = ["token", "create", "--role", "viewer", "--name", "Hall"];
    std::fs::write(server.file("viewer"), server.done(&viewer)).unwrap();
    assert_eq!(server.say_as("viewer", &["config", "show", "dev-1"]).code, Some(0));
    let said = server.say_as("viewer", &["config", "set", "dev-1", "batch_rows=1"]);
    assert!(said.code == Some(1) && said.err.contains("forbidden"), "{said:?}");
}

#[test]
fn running_device_follows_without_a_restart() {
    let (server, plant) = (Server::start(), Plant::start());
    let _agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    let before = server.wait_for_more_samples("dev-1", 10);
    let change =
        ["config", "set", "dev-1", "sampling_interval@0=2s", "upload_interval=2s", "--wait"];
    let table = server.done(&change);
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("upload_interval"), ["upload_interval", "2s", "2s", "in", "use"]);
    assert_eq!(row("sampling_interval@0"), ["sampling_interval@0", "2s", "2s", "in", "use"]);

    // The last samples are at the new interval, in the same boot epoch.
    let present = server.samples("dev-1");
    server.wait_for_more_samples("dev-1", present.max(before) + 3);
    let export = ["telemetry", "export", "--device", "dev-1", "--from", "2026-01-01"];
    let raw = ["--resolution", "raw", "--points", "ac.power"];
    let raw = server.json(&[&export[..], &raw].concat());
    let times: Vec<jiff::Timestamp> = raw
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["time"].as_str().unwrap().parse().unwrap())
        .collect();
    let step = |pair: &[jiff::Timestamp]| pair[1].as_millisecond() - pair[0].as_millisecond();
    let steps: Vec<i64> = times.windows(2).map(step).collect();
    assert!(steps[steps.len() - 3..].iter().all(|step| *step >= 1_000), "{steps:?}");
    assert_eq!(server.json(&["device", "show", "dev-1"])["link"]["boot_epoch"], 1);

    // What the device cannot do is refused by it, with the reason, and the rest is used.
    let change = ["config", "set", "dev-1", "batch_rows=1024", "log_level=warn", "--wait"];
    let said = server.say_as("owner", &change);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("batch_rows: refused: out of bounds"), "{said:?}");
    let config = server.json(&["config", "show", "dev-1"]);
    let state = |name: &str| {
        let rows = config["settings"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!((state("log_level"), state("batch_rows")), ("in_use".into(), "refused".into()));

    // The device's own configuration is back when nothing is set.
    let names = ["sampling_interval@0", "upload_interval", "batch_rows", "log_level"];
    let table = server.done(&[&["config", "unset", "dev-1"][..], &names, &["--wait"]].concat());
    let upload = table.lines().find(|line| line.starts_with("upload_interval")).unwrap();
    assert!(upload.contains("1s") && upload.contains("own configuration"), "{table}");

    // Every sample that the device logged until now arrives.
    let log = std::fs::read_to_string(plant.file("samples.csv")).unwrap();
    let logged = u64::try_from(log.lines().count() - 1).unwrap();
    server.wait_for_more_samples("dev-1", logged - 1);
}
