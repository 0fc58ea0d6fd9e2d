//! Tracks whether the disk is full, judging by requests that had to write. Reported in the log and
//! by `/health`. On an almost full disk small writes succeed and large ones fail in turn, so the
//! log line is rate-limited.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use ecowatt_model::MonoMs;

use super::error::Failure;
use super::error_code::ErrorCode;
use crate::limits::FULL_LINE_EVERY;
use crate::metrics::Metrics;
use crate::sparing::Sparing;

/// What was logged about the disk's space.
#[derive(Debug)]
pub(crate) struct Space {
    is_logged: AtomicBool,
    line: Sparing,
}

impl Default for Space {
    fn default() -> Self {
        Self { is_logged: AtomicBool::new(false), line: Sparing::new(FULL_LINE_EVERY) }
    }
}

impl Space {
    /// Notes how a request ended. Device messages are noted by ingest, because a repeated message
    /// is answered without storing anything. Of the API's answers, 201 means that something was
    /// stored.
    pub(super) fn note(
        &self,
        metrics: &Metrics,
        now: MonoMs,
        status: StatusCode,
        failure: Option<&Failure>,
    ) {
        if failure.is_some_and(|failure| failure.code == ErrorCode::StorageFull) {
            metrics.storage_full.set(true);
            if self.line.speak(now).is_some() {
                self.is_logged.store(true, Ordering::Relaxed);
                tracing::error!("disk full: writes are rejected until space is freed");
            }
        } else if status == StatusCode::CREATED {
            metrics.storage_full.set(false);
        }
        // The common case only loads the flag, which leaves the cache line to the other threads.
        if self.is_logged.load(Ordering::Relaxed)
            && !metrics.storage_full.holds()
            && self.is_logged.swap(false, Ordering::Relaxed)
        {
            tracing::info!("disk has space again");
        }
    }
}
