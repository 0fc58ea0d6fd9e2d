//! Backups: made under load, and restored completely or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ecowatt_model::{DeviceNumber, UnixMs};
use ecowatt_store::{
    BackupError, CopyProgress, NewSession, NewToken, Role, Store, StoreError, back_up, restore,
};

use crate::disk_full::Small;
use crate::fixture::{DAY, Fixture, GENERATION, by, by_at, enrol, runtime, samples, upload};

fn on(_: CopyProgress) -> bool {
    true
}

fn token(name: &str) -> NewToken {
    let hash = [u8::try_from(name.len()).unwrap(); 32];
    NewToken { name: name.into(), role: Role::Owner, hash, created: UnixMs(0), expires: None }
}

/// Creates a store with some batches.
async fn filled(batches: u32) -> Fixture {
    let fixture = Fixture::new().await;
    for n in 1..=batches {
        fixture.stored(message(&fixture, n)).await;
    }
    fixture
}

fn message(fixture: &Fixture, n: u32) -> ecowatt_store::Upload {
    let mut block = fixture.block(1, n, &samples(i64::from(n) * 35, 7));
    block.bytes = vec![u8::try_from(n % 251).unwrap(); 900];
    upload(fixture.device(), u64::from(n), vec![block])
}

/// Ingests while the copy is made; returns how many batches were acknowledged before it began, and
/// how many when it was done.
fn back_up_under_load(fixture: &Arc<Fixture>, from: u32, to: &Path) -> (u32, u32) {
    let acknowledged = Arc::new(AtomicU32::new(from));
    let is_over = Arc::new(AtomicBool::new(false));
    let load = {
        let (fixture, acknowledged) = (Arc::clone(fixture), Arc::clone(&acknowledged));
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            runtime().block_on(async {
                while !is_over.load(Ordering::Relaxed) {
                    let next = acknowledged.load(Ordering::Relaxed) + 1;
                    fixture.stored(message(&fixture, next)).await;
                    acknowledged.store(next, Ordering::Release);
                }
            });
        })
    };
    while acknowledged.load(Ordering::Acquire) < from + 5 {
        std::thread::yield_now();
    }
    let before = acknowledged.load(Ordering::Acquire);
    let contents = back_up(fixture.dir.path(), to, |_| {
        // Commits between any two steps of the copy.
        let seen = acknowledged.load(Ordering::Acquire);
        while acknowledged.load(Ordering::Acquire) == seen {
            std::thread::yield_now();
        }
        true
    })
    .unwrap();
    let after = acknowledged.load(Ordering::Acquire);
    is_over.store(true, Ordering::Relaxed);
    load.join().unwrap();
    assert!(contents.batches >= u64::from(before), "{contents:?} but {before} acknowledged");
    (before, after)
}

#[test]
fn copy_beside_a_busy_server_ends_and_holds_what_was_acknowledged() {
    let fixture = Arc::new(runtime().block_on(filled(300)));
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    let (before, after) = back_up_under_load(&fixture, 300, &copy);
    assert!(after > before, "uploads go on");
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 1, "nothing but the copy");

    let folder = copies.path().join("restored");
    let restored = restore(&copy, &folder, None, on).unwrap();
    assert!(restored.was_sealed);
    let device = fixture.device();
    runtime().block_on(async {
        let store = Store::open(&folder).unwrap();
        let held = store.list_batches(device).await.unwrap();
        assert!(held.len() >= usize::try_from(before).unwrap());
        assert_eq!(u64::try_from(held.len()).unwrap(), restored.contents.batches);
        let all = fixture.store.list_batches(device).await.unwrap();
        assert_eq!(held[..], all[..held.len()]);
        // The device continues where the copy ends, and batches in the copy are duplicates.
        let outcome = store.ingest(message(&fixture, after + 100)).await.unwrap();
        assert!(matches!(outcome, ecowatt_store::UploadOutcome::Stored(_)), "{outcome:?}");
    });
}

#[tokio::test]
async fn copy_is_private_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt as _;

    let fixture = filled(3).await;
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    back_up(fixture.dir.path(), &copy, on).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let again = back_up(fixture.dir.path(), &copy, on);
    assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
    // A server is running on its folder, and the folder has a database.
    let running = restore(&copy, fixture.dir.path(), None, on);
    assert!(matches!(running, Err(BackupError::Open(_))), "{running:?}");
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    let there = restore(&copy, dir.path(), None, on);
    assert!(matches!(there, Err(BackupError::Exists(_))), "{there:?}");
}

#[tokio::test]
async fn copy_that_is_given_up_leaves_nothing() {
    let fixture = filled(50).await;
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    // The first call comes after everything is copied; a copy takes several steps only for a file
    // above 16 MiB.
    let mut block = fixture.block(1, 51, &samples(51 * 35, 7));
    block.bytes = vec![1; 20 << 20];
    fixture.stored(upload(fixture.device(), 51, vec![block])).await;
    let mut looks = 0;
    let given_up = back_up(fixture.dir.path(), &copy, |progress| {
        looks += 1;
        progress.pages == progress.pages_total
    });
    assert!(matches!(given_up, Err(BackupError::BrokenOff)), "{given_up:?}");
    assert_eq!(looks, 1);
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 0);
}

/// Returns whether a copy is accepted; an accepted one must have the contents in `expected`.
fn is_taken(copy: &Path, expected: &[(u32, u16)]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    if restore(copy, &data, None, on).is_err() {
        assert!(!data.join("ecowatt.db").exists(), "a refused copy is not put in place");
        return false;
    }
    let found = runtime().block_on(async {
        let store = Store::open(&data).unwrap();
        let batches = store.list_batches(DeviceNumber(1)).await.unwrap();
        batches.iter().map(|batch| (batch.id.sequence.0, batch.rows)).collect::<Vec<_>>()
    });
    assert_eq!(found, expected);
    true
}

#[test]
fn damaged_copy_is_refused() {
    let fixture = runtime().block_on(filled(80));
    let expected: Vec<_> = (1..=80).map(|sequence| (sequence, 7)).collect();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    back_up(fixture.dir.path(), &copy, on).unwrap();
    assert!(is_taken(&copy, &expected));
    let whole = fs::read(&copy).unwrap();
    let damaged = copies.path().join("damaged.db");
    for length in [0, 1, 99, 100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&damaged, &whole[..length]).unwrap();
        assert!(!is_taken(&damaged, &expected), "cut after {length} bytes");
    }
    // SQLite does not check the bytes inside a batch.
    let in_batch = whole.windows(600).position(|bytes| bytes == [7; 600]).unwrap() + 300;
    let mut refused = 0;
    let places: Vec<_> = (0..60).map(|i| i * whole.len() / 60 + 13).chain([in_batch]).collect();
    for place in &places {
        let mut bytes = whole.clone();
        bytes[*place] ^= 0x10;
        fs::write(&damaged, bytes).unwrap();
        // Some bytes are unused; a copy that differs only there is still intact.
        refused += usize::from(!is_taken(&damaged, &expected));
        if *place == in_batch {
            assert!(!is_taken(&damaged, &expected), "a byte of a batch");
        }
    }
    // Most of a small database is free space in its pages.
    assert!(refused > 10, "only {refused} of {}", places.len());
    for foreign in [&b"not a database at all, but long enough to be looked at"[..], &[]] {
        fs::write(&damaged, foreign).unwrap();
        assert!(!is_taken(&damaged, &expected));
    }
}

#[tokio::test]
async fn database_of_another_program_and_of_a_later_version_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    let database = rusqlite::Connection::open(&foreign).unwrap();
    database.execute_batch("CREATE TABLE site (id INTEGER); PRAGMA user_version = 1").unwrap();
    drop(database);
    let data = folder.path().join("data");
    let refused = restore(&foreign, &data, None, on);
    assert!(matches!(refused, Err(BackupError::Foreign(_))), "{refused:?}");

    let fixture = filled(1).await;
    let copy = folder.path().join("copy.db");
    back_up(fixture.dir.path(), &copy, on).unwrap();
    let database = rusqlite::Connection::open(&copy).unwrap();
    database.pragma_update(None, "user_version", 1000).unwrap();
    drop(database);
    let refused = restore(&copy, &data, None, on);
    assert!(matches!(refused, Err(BackupError::Newer { found: 1000, .. })), "{refused:?}");
}

/// Revokes and ends everything after a copy was made; returns the copy.
async fn revoked_after_a_copy(fixture: &Fixture, copies: &Path) -> PathBuf {
    let owner = fixture.store.create_token(by(), token("owner")).await.unwrap();
    let lost = fixture.store.create_token(by(), token("lost token")).await.unwrap();
    let session =
        NewSession { hash: [5; 32], token: owner.id, created: DAY, expires: UnixMs(DAY.0 + 50) };
    fixture.store.create_session(by(), session).await.unwrap();
    let copy = copies.join("copy.db");
    back_up(fixture.dir.path(), &copy, on).unwrap();
    let found = fixture.store.find_session([5; 32], DAY).await.unwrap().unwrap();
    fixture.store.delete_session(by(), found.session).await.unwrap();
    fixture.store.revoke_keys(by_at(UnixMs(DAY.0 + 5)), fixture.device()).await.unwrap();
    fixture.store.delete_token(by(), lost.id, None).await.unwrap();
    copy
}

async fn assert_revoked(folder: &Path) -> Result<(), StoreError> {
    let store = Store::open(folder).unwrap();
    let key = store.find_key(DeviceNumber(1), GENERATION).await?.unwrap();
    assert_eq!(key.revoked, Some(UnixMs(DAY.0 + 5)));
    let names: Vec<_> = store.list_tokens().await?.into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["owner"]);
    assert!(store.find_session([5; 32], DAY).await?.is_none());
    // The number of a device missing in the copy is not used again.
    assert!(enrol(&store, "after").await.0 > 1);
    Ok(())
}

#[tokio::test]
async fn restored_copy_keeps_what_was_revoked_after_it() {
    let copies = tempfile::tempdir().unwrap();
    let fixture = filled(2).await;
    let copy = revoked_after_a_copy(&fixture, copies.path()).await;

    // The journal is given by its path,
    let elsewhere = copies.path().join("elsewhere");
    let journal = fixture.dir.path().join("revoked");
    let restored = restore(&copy, &elsewhere, Some(&journal), on).unwrap();
    let journal_lines = fs::read_to_string(&journal).unwrap().lines().count();
    assert_eq!(restored.revocations, journal_lines);
    let lines = |folder: &Path| fs::read_to_string(folder.join("revoked")).unwrap();
    assert_eq!(lines(&elsewhere), lines(fixture.dir.path()), "and kept for the next restore");
    assert_revoked(&elsewhere).await.unwrap();

    // or found in the folder that lost its database.
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    fs::remove_file(dir.path().join("ecowatt.db")).unwrap();
    restore(&copy, dir.path(), None, on).unwrap();
    assert_revoked(dir.path()).await.unwrap();
}

#[tokio::test]
async fn journal_that_cannot_be_read_is_not_passed_over() {
    let copies = tempfile::tempdir().unwrap();
    let fixture = filled(1).await;
    let copy = revoked_after_a_copy(&fixture, copies.path()).await;
    let journal = fs::read_to_string(fixture.dir.path().join("revoked")).unwrap();
    let damaged = copies.path().join("revoked");
    let number = 1 + journal.lines().position(|line| line.contains(" keys 1 ")).unwrap();
    fs::write(&damaged, journal.replacen("keys 1", "keys 2", 1)).unwrap();
    let data = copies.path().join("data");
    match restore(&copy, &data, Some(&damaged), on) {
        Err(BackupError::Revocations { line, .. }) => assert_eq!(line, number),
        other => panic!("{other:?}"),
    }
    let refused = restore(&copy, &data, Some(&copies.path().join("nowhere")), on);
    assert!(matches!(refused, Err(BackupError::File { .. })), "{refused:?}");
    assert!(!data.join("ecowatt.db").exists());
}

#[tokio::test]
async fn log_of_another_database_is_not_taken_for_a_part_of_the_copy() {
    let copies = tempfile::tempdir().unwrap();
    let fixture = filled(1).await;
    let copy = copies.path().join("copy.db");
    back_up(fixture.dir.path(), &copy, on).unwrap();
    let data = copies.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("ecowatt.db-wal"), "left").unwrap();
    let refused = restore(&copy, &data, None, on);
    assert!(matches!(refused, Err(BackupError::Left(_))), "{refused:?}");
}

#[tokio::test]
async fn copy_that_finds_no_space_leaves_nothing() {
    let Some(disk) = Small::mount() else {
        eprintln!("SKIPPED copy_that_finds_no_space_leaves_nothing: mounting a tmpfs needs root");
        return;
    };
    let fixture = filled(1).await;
    let mut block = fixture.block(1, 2, &samples(70, 7));
    block.bytes = vec![1; 8 << 20];
    fixture.stored(upload(fixture.device(), 2, vec![block])).await;
    let refused = back_up(fixture.dir.path(), &disk.path().join("copy.db"), on);
    assert!(matches!(refused, Err(BackupError::Database { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    // The same at the destination of the copy.
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    back_up(fixture.dir.path(), &copy, on).unwrap();
    let data = disk.path().join("data");
    assert!(restore(&copy, &data, None, on).is_err());
    assert!(!data.join("ecowatt.db").exists());
}
