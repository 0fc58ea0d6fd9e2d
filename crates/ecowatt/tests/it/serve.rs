//! `ecowatt serve` where it cannot run.

use crate::run::ecowatt;

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
