//! The server's own state, for whoever runs it: alive, ready, and its counts.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::ApiError;
use crate::limits::STREAMS_MAX;

/// The process answers, and says if the disk is full. That is no reason to start it again, so the
/// status is 200 all the same.
#[utoipa::path(
    get,
    path = "/health",
    tag = "own",
    responses((status = OK, description = "`ok`, or that the disk is full", body = String, content_type = "text/plain")),
)]
pub(super) async fn check_health(State(app): State<App>) -> &'static str {
    if app.metrics.storage_full.holds() {
        return "the disk is full: what must be stored is put off until there is space\n";
    }
    "ok\n"
}

/// The store answers, so requests can be.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "own",
    responses(
        (status = OK, description = "`ready`", body = String, content_type = "text/plain"),
        (status = SERVICE_UNAVAILABLE, description = "The store does not answer, or the server is stopping.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn check_ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if *app.stop.borrow() {
        return Err(ApiError::busy());
    }
    app.store.list_sites().await.map_err(|error| {
        tracing::warn!(%error, "store does not answer");
        ApiError::busy()
    })?;
    Ok("ready\n")
}

/// What the server counts, as Prometheus reads it.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "own",
    responses((status = OK, description = "Prometheus text format 0.0.4.", body = String, content_type = "text/plain")),
)]
pub(super) async fn show_metrics(State(app): State<App>) -> Response {
    let taken = STREAMS_MAX.saturating_sub(app.streams.available_permits());
    app.metrics.streams.set(u64::try_from(taken).unwrap_or(u64::MAX));
    // Without the store's counts the others are still worth having.
    if let Ok(counts) = app.store.counts().await {
        app.metrics.devices.set(counts.devices);
        app.metrics.database_bytes.set(counts.database_bytes);
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.metrics.render()).into_response()
}
