//! The database's files are damaged under a running server.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::rig::server::{Plant, Server, wait_until};

/// Status and body.
fn get(host: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn server_whose_log_was_cut_is_not_ready_and_ends_with_the_reason() {
    let mut server = Server::start();
    let plant = Plant::start();
    let _agent = plant.agent(&server, &server.enrol("Roof", "Home"));
    server.wait_for_more_samples("dev-1", 3);
    let host = server.url.strip_prefix("http://").unwrap().to_owned();
    assert_eq!(get(&host, "/ready").0, 200);

    let data = server.folder.path().join("data");
    let log = File::options().write(true).open(data.join("ecowatt.db-wal")).unwrap();
    log.set_len(0).unwrap();
    wait_until(|| match get(&host, "/ready") {
        (503, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // A damaged database is not reported as overload.
    let said = server.say_as("owner", &["site", "list"]);
    assert!(!said.err.contains("(busy"), "{said:?}");

    let status = wait_until(|| server.ended().ok_or_else(|| "it goes on".to_owned()));
    assert_eq!(status.code(), Some(1));
    let said = server.line("error: the store has failed");
    // Whichever met it first: a statement, or the check before the log is moved.
    let causes = ["disk I/O error", "the write-ahead log is not as it was written"];
    assert!(causes.iter().any(|cause| said.contains(cause)), "{said}");
}
