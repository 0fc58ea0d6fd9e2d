//! Migrations: embedded, forward only, each in a transaction of its own.
//!
//! `PRAGMA user_version` is the number of migrations done. The application id distinguishes the
//! file from other SQLite databases.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::failure::cause;
use crate::OpenError;

/// All migrations, oldest first. Released ones are never edited.
const MIGRATIONS: &[&str] = &[include_str!("v1.sql")];

/// "EcoW".
pub(super) const APPLICATION_ID: u32 = 0x4563_6f57;

pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Migrates the database to the schema of this program.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    migrate_with(connection, path, MIGRATIONS)
}

fn migrate_with(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), OpenError> {
    let cannot = |error| OpenError::Database { path: path.to_owned(), cause: cause(error) };
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found = version(connection).map_err(cannot)?;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (number, migration) in (1u32..).zip(migrations).filter(|(number, _)| *number > found) {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(cannot)?;
        transaction
            .execute_batch(migration)
            .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
            .and_then(|()| transaction.pragma_update(None, "user_version", number))
            .and_then(|()| transaction.commit())
            .map_err(cannot)?;
    }
    Ok(())
}

/// Requires the schema of this program, for a process that may not migrate.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(connection)
        .map_err(|error| OpenError::Database { path: path.to_owned(), cause: cause(error) })?;
    let known = known();
    match found.cmp(&known) {
        std::cmp::Ordering::Less => Err(OpenError::Older { found, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(OpenError::Newer { found, known }),
    }
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Connection {
        Connection::open(path).unwrap()
    }

    #[test]
    fn later_migration_keeps_what_version_1_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ecowatt.db");
        migrate_with(&mut open(&path), &path, &MIGRATIONS[..1]).unwrap();
        open(&path)
            .execute("INSERT INTO site (name, time_zone) VALUES ('Hof', 'Europe/Berlin')", [])
            .unwrap();

        let further = "ALTER TABLE site ADD COLUMN note TEXT NOT NULL DEFAULT 'none'";
        let migrations = [MIGRATIONS[0], further];
        migrate_with(&mut open(&path), &path, &migrations).unwrap();
        migrate_with(&mut open(&path), &path, &migrations).unwrap();
        let row: (String, String) = open(&path)
            .query_row("SELECT name, note FROM site", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(row, ("Hof".to_owned(), "none".to_owned()));
        let refused = migrate_with(&mut open(&path), &path, &MIGRATIONS[..1]);
        assert!(matches!(refused, Err(OpenError::Newer { found: 2, known: 1 })), "{refused:?}");
    }

    #[test]
    fn failed_migration_leaves_the_old_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ecowatt.db");
        let broken = [MIGRATIONS[0], "CREATE TABLE extra (id INTEGER); SELECT * FROM nowhere"];
        migrate_with(&mut open(&path), &path, &broken).unwrap_err();
        assert_eq!(version(&open(&path)).unwrap(), 1);
        assert!(open(&path).prepare("SELECT * FROM extra").is_err());
        migrate_with(&mut open(&path), &path, MIGRATIONS).unwrap();
    }
}
