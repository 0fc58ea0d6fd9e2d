//! An installer's first minutes: what the agent reports when the set-up is wrong.

use crate::rig::run::{Process, ecowatt};
use crate::store::Demo;

#[test]
fn wrong_unit_and_revoked_key_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = path("server");
    let serve = ["serve", "--data", &data, "--listen", "127.0.0.1:0"];
    let server = Process::start(folder.path(), "server.log", &serve);
    let url = server.line("EcoWatt listens at ");
    let url = url.split(' ').nth(3).unwrap();
    let inverter = ["inverter", "--listen", "127.0.0.1:0", "--json"];
    let inverter = Process::start(folder.path(), "inverter.log", &inverter);
    let started: serde_json::Value = serde_json::from_str(&inverter.line("\"tcp\"")).unwrap();
    let address = started["tcp"].as_str().unwrap();

    let token = ecowatt(&["token", "create", "--role", "owner", "--data", &data]);
    let token_file = path("token");
    std::fs::write(&token_file, &token.out).unwrap();
    let operator = ["--url", url, "--token-file", &token_file];
    let none = ecowatt(&[&["device", "list"][..], &operator].concat());
    assert!(none.err.contains("ecowatt device enrol"), "{none:?}");
    let enrol = ["device", "enrol", "--name", "Roof", "--site", "Home", "--time-zone", "UTC"];
    let claim = ecowatt(&[&enrol[..], &operator].concat());
    assert_eq!(claim.code, Some(0), "{claim:?}");

    let config = path("agent.toml");
    let text = format!(
        "server = '{url}'\ndata = 'agent'\nclaim_code = '{}'\nsample_interval = '200ms'\n\
         [upload]\ninterval = '1s'\n\
         [[inverter]]\nname = 'south'\ntransport = 'tcp://{address}'\nunit = 3\n\
         profile = 'ecowatt/seed-sim'\n",
        claim.out.trim()
    );
    let unclaimed: String = text
        .lines()
        .filter(|line| !line.starts_with("claim_code"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&config, unclaimed).unwrap();
    let said = ecowatt(&["agent", "--config", &config]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("`ecowatt device enrol` makes one"), "{said:?}");
    std::fs::write(&config, text).unwrap();
    let agent = Process::start(folder.path(), "agent.log", &["agent", "--config", &config]);
    let offline = agent.line("to=Offline");
    for words in ["WARN", "south", address, "unit=3", "is the unit right"] {
        assert!(offline.contains(words), "{words} is not in {offline}");
    }

    let revoked = ecowatt(&[&["keys", "revoke", "dev-1"][..], &operator].concat());
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let refused = agent.line("server answered 401");
    assert!(refused.contains("WARN") && refused.contains("this device's key"), "{refused}");
    let shown = ecowatt(&[&["keys", "show", "dev-1"][..], &operator].concat());
    assert!(shown.out.contains("revoked at"), "{shown:?}");
}

#[test]
fn lasting_refusal_is_reported_with_the_command_that_ends_it() {
    // A demonstration's clock runs fast, so the five minutes until the refusal is believed pass
    // quickly.
    let demo = Demo::start();
    demo.wait_for_more_than(0);
    let operator = ["--url", &demo.url, "--token-file", demo.token.to_str().unwrap()];
    let revoked = ecowatt(&[&["keys", "revoke", "dev-2"][..], &operator].concat());
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let told = demo.process.line("ecowatt device enrol --device dev-2");
    assert!(told.contains("ERROR"), "{told}");
}
