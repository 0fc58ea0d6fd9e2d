//! The writer: groups of jobs, one transaction and one fsync per group.
//!
//! A rejected job does not affect the others in its group: uploads are decided in memory before
//! anything is written, and changes run inside a savepoint. If the database itself fails (no space,
//! a broken disk), the whole group is rolled back, all of its jobs fail, and the next group starts
//! from the last commit.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::ingest;
use super::revocation_file::Journal;
use super::state_cache::StateCache;
use crate::{CallError, CallReceipt, StoreError, UnprovenCall, Upload, UploadOutcome};

/// Sends the answer to the caller once the group is committed or rolled back.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A change that returns the answer for its result; without a transaction it only builds the
/// answer.
pub(super) type Change = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Answer + Send>;

pub(super) enum Job {
    /// A change of the control plane.
    Change(Change),
    /// A change of rows that otherwise only ingest changes, and that are held in memory.
    Rewrite(Change),
    Upload(Box<Upload>, oneshot::Sender<Result<UploadOutcome, StoreError>>),
    Call(Box<UnprovenCall>, oneshot::Sender<Result<CallReceipt, CallError>>),
}

/// Wraps a typed change and the channel for its result.
pub(super) fn change<T, E>(
    change: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    answer: oneshot::Sender<Result<T, E>>,
) -> Change
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(move |transaction| {
        let result = transaction.map_err(E::from).and_then(|t| in_savepoint(t, change));
        Box::new(move |committed| {
            // A rejection by the change itself is returned even if the group failed.
            let result = result.and_then(|done| committed.map(|()| done).map_err(E::from));
            // The caller may have dropped its future.
            let _ = answer.send(result);
        })
    })
}

fn in_savepoint<T, E: From<StoreError>>(
    transaction: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let run = |sql| transaction.execute_batch(sql).map_err(|e| E::from(e.into()));
    run("SAVEPOINT change")?;
    let result = change(transaction);
    // After some failures SQLite has rolled back everything, including the savepoint.
    if !transaction.is_autocommit() {
        run(if result.is_ok() { "RELEASE change" } else { "ROLLBACK TO change; RELEASE change" })?;
    }
    result
}

/// The connection that writes, and the state kept in memory between groups.
pub(super) struct Writer {
    connection: Connection,
    states: StateCache,
    journal: Arc<Journal>,
}

impl Writer {
    pub(super) fn new(connection: Connection, journal: Arc<Journal>) -> Self {
        Self { connection, states: StateCache::default(), journal }
    }

    /// Returns the connection, for use between groups.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does a group in one transaction. Its callers wait for [`Settled::answer`].
    pub(super) fn commit(&mut self, group: Vec<Job>) -> Settled {
        let mut answers = Vec::with_capacity(group.len());
        let committed = commit(self, group, &mut answers);
        if let Err(failure) = &committed {
            // Held states may contain changes that were rolled back.
            self.states.clear();
            tracing::error!(
                error = failure as &dyn std::error::Error,
                jobs = answers.len(),
                "group not committed"
            );
        }
        self.states.bound();
        Settled { answers, committed }
    }
}

/// A group that was committed or rolled back.
#[must_use = "the callers wait for the answers"]
pub(super) struct Settled {
    answers: Vec<Answer>,
    committed: Result<(), StoreError>,
}

impl Settled {
    /// Sends all answers; returns their number.
    pub(super) fn answer(self) -> usize {
        let count = self.answers.len();
        for answer in self.answers {
            answer(self.committed.clone());
        }
        count
    }
}

fn commit(
    Writer { connection, states, journal }: &mut Writer,
    group: Vec<Job>,
    answers: &mut Vec<Answer>,
) -> Result<(), StoreError> {
    let begun = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from);
    let mut state = begun.as_ref().map(|_| ()).map_err(Clone::clone);
    for job in group {
        let transaction = match (&begun, &state) {
            (Ok(transaction), Ok(())) => Ok(&**transaction),
            (_, Err(failure)) => Err(failure.clone()),
            (Err(_), Ok(())) => Err(StoreError::Closed),
        };
        match job {
            job @ (Job::Change(_) | Job::Rewrite(_)) => {
                // The change must see the uploads decided before it.
                let transaction = transaction.and_then(|t| states.flush(t).map(|()| t));
                let change = match job {
                    Job::Rewrite(change) => {
                        // It changes rows that are held, so all are loaded again afterwards.
                        states.clear();
                        change
                    }
                    Job::Change(change) => {
                        states.forget_loaded();
                        change
                    }
                    Job::Upload(..) | Job::Call(..) => continue,
                };
                answers.push(change(transaction.clone()));
                state = transaction.and_then(alive);
            }
            Job::Upload(upload, answer) => {
                let outcome = transaction.and_then(|t| ingest::ingest(t, states, *upload));
                if let (Ok(()), Err(failure)) = (&state, &outcome)
                    // Unreadable rows fail only their own upload; other failures fail the group.
                    && !matches!(failure, StoreError::Corrupt(_))
                {
                    state = Err(failure.clone());
                }
                answers.push(Box::new(move |committed| {
                    let _ = answer.send(outcome.and_then(|done| committed.map(|()| done)));
                }));
            }
            Job::Call(call, answer) => {
                let outcome = transaction
                    .map_err(CallError::from)
                    .and_then(|transaction| ingest::call(transaction, states, &call));
                if let (Ok(()), Err(CallError::Store(failure))) = (&state, &outcome)
                    && !matches!(failure, StoreError::Corrupt(_))
                {
                    state = Err(failure.clone());
                }
                answers.push(Box::new(move |committed| {
                    let outcome = outcome.and_then(|done| Ok(committed.map(|()| done)?));
                    let _ = answer.send(outcome);
                }));
            }
        }
    }
    // The journal is durable before the commit: a revocation must not be lost once it was
    // acknowledged.
    state?;
    let transaction = begun?;
    states.flush(&transaction)?;
    journal.sync()?;
    transaction.commit()?;
    Ok(())
}

/// Checks that the group's transaction still exists: some failures make SQLite roll back all of it,
/// and only the statement that failed reports it.
fn alive(transaction: &Connection) -> Result<(), StoreError> {
    if transaction.is_autocommit() { Err(StoreError::RolledBack) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
