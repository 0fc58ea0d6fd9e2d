//! What devices of the earlier generations call (`docs/original-devices.md`).

use axum::Json;
use axum::body::Body as RawBody;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::{OriginalAnswer, OriginalRefusal};
use ecowatt_envelope::MESSAGE_MAX;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::super::App;
use super::super::error::ApiError;
use super::answer::refused;
use super::command_fields::parameters;
use super::commands::note_result;
use super::extract::{Object, bad, is_json};
use super::upload::answer;
use crate::ingest::UploadMessage;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// What the device calls itself.
    device_id: Option<String>,
}

/// Returns the device that a body names.
fn device_of(body: &Map<String, Value>) -> Result<&str, ApiError> {
    body.get("device_id").and_then(Value::as_str).ok_or_else(|| bad("device_id is required"))
}

/// Takes one upload of a device of the first generation, whose tag is in a header.
#[utoipa::path(
    post,
    path = "/process",
    tag = "original",
    request_body(content = Vec<u8>, content_type = "application/json"),
    responses(
        (status = OK, description = "No packet of the upload need be sent again.", body = OriginalAnswer),
        (status = UNAUTHORIZED, description = "Not the next upload of an enrolled device.", body = OriginalRefusal),
        (status = TOO_MANY_REQUESTS, description = "The device has sent more than its share; send again later.", body = OriginalRefusal),
    ),
)]
pub(super) async fn take_first_generation_upload(
    State(app): State<App>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, ApiError> {
    if !is_json(&headers) {
        return Err(bad("Content-Type must be application/json"));
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let nonce = header("x-sequence-number").and_then(|digits| digits.parse().ok());
    let (Some(nonce), Some(tag)) = (nonce, header("x-hmac-sha256")) else {
        return Ok(refused(StatusCode::UNAUTHORIZED, "Missing security headers"));
    };
    let body = axum::body::to_bytes(body, MESSAGE_MAX).await.map_err(|_| ApiError::too_large())?;
    // Which key it is verified with; the tag covers it.
    let text: Value =
        serde_json::from_slice(&body).map_err(|_| bad("the body is not valid JSON"))?;
    let id = text.get("device_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = UploadMessage::Headers { nonce, tag, body: &body };
    answer(id.clone(), app.ingest.take_upload(&id, message).await)
}

async fn changes(app: &App, id: &str) -> Result<Json<Value>, ApiError> {
    let config = app.ingest.original_calls.changes(id).await?;
    let changed = |wanted: &str| {
        config.update.iter().find(|(name, _)| *name == wanted).map(|(_, seconds)| *seconds)
    };
    let (poll, upload) = (changed("sampling_interval"), changed("upload_interval"));
    Ok(Json(json!({
        "Changed": poll.is_some() || upload.is_some(),
        "pollFreqChanged": poll.is_some(),
        "newPollTimer": poll.unwrap_or_default(),
        "uploadFreqChanged": upload.is_some(),
        "newUploadTimer": upload.unwrap_or_default(),
    })))
}

/// Shows a device of the first generation the settings that it is to change, in seconds.
#[utoipa::path(
    get,
    path = "/changes",
    tag = "original",
    params(DeviceQuery),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_changes(
    State(app): State<App>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = query.device_id.ok_or_else(|| bad("device_id is required"))?;
    changes(&app, &id).await
}

/// Does the same for a device of the second generation.
#[utoipa::path(
    post,
    path = "/changes",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn take_original_changes(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    changes(&app, device_of(&body)?).await
}

/// Returns the next command of a device as the earlier generations write it.
async fn next(app: &App, id: &str) -> Result<Option<Value>, ApiError> {
    let next = app.ingest.original_calls.next_command(id).await?;
    Ok(next.map(|(number, action)| {
        let (kind, parameters) = parameters(action);
        json!({ "command_id": number.to_string(), "command_type": kind, "parameters": parameters })
    }))
}

/// Returns the next command of a device of the first generation, in a list.
#[utoipa::path(
    post,
    path = "/command/get",
    tag = "original",
    params(DeviceQuery),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn take_original_commands(
    State(app): State<App>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = query.device_id.ok_or_else(|| bad("device_id is required"))?;
    let commands: Vec<_> = next(&app, &id).await?.into_iter().collect();
    Ok(Json(json!({ "commands": commands })))
}

/// Returns the next command of a device of the second generation.
#[utoipa::path(
    post,
    path = "/command/poll",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn poll_original_command(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "command": next(&app, device_of(&body)?).await? })))
}

async fn report(
    app: &App,
    body: &Map<String, Value>,
    id: &str,
    done: &str,
) -> Result<Response, ApiError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let command = text("command_id").ok_or_else(|| bad("command_id is required"))?;
    let is_success = matches!(text("status"), Some("completed" | "success"));
    if note_result(app, id, command, is_success, None).await? {
        return Ok(Json(json!({ "status": done })).into_response());
    }
    Ok(refused(StatusCode::NOT_FOUND, format!("Command {command:.40} not found")))
}

/// Notes how a command of a device of the first generation ended.
#[utoipa::path(
    post,
    path = "/command/report",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "The device was not sent such a command.", body = OriginalRefusal),
    ),
)]
pub(super) async fn report_original_command(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Response, ApiError> {
    report(&app, &body, device_of(&body)?, "updated").await
}

/// Notes how a command of a device of the second generation ended, which does not name itself.
#[utoipa::path(
    post,
    path = "/command/result",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "No device was sent such a command.", body = OriginalRefusal),
    ),
)]
pub(super) async fn report_original_command_result(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Response, ApiError> {
    let number = body.get("command_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let found = match number {
        Some(number) => app.commands.find(number).await?,
        None => None,
    };
    let id = match found {
        Some(found) => app.store.find_original_id(found.new.device).await?,
        None => None,
    };
    report(&app, &body, &id.unwrap_or_default(), "success").await
}

/// Shows a device of the earlier generations that there is no update for it.
#[utoipa::path(
    post,
    path = "/ota/check",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn check_earlier_original_update(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    if let Some(version) = body.get("current_version").and_then(Value::as_str) {
        let id = device_of(&body)?;
        app.ingest.original_calls.note(id, |remarks| remarks.runs(version)).await?;
    }
    Ok(Json(json!({ "update_available": false, "message": "Firmware is up to date" })))
}
