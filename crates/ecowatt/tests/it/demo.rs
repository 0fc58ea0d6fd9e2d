//! `ecowatt demo` where it cannot run.

use crate::rig::run::{Process, ecowatt};

#[test]
fn taken_port_and_foreign_folder_are_reported_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = ecowatt(&["demo", "--listen", &address, "--for", "1s"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(&address), "{said:?}");
    assert!(said.err.contains("\nhint: `--listen 127.0.0.1:0`"), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("thesis.txt");
    std::fs::write(&kept, "years of work").unwrap();
    let data = folder.path().to_str().unwrap();
    let said = ecowatt(&["demo", "--listen", "127.0.0.1:0", "--for", "1s", "--data", data]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("thesis.txt"), "{said:?}");
    assert!(said.err.contains("\nhint: give an empty folder"), "{said:?}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn other_users_of_the_machine_cannot_read_the_owners_token() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    std::fs::create_dir(&data).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&data, open).unwrap();
    let path = data.to_str().unwrap();
    let args = ["demo", "--listen", "127.0.0.1:0", "--for", "1s", "--devices", "1", "--data", path];
    let said = ecowatt(&args);
    assert_eq!(said.code, Some(0), "{said:?}");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("demo.json"))), (0o700, 0o600));
}

#[cfg(unix)]
#[test]
fn temporary_folder_is_closed_to_others_too() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let args = ["demo", "--listen", "127.0.0.1:0", "--devices", "1"];
    let demo = Process::start_in(folder.path(), "demo.log", &args);
    demo.line("/#token=");
    let entries = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let made: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    let [data] = &made[..] else { panic!("one temporary folder, not {made:?}") };
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(data), mode(&data.join("demo.json"))), (0o700, 0o600));
}
