//! `ecowatt token` on folders with and without server data.

use ecowatt_store::Store;

use crate::rig::run::ecowatt;

#[test]
fn mistyped_folder_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let missing = folder.path().join("missing");
    for data in [&empty, &missing] {
        let data = data.to_str().unwrap();
        for args in [
            &["token", "create", "--role", "owner", "--data", data][..],
            &["token", "list", "--data", data],
        ] {
            let said = ecowatt(args);
            assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?} {said:?}");
            assert!(said.err.contains(data), "{said:?}");
            assert!(said.err.contains("has no server data"), "{said:?}");
        }
    }
    assert_eq!(empty.read_dir().unwrap().count(), 0);
    assert!(!missing.exists());
}

#[test]
fn token_is_created_with_and_without_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let server = Store::open(folder.path()).unwrap();
    let create = |name| {
        ecowatt(&["token", "create", "--role", "owner", "--name", name, "--data", data]).code
    };
    assert_eq!(create("beside"), Some(0));
    drop(server);
    assert_eq!(create("alone"), Some(0));
    let listed = ecowatt(&["token", "list", "--data", data]);
    assert!(listed.out.contains("beside") && listed.out.contains("alone"), "{listed:?}");
}
