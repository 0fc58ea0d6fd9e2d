//! The operator's verbs without a token, an address or a server.

use serde_json::Value;

use crate::rig::run::{ecowatt, ecowatt_command};
use crate::store::Demo;

#[test]
fn verb_without_a_token_says_where_it_looked() {
    let said = ecowatt(&["device", "list"]);
    assert_eq!(said.code, Some(1));
    let [error, hint] = said.err.lines().collect::<Vec<_>>()[..] else { panic!("{said:?}") };
    assert!(error.starts_with("error: ") && error.contains("--token-file"), "{said:?}");
    assert!(hint.starts_with("hint: "), "{said:?}");
    assert!(hint.contains("ecowatt token create --data DIR --role owner"), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "\n").unwrap();
    let file = file.to_str().unwrap();
    // No server is listening there, and no request is sent.
    let said = ecowatt(&["device", "list", "--url", "http://127.0.0.1:1", "--token-file", file]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(file) && !said.err.contains("reach"), "{said:?}");
}

#[test]
fn address_from_the_environment_is_used_and_not_required() {
    let say = |args: &[&str]| {
        let variables = [("ECOWATT_URL", "http://127.0.0.1:1"), ("ECOWATT_TOKEN", "t")];
        let output = ecowatt_command(args).envs(variables).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = say(&["device", "list"]);
    assert!(code == Some(1) && said.contains("http://127.0.0.1:1"), "{said}");
    let (code, said) = say(&["device", "list", "--url", "http://127.0.0.1:2"]);
    assert!(code == Some(1) && said.contains("http://127.0.0.1:2"), "{said}");
    for verb in
        [&["session", "revoke"][..], &["token", "create"], &["device", "move"], &["keys", "show"]]
    {
        let (code, said) = say(verb);
        assert!(code == Some(2) && said.contains("Usage: "), "{said}");
        assert!(!said.contains("--url"), "{said}");
    }
}

#[test]
fn history_energy_and_keys_are_printed_for_people_and_programs() {
    let demo = Demo::start();
    demo.wait_for_more_than(50);
    let ask = |verb: &[&str], rest: &[&str]| {
        let token = demo.token.to_str().unwrap();
        let said = ecowatt(&[verb, &["--url", &demo.url, "--token-file", token], rest].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    let json =
        |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| panic!("{text}"));
    let range = ["--device", "dev-1", "--from", "2026-01-01"];

    let export = |rest: &[&str]| ask(&["telemetry", "export"], &[&range[..], rest].concat());
    let raw = export(&["--resolution", "raw", "--points", "ac.power"]);
    let rows = json(&export(&["--resolution", "raw", "--points", "ac.power", "--json"]));
    assert!(rows.as_array().unwrap().len() >= raw.lines().count() - 1);
    let first: Vec<&str> = raw.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(rows[0]["time"], first[0]);
    assert!(rows[0]["ac.power"].is_number() || rows[0]["ac.power"].is_null(), "{}", rows[0]);
    let days = export(&["--resolution", "1d", "--points", "ac.power", "--local-time"]);
    let day: Vec<&str> = days.lines().nth(1).unwrap().split(',').collect();
    assert!(days.starts_with("time,date,ac.power.mean,"), "{days}");
    assert!(day[0].starts_with(&format!("{}T00:00:00.000", day[1])), "{days}");

    let energy = ask(&["telemetry", "energy"], &range);
    assert!(energy.starts_with("date,energy_wh,source,gap_minutes\n"), "{energy}");
    let answer = json(&ask(&["telemetry", "energy"], &[&range[..], &["--json"]].concat()));
    assert_eq!(answer["device"], "dev-1");
    assert!(answer["days"].is_array());

    let key = json(&ask(&["keys", "show"], &["dev-1", "--json"]));
    assert_eq!((&key["device"], &key["generation"]), (&"dev-1".into(), &1.into()));
    assert!(key["revoked"].is_null());

    // The same server, addressed with TLS.
    let https = demo.url.replace("http://", "https://");
    let token = demo.token.to_str().unwrap();
    let said = ecowatt(&["device", "list", "--url", &https, "--token-file", token]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("speaks plain HTTP"), "{said:?}");
}
