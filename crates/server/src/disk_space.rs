//! Tracks whether the disk is full, judging by requests that had to write. Reported in the log and
//! by `/health`. On an almost full disk small writes succeed and large ones fail in turn, so the
//! log line is rate-limited.

use std::sync::atomic::{AtomicBool, Ordering};

use ecowatt_model::MonoMs;

use crate::limits::FULL_LINE_EVERY;
use crate::log_limit::LogLimit;
use crate::metrics::Metrics;

/// What the outcome of a request says about the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Something was stored.
    Stored,
    /// Something could not be stored for want of space.
    Full,
    /// Nothing had to be stored.
    Nothing,
}

/// What was logged about the disk's space.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    is_logged: AtomicBool,
    line: LogLimit,
}

impl Default for DiskSpace {
    fn default() -> Self {
        Self { is_logged: AtomicBool::new(false), line: LogLimit::new(FULL_LINE_EVERY) }
    }
}

impl DiskSpace {
    /// Notes how a request ended. Device messages are noted by ingest, because a repeated message
    /// is answered without storing anything.
    pub(crate) fn note(&self, metrics: &Metrics, now: MonoMs, evidence: Evidence) {
        if evidence == Evidence::Full {
            metrics.storage_full.set(true);
            if self.line.allow(now).is_some() {
                self.is_logged.store(true, Ordering::Relaxed);
                tracing::error!("disk full: writes are rejected until space is freed");
            }
        } else if evidence == Evidence::Stored {
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
