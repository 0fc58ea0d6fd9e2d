//! `ecowatt lease` against a real server, a real agent and simulated inverters.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ecowatt_clock::Clock;
use serde_json::{Value, json};

use crate::rig::server::{Plant, Server, wait_for};

#[test]
fn leases_are_made_listed_and_released() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    let set = ["lease", "set", "dev-1", "--limit", "50%", "--for", "1h"];
    let made = server.json(&[&set[..], &["--ramp", "60s", "--then", "0%"]].concat());
    assert_eq!((&made["id"], &made["state"]), (&json!("lease-1"), &json!("pending")));
    assert_eq!((&made["ramp_s"], &made["then"]), (&json!(60), &json!("0%")));
    let list = server.done(&["lease", "list", "dev-1"]);
    assert!(list.contains("50%") && list.contains("pending"), "{list}");
    let released = server.done(&["lease", "release", "lease-1"]);
    assert!(released.contains("released"), "{released}");
    assert!(server.refused(&["lease", "release", "lease-1"]).contains("lease_released"));
    assert!(server.refused(&["lease", "release", "lease-99"]).contains("lease_unknown"));
    for (wrong, reason) in [
        (&["--limit", "101%", "--for", "1h"][..], "100%"),
        (&["--limit", "1.5W", "--for", "1h"], "invalid_lease"),
        (&["--limit", "0%", "--for", "400d"], "invalid_duration"),
        (&["--limit", "0%", "--for", "1h", "--link-loss", "9s"], "10 to 64800"),
        (&["--limit", "0%", "--for", "1h", "--ramp", "2h"], "3600"),
        (&["--limit", "0%", "--for", "1h", "--priority", "10"], "0 to 9"),
        (&["--limit", "0%", "--for", "1h", "--from", "soon"], "invalid_time"),
    ] {
        let said = server.refused(&[&["lease", "set", "dev-1"][..], wrong].concat());
        assert!(said.contains(reason), "{said}");
    }
    let viewer = ["token", "create", "--role", "viewer", "--name", "Hall"];
    std::fs::write(server.file("viewer"), server.done(&viewer)).unwrap();
    assert_eq!(server.say_as("viewer", &["lease", "list", "dev-1"]).code, Some(0));
    let said = server.say_as("viewer", &set);
    assert!(said.code == Some(1) && said.err.contains("forbidden"), "{said:?}");
    let audit = server.done(&["audit"]);
    assert!(audit.contains("lease.create") && audit.contains("lease-1 of dev-1"), "{audit}");
}

#[test]
fn a_device_keeps_four_leases() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    let set = ["lease", "set", "dev-1", "--limit", "50%", "--for"];
    // One that is over makes room.
    server.done(&[&set[..], &["1s"]].concat());
    for _ in 0..3 {
        server.done(&[&set[..], &["1h"]].concat());
    }
    wait_for("room", || {
        (server.say_as("owner", &[&set[..], &["1h"]].concat()).code == Some(0)).then_some(())
    });
    let said = server.refused(&[&set[..], &["1h"]].concat());
    assert!(said.contains("too_many_leases"), "{said}");
}

/// A register of the inverter itself.
fn register(plant: &Plant, address: u16) -> u16 {
    let [high, low] = address.to_be_bytes();
    let mut stream = TcpStream::connect(&plant.inverter).unwrap();
    stream.write_all(&[0, 1, 0, 0, 0, 6, 17, 3, high, low, 0, 1]).unwrap();
    let mut answer = [0; 11];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[7], 3, "{answer:?}");
    u16::from_be_bytes([answer[9], answer[10]])
}

/// Waits until the power at the inverter itself is this low; returns how long it took.
fn fall(plant: &Plant, power: u16, within: Duration) -> Duration {
    let clock = Clock::system();
    let began = clock.mono();
    loop {
        let since = clock.mono().since(began);
        if register(plant, power) <= 50 {
            return since;
        }
        assert!(since < within, "it still feeds in {} W", register(plant, power));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn state(server: &Server) -> Value {
    server.json(&["lease", "list", "dev-1"])["leases"][0]["state"].clone()
}

/// A lease of 0 % takes the power away and gives it back; then the server is killed, and what the
/// next lease states for that holds at the stated time. Returns what was measured.
fn lease_holds(kind: &str, profile: &'static str, power: u16) -> String {
    let (mut server, plant) = (Server::start(), Plant::of(kind, profile));
    let _agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    let has_power = || (register(&plant, power) >= 1_000).then_some(());
    wait_for("power", has_power);

    let zero = ["lease", "set", "dev-1", "--limit", "0%", "--for", "1h"];
    server.done(&zero);
    let took = fall(&plant, power, Duration::from_secs(5));
    let mut said = format!("{kind}: no power {took:?} after the lease was made");
    let proof = wait_for("a proof", || {
        let list = server.json(&["lease", "list", "dev-1"]);
        let change = list["changes"][0].clone();
        change["power_w"].is_number().then_some(change)
    });
    assert_eq!((&proof["lease"], &proof["cause"]), (&json!("lease-1"), &json!("lease")));
    assert_eq!((&proof["limit_percent"], &proof["failure"]), (&json!(0.0), &Value::Null));
    assert!(proof["power_w"].as_i64().unwrap() <= 1_200, "{proof}");
    assert!(proof["power_ms"].as_u64() >= proof["confirmed_ms"].as_u64(), "{proof}");
    let _ = write!(said, "; {proof}");
    assert_eq!(state(&server), "active");
    let refused = server.say_as(
        "owner",
        &["command", "send", "dev-1", "set_power", "watts=900", "--inverter", "0", "--wait"],
    );
    assert!(refused.code == Some(1) && refused.err.contains("leased"), "{refused:?}");
    server.done(&["lease", "release", "lease-1"]);
    wait_for("power after the release", has_power);
    wait_for("the report of the release", || {
        let list = server.json(&["lease", "list", "dev-1"]);
        (list["changes"][0]["cause"] == "released").then_some(())
    });

    let fallback = ["--then", "0%", "--link-loss", "10s"];
    let lease = ["lease", "set", "dev-1", "--limit", "90%", "--for", "1h"];
    server.done(&[&lease[..], &fallback].concat());
    wait_for("the second lease", || (state(&server) == "active").then_some(()));
    wait_for("its proof", || {
        let list = server.json(&["lease", "list", "dev-1"]);
        (list["changes"][0]["lease"] == "lease-2").then_some(())
    });
    assert!(register(&plant, power) >= 1_000);
    server.kill();
    let took = fall(&plant, power, Duration::from_secs(16));
    let _ = write!(said, "; no power {took:?} after the server was killed");
    // A message a second: the last reply came at most some seconds before.
    assert!(took >= Duration::from_secs(5), "{took:?} is too early");
    said
}

#[test]
fn lease_of_the_seed_inverter_holds_with_and_without_the_server() {
    println!("{}", lease_holds("ecowatt/seed-sim", "ecowatt/seed-sim", 9));
}

#[test]
fn lease_of_a_sunspec_inverter_holds_with_and_without_the_server() {
    println!("{}", lease_holds("sunspec", "sunspec/generic-pv", 40_144));
}
