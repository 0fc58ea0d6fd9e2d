//! `ecowatt demo` where it cannot run.

use crate::run::ecowatt;

#[test]
fn taken_port_and_foreign_folder_are_said_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = ecowatt(&["demo", "--listen", &address, "--for", "1s"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(&address) && said.err.contains("--listen 127.0.0.1:0"), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("thesis.txt");
    std::fs::write(&kept, "years of work").unwrap();
    let data = folder.path().to_str().unwrap();
    let said = ecowatt(&["demo", "--listen", "127.0.0.1:0", "--for", "1s", "--data", data]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("thesis.txt") && said.err.contains("empty folder"), "{said:?}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}
