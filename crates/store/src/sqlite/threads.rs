//! Drives the store with threads: one writes, one moves the log into the database, a few read, and
//! one looks up the single rows that authentication needs.
//!
//! Queues are bounded, and requests beyond the limit fail at once. Charts and look-ups have
//! separate queues, so that charts never lock out a device or a user. A query whose caller has gone
//! is skipped, or interrupted if it is running. Dropping the value finishes the queued work.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::watch;

use super::checkpoint::Checkpointer;
use super::folder_lock::FolderLock;
use super::spawn;
use super::writer::{Job, Writer};
use crate::limits::{GROUP_MAX, LOOK_UP_QUEUE_MAX, READ_QUEUE_MAX, WRITE_QUEUE_MAX};
use crate::{OpenError, StoreError};

/// Steps of SQLite's virtual machine between two checks whether the caller still waits: some 10 us.
const STEPS_BETWEEN_LOOKS: i32 = 1000;

/// A read; it sends its answer itself.
pub(super) struct Query {
    /// Held by the caller as long as it wants the answer.
    asker: Weak<()>,
    run: Box<dyn FnOnce(&Connection) + Send>,
}

impl Query {
    /// Returns a query, and the value that its caller drops to cancel it.
    pub(super) fn new(run: impl FnOnce(&Connection) + Send + 'static) -> (Self, Arc<()>) {
        let asker = Arc::new(());
        (Self { asker: Arc::downgrade(&asker), run: Box::new(run) }, asker)
    }
}

/// The queue that a query waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// For users: lists and charts, some of which take long.
    Charts,
    /// Single rows needed for authentication: keys, tokens, sessions.
    LookUps,
}

/// A connection that reads.
pub(super) struct Reader {
    connection: Connection,
    asker: Arc<Mutex<Weak<()>>>,
}

impl Reader {
    pub(super) fn new(mut connection: Connection) -> rusqlite::Result<Self> {
        let asker = Arc::new(Mutex::new(Weak::new()));
        let looked_at = Arc::clone(&asker);
        let is_abandoned = move || lock(&looked_at).strong_count() == 0;
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_abandoned))?;
        Ok(Self { connection, asker })
    }

    fn run(&self, query: Query) {
        if query.asker.strong_count() == 0 {
            return;
        }
        *lock(&self.asker) = query.asker;
        (query.run)(&self.connection);
    }
}

fn lock(asker: &Mutex<Weak<()>>) -> MutexGuard<'_, Weak<()>> {
    asker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The threads and their queues.
#[derive(Debug)]
pub(super) struct Threads {
    // Dropping the senders ends the threads once their queues are empty.
    writer: Option<SyncSender<Job>>,
    charts: Option<SyncSender<Query>>,
    look_ups: Option<SyncSender<Query>>,
    reading: Vec<JoinHandle<()>>,
    writing: Option<JoinHandle<()>>,
    /// The other end is dropped with the thread that writes.
    writes: watch::Receiver<()>,
    // Held as long as the database is open.
    _lock: Option<FolderLock>,
}

/// The connections of the threads that read.
pub(super) struct Readers {
    pub(super) charts: Vec<Reader>,
    pub(super) look_ups: Reader,
}

impl Threads {
    pub(super) fn start(
        writer: Writer,
        checkpointer: Checkpointer,
        readers: Readers,
        lock: Option<FolderLock>,
    ) -> Result<Self, OpenError> {
        let is_alone = lock.is_some();
        let (jobs, queued) = mpsc::sync_channel(WRITE_QUEUE_MAX);
        let (lives, writes) = watch::channel(());
        let writing = spawn("store-write", move || {
            let _lives = lives;
            write(writer, checkpointer, &queued, is_alone);
        })?;
        let (charts, asked) = mpsc::sync_channel(READ_QUEUE_MAX);
        let asked = Arc::new(Mutex::new(asked));
        let mut reading = Vec::with_capacity(1 + readers.charts.len());
        for reader in readers.charts {
            let asked = Arc::clone(&asked);
            reading.push(spawn("store-read", move || read(&reader, &asked))?);
        }
        let (look_ups, asked) = mpsc::sync_channel(LOOK_UP_QUEUE_MAX);
        let asked = Mutex::new(asked);
        reading.push(spawn("store-look-up", move || read(&readers.look_ups, &asked))?);
        Ok(Self {
            writer: Some(jobs),
            charts: Some(charts),
            look_ups: Some(look_ups),
            reading,
            writing: Some(writing),
            writes,
            _lock: lock,
        })
    }

    pub(super) fn queue(&self, job: Job) -> Result<(), StoreError> {
        send(self.writer.as_ref(), job)
    }

    pub(super) fn read(&self, lane: Lane, query: Query) -> Result<(), StoreError> {
        match lane {
            Lane::Charts => send(self.charts.as_ref(), query),
            Lane::LookUps => send(self.look_ups.as_ref(), query),
        }
    }

    /// Closed when the thread that writes has ended.
    pub(super) fn writes(&self) -> watch::Receiver<()> {
        self.writes.clone()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The writing connection must be closed last: SQLite removes the log with the last
        // connection, but only if that connection can write.
        drop(self.charts.take());
        drop(self.look_ups.take());
        join(self.reading.drain(..));
        drop(self.writer.take());
        join(self.writing.take());
    }
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        // A panicking thread has printed its panic, and the writer thread has closed `writes`.
        let _ = thread.join();
    }
}

fn send<T>(queue: Option<&SyncSender<T>>, item: T) -> Result<(), StoreError> {
    queue.ok_or(StoreError::Closed)?.try_send(item).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Busy,
        TrySendError::Disconnected(_) => StoreError::Closed,
    })
}

/// Works until every sender is dropped and the queue is empty.
fn write(mut writer: Writer, mut checkpointer: Checkpointer, jobs: &Receiver<Job>, is_alone: bool) {
    while let Ok(first) = jobs.recv() {
        let mut group = Vec::with_capacity(GROUP_MAX);
        group.push(first);
        group.extend(jobs.try_iter().take(GROUP_MAX - 1));
        writer.commit(group).answer();
        checkpointer.after_commit(writer.connection());
    }
    // While a server is running, this would block its writer until its readers are done.
    if is_alone {
        checkpointer.finish(writer.connection());
    }
}

fn read(reader: &Reader, queries: &Mutex<Receiver<Query>>) {
    loop {
        // The thread that holds the lock waits for a query; the others wait for the lock.
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(query) = next else { return };
        reader.run(query);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use futures_like::poll_once;
    use rusqlite::Connection;

    use super::super::{Sharing, Sqlite};
    use super::*;
    use crate::limits::READERS;

    /// A chart that never ends by itself.
    fn endless(db: &Connection) -> Result<i64, StoreError> {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
             SELECT count(*) FROM n";
        Ok(db.query_row(sql, [], |row| row.get(0))?)
    }

    fn answer(db: &Connection) -> Result<i64, StoreError> {
        Ok(db.query_row("SELECT 42", [], |row| row.get(0))?)
    }

    /// Futures without a runtime.
    mod futures_like {
        use std::pin::Pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(Waker::noop()))
        }
    }

    #[tokio::test]
    async fn look_ups_pass_charts_and_charts_end_with_their_askers() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(dir.path(), Sharing::Alone).unwrap();
        let mut charts: Vec<_> = (0..READERS).map(|_| Box::pin(sqlite.read(endless))).collect();
        let has_run = Arc::new(AtomicU32::new(0));
        let mut waiting = Vec::new();
        for _ in 0..READ_QUEUE_MAX {
            let has_run = Arc::clone(&has_run);
            waiting.push(Box::pin(sqlite.read(move |db| {
                has_run.fetch_add(1, Ordering::Relaxed);
                answer(db)
            })));
        }
        assert!(charts.iter_mut().all(|chart| poll_once(chart.as_mut()).is_pending()));
        for asked in &mut waiting {
            // Some may find the queue full, as many as there are charts not yet picked up by a
            // thread.
            let _ = poll_once(asked.as_mut());
        }
        assert_eq!(sqlite.look_up(answer).await.unwrap(), 42);

        drop(waiting);
        drop(charts);
        let asked = loop {
            match sqlite.read(answer).await {
                Err(StoreError::Busy) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        assert_eq!(asked.unwrap(), 42);
        assert_eq!(has_run.load(Ordering::Relaxed), 0, "no caller waited for these");
    }

    /// An empty log would be left next to the database, and `store restore` refuses such a folder.
    #[tokio::test]
    async fn log_is_gone_after_closing_even_if_a_reader_was_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(dir.path(), Sharing::Alone).unwrap();
        let (begin, begun) = mpsc::channel();
        let mut slow = Box::pin(sqlite.read(move |db| {
            let answered = answer(db);
            begin.send(()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
            answered
        }));
        assert!(poll_once(slow.as_mut()).is_pending());
        begun.recv().unwrap();
        drop(slow);
        drop(sqlite);
        let left = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["ecowatt.db", "ecowatt.lock"]);
    }

    #[tokio::test]
    async fn end_of_the_writer_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(dir.path(), Sharing::Alone).unwrap();
        let mut ended = Box::pin(sqlite.writer_ended());
        assert!(poll_once(ended.as_mut()).is_pending());
        let is_there = AtomicBool::new(true);
        let panics = move |_: &Connection| -> Result<(), StoreError> {
            assert!(!is_there.load(Ordering::Relaxed), "this test ends the writer");
            Ok(())
        };
        assert!(matches!(sqlite.write(panics).await, Err(StoreError::Closed)));
        ended.await;
        let refused = sqlite.write(|_| Ok::<(), StoreError>(())).await;
        assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
        assert_eq!(sqlite.look_up(answer).await.unwrap(), 42, "reading goes on");
    }
}
