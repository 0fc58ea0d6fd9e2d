//! Updates of a device's firmware. The server has no image for these devices, so it offers none; what
//! a device reports of its version is noted.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::OriginalRefusal;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::super::App;
use super::super::error::ApiError;
use super::answer::refused;
use super::extract::{Object, OriginalId, bad};

/// Answers a device that checks at its start whether the server is there.
#[utoipa::path(
    get,
    path = "/ota/status",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_update_sessions() -> Json<Value> {
    Json(json!({ "success": true, "status": { "active_sessions": 0, "sessions": {} } }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionQuery {
    /// The version that the device runs. Default: `1.0.0`.
    version: Option<String>,
}

/// Shows a device whether there is an update for it.
#[utoipa::path(
    get,
    path = "/ota/check/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself."), VersionQuery),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn check_original_update(
    OriginalId(id): OriginalId,
    Query(query): Query<VersionQuery>,
) -> Json<Value> {
    let current = query.version.unwrap_or_else(|| "1.0.0".into());
    Json(json!({
        "success": true,
        "device_id": id,
        "update_available": false,
        "update_info": { "available": false, "current_version": current },
    }))
}

/// Refuses to begin an update.
#[utoipa::path(
    post,
    path = "/ota/initiate/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = BAD_REQUEST, description = "There is no such version.", body = OriginalRefusal)),
)]
pub(super) async fn begin_original_update(
    OriginalId(_): OriginalId,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let version = body.get("firmware_version").and_then(Value::as_str);
    let version = version.ok_or_else(|| bad("firmware_version is required"))?;
    Err(bad(format!("Firmware version {version:.40} not found")))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ChunkQuery {
    version: Option<String>,
    /// Number of the chunk, from 0.
    chunk: Option<String>,
}

/// Refuses a chunk, as no update was begun.
#[utoipa::path(
    get,
    path = "/ota/chunk/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself."), ChunkQuery),
    responses((status = BAD_REQUEST, description = "No update was begun.", body = OriginalRefusal)),
)]
pub(super) async fn find_original_update_chunk(
    OriginalId(_): OriginalId,
    Query(query): Query<ChunkQuery>,
) -> Response {
    let has_both = query.version.is_some() && query.chunk.is_some();
    let text = if has_both {
        "No active OTA session"
    } else {
        "version and chunk parameters are required"
    };
    refused(StatusCode::BAD_REQUEST, text).into_response()
}

/// Takes a report on the progress of an update.
#[utoipa::path(
    post,
    path = "/ota/{id}/progress",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn report_original_update_progress(
    OriginalId(id): OriginalId,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    body.get("phase").ok_or_else(|| bad("Missing required field: phase"))?;
    Ok(Json(json!({ "success": true, "device_id": id, "message": "Progress updated" })))
}

/// Takes the version that a device reports at each start.
#[utoipa::path(
    post,
    path = "/ota/{id}/complete",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn report_original_update(
    State(app): State<App>,
    OriginalId(id): OriginalId,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let (Some(version), Some(status)) = (text("version"), text("status")) else {
        return Err(bad("Missing required fields: version, status"));
    };
    app.ingest.original_calls.note(&id, |remarks| remarks.runs(version)).await?;
    Ok(Json(json!({
        "success": true,
        "device_id": id,
        "message": "OTA completion status recorded",
        "version": version,
        "status": status,
    })))
}
