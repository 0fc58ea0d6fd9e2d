//! The agent as a device of the original, at our own server, with an inverter behind HTTP.

use crate::rig::run::Process;
use crate::rig::server::Server;

#[test]
fn an_agent_in_place_of_a_device_uploads_to_our_server() {
    let mut server = Server::start();
    let key = "5b".repeat(32);
    std::fs::write(server.file("upload.key"), &key).unwrap();
    std::fs::write(server.file("sim.key"), "secret\n").unwrap();
    server.done(&["device", "enrol", "ESP32_001", "--original", "--key", &key]);

    let inverter = Process::start(
        server.folder.path(),
        "inverter",
        &["inverter", "--http", "127.0.0.1:0", "--http-key", "secret", "--json"],
    );
    let started: serde_json::Value = serde_json::from_str(&inverter.line("\"http\"")).unwrap();
    let front = started["http"].as_str().unwrap();
    let start_agent = |server: &Server| {
        let text = format!(
            "server = \"{}\"\nprotocol = \"original\"\ndata = \"agent\"\nsample_interval = \"1s\"\n\
             [upload]\ninterval = \"2s\"\n[original]\ndevice = \"ESP32_001\"\n\
             key_file = \"upload.key\"\n[[inverter]]\ntransport = \"http://{front}\"\n\
             api_key_file = \"sim.key\"\nprofile = \"ecowatt/seed-sim\"\n",
            server.url
        );
        let file = server.file("agent.toml");
        std::fs::write(&file, text).unwrap();
        Process::start(server.folder.path(), "agent.log", &["agent", "--config", &file])
    };
    let agent = start_agent(&server);
    let before = server.wait_for_more_samples("dev-1", 5);
    // Neither a server nor an agent that is killed loses or doubles anything.
    server.kill();
    drop(agent);
    server.start_again();
    let agent = start_agent(&server);
    server.wait_for_more_samples("dev-1", before + 5);
    drop(agent);

    let export = ["telemetry", "export", "--device", "dev-1", "--resolution", "raw"];
    let csv = server.done(&[&export[..], &["--from", "2020-01-01"]].concat());
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let mut times: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert!(rows.len() > 10 && rows.iter().all(|row| row.last() == Some(&"good")), "{csv}");
    assert!(times.iter().all(|time| time.ends_with(".000Z")), "{csv}");
    times.dedup();
    assert_eq!(times.len(), rows.len(), "each second once: {csv}");
}
