//! Whether the server is there, and figures on what it did. All figures come from the store.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::super::App;
use super::super::error::ApiError;
use super::answer::now_s;
use super::config::original_config;
use super::extract::{Object, bad};

/// Devices that figures are of.
const DEVICES_MAX: u32 = 500;

/// Answers a device that looks whether the server is there.
#[utoipa::path(
    get,
    path = "/ping",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn answer_original_ping(State(app): State<App>) -> Json<Value> {
    Json(json!({ "response": "pong", "timestamp": now_s(&app) }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// What the device calls itself.
    device_id: Option<String>,
}

/// Shows the settings that a device has, or would have from the factory.
#[utoipa::path(
    get,
    path = "/config",
    tag = "original",
    params(DeviceQuery),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_default_config(
    State(app): State<App>,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = query.device_id.unwrap_or_else(|| "default".into());
    let values = app.ingest.original_calls.held_values(&id).await?;
    let mut config = original_config(&values);
    for (name, of) in
        [("poll_frequency", "sampling_interval"), ("upload_frequency", "upload_interval")]
    {
        config.insert(name.into(), config[of].clone());
    }
    config.insert("security_enabled".into(), true.into());
    Ok(Json(json!({
        "success": true, "device_id": id, "config": config, "timestamp": now_s(&app),
    })))
}

/// Answers a test of the earlier EcoWatt; nothing is kept.
#[utoipa::path(
    post,
    path = "/integration/test/sync",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn take_original_test_sync(
    State(app): State<App>,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    if body.is_empty() {
        return Err(bad("No data provided"));
    }
    Ok(Json(json!({
        "success": true,
        "message": "Test sync received",
        "test_number": body.get("test_number"),
        "test_name": body.get("test_name"),
        "timestamp": now_s(&app),
    })))
}

/// What the first [`DEVICES_MAX`] devices have sent.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    devices: u64,
    messages: u64,
    batches: u64,
    refused: u64,
    bytes: u64,
    samples: u64,
}

impl Figures {
    async fn of(app: &App) -> Result<Self, ApiError> {
        let mut sum = Self::default();
        for named in app.store.list_originals(DEVICES_MAX).await? {
            let Some(device) = app.store.find_device(named.device).await? else { continue };
            sum.devices += 1;
            sum.messages += device.link.messages;
            sum.batches += device.link.batches;
            sum.refused += device.link.refused;
            sum.bytes += device.link.bytes;
            sum.samples += device.link.samples;
        }
        Ok(sum)
    }

    fn security(self) -> Value {
        json!({
            "total_validations": self.messages,
            "successful_validations": self.messages,
            "unique_devices": self.devices,
            "devices_tracked": self.devices,
        })
    }

    fn compression(self) -> Value {
        json!({
            "total_decompressions": self.batches + self.refused,
            "successful_decompressions": self.batches,
            "failed_decompressions": self.refused,
            "total_bytes_received": self.bytes,
            "total_samples": self.samples,
        })
    }
}

/// Shows what the devices of the earlier EcoWatt have sent.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_statistics(
    State(app): State<App>,
) -> Result<Json<Value>, ApiError> {
    let figures = Figures::of(&app).await?;
    Ok(Json(json!({
        "success": true,
        "statistics": {
            "timestamp": now_s(&app),
            "compression": figures.compression(),
            "security": figures.security(),
        },
    })))
}

/// Shows that the server works.
#[utoipa::path(
    get,
    path = "/status",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_status(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let figures = Figures::of(&app).await?;
    let modules = json!({
        "compression": { "status": "operational", "total_decompressions": figures.batches },
        "security": { "status": "operational", "total_validations": figures.messages },
    });
    Ok(Json(json!({
        "success": true,
        "status": { "timestamp": now_s(&app), "system": "operational", "modules": modules },
    })))
}

/// Counts the uploads that were verified.
#[utoipa::path(
    get,
    path = "/security/stats",
    tag = "original",
    responses((status = OK, description = "Refused uploads are in the server's metrics.", body = serde_json::Value)),
)]
pub(super) async fn find_original_security_statistics(
    State(app): State<App>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "success": true, "statistics": Figures::of(&app).await?.security() })))
}

/// Counts the packets that were decoded.
#[utoipa::path(
    get,
    path = "/compression/stats",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_compression_statistics(
    State(app): State<App>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "success": true, "statistics": Figures::of(&app).await?.compression() })))
}
