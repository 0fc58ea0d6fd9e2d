//! `ecowatt config` against a real server.

use serde_json::json;

use crate::server::Server;

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
