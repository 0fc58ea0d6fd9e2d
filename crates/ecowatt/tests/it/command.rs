//! `ecowatt command` against a real server.

use std::process::Command;
use std::time::Duration;

use ecowatt_clock::Clock;
use serde_json::json;

use crate::rig::server::{Plant, Server, wait_for};

#[test]
fn commands_are_sent_listed_shown_cancelled_and_counted() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    let limit = ["command", "send", "dev-1", "set_power_percentage", "percent=60"];
    let sent = server.done(&[&limit[..], &["--inverter", "0"]].concat());
    assert_eq!(sent, "cmd-1\n");
    let more = ["command", "send", "dev-1", "upload", "--deadline", "60s", "--priority", "9"];
    let more = server.json(&more);
    assert_eq!((&more["id"], &more["priority"]), (&json!("cmd-2"), &json!(9)));
    let list = server.done(&["command", "list", "dev-1"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    assert_eq!(server.json(&["command", "list", "dev-1"])[1]["arguments"]["percent"], "60");
    assert_eq!(server.json(&["command", "list", "dev-1", "--state", "failed"]), json!([]));
    let cancelled = server.done(&["command", "cancel", "cmd-1"]);
    assert!(cancelled.contains("cancelled"), "{cancelled}");
    assert!(server.refused(&["command", "cancel", "cmd-1"]).contains("command_ended"));
    let shown = server.json(&["command", "show", "cmd-1"]);
    assert_eq!(shown["transitions"][1]["state"], "cancelled");
    let shown = server.done(&["command", "show", "cmd-1"]);
    assert!(shown.lines().any(|line| line.starts_with("queued")), "{shown}");
    let figures = server.json(&["command", "stats", "dev-1"]);
    assert_eq!((&figures["queued"], &figures["cancelled"]), (&json!(1), &json!(1)));
    let figures = server.done(&["command", "stats"]);
    assert!(figures.lines().any(|line| line.starts_with("success rate")), "{figures}");
    let kinds = server.done(&["command", "kinds"]);
    let line = kinds.lines().find(|line| line.starts_with("set_power ")).unwrap();
    assert!(line.contains("watts=0 to 10000000 W"), "{line}");
}

#[test]
fn same_key_makes_no_second_command() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    let send = ["command", "send", "dev-1", "reboot", "--key", "mine"];
    assert_eq!(server.done(&send), "cmd-1\n");
    assert_eq!(server.done(&send), "cmd-1\n");
    let other = ["command", "send", "dev-1", "restart", "--key", "mine"];
    assert!(server.refused(&other).contains("command_key_taken"));
    assert_eq!(server.json(&["command", "list", "dev-1"]).as_array().unwrap().len(), 1);
}

#[test]
fn command_that_does_not_succeed_is_no_success() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    // The device is not there, so the deadline passes.
    let send = ["command", "send", "dev-1", "upload", "--deadline", "1s", "--wait"];
    let said = server.say_as("owner", &send);
    assert!(said.code == Some(1) && said.err.contains("cmd-1 expired"), "{said:?}");
    assert!(said.out.contains("expired"), "{said:?}");
    let send = ["command", "send", "dev-1", "upload", "--wait", "--timeout", "1s"];
    assert!(server.refused(&send).contains("has not ended yet; it is queued"));
    for (command, reason) in [
        (&["set_power", "watts=-1", "--inverter", "0"][..], "0 to 10000000 W"),
        (&["set_power", "watts=1"], "inverter"),
        (&["upload", "--at", "soon"], "not_before"),
        (&["upload", "--priority", "10"], "0 to 9"),
    ] {
        let said = server.refused(&[&["command", "send", "dev-1"][..], command].concat());
        assert!(said.contains(reason) && said.contains("ecowatt command kinds"), "{said}");
    }
    for wrong in [&["stop"][..], &["upload", "now"], &["upload", "--deadline", "soon"]] {
        let wrong = [&["command", "send", "dev-1"][..], wrong].concat();
        assert_eq!(server.say_as("owner", &wrong).code, Some(2), "{wrong:?}");
    }
    let viewer = ["token", "create", "--role", "viewer", "--name", "Hall"];
    std::fs::write(server.file("viewer"), server.done(&viewer)).unwrap();
    assert_eq!(server.say_as("viewer", &["command", "list", "dev-1"]).code, Some(0));
    let said = server.say_as("viewer", &["command", "send", "dev-1", "upload"]);
    assert!(said.code == Some(1) && said.err.contains("forbidden"), "{said:?}");
}

#[test]
fn running_device_executes_and_reads_back() {
    let (server, plant) = (Server::start(), Plant::start());
    let _agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    let send = |command: &[&str]| {
        let verb = ["command", "send", "dev-1", "--wait", "--timeout", "60s"];
        server.json(&[&verb[..], command].concat())
    };
    let uploaded = send(&["upload"]);
    assert_eq!(uploaded["state"], "succeeded");
    let states: Vec<_> =
        uploaded["transitions"].as_array().unwrap().iter().map(|step| &step["state"]).collect();
    assert_eq!(states[..2], ["queued", "sent"]);
    let read = send(&["read_register", "address=0", "count=2", "--inverter", "0"]);
    assert_eq!(
        (&read["state"], read["registers"].as_array().unwrap().len()),
        (&json!("succeeded"), 2)
    );
    let epoch = || server.json(&["device", "show", "dev-1"])["link"]["boot_epoch"].clone();
    let before = epoch();
    assert_eq!(send(&["restart"])["state"], "succeeded");
    assert_ne!(epoch(), before, "a new epoch has begun");
    let figures = server.json(&["command", "stats", "dev-1"]);
    assert_eq!((&figures["succeeded"], &figures["success_rate"]), (&json!(3), &json!(1.0)));
}

/// Feeds in, and no more once its limit is 0 %: the power is read at the inverter itself.
fn limit_takes_the_power_away(kind: &str, profile: &'static str, power: &str, limit: &[u16]) {
    let (server, plant) = (Server::start(), Plant::of(kind, profile));
    let _agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    let send = |command: &[&str]| {
        let verb = ["command", "send", "dev-1", "--wait", "--timeout", "60s", "--inverter", "0"];
        server.json(&[&verb[..], command].concat())
    };
    let watts = || send(&["read_register", power])["registers"][0].as_u64().unwrap();
    wait_for("power", || (watts() >= 1_000).then_some(()));
    let limited = send(&["set_power_percentage", "percent=0"]);
    assert_eq!((&limited["state"], &limited["registers"]), (&json!("succeeded"), &json!(limit)));
    let clock = Clock::system();
    let written = clock.mono();
    while watts() > 50 {
        let since = clock.mono().since(written);
        assert!(since < Duration::from_secs(5), "{kind} still feeds in");
    }
    let figures = server.json(&["command", "stats", "dev-1"]);
    assert_eq!(figures["success_rate"], json!(1.0));
}

#[test]
fn limit_in_register_8_takes_the_power_away() {
    limit_takes_the_power_away("ecowatt/seed-sim", "ecowatt/seed-sim", "address=9", &[0]);
}

#[test]
fn limit_in_model_123_takes_the_power_away() {
    // The power of model 103, behind the models 1, 120 and 121.
    let block = &[0, 0, 0, 0, 1];
    limit_takes_the_power_away("sunspec", "sunspec/generic-pv", "address=40144", block);
}

#[test]
fn limit_in_model_704_takes_the_power_away() {
    // The power of model 701, behind model 1.
    limit_takes_the_power_away("sunspec/der", "sunspec/generic-pv", "address=40080", &[1, 0]);
}

#[test]
fn device_that_waits_gets_commands_and_settings_at_once_also_after_its_server_was_killed() {
    let (mut server, plant) = (Server::start(), Plant::start());
    let mut agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    let rarely = ["upload_interval=15m", "check_in_interval=1h", "command_wait=50s"];
    server.done(&[&["config", "set", "dev-1"][..], &rarely, &["--wait"]].concat());
    // Without waiting the next message would come after a quarter of an hour.
    let read = ["read_register", "address=0", "count=1", "--inverter", "0"];
    let send = ["command", "send", "dev-1", "--wait", "--timeout", "60s"];
    for _ in 0..5 {
        assert_eq!(server.json(&[&send[..], &read].concat())["state"], "succeeded");
    }
    server.kill();
    server.start_again_there();
    assert_eq!(server.json(&[&send[..], &read].concat())["state"], "succeeded");
    let set = ["config", "set", "dev-1", "log_level=warn", "--wait", "--timeout", "60s"];
    server.done(&set);
    // An agent that waits stops as fast as any other, and sends its last samples.
    let log = || std::fs::read_to_string(plant.file("samples.csv")).unwrap().lines().count() - 1;
    let stop = Command::new("kill").arg(agent.child.id().to_string()).status();
    assert!(stop.unwrap().success());
    assert!(agent.child.wait().unwrap().success());
    server.wait_for_more_samples("dev-1", u64::try_from(log()).unwrap() - 1);
}
