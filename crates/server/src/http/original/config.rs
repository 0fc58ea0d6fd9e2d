//! Settings of a device, as the device asks for and reports them.

use std::sync::PoisonError;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::OriginalRefusal;
use ecowatt_store::Settings;
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::error::ApiError;
use super::answer::{now_s, over_quota, refused};
use super::extract::{Object, OriginalId, bad};
use crate::desired::{ORIGINAL_SETTINGS, original_values};

/// Returns what a device has, or would have from the factory, under its own names.
pub(super) fn original_config(values: &Settings) -> Map<String, Value> {
    let value = |setting: &crate::desired::OriginalSetting| {
        (setting.name.to_owned(), setting.seconds_in(values).unwrap_or(setting.default_s).into())
    };
    let mut config: Map<_, _> = ORIGINAL_SETTINGS.iter().map(value).collect();
    // The firmware compresses whatever it was told.
    config.insert("compression_enabled".into(), true.into());
    config
}

/// Counts a report: a device reports when it starts, and anyone could report for it.
fn count_report(app: &App, id: &str) -> Result<(), Duration> {
    let mut reports = app.original_reports.lock().unwrap_or_else(PoisonError::into_inner);
    reports.wrong(id, app.real_time.mono())
}

/// Shows a device the settings that it is to change.
#[utoipa::path(
    get,
    path = "/config/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself, such as `ESP32_001`.")),
    responses((status = OK, description = "`pending_config.config_update` is there if `is_pending` is true.", body = serde_json::Value)),
)]
pub(super) async fn find_original_config(
    State(app): State<App>,
    OriginalId(id): OriginalId,
) -> Result<Json<Value>, ApiError> {
    let config = app.ingest.original_calls.config(&id).await?;
    let mut answer = json!({
        "success": true,
        "device_id": id,
        "config": original_config(&config.values),
        "is_default": config.values.0.is_empty(),
        "is_pending": !config.update.is_empty(),
        "timestamp": now_s(&app),
    });
    if !config.update.is_empty() {
        let update: Map<String, Value> =
            config.update.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        answer["pending_config"] = json!({ "config_update": update });
    }
    Ok(Json(answer))
}

/// Notes that a device has applied the settings that it was shown last.
#[utoipa::path(
    post,
    path = "/config/{id}/acknowledge",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "The device was not shown any settings.", body = OriginalRefusal),
    ),
)]
pub(super) async fn acknowledge_original_config(
    State(app): State<App>,
    OriginalId(id): OriginalId,
    Object(body): Object,
) -> Result<Response, ApiError> {
    let status = body.get("status").ok_or_else(|| bad("Missing required field: status"))?;
    // The firmware sends `applied` and nothing else; whatever says otherwise leaves them pending.
    let is_applied = ["applied", "acknowledged"].iter().any(|text| status == text);
    if is_applied && !app.ingest.original_calls.acknowledge(&id).await? {
        return Ok(refused(StatusCode::NOT_FOUND, "No pending config found to acknowledge"));
    }
    let message = "Configuration acknowledgment received";
    let answer = json!({ "success": true, "device_id": id, "message": message, "status": status });
    Ok(Json(answer).into_response())
}

/// Notes the settings that a device reports to have.
#[utoipa::path(
    post,
    path = "/config/{id}/current",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = TOO_MANY_REQUESTS, description = "The device reports more often than it starts.", body = OriginalRefusal),
    ),
)]
pub(super) async fn report_original_config(
    State(app): State<App>,
    OriginalId(id): OriginalId,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let seconds = |name: &str| body.get(name)?.as_u64().and_then(|value| value.try_into().ok());
    let values = original_values(seconds);
    if let Err(wait) = count_report(&app, &id) {
        return Err(over_quota(wait));
    }
    app.ingest.original_calls.current(&id, values).await?;
    Ok(Json(json!({
        "success": true,
        "device_id": id,
        "message": "Current config received",
        "timestamp": now_s(&app),
    })))
}
