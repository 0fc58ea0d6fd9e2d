//! `ecowatt serve` where it cannot run.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use ecowatt_clock::Clock;

use crate::rig::run::{DEADLINE, Process, ecowatt};

#[test]
fn first_start_on_a_taken_port_leaves_no_folder() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let said = ecowatt(&["serve", "--listen", &address, "--data", data.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(&format!("cannot listen on {address}")), "{said:?}");
    assert!(!data.exists());
}

#[test]
fn data_folder_is_printed_as_an_absolute_path() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().canonicalize().unwrap();
    for (args, name) in [(&[][..], "ecowatt-data"), (&["--data", "here"], "here")] {
        let listen = ["serve", "--listen", "127.0.0.1:0"];
        let args = [&listen[..], args].concat();
        let log = format!("{name}.log");
        let server = Process::start_in(&place, &log, &args);
        let said = server.line("EcoWatt listens at ");
        let data = place.join(name);
        assert!(said.ends_with(&format!("keeps its data in {}", data.display())), "{said}");
        assert!(data.is_dir());
    }
}

#[test]
fn second_signal_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let args = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut server = Process::start(folder.path(), "server.log", &args);
    let url = server.line("EcoWatt listens at ");
    let address = url.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    // A request that never ends delays an orderly stop by 10 s.
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(b"POST /link HTTP/1.1\r\nhost: h\r\ncontent-type: application/cose\r\n")
        .unwrap();
    open.write_all(b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n").unwrap();
    let mut begun = [0; 12];
    open.read_exact(&mut begun).unwrap();
    let pid = server.child.id().to_string();
    let interrupt =
        || assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let clock = Clock::system();
    interrupt();
    server.line("server stops");
    let stopped = clock.mono();
    interrupt();
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(clock.mono().since(stopped) < DEADLINE);
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1));
    assert!(clock.mono().since(stopped).as_secs() < 8, "it did not wait for the request");
    server.line("stopping at once");
}
