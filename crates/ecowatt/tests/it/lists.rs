//! Empty lists.

use crate::rig::run::{Process, ecowatt};
use crate::rig::server::Server;

#[test]
fn empty_list_says_what_to_do_next() {
    let server = Server::start();
    for (verb, next) in [
        (&["device", "list"][..], "`ecowatt device enrol`"),
        (&["device", "list", "--search", "x"], "--search"),
        (&["device", "list", "--state", "faulty"], "--state"),
        (&["site", "list"], "`ecowatt device enrol`"),
        (&["claim", "list"], "`ecowatt device enrol`"),
        (&["session", "list"], "`ecowatt token create`"),
    ] {
        let said = server.say_as("owner", verb);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.err.contains(next) && said.err.lines().count() == 1, "{said:?}");
        let json = server.say_as("owner", &[verb, &["--json"]].concat());
        let (out, err) = (json.out.as_str(), json.err.as_str());
        assert_eq!((json.code, out, err), (Some(0), "[]\n", ""), "{verb:?}");
    }

    // A list that is not empty has a head and no message.
    server.enrol("Roof", "Home");
    server.log_in();
    for (noun, head) in [
        ("device", "DEVICE"),
        ("site", "ID"),
        ("claim", "CODE"),
        ("session", "ID"),
        ("token", "ID"),
    ] {
        let said = server.say_as("owner", &[noun, "list"]);
        assert!(said.out.starts_with(head) && said.err.is_empty(), "{said:?}");
        assert_eq!(said.out.lines().count(), 2, "{said:?}");
    }
}

#[test]
fn audit_shows_the_newest_changes_with_their_author() {
    let server = Server::start();
    server.enrol("Roof", "Home");
    server.enrol("Barn", "Home");
    let said = server.say_as("owner", &["audit"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.out.starts_with("AT") && said.out.contains("token "), "{said:?}");
    let newest = server.say_as("owner", &["audit", "--limit", "1", "--json"]);
    let lines: serde_json::Value = serde_json::from_str(&newest.out).unwrap();
    assert_eq!(lines.as_array().unwrap().len(), 1, "{newest:?}");
    assert!(said.out.lines().nth(1).unwrap().contains(lines[0]["change"].as_str().unwrap()));
    let refused = server.say_as("viewer", &["audit"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""), "{refused:?}");
}

#[test]
fn server_without_a_token_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let serve = ["serve", "--data", data, "--listen", "127.0.0.1:0"];
    Process::start(folder.path(), "server.log", &serve).line("EcoWatt listens at ");
    let said = ecowatt(&["token", "list", "--data", data]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.err.contains("`ecowatt token create --data DIR --role owner`"), "{said:?}");
    let said = ecowatt(&["token", "list", "--data", data, "--json"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "[]\n"), "{said:?}");
}
