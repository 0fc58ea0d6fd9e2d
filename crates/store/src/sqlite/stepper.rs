//! The stepped store: no threads, one connection, and no work except when called.
//!
//! Writes wait in a queue until [`Stepper::commit`] does a group of them; reads are done at once,
//! between groups. In a program with one thread, the caller therefore decides the order of
//! everything.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use super::snapshot;
use super::writer::{Job, Writer};
use crate::StoreError;
use crate::limits::{GROUP_MAX, WRITE_QUEUE_MAX};

/// Drives a stepped [`Store`](crate::Store).
///
/// The database is closed when this and the last clone of the store are dropped. Writes queued by
/// then are not done and fail with [`StoreError::Closed`].
#[derive(Debug)]
pub struct Stepper {
    steps: Arc<StepQueue>,
    // Dropped with the stepper, which closes `StepQueue::writes`.
    _lives: watch::Sender<()>,
}

impl Stepper {
    /// Creates the stepper and the queue that it works off.
    pub(super) fn new(writer: Writer) -> (Self, Arc<StepQueue>) {
        let (lives, writes) = watch::channel(());
        let steps =
            Arc::new(StepQueue { queue: Mutex::default(), writer: Mutex::new(writer), writes });
        (Self { steps: Arc::clone(&steps), _lives: lives }, steps)
    }

    /// Does the oldest queued requests, at most [`GROUP_MAX`], in one transaction, and answers all
    /// of them after its commit. Returns their number.
    pub fn commit(&self) -> usize {
        let group: Vec<Job> = {
            let mut queue = self.steps.lock_queue();
            let count = queue.len().min(GROUP_MAX);
            queue.drain(..count).collect()
        };
        if group.is_empty() {
            return 0;
        }
        // The lock is released before the answers are sent, so a woken caller can use the store.
        let settled = self.steps.lock_writer().commit(group);
        settled.answer()
    }

    /// Returns the number of requests that wait for a commit.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.steps.lock_queue().len()
    }
}

/// The queue and the writer.
pub(crate) struct StepQueue {
    queue: Mutex<VecDeque<Job>>,
    writer: Mutex<Writer>,
    writes: watch::Receiver<()>,
}

impl StepQueue {
    /// Closed when the [`Stepper`] is dropped.
    pub(super) fn writes(&self) -> watch::Receiver<()> {
        self.writes.clone()
    }

    pub(super) fn queue(&self, job: Job) -> Result<(), StoreError> {
        let mut queue = self.lock_queue();
        if queue.len() >= WRITE_QUEUE_MAX {
            return Err(StoreError::Busy);
        }
        queue.push_back(job);
        Ok(())
    }

    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        snapshot(self.lock_writer().connection(), query)
    }

    fn lock_queue(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StepQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepQueue")
            .field("queued", &self.lock_queue().len())
            .finish_non_exhaustive()
    }
}

impl Drop for StepQueue {
    fn drop(&mut self) {
        super::checkpoint::finish(self.lock_writer().connection(), &super::Damage::default());
    }
}
