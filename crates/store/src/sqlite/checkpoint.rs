//! Moves the write-ahead log into the database on its own thread, so that commits never wait for
//! it.
//!
//! A checkpoint runs on a connection of its own, and neither it nor the writer waits for the other.
//! By its end the writer has appended more, and the log only restarts at its beginning once
//! all of it was moved (<https://www.sqlite.org/wal.html>, section 2.3), so the writer moves the
//! short rest itself between two groups. The log thereby stays as short as with SQLite's own
//! checkpoints; a long read lets it grow in both cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;

use super::wal::Extent;
use super::{Damage, spawn};
use crate::{OpenError, StoreError};

/// The thread that makes the checkpoints, and the writer's side of it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// Pages of the log after which a checkpoint is due.
    due: u32,
    /// Pages in the log after the last commit.
    pages: Arc<AtomicU32>,
    /// Pages in the log when the last checkpoint was requested, or its rest moved.
    asked_at: u32,
    /// Pages in the database after a checkpoint that the writer has not noticed yet; 0 if none.
    moved: Arc<AtomicU32>,
    damage: Arc<Damage>,
    // Dropping the sender ends the thread.
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread on a connection of its own; a checkpoint is due after `due` pages.
    pub(super) fn start(own: Connection, due: u32, damage: Arc<Damage>) -> Result<Self, OpenError> {
        let (pages, moved) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (in_log, in_database) = (Arc::clone(&pages), Arc::clone(&moved));
        let noted = Arc::clone(&damage);
        // Without a buffer: a request that waited for the current checkpoint would come too late, when
        // the log has restarted.
        let (ask, asked) = mpsc::sync_channel(0);
        let thread = spawn("checkpointer", move || {
            while asked.recv().is_ok() {
                let checkpoint = || checkpoint(&own, &noted, Extent::All);
                let Some(mut moved) = checkpoint() else { continue };
                // A second one moves what arrived during the first, which leaves less to the
                // writer. If nothing did, the log restarts with the next commit and is left to grow.
                if in_log.load(Ordering::Relaxed) > moved {
                    let Some(more) = checkpoint() else { continue };
                    moved = more;
                }
                in_database.store(moved, Ordering::Release);
            }
        })?;
        let (ask, thread) = (Some(ask), Some(thread));
        Ok(Self { due, pages, asked_at: 0, moved, damage, ask, thread })
    }

    /// Takes over the checkpoints of the connection that writes, and thereby disables SQLite's
    /// automatic ones.
    pub(super) fn watch(&self, writer: &mut Connection) -> rusqlite::Result<()> {
        let counted = Arc::clone(&self.pages);
        writer.wal_hook(Some(move |_: &mut Wal, pages| {
            counted.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// Must be called by the writer after each group.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        let moved = self.moved.swap(0, Ordering::Acquire);
        // A log that is not longer than what was moved has restarted, or does so with the next
        // commit: to move it as well would only write and sync the database twice.
        if moved > 0 && pages > moved {
            // Commits wait for this, so what the thread has checked is not read again.
            checkpoint(writer, &self.damage, Extent::Rest);
            self.asked_at = pages;
        }
        if pages < self.asked_at {
            // The log has restarted at its beginning.
            self.asked_at = 0;
        }
        let is_due = pages - self.asked_at >= self.due;
        if is_due && self.ask.as_ref().is_some_and(|ask| ask.try_send(()).is_ok()) {
            self.asked_at = pages;
        }
    }
}

impl Checkpointer {
    /// Ends the thread and moves the whole log.
    pub(super) fn finish(self, writer: &Connection) {
        let damage = Arc::clone(&self.damage);
        drop(self);
        finish(writer, &damage);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.ask.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, the log stays longer than necessary, and nothing is lost.
            let _ = thread.join();
        }
    }
}

/// Moves as much as is possible without waiting; returns how many of the log's pages are in the
/// database, or `None` if it failed.
fn checkpoint(connection: &Connection, damage: &Damage, checked: Extent) -> Option<u32> {
    match damage.is_log_sound(checked) {
        Ok(true) => {}
        Ok(false) => {
            damage.note_log();
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read the write-ahead log; checkpoint delayed");
            return None;
        }
    }
    // Its third column is the number of pages moved, -1 without a log
    // (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint).
    let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2));
    let moved: Result<i64, _> = moved.map_err(StoreError::from);
    damage.note(&moved);
    if let Err(error) = &moved {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "checkpoint failed and will be repeated");
    }
    moved.ok().map(|pages| u32::try_from(pages).unwrap_or(0))
}

/// Moves the whole log when the store closes, so that the database is one file and can be copied
/// alone after a clean stop. A damaged log is left in place: the next start recovers its sound
/// part.
pub(super) fn finish(connection: &Connection, damage: &Damage) {
    if damage.is_log_sound(Extent::All).unwrap_or(false) {
        let moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let Err(error) = moved else { return };
        tracing::error!(%error, "checkpoint at the end failed");
    }
    // Otherwise SQLite moves it when the last connection is closed.
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(%error, "cannot prevent the checkpoint of the damaged log");
    }
    tracing::error!("the log is left beside the database for the next start");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::configure;
    use super::*;

    /// Pages after which a checkpoint is due in these tests.
    const DUE: u32 = 50;

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        configure(&connection).unwrap();
        connection.pragma_update(None, "synchronous", "off").unwrap();
        connection
    }

    fn start(path: &Path) -> (Connection, Checkpointer) {
        let mut writer = open(path);
        let checkpointer = Checkpointer::start(open(path), DUE, Arc::default()).unwrap();
        checkpointer.watch(&mut writer).unwrap();
        writer.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB)").unwrap();
        (writer, checkpointer)
    }

    /// Writes some pages, as a group does; returns the length of the log.
    fn write(writer: &Connection, checkpointer: &mut Checkpointer) -> u32 {
        writer.execute("INSERT INTO t (bytes) VALUES (zeroblob(10000))", []).unwrap();
        let pages = checkpointer.pages.load(Ordering::Relaxed);
        checkpointer.after_commit(writer);
        pages
    }

    /// Writes until the log restarts; returns how often it wrote, and how long the log was.
    fn write_until_restart(writer: &Connection, checkpointer: &mut Checkpointer) -> (u32, u32) {
        let mut longest = 0;
        for written in 1..100_000 {
            let pages = write(writer, checkpointer);
            if pages < longest {
                return (written, longest);
            }
            longest = pages;
            std::thread::yield_now();
        }
        panic!("the log grows without end: {longest} pages");
    }

    #[test]
    fn log_begins_again_while_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let (writer, mut checkpointer) = start(&path);
        let mut written = 0;
        for _ in 0..5 {
            let (count, longest) = write_until_restart(&writer, &mut checkpointer);
            assert!(longest >= DUE, "{longest}");
            written += count;
        }
        drop((checkpointer, writer));
        let rows = open(&path).query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        assert_eq!(rows, Ok(written));
    }

    /// The checkpoint moved the whole log, and the writer began it again before it noticed.
    #[test]
    fn log_that_began_again_is_left_to_grow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let mut writer = open(&path);
        let own = open(&path);
        // The thread never gets a request in this test.
        let mut checkpointer = Checkpointer::start(open(&path), u32::MAX, Arc::default()).unwrap();
        checkpointer.watch(&mut writer).unwrap();
        writer.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, bytes BLOB)").unwrap();
        for _ in 0..3 {
            let mut longest = 0;
            while longest < DUE {
                let pages = write(&writer, &mut checkpointer);
                assert!(pages > longest, "restarted after {longest} pages");
                longest = pages;
            }
            let moved = checkpoint(&own, &checkpointer.damage, Extent::All).unwrap();
            assert_eq!(moved, longest);
            assert!(write(&writer, &mut checkpointer) < longest);
            checkpointer.moved.store(moved, Ordering::Release);
        }
    }

    #[test]
    fn log_waits_for_a_reader_and_begins_again_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let (writer, mut checkpointer) = start(&path);
        write(&writer, &mut checkpointer);
        let reader = open(&path);
        reader.execute_batch("BEGIN").unwrap();
        let count = |connection: &Connection| -> u32 {
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&reader), 1);
        let mut longest = 0;
        while longest < 10 * DUE {
            let pages = write(&writer, &mut checkpointer);
            assert!(pages >= longest, "what the reader sees is still in the log");
            longest = pages;
        }
        assert_eq!(count(&reader), 1);
        reader.execute_batch("COMMIT").unwrap();
        let (_, longest) = write_until_restart(&writer, &mut checkpointer);
        assert!(longest >= 10 * DUE);
        assert_eq!(count(&reader), count(&writer));
    }
}
