//! The verbs that correct records and revoke access, against a real server.

use crate::rig::server::{Plant, Server};

#[test]
fn sessions_are_listed_and_ended() {
    let server = Server::start();
    assert!(server.list("session").is_empty());
    for _ in 0..3 {
        server.log_in();
    }
    let sessions = server.list("session");
    assert_eq!(sessions.len(), 3);
    let id = sessions[0]["id"].to_string();
    let table = server.done(&["session", "list"]);
    assert_eq!(table.lines().count(), 4, "{table}");

    assert_eq!(server.done(&["session", "revoke", &id]), "");
    let left = server.list("session");
    assert!(left.len() == 2 && left.iter().all(|session| session["id"] != sessions[0]["id"]));
    assert!(server.refused(&["session", "revoke", &id]).contains(&id));
    server.done(&["session", "revoke", "--all"]);
    assert!(server.list("session").is_empty());
    // Either an id or `--all` is required.
    assert_eq!(server.say_as("owner", &["session", "revoke"]).code, Some(2));
}

#[test]
fn claim_codes_are_listed_without_their_secret_and_voided() {
    let server = Server::start();
    let code = server.enrol("Roof", "Home");
    let first = code.split('-').next().unwrap();
    let claims = server.list("claim");
    assert_eq!((claims.len(), &claims[0]["id"]), (1, &first.into()));
    let table = server.done(&["claim", "list"]);
    assert!(table.contains(first) && table.contains("dev-1") && !table.contains(&code), "{table}");

    // The whole code works as well as its first group.
    server.done(&["claim", "revoke", &code]);
    assert!(server.list("claim").is_empty());
    server.refused(&["claim", "revoke", first]);
}

#[test]
fn tokens_are_made_for_a_role_and_a_time_and_revoked() {
    let server = Server::start();
    let make = ["token", "create", "--role", "viewer", "--name", "Hall", "--valid-for", "12h"];
    std::fs::write(server.file("viewer"), server.done(&make)).unwrap();
    let tokens = server.list("token");
    let made = tokens.iter().find(|token| token["name"] == "Hall").unwrap();
    assert!(made["role"] == "viewer" && made["expires"].is_string(), "{made}");
    let id = made["id"].to_string();

    assert_eq!(server.say_as("viewer", &["device", "list"]).code, Some(0));
    let said = server.say_as("viewer", &["token", "list"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    server.done(&["token", "revoke", &id]);
    assert_eq!(server.say_as("viewer", &["device", "list"]).code, Some(1));
    assert!(server.list("token").iter().all(|token| token["name"] != "Hall"));
    server.refused(&["token", "revoke", &id]);
}

#[test]
fn sites_are_corrected_and_deleted_when_empty() {
    let server = Server::start();
    server.enrol("Roof", "Hme");
    let id = server.list("site")[0]["id"].to_string();
    server.done(&["site", "rename", &id, "Home"]);
    server.done(&["site", "set-time-zone", &id, "Europe/Lisbon"]);
    let site = &server.list("site")[0];
    assert_eq!((&site["name"], &site["time_zone"]), (&"Home".into(), &"Europe/Lisbon".into()));
    assert!(server.done(&["site", "list"]).contains("Europe/Lisbon"));

    server.refused(&["site", "set-time-zone", &id, "Europe/Lisboa"]);
    server.refused(&["site", "delete", &id]);
    server.done(&["device", "delete", "dev-1", "--yes"]);
    server.done(&["site", "delete", &id]);
    assert!(server.list("site").is_empty());
    server.refused(&["site", "rename", &id, "Gone"]);
}

#[test]
fn devices_are_renamed_moved_reset_and_deleted() {
    let server = Server::start();
    server.enrol("Rof", "Home");
    server.done(&["device", "rename", "dev-1", "Roof"]);
    server.refused(&["device", "move", "dev-1", "--site", "Farm"]);
    server.done(&["device", "move", "dev-1", "--site", "Farm", "--time-zone", "Europe/Berlin"]);
    let device = &server.list("device")[0];
    assert_eq!((&device["name"], &device["site"]["name"]), (&"Roof".into(), &"Farm".into()));

    server.done(&["device", "reset", "dev-1"]);
    assert!(server.list("claim").is_empty(), "a code from before opens nothing");
    let code = server.done(&["device", "enrol", "--device", "dev-1"]);
    assert_eq!(code.lines().count(), 1, "{code}");

    // There is no answer on standard input.
    let asked = server.refused(&["device", "delete", "dev-1"]);
    assert!(asked.contains("Roof at Farm") && asked.contains("nothing was deleted"), "{asked}");
    assert_eq!(server.list("device").len(), 1);
    server.done(&["device", "delete", "dev-1", "--yes"]);
    assert!(server.list("device").is_empty() && server.list("claim").is_empty());
    for verb in [
        &["device", "rename", "dev-1", "x"][..],
        &["device", "reset", "dev-1"],
        &["device", "delete", "dev-1", "--yes"],
        &["device", "delete", "dev-1"],
        &["device", "enrol", "--device", "dev-1"],
    ] {
        server.refused(verb);
    }
}

#[test]
fn agent_of_a_reset_device_delivers_with_another_code() {
    let (server, plant) = (Server::start(), Plant::start());
    let agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    drop(agent);

    server.done(&["device", "reset", "dev-1"]);
    let code = server.done(&["device", "enrol", "--device", "dev-1"]);
    let before = server.samples("dev-1");
    let agent = plant.agent(&server, &code);
    server.wait_for_more_samples("dev-1", before + 3);
    assert_eq!(server.json(&["keys", "show", "dev-1"])["generation"], 2);

    server.done(&["device", "delete", "dev-1", "--yes"]);
    assert!(server.list("device").is_empty());
    agent.line("server answered 401");
}
