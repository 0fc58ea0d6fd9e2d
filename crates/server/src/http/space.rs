//! Whether what must be stored finds space: known from the requests that tried, said in the log and by
//! `/health`. Beside a disk that is almost full small things pass and large ones do not, so the log
//! has a line now and then and not one for each.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use ecowatt_model::MonoMs;

use super::error::Failure;
use super::error_code::ErrorCode;
use crate::limits::FULL_LINE_EVERY;
use crate::metrics::Metrics;
use crate::sparing::Sparing;

/// What the log was told.
#[derive(Debug)]
pub(crate) struct Space {
    is_said: AtomicBool,
    line: Sparing,
}

impl Default for Space {
    fn default() -> Self {
        Self { is_said: AtomicBool::new(false), line: Sparing::new(FULL_LINE_EVERY) }
    }
}

impl Space {
    /// Takes note of how a request ended. What devices send is noted where it is stored, because a
    /// message that comes again is answered without storing anything. Of the API's answers, 201 says
    /// that something was stored.
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
                self.is_said.store(true, Ordering::Relaxed);
                tracing::error!(
                    "the disk is full; what must be stored is put off until there is space"
                );
            }
        } else if status == StatusCode::CREATED {
            metrics.storage_full.set(false);
        }
        // Almost always there is nothing to say, and a look leaves the line to the other threads.
        if self.is_said.load(Ordering::Relaxed)
            && !metrics.storage_full.holds()
            && self.is_said.swap(false, Ordering::Relaxed)
        {
            tracing::info!("there is space to store again");
        }
    }
}
