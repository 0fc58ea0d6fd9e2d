//! The agent as a device of the original, at a server that behaves as the original's.

use std::path::Path;

use ecowatt_agent::Config;
use serde_json::{Value, json};

use crate::original_server::{DEVICE, KEY, OriginalServer};
use crate::rig::agents::{Agent, until};
use crate::rig::inverter::Inverter;

fn text(server: &OriginalServer, inverter: &Inverter) -> String {
    format!(
        "server = \"http://{}\"\nprotocol = \"original\"\ndata = \"data\"\nsample_interval = \"5s\"\n\
         [upload]\ninterval = \"15s\"\n[original]\ndevice = \"{DEVICE}\"\nkey_file = \"key\"\n\
         [[inverter]]\ntransport = \"tcp://{}\"\nprofile = \"ecowatt/seed-sim\"\n",
        server.address, inverter.address
    )
}

fn config(server: &OriginalServer, inverter: &Inverter, folder: &Path) -> Config {
    let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("key"), key + "\n").unwrap();
    Config::parse(&text(server, inverter), folder).unwrap()
}

/// The last register of the test's inverter counts its reads.
fn reads(rows: &[(i64, Vec<u16>)]) -> Vec<u16> {
    rows.iter().map(|(_, words)| *words.last().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_arrive_at_their_own_times_and_once() {
    let (server, inverter) = (OriginalServer::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("twenty samples", || server.rows().len() >= 20).await;
    agent.stop().await;
    let agent = Agent::start(config(&server, &inverter, data.path()));
    let before = server.rows().len();
    until("samples after a restart", || server.rows().len() >= before + 10).await;
    agent.stop().await;

    let rows = server.rows();
    assert!(rows.iter().all(|(time, words)| time % 5 == 0 && words.len() == 10), "{rows:?}");
    assert!(rows.iter().all(|(_, words)| words[..8] == [100, 101, 102, 103, 104, 105, 106, 107]));
    let counts = reads(&rows);
    assert!(counts.windows(2).all(|pair| pair[0] < pair[1]), "in order and once: {counts:?}");
    let missing = usize::from(counts[counts.len() - 1] - counts[0]) + 1 - counts.len();
    assert!(missing <= 1, "one read may be under way at the stop: {counts:?}");
    let kept = server.kept.lock().unwrap();
    assert_eq!(kept.registrations[0]["device_id"], DEVICE);
    assert!(kept.registrations[0]["firmware_version"].is_string());
    assert_eq!(kept.reports[0]["sampling_interval"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_with_answers_and_kills() {
    let (server, inverter) = (OriginalServer::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(config(&server, &inverter, data.path()));
    until("samples", || server.rows().len() >= 5).await;
    server.kept.lock().unwrap().loses_answers = true;
    let before = server.kept.lock().unwrap().nonces.len();
    until("resends", || server.kept.lock().unwrap().nonces.len() >= before + 3).await;
    for _ in 0..3 {
        agent.kill().await;
        agent = Agent::start(config(&server, &inverter, data.path()));
        let before = server.kept.lock().unwrap().nonces.len();
        until("a resend", || server.kept.lock().unwrap().nonces.len() > before).await;
    }
    server.kept.lock().unwrap().loses_answers = false;
    let last = *reads(&server.rows()).iter().max().unwrap();
    until("later samples", || reads(&server.rows()).iter().any(|read| *read > last + 5)).await;
    agent.stop().await;
    // Repeated, since nothing tells this server; but every one is there, and what is sent again is
    // the same packet, which another server can recognise.
    let kept = server.kept.lock().unwrap();
    let distinct: std::collections::BTreeSet<_> = kept.packets.iter().collect();
    let of_distinct: usize = distinct.iter().map(|packet| packet.1).sum();
    drop(kept);
    let mut counts = reads(&server.rows());
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(of_distinct, counts.len());
    let missing = usize::from(counts[counts.len() - 1] - counts[0]) + 1 - counts.len();
    assert!(missing <= 3, "a read may be under way at each kill: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_applied_kept_and_acknowledged() {
    let (server, inverter) = (OriginalServer::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    let order = |update: Value| {
        let mut kept = server.kept.lock().unwrap();
        kept.acknowledgements.clear();
        kept.pending = Some(update);
    };
    let acknowledged = async || {
        until("an acknowledgement", || !server.kept.lock().unwrap().acknowledgements.is_empty())
            .await;
        server.kept.lock().unwrap().acknowledgements[0].clone()
    };
    order(json!({ "sampling_interval": 2, "registers": ["Pac", "Vac1"] }));
    assert_eq!(acknowledged().await["status"], "applied");
    until("rows of two registers", || server.rows().iter().any(|(_, row)| row.len() == 2)).await;
    let (time, row) = server.rows().last().unwrap().clone();
    assert_eq!((time % 2, row[0]), (0, 100));
    // The same again changes nothing, and is acknowledged as well.
    order(json!({ "sampling_interval": 2 }));
    assert_eq!(acknowledged().await["status"], "applied");
    order(json!({ "sampling_interval": 0, "upload_interval": 30 }));
    let refused = acknowledged().await;
    assert_eq!(refused["status"], "failed");
    assert!(refused["error_msg"].as_str().unwrap().contains("between 1 and 300"), "{refused}");
    agent.stop().await;

    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("a second report", || server.kept.lock().unwrap().reports.len() >= 2).await;
    agent.stop().await;
    let report = server.kept.lock().unwrap().reports[1].clone();
    assert_eq!(report["registers"], json!(["Vac1", "Pac"]));
    assert_eq!((&report["sampling_interval"], &report["upload_interval"]), (&2.into(), &15.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_executed_and_reported_one_after_the_other() {
    let (server, inverter) = (OriginalServer::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let order = |id: &str, command: Value| json!({ "command_id": id, "command": command });
    server.kept.lock().unwrap().commands = vec![
        order("a", json!({ "action": "set_power", "value": 4_000 })),
        order("b", json!({ "action": "write_register", "register_address": 3, "value": 1 })),
        order("c", json!({ "action": "set_power_percentage", "value": 70 })),
    ];
    let agent = Agent::start(config(&server, &inverter, data.path()));
    let results = || server.kept.lock().unwrap().results.clone();
    until("three results", || results().len() == 3).await;
    let outcome =
        |place: usize| (results()[place]["command_id"].clone(), results()[place]["status"].clone());
    assert_eq!(outcome(0), ("a".into(), "success".into()));
    assert_eq!(outcome(1), ("b".into(), "failed".into()));
    assert!(results()[1]["error"].as_str().unwrap().contains("register 8"));
    assert_eq!(outcome(2), ("c".into(), "success".into()));
    assert_eq!(inverter.writes(), 2);
    let rows = || server.rows().iter().filter(|(_, row)| row[8] == 70).count();
    until("the limit in the samples", || rows() > 0).await;
    agent.stop().await;

    let mut config = config(&server, &inverter, data.path());
    config.permits.read_only = true;
    server.kept.lock().unwrap().commands =
        vec![order("d", json!({ "action": "set_power_percentage", "value": 10 }))];
    let agent = Agent::start(config);
    until("a result", || results().len() == 4).await;
    assert_eq!(outcome(3), ("d".into(), "failed".into()));
    assert_eq!(inverter.writes(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_configuration_of_the_original_is_checked() {
    let (server, inverter) = (OriginalServer::start().await, Inverter::start().await);
    let folder = tempfile::tempdir().unwrap();
    config(&server, &inverter, folder.path());
    let good = text(&server, &inverter);
    for (from, to, problem) in [
        ("\"original\"", "\"modern\"", "protocol: must be link or original"),
        ("protocol = \"original\"\n", "", "original: is for `protocol"),
        ("ESP32_001", "ESP 32", "original.device: must have 1 to 64"),
        ("\"key\"", "\"none\"", "original.key_file: cannot be read"),
        ("ecowatt/seed-sim", "sunspec/generic-pv", "inverter: must be one with the profile"),
        ("data = ", "claim_code = \"x\"\ndata = ", "claim_code"),
    ] {
        let error = Config::parse(&good.replace(from, to), folder.path()).unwrap_err().to_string();
        assert!(error.contains(problem), "{to}: {error}");
    }
    std::fs::write(folder.path().join("key"), "2b7e").unwrap();
    let error = Config::parse(&good, folder.path()).unwrap_err().to_string();
    assert!(error.contains("64 hexadecimal digits"), "{error}");
    assert!(!format!("{:?}", Config::parse(&good, folder.path())).contains("2b7e"));
}
