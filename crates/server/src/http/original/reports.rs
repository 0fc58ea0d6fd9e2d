//! Recoveries from faults, and diagnostics.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::OriginalRefusal;
use serde_json::{Value, json};

use super::super::App;
use super::super::error::ApiError;
use super::extract::{Object, OriginalDevice, OriginalId, bad};
use crate::ingest::{DIAGNOSTICS_BYTES_MAX, Recovery, plain_text};

/// What a report of a recovery must have.
const FIELDS: [&str; 5] = ["device_id", "timestamp", "fault_type", "recovery_action", "success"];

/// Takes a device's report that it has recovered from a fault, or has not.
#[utoipa::path(
    post,
    path = "/fault/recovery",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn report_original_recovery(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let missing: Vec<_> = FIELDS.into_iter().filter(|name| !body.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(bad(format!("Missing required fields: {}", missing.join(", "))));
    }
    let text = |name: &str| plain_text(body.get(name).and_then(Value::as_str).unwrap_or_default());
    let recovery = Recovery {
        at_s: body["timestamp"].as_i64().unwrap_or_default(),
        fault: text("fault_type"),
        action: text("recovery_action"),
        is_success: body["success"].as_bool().unwrap_or_default(),
        details: text("details"),
        retries: body.get("retry_count").and_then(Value::as_u64).unwrap_or_default(),
    };
    let id = body["device_id"].as_str().unwrap_or_default();
    app.ingest.original_calls.note(id, |remarks| remarks.recovered_from(recovery)).await?;
    Ok(Json(json!({ "success": true, "message": "Recovery event recorded" })))
}

/// Lists the newest recoveries of a device.
#[utoipa::path(
    get,
    path = "/fault/recovery/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    responses(
        (status = OK, description = "Those since the server started, ten at most.", body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_original_recoveries(
    State(app): State<App>,
    OriginalDevice { id, device }: OriginalDevice,
) -> Json<Value> {
    let remarks = app.ingest.original_calls.remarks.of(device.number());
    let row = |event: &Recovery| {
        json!({
            "device_id": id,
            "timestamp": event.at_s,
            "fault_type": event.fault,
            "recovery_action": event.action,
            "success": event.is_success,
            "details": event.details,
            "retry_count": event.retries,
        })
    };
    let events: Vec<_> = remarks.recoveries.iter().rev().map(row).collect();
    let total = remarks.recovered + remarks.failed;
    #[expect(clippy::cast_precision_loss, reason = "a rate of counts far below 2^52")]
    let rate = if total == 0 { 0.0 } else { 100.0 * remarks.recovered as f64 / total as f64 };
    Json(json!({
        "device_id": id,
        "total_events": total,
        "events": events,
        "statistics": {
            "total": total,
            "successful": remarks.recovered,
            "failed": remarks.failed,
            "success_rate": rate,
        },
    }))
}

/// Takes diagnostics of a device.
#[utoipa::path(
    post,
    path = "/diagnostics/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = CREATED, body = serde_json::Value)),
)]
pub(super) async fn report_original_diagnostics(
    State(app): State<App>,
    OriginalId(id): OriginalId,
    Object(body): Object,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut diagnostics = Value::Object(body);
    diagnostics["device_id"] = id.as_str().into();
    if diagnostics.to_string().len() > DIAGNOSTICS_BYTES_MAX {
        return Err(bad(format!("diagnostics have {DIAGNOSTICS_BYTES_MAX} bytes at most")));
    }
    app.ingest.original_calls.note(&id, |remarks| remarks.diagnosed(diagnostics)).await?;
    let message = "Diagnostics stored";
    let answer = json!({ "success": true, "device_id": id, "message": message });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Lists the newest diagnostics of a device.
#[utoipa::path(
    get,
    path = "/diagnostics/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    responses(
        (status = OK, description = "Those since the server started, ten at most.", body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_original_diagnostics(
    State(app): State<App>,
    OriginalDevice { id, device }: OriginalDevice,
) -> Json<Value> {
    let remarks = app.ingest.original_calls.remarks.of(device.number());
    let diagnostics: Vec<_> = remarks.diagnostics.into_iter().rev().collect();
    Json(json!({ "success": true, "device_id": id, "diagnostics": diagnostics }))
}
