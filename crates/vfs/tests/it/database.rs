//! Databases on files in memory.

use ecowatt_vfs::{RegisterError, Registered, register};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::memory::{Failure, Memory, Operation};
use crate::process::shared;

const NAME: &str = "t.db";

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// A connection like the store's: alone, with a write-ahead log.
fn open(vfs: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(NAME, flags(), vfs)?;
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    assert_eq!(mode, "wal");
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (a INTEGER, b BLOB)")?;
    Ok(connection)
}

fn insert(connection: &Connection, a: i64, bytes: u32) -> rusqlite::Result<usize> {
    connection.execute("INSERT INTO t VALUES (?1, randomblob(?2))", (a, bytes))
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

fn registered(name: &str) -> (Memory, Registered) {
    let memory = Memory::default();
    let registered = register(name, memory.clone()).unwrap();
    (memory, registered)
}

#[test]
fn database_is_kept_in_the_files() {
    let _shared = shared();
    let (memory, _registered) = registered("kept");
    let connection = open("kept").unwrap();
    let before = memory.syncs();
    assert_eq!(memory.name_syncs(), 2, "at the first sync of the journal and of the log");
    for a in 0..50 {
        insert(&connection, a, 3000).unwrap();
    }
    assert_eq!(memory.syncs() - before, 50, "a sync for each commit");
    assert_eq!(memory.name_syncs(), 2);
    assert_eq!(memory.names(), [NAME, "t.db-wal"], "no shared memory");
    assert!(memory.contents("t.db-wal").len() > 150_000);
    drop(connection);
    assert!(memory.contents(NAME).len() > 150_000);
    let connection = open("kept").unwrap();
    assert_eq!(count(&connection), 50);
    let integrity: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

#[test]
fn log_that_was_not_checkpointed_is_recovered() {
    let _shared = shared();
    let (memory, _registered) = registered("log");
    let connection = open("log").unwrap();
    insert(&connection, 1, 10).unwrap();
    // The process dies here: what it closes does not reach the disk.
    for operation in [Operation::Write, Operation::Truncate, Operation::Remove, Operation::Sync] {
        memory.fail(operation, Some(Failure::Broken));
    }
    drop(connection);
    for operation in [Operation::Write, Operation::Truncate, Operation::Remove, Operation::Sync] {
        memory.fail(operation, None);
    }
    assert_eq!(count(&open("log").unwrap()), 1);
}

#[test]
fn failures_become_sqlite_codes() {
    let _shared = shared();
    let (memory, _registered) = registered("failures");
    let fails = |operation, failure, expected: (ErrorCode, i32)| {
        let connection = open("failures").unwrap();
        insert(&connection, 1, 10).unwrap();
        // Written pages are not read again before they are synced, and the log's header is not
        // reread.
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        memory.fail(operation, Some(failure));
        let error = insert(&connection, 2, 20_000)
            .and_then(|_| {
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(0usize))
            })
            .unwrap_err();
        memory.fail(operation, None);
        let rusqlite::Error::SqliteFailure(error, _) = error else { panic!("{error}") };
        assert_eq!((error.code, error.extended_code), expected, "{operation:?}");
    };
    let broken = |extended| (ErrorCode::SystemIoFailure, extended);
    fails(Operation::Write, Failure::Broken, broken(rusqlite::ffi::SQLITE_IOERR_WRITE));
    fails(Operation::Write, Failure::Full, (ErrorCode::DiskFull, 13));
    fails(Operation::Write, Failure::Panic, broken(rusqlite::ffi::SQLITE_IOERR_WRITE));
    fails(Operation::Sync, Failure::Broken, broken(rusqlite::ffi::SQLITE_IOERR_FSYNC));
    fails(Operation::Sync, Failure::Panic, broken(rusqlite::ffi::SQLITE_IOERR_FSYNC));
    fails(Operation::Truncate, Failure::Broken, broken(rusqlite::ffi::SQLITE_IOERR_TRUNCATE));
    fails(Operation::Read, Failure::Broken, broken(rusqlite::ffi::SQLITE_IOERR_READ));

    memory.fail(Operation::SyncNames, Some(Failure::Broken));
    let error = insert(&open("failures").unwrap(), 3, 10).unwrap_err();
    memory.fail(Operation::SyncNames, None);
    let rusqlite::Error::SqliteFailure(error, _) = error else { panic!("{error}") };
    assert_eq!(error.extended_code, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC);

    let cannot_open = |operation, failure| {
        memory.fail(operation, Some(failure));
        let error = open("failures").unwrap_err();
        memory.fail(operation, None);
        error.sqlite_error_code().unwrap()
    };
    assert_eq!(cannot_open(Operation::Open, Failure::Broken), ErrorCode::CannotOpen);
    assert_eq!(cannot_open(Operation::Open, Failure::Panic), ErrorCode::CannotOpen);
    assert_eq!(cannot_open(Operation::Exists, Failure::Broken), ErrorCode::SystemIoFailure);
    assert_eq!(cannot_open(Operation::Size, Failure::Broken), ErrorCode::SystemIoFailure);
    let none = Connection::open_with_flags_and_vfs(
        "other.db",
        OpenFlags::SQLITE_OPEN_READ_WRITE,
        "failures",
    );
    assert_eq!(none.unwrap_err().sqlite_error_code(), Some(ErrorCode::CannotOpen));
    assert_eq!(count(&open("failures").unwrap()) % 2, 1, "each run kept its first row");
}

#[test]
fn vfs_with_different_names_are_independent() {
    let _shared = shared();
    let (first_files, first) = registered("first");
    let (second_files, _second) = registered("second");
    assert!(matches!(register("first", Memory::default()), Err(RegisterError::Taken)));
    assert!(matches!(register("unix", Memory::default()), Err(RegisterError::Taken)));
    assert!(matches!(register("a\0b", Memory::default()), Err(RegisterError::Name)));
    let (one, other) = (open("first").unwrap(), open("second").unwrap());
    insert(&one, 1, 10).unwrap();
    assert_eq!((count(&one), count(&other)), (1, 0));
    assert!(!first_files.names().is_empty() && !second_files.names().is_empty());
    drop(first);
    assert!(open("first").is_err(), "the name is free");
    // An open connection continues; the new VFS with the name has its own files.
    let (_, _again) = registered("first");
    insert(&one, 2, 10).unwrap();
    assert_eq!((count(&one), count(&open("first").unwrap())), (2, 0));
}

#[test]
fn second_connection_is_refused_without_waiting() {
    let _shared = shared();
    let (_, _registered) = registered("locked");
    let first = open("locked").unwrap();
    insert(&first, 1, 10).unwrap();
    let second = Connection::open_with_flags_and_vfs(NAME, flags(), "locked").unwrap();
    second.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(())).unwrap();
    second.busy_timeout(std::time::Duration::from_secs(3600)).unwrap();
    let refused = second.query_row("SELECT count(*) FROM t", [], |_| Ok(()));
    assert_eq!(refused.unwrap_err().sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    drop(first);
    assert_eq!(count(&second), 1);
}

#[test]
fn temporary_files_stay_within_the_connection() {
    let _shared = shared();
    let (memory, _registered) = registered("temporary");
    let connection = open("temporary").unwrap();
    connection.execute_batch("PRAGMA temp_store = file; PRAGMA cache_size = 10").unwrap();
    for a in 0..2000 {
        insert(&connection, a, 2000).unwrap();
    }
    let mut statement = connection.prepare("SELECT a FROM t ORDER BY b, a").unwrap();
    let sorted = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(sorted.map(Result::unwrap).sum::<i64>(), 1999 * 1000);
    assert_eq!(memory.names(), [NAME, "t.db-wal"]);
}
