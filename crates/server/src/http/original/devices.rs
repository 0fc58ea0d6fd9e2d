//! Devices: their registration, and the list of them.

use axum::Json;
use axum::extract::State;
use ecowatt_store::{Device, DeviceState};
use serde_json::{Value, json};

use super::super::App;
use super::super::auth::Caller;
use super::super::error::ApiError;
use super::extract::{Object, bad};
use crate::time::rfc3339;

/// Devices in a list: each is looked up.
const DEVICES_MAX: u32 = 500;

/// Takes a device's registration.
///
/// It notes the version of the firmware. A device that no operator has enrolled is answered alike,
/// and its uploads are refused.
#[utoipa::path(
    post,
    path = "/devices",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn register_original(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let id = text("device_id").ok_or_else(|| bad("device_id is required"))?;
    if let Some(firmware) = text("firmware_version") {
        app.ingest.original_calls.note(id, |remarks| remarks.runs(firmware)).await?;
    }
    let device = json!({ "device_id": id, "firmware_version": text("firmware_version") });
    let message = "Device registration received";
    Ok(Json(json!({ "success": true, "message": message, "device": device })))
}

/// Lists the devices of the earlier EcoWatt.
#[utoipa::path(
    get,
    path = "/devices",
    tag = "original",
    responses((status = OK, description = "The first 500.", body = serde_json::Value)),
)]
pub(super) async fn list_originals(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Json<Value>, ApiError> {
    let mut devices = Vec::new();
    for named in app.store.list_originals(DEVICES_MAX).await? {
        // Only what the caller may see.
        if app.fleet.within(caller.scope()).device(named.device).await?.is_some()
            && let Some(device) = app.store.find_device(named.device).await?
        {
            devices.push(row(&named.id, &device));
        }
    }
    let count = devices.len();
    Ok(Json(json!({ "success": true, "devices": devices, "count": count })))
}

fn row(id: &str, device: &Device) -> Value {
    json!({
        "device_id": id,
        "device_name": device.name,
        "location": device.site.name,
        "description": device.number.to_string(),
        "status": match device.state {
            DeviceState::Waiting => "registered",
            DeviceState::Silent => "inactive",
            _ => "active",
        },
        "firmware_version": device.link.firmware.as_deref().unwrap_or("unknown"),
        "registered_at": rfc3339(device.created),
        "last_seen": device.link.last_seen.map(rfc3339),
    })
}
