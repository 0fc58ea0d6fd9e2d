//! What `ecowatt device enrol` prints starts an agent.

use std::fs;

use crate::rig::run::{Process, ecowatt};
use crate::rig::server::{Plant, Server};

const DATA: &str = "data = \"/var/lib/ecowatt-agent\"";
const ROOF: [&str; 8] =
    ["device", "enrol", "--name", "Roof", "--site", "Home", "--time-zone", "UTC"];

/// Writes the printed text to a file; only the folder is replaced, which other tests use too.
fn paste(plant: &Plant, text: &str) -> String {
    assert_eq!(text.matches(DATA).count(), 1, "{text}");
    let data = format!("data = \"{}\"", plant.file("agent"));
    let path = plant.file("agent.toml");
    fs::write(&path, text.replace(DATA, &data)).unwrap();
    path
}

#[test]
fn configuration_that_is_printed_runs_when_pasted() {
    let server = Server::start();
    for (number, is_json) in [(1, false), (2, true)] {
        let plant = Plant::start();
        let transport = format!("tcp://{}", plant.inverter);
        let inverter = ["--transport", &transport, "--profile", "ecowatt/seed-sim", "--unit", "17"];
        let enrol = [&ROOF[..], &inverter].concat();
        let text = if is_json {
            server.json(&enrol)["agent_toml"].as_str().unwrap().to_owned()
        } else {
            let said = server.say_as("owner", &enrol);
            // Standard output has only the code.
            assert_eq!((said.code, said.out.lines().count()), (Some(0), 1), "{said:?}");
            assert!(said.err.contains(&format!("claim_code = \"{}\"", said.out.trim())));
            said.err
        };
        let config = paste(&plant, &text);
        let _agent = Process::start(plant.folder.path(), "a.log", &["agent", "--config", &config]);
        server.wait_for_more_samples(&format!("dev-{number}"), 0);
    }
}

#[test]
fn configuration_without_an_inverter_is_valid_and_says_what_to_edit() {
    let (server, plant) = (Server::start(), Plant::start());
    let said = server.say_as("owner", &ROOF);
    assert!(said.err.contains("--transport") && said.err.contains("on this machine"), "{said:?}");
    let config = paste(&plant, &said.err);
    let checked = ecowatt(&["check-config", "--agent", &config]);
    assert_eq!(checked.code, Some(0), "{checked:?}");

    // A device of the same name is a note, and the address is the one that was given.
    let elsewhere = ["--server", "http://192.0.2.7:8080"];
    let said = server.say_as("owner", &[&ROOF[..], &elsewhere].concat());
    assert!(said.err.contains("# note: ") && !said.err.contains("on this machine"), "{said:?}");
    assert!(said.err.contains("server = \"http://192.0.2.7:8080\""), "{said:?}");
    let checked = ecowatt(&["check-config", "--agent", &paste(&plant, &said.err)]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn device_with_a_configuration_gets_the_line_that_changes() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    let said = server.say_as("owner", &["device", "enrol", "--device", "dev-1"]);
    let line = format!("claim_code = \"{}\"", said.out.trim());
    let lines: Vec<_> = said.err.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, [line], "{said:?}");
}

#[test]
fn settings_that_no_agent_accepts_are_refused_before_a_code_is_made() {
    let server = Server::start();
    for (bad, says) in [
        (&["--server", "https://sun.example"][..], "https is not supported"),
        (&["--server", "sun.example"], "http://host:port"),
        (&["--transport", "192.0.2.10"], "tcp://"),
        (&["--transport", "tcp://192.0.2.10:502", "--profile", "no/such"], "sunspec/generic-pv"),
        (&["--unit", "3"], "--transport"),
    ] {
        let said = server.say_as("owner", &[&ROOF[..], bad].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.contains(says), "{said:?}");
    }
    assert!(server.list("claim").is_empty() && server.list("device").is_empty());
}
