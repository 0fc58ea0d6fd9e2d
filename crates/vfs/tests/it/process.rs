//! The state that all of SQLite in a process shares: its random generator.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::Connection;

static GENERATOR: RwLock<()> = RwLock::new(());

/// Held by a test that uses SQLite.
pub(crate) fn shared() -> RwLockReadGuard<'static, ()> {
    GENERATOR.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that must run alone.
fn alone() -> RwLockWriteGuard<'static, ()> {
    GENERATOR.write().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn seeded_generator_repeats() {
    let _alone = alone();
    let draw = |seed: u32| -> Vec<i64> {
        ecowatt_vfs::seed_randomness(seed);
        let connection = Connection::open_in_memory().unwrap();
        let next = || connection.query_row("SELECT random()", [], |row| row.get(0)).unwrap();
        (0..4).map(|_| next()).collect()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert_eq!(draw(0), draw(0));
    assert_eq!(draw(u32::MAX), draw(u32::MAX));
}
