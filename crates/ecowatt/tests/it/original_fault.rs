//! `ecowatt original fault` on a running inverter.

use crate::rig::run::{Process, ecowatt};

#[test]
fn a_fault_affects_the_next_request_only_and_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0";
    let inverter = Process::start(
        folder.path(),
        "inverter",
        &["inverter", "--listen", any, "--control", any, "--json"],
    );
    let line = inverter.line("\"control\"");
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    let control = format!("http://{}", started["control"].as_str().unwrap());
    let fault = |args: &[&str]| {
        ecowatt(&[&["original", "fault"][..], args, &["--control", &control]].concat())
    };

    let added = fault(&["add", "EXCEPTION", "--code", "6"]);
    assert_eq!(added.code, Some(0), "{}", added.err);
    let listed = fault(&["list"]);
    assert!(listed.out.contains("exception"), "{}", listed.out);
    let json = fault(&["list", "--json"]);
    let faults: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&faults[0]["kind"], &faults[0]["times_left"]), (&"exception".into(), &1.into()));

    let refused = fault(&["add", "EXCEPTION", "--code", "12"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("code must be from 1 to 11"), "{}", refused.err);
    assert!(!refused.err.contains("hint"), "{}", refused.err);
    let unknown = fault(&["add", "MISCHIEF"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("PACKET_DROP"), "{}", unknown.err);

    assert_eq!(fault(&["clear", added.out.trim()]).code, Some(0));
    assert!(fault(&["list"]).err.contains("no faults"));
    assert_eq!(fault(&["add", "DELAY", "--delay-ms", "5", "--for", "10m"]).code, Some(0));
    assert_eq!(fault(&["clear"]).code, Some(0));
    assert!(fault(&["list"]).err.contains("no faults"));
}

#[test]
fn without_an_inverter_the_hint_starts_one() {
    let said = ecowatt(&["original", "fault", "list", "--control", "http://127.0.0.1:9"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("hint: `ecowatt inverter --control"), "{}", said.err);
}
