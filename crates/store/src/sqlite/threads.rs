//! The store that works by itself: one thread that writes, one that folds the log into the database,
//! a few that read.
//!
//! Queues are bounded and refuse at once what they cannot hold. Dropping the value finishes what is
//! queued.

use std::fs::File;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::fold::Fold;
use super::writer::{Job, Writer};
use crate::limits::{GROUP_MAX, READ_QUEUE_MAX, WRITE_QUEUE_MAX};
use crate::{OpenError, StoreError};

/// Something to be read; it answers whoever asked.
pub(super) type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The threads and the ways to them.
#[derive(Debug)]
pub(super) struct Threads {
    // Dropping the senders ends the threads once their queues are empty.
    writer: Option<SyncSender<Job>>,
    readers: Option<SyncSender<Query>>,
    threads: Vec<JoinHandle<()>>,
    // Held as long as the database is open; the operating system lets go of it after a kill.
    _lock: Option<File>,
}

impl Threads {
    pub(super) fn start(
        writer: Writer,
        fold: Fold,
        readers: Vec<Connection>,
        lock: Option<File>,
    ) -> Result<Self, OpenError> {
        let is_alone = lock.is_some();
        let mut threads = Vec::with_capacity(1 + readers.len());
        let (jobs, queued) = mpsc::sync_channel(WRITE_QUEUE_MAX);
        threads.push(spawn("store-write", move || write(writer, fold, &queued, is_alone))?);
        let (queries, asked) = mpsc::sync_channel::<Query>(READ_QUEUE_MAX);
        let asked = Arc::new(Mutex::new(asked));
        for connection in readers {
            let asked = Arc::clone(&asked);
            threads.push(spawn("store-read", move || read(&connection, &asked))?);
        }
        Ok(Self { writer: Some(jobs), readers: Some(queries), threads, _lock: lock })
    }

    pub(super) fn queue(&self, job: Job) -> Result<(), StoreError> {
        send(self.writer.as_ref(), job)
    }

    pub(super) fn read(&self, query: Query) -> Result<(), StoreError> {
        send(self.readers.as_ref(), query)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.writer.take());
        drop(self.readers.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn send<T>(queue: Option<&SyncSender<T>>, item: T) -> Result<(), StoreError> {
    queue.ok_or(StoreError::Closed)?.try_send(item).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Busy,
        TrySendError::Disconnected(_) => StoreError::Closed,
    })
}

pub(super) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(OpenError::Thread)
}

/// Works until every sender is gone and the queue is empty.
fn write(mut writer: Writer, mut fold: Fold, jobs: &Receiver<Job>, is_alone: bool) {
    while let Ok(first) = jobs.recv() {
        let mut group = Vec::with_capacity(GROUP_MAX);
        group.push(first);
        group.extend(jobs.try_iter().take(GROUP_MAX - 1));
        writer.commit(group).answer();
        fold.look(writer.connection());
    }
    drop(fold);
    // Beside a server this would hold its writer up while it waits for its readers.
    if is_alone {
        writer.fold();
    }
}

fn read(connection: &Connection, queries: &Mutex<Receiver<Query>>) {
    loop {
        // Whoever holds the lock waits for a query; the others wait for the lock.
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(query) = next else { return };
        query(connection);
    }
}
