//! Opening a folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ecowatt_model::UnixMs;
use ecowatt_store::{NewToken, OpenError, Role, Store};

use crate::fixture::by;

fn token(name: &str) -> NewToken {
    NewToken {
        name: name.into(),
        role: Role::Owner,
        hash: [u8::try_from(name.len()).unwrap(); 32],
        created: UnixMs(0),
        expires: None,
    }
}

#[tokio::test]
async fn folder_is_one_servers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a").join("b");
    let store = Store::open(&folder).unwrap();
    assert!(matches!(Store::open(&folder), Err(OpenError::Locked(_))));
    drop(store);
    Store::open(&folder).unwrap();
}

#[tokio::test]
async fn administrator_works_beside_the_server() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Store::open_beside(dir.path()).is_err(), "there is no database yet");
    let server = Store::open(dir.path()).unwrap();
    let beside = Store::open_beside(dir.path()).unwrap();
    beside.create_token(by(), token("beside")).await.unwrap();
    server.create_token(by(), token("server's")).await.unwrap();
    assert_eq!(server.list_tokens().await.unwrap(), beside.list_tokens().await.unwrap());
    drop(server);
    drop(beside);
    Store::open_beside(dir.path()).unwrap();
}

/// Administrators' commands do not keep a server from starting, neither the first time nor later.
#[tokio::test]
async fn commands_do_not_keep_a_server_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let is_over = AtomicBool::new(false);
    let opened = thread::scope(|scope| {
        let commands: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut opened = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        opened += u32::from(Store::open_beside(folder).is_ok());
                    }
                    opened
                })
            })
            .collect();
        let starts: Result<Vec<_>, _> = (0..30).map(|_| Store::open(folder).map(drop)).collect();
        is_over.store(true, Ordering::Relaxed);
        starts.unwrap();
        commands.into_iter().map(|command| command.join().unwrap()).sum::<u32>()
    });
    assert!(opened > 0, "no command came in between");
}

#[tokio::test]
async fn command_leaves_the_log_to_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Store::open(dir.path()).unwrap();
    server.create_token(by(), token("server's")).await.unwrap();
    let beside = Store::open_beside(dir.path()).unwrap();
    beside.create_token(by(), token("beside")).await.unwrap();
    drop(beside);
    let log = std::fs::metadata(dir.path().join("ecowatt.db-wal")).unwrap();
    assert!(log.len() > 0, "a command moved the server's log");
    assert_eq!(server.list_tokens().await.unwrap().len(), 2);
}

#[tokio::test]
async fn earlier_schema_is_left_to_the_server() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let database = rusqlite::Connection::open(dir.path().join("ecowatt.db")).unwrap();
    database.pragma_update(None, "user_version", 0).unwrap();
    let refused = Store::open_beside(dir.path());
    assert!(matches!(refused, Err(OpenError::Older { found: 0, .. })));
}

#[tokio::test]
async fn later_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let database = rusqlite::Connection::open(dir.path().join("ecowatt.db")).unwrap();
    database.pragma_update(None, "user_version", 1000).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::Newer { found: 1000, .. })));
    assert!(matches!(Store::open_beside(dir.path()), Err(OpenError::Newer { .. })));
}

#[tokio::test]
async fn damaged_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ecowatt.db"), [0x55; 8192]).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::Database { .. })));
}

#[tokio::test]
async fn log_that_was_cut_under_a_running_store_is_not_moved_into_the_database() {
    let numbered = |n: u8| NewToken { hash: [n; 32], ..token(&format!("token {n}")) };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create_token(by(), numbered(1)).await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.create_token(by(), numbered(2)).await.unwrap();
    let log = dir.path().join("ecowatt.db-wal");
    std::fs::File::options().write(true).open(log).unwrap().set_len(0).unwrap();
    // The next write leaves a hole before it.
    store.create_token(by(), numbered(3)).await.unwrap();
    drop(store);
    let database = rusqlite::Connection::open(dir.path().join("ecowatt.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    drop(database);
    let store = Store::open(dir.path()).unwrap();
    let names: Vec<_> =
        store.list_tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["token 1"], "of the others there is no sound copy");
}

#[tokio::test]
async fn folder_that_lost_its_database_is_no_new_server() {
    for trace in ["ecowatt.db-wal", "revoked"] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("ecowatt.db"), "").unwrap();
        std::fs::write(path(trace), "something").unwrap();
        let refused = Store::open(dir.path()).unwrap_err();
        assert!(matches!(&refused, OpenError::Gone { trace: t, .. } if *t == path(trace)));
        std::fs::remove_file(path("ecowatt.db")).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(OpenError::Gone { .. })));
        assert_eq!(std::fs::read(path(trace)).unwrap(), b"something");
        // A first start that was killed leaves only an empty file.
        std::fs::remove_file(path(trace)).unwrap();
        std::fs::write(path("ecowatt.db"), "").unwrap();
        Store::open(dir.path()).unwrap();
    }
}

/// Contents that a test database must keep when it is migrated to a later schema: created by schema
/// 1, opened by this program.
#[tokio::test]
async fn schema_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(dir.path().join("ecowatt.db")).unwrap();
    database.execute_batch(include_str!("../../src/sqlite/v1.sql")).unwrap();
    database
        .execute_batch(
            "INSERT INTO site VALUES (1, 1, 'Hof', 'Europe/Berlin'); PRAGMA user_version = 1",
        )
        .unwrap();
    drop(database);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.list_sites().await.unwrap()[0].name, "Hof");
}

#[tokio::test]
async fn stopped_store_is_one_private_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create_token(by(), token("owner")).await.unwrap();
    let database = dir.path().join("ecowatt.db");
    let mode = std::fs::metadata(&database).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(store);
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(&database, copy.path().join("ecowatt.db")).unwrap();
    let restored = Store::open(copy.path()).unwrap();
    assert_eq!(restored.list_tokens().await.unwrap().len(), 1);
}

#[cfg(unix)]
mod files {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn open_folder_is_closed_and_its_files_are_their_owners() {
        for before in [0o755, 0o777, 0o770, 0o700, 0o701] {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(before)).unwrap();
            for name in ["ecowatt.lock", "ecowatt.db"] {
                fs::write(dir.path().join(name), "").unwrap();
                let open = fs::Permissions::from_mode(0o666);
                fs::set_permissions(dir.path().join(name), open).unwrap();
            }
            let store = Store::open(dir.path()).unwrap();
            let made = store.create_token(by(), token("a")).await.unwrap();
            store.delete_token(by(), made.id, None).await.unwrap();
            assert_eq!(mode(dir.path()), 0o700, "{before:o}");
            for entry in fs::read_dir(dir.path()).unwrap() {
                let path = entry.unwrap().path();
                assert_eq!(mode(&path), 0o600, "{path:?}");
            }
        }
    }

    #[test]
    fn open_folder_with_other_things_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        match Store::open(dir.path()) {
            Err(OpenError::Folder { cause, .. }) => {
                assert!(cause.to_string().contains("thesis.txt"), "{cause}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(mode(dir.path()), 0o1777);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        for name in ["ecowatt.db", "ecowatt.db-wal", "ecowatt.db-shm", "ecowatt.lock", "revoked"] {
            for is_dangling in [true, false] {
                let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                let victim = elsewhere.path().join("victim");
                if !is_dangling {
                    fs::write(&victim, "years of work").unwrap();
                    fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).unwrap();
                }
                symlink(&victim, dir.path().join(name)).unwrap();
                for opened in [Store::open(dir.path()), Store::open_beside(dir.path())] {
                    assert!(matches!(opened, Err(OpenError::Link(_))), "{name} {opened:?}");
                }
                assert_eq!(victim.exists(), !is_dangling, "{name}");
                if !is_dangling {
                    assert_eq!(mode(&victim), 0o644);
                    assert_eq!(fs::read_to_string(&victim).unwrap(), "years of work");
                }
            }
        }
    }
}
