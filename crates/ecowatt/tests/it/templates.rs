//! `ecowatt config template` against a real server, which is killed while devices follow.

use std::path::Path;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::limits::TEMPLATE_DEVICES_PER_COMMIT;
use ecowatt_store::{
    Author, ClaimFor, ConfigVersion, EditTemplate, NewClaim, SettingKey, Settings, Store,
};
use serde_json::json;

use crate::rig::run::{DEADLINE, Process};
use crate::rig::server::{Plant, Server};

const ROWS: SettingKey = SettingKey { setting: 5, source: None };

#[test]
fn template_is_made_previewed_changed_and_deleted() {
    let server = Server::start();
    for (name, site) in [("Roof", "North"), ("Barn", "North"), ("Shed", "South")] {
        server.enrol(name, site);
    }
    let template = |verb: &[&'static str]| [&["config", "template"][..], verb].concat();
    server.done(&template(&["create", "modem", "upload_interval=5m"]));
    server.done(&template(&["use", "modem", "--search", "north"]));
    server.done(&template(&["use", "modem", "dev-1"]));
    server.done(&["config", "set", "dev-2", "upload_interval=30s"]);
    let shown = server.json(&template(&["show", "modem"]));
    assert_eq!((&shown["devices"], &shown["outdated"]), (&json!(2), &json!(0)));
    let config = server.done(&["config", "show", "dev-1"]);
    let line = config.lines().find(|line| line.starts_with("upload_interval")).unwrap();
    assert!(line.contains("5m (template)"), "{config}");

    // The second device has a value of its own for what would change.
    let preview = server.done(&template(&["preview", "modem", "upload_interval=10m"]));
    let lines: Vec<Vec<_>> =
        preview.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1..], [["dev-1", "upload_interval", "5m", "10m"]]);
    server.done(&template(&["set", "modem", "--unset", "upload_interval", "batch_rows=60"]));
    let history = server.json(&template(&["history", "modem"]));
    assert_eq!(
        (&history[0]["version"], history[0]["settings"].as_array().unwrap().len()),
        (&json!(2), 2)
    );

    let said = server.refused(&template(&["set", "modem", "batch_rows=0"]));
    assert!(said.contains("1 to 1024") && said.contains("config settings"), "{said}");
    let late = template(&["set", "modem", "batch_rows=9", "--version", "1"]);
    assert!(server.refused(&late).contains("version 2"));
    assert!(server.refused(&template(&["delete", "modem"])).contains("2 devices use"));
    assert_eq!(server.say_as("owner", &template(&["use", "modem"])).code, Some(2));
    server.done(&template(&["leave", "dev-1", "dev-2"]));
    server.done(&template(&["delete", "modem"]));
    assert_eq!(server.json(&template(&["list"])), json!([]));
}

#[test]
fn running_device_follows_its_template() {
    let (server, plant) = (Server::start(), Plant::start());
    let _agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.done(&["config", "template", "create", "slow", "upload_interval=2s"]);
    server.done(&["config", "template", "use", "slow", "dev-1"]);
    server.done(&["config", "template", "set", "slow", "upload_interval=3s"]);
    crate::rig::server::wait_for("device that uses its template", || {
        let config = server.json(&["config", "show", "dev-1"]);
        let rows = config["settings"].as_array().unwrap();
        let upload = rows.iter().find(|row| row["name"] == "upload_interval").unwrap().clone();
        let is_done = upload["in_use"]["text"] == "3s" && upload["state"] == "in_use";
        is_done.then_some(upload)
    });
}

fn rows(value: u32) -> Settings {
    Settings([(ROWS, value)].into())
}

/// A fleet whose devices have the first version of a template that has two.
async fn fill(store: &Store, devices: u32) {
    let by = || Author::new("test", UnixMs(1));
    store.create_template(by(), "all".into(), rows(60)).await.unwrap();
    let mut made = Vec::new();
    for number in 0..devices {
        let name = format!("roof-{number}");
        let site = ("Home".into(), Some("Europe/Berlin".into()));
        let claim_for = ClaimFor::New { name: name.clone(), site: site.0, time_zone: site.1 };
        let (created, expires) = (UnixMs(1), UnixMs(2));
        let claim = NewClaim { claim_for, id: name, secret: vec![1; 15], created, expires };
        made.push(store.create_claim(by(), claim).await.unwrap());
    }
    let per_commit = usize::try_from(TEMPLATE_DEVICES_PER_COMMIT).unwrap();
    for some in made.chunks(per_commit) {
        store.assign_templates(by(), some.to_vec(), Some("all".into())).await.unwrap();
    }
    let edit =
        EditTemplate { name: "all".into(), set: rows(90), unset: Vec::new(), expected: None };
    store.edit_template(Author::new("second author", UnixMs(2)), edit).await.unwrap();
}

/// How many devices follow the second version; each has made the step once or not at all.
fn follow(data: &Path, devices: u32) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(data).unwrap();
        let mut count = 0;
        for device in (1..=devices).map(DeviceNumber) {
            let versions = store.list_configs(device, None, 9).await.unwrap();
            let part = |version: &ConfigVersion| {
                let Settings(values) = &version.desired.settings;
                (version.desired.generation.0, values[&ROWS], version.by.who.clone())
            };
            let found: Vec<_> = versions.iter().map(part).collect();
            let both = [(2, 90, "second author".into()), (1, 60, "test".into())];
            assert!(found == both || found == both[1..], "{device}: {found:?}");
            count += u32::from(found.len() == 2);
        }
        let held = store.find_template("all".into()).await.unwrap().unwrap();
        assert_eq!(held.outdated, u64::from(devices - count), "what is left is known");
        count
    })
}

#[test]
fn server_that_is_killed_while_devices_follow_their_template_changes_each_once() {
    const DEVICES: u32 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let store = Store::open(&data).unwrap();
    runtime.block_on(fill(&store, DEVICES));
    drop(store);
    let serve = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let clock = Clock::system();
    let (started, mut partial, mut delay) = (clock.mono(), 0, 0);
    loop {
        let mut process = Process::start(folder.path(), "serve.log", &serve);
        process.line("listens at");
        std::thread::sleep(Duration::from_millis(delay));
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        let count = follow(&data, DEVICES);
        partial += u32::from(0 < count && count < DEVICES);
        if count == DEVICES {
            break;
        }
        delay += 15;
        assert!(clock.mono().since(started) < 2 * DEADLINE, "{count} of {DEVICES} follow");
    }
    assert!(partial > 2, "only {partial} kills fell among the changes");
}
