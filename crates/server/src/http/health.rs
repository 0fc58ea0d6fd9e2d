//! The server's own state, for its operator: health, readiness and metrics.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ecowatt_clock::Clock;
use ecowatt_model::MonoMs;
use ecowatt_store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::App;
use super::admission::Kind;
use super::error::ApiError;
use crate::limits::{READY_DEADLINE, READY_FOR};

/// Reports that the process is alive.
#[utoipa::path(
    get,
    path = "/health",
    tag = "own",
    responses((status = OK, description = "`ok`, or that the disk is full", body = String, content_type = "text/plain")),
)]
// A full disk is reported in the body only: a restart would not help, so the status stays 200.
pub(super) async fn check_health(State(app): State<App>) -> &'static str {
    if app.metrics.storage_full.holds() {
        return "the disk is full: writes are rejected until space is freed\n";
    }
    "ok\n"
}

/// Reports whether the server can store and read.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "own",
    responses(
        (status = OK, description = "`ready`", body = String, content_type = "text/plain"),
        (status = SERVICE_UNAVAILABLE, description = "Nothing can be stored or read, or the server is stopping.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn check_ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if *app.stop.borrow() {
        return Err(ApiError::busy());
    }
    match app.readiness.check(&app.store, app.real_time).await {
        Ok(()) => Ok("ready\n"),
        Err(StoreError::Io(_)) => Err(ApiError::storage_failed()),
        Err(StoreError::Damaged(_)) => Err(ApiError::storage_damaged()),
        Err(_) => Err(ApiError::busy()),
    }
}

/// Whether the store answered when it was last asked. Clients without a token may ask at any rate,
/// so the answer is shared for [`READY_FOR`].
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(MonoMs, Result<(), StoreError>)>>);

impl Readiness {
    async fn check(&self, store: &Store, real_time: Clock) -> Result<(), StoreError> {
        let mut last = self.0.lock().await;
        if let Some((at, known)) = &*last
            && real_time.mono().since(*at) < READY_FOR
        {
            return known.clone();
        }
        let asked = async {
            store.check_writer().await?;
            store.check_reader().await
        };
        let answered = match timeout(READY_DEADLINE, asked).await {
            Ok(answered) => {
                if let Err(error) = &answered {
                    tracing::warn!(%error, "the store does not do what it is asked");
                }
                answered
            }
            Err(_) => {
                tracing::warn!("the store does not answer");
                Err(StoreError::Busy)
            }
        };
        *last = Some((real_time.mono(), answered.clone()));
        answered
    }
}

/// Returns the server's metrics for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "own",
    responses((status = OK, description = "Prometheus text format 0.0.4.", body = String, content_type = "text/plain")),
)]
pub(super) async fn show_metrics(State(app): State<App>) -> Response {
    app.metrics.storage_damaged.set(app.store.is_damaged());
    app.metrics.streams.set(app.admission.taken(Kind::Waiting));
    app.metrics.held_replies.set(app.admission.taken(Kind::Held));
    // If the store fails, the other counts are still useful.
    if let Ok(counts) = app.store.counts().await {
        app.metrics.devices.set(counts.devices);
        app.metrics.database_bytes.set(counts.database_bytes);
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.metrics.render()).into_response()
}
