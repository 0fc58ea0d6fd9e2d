//! What operators of the earlier generations call; each does what its later form does.

use axum::Json;
use axum::extract::{Query, State};
use ecowatt_api::OriginalRefusal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::super::App;
use super::super::auth::{Acting, Caller};
use super::super::error::ApiError;
use super::commands::{find_original_command, find_original_command_statistics, queue, row};
use super::config_change::apply;
use super::extract::{Object, OriginalDevice, OriginalId, bad};

/// Commands in a list.
const COMMANDS_MAX: u32 = 100;

async fn device_of(
    app: &App,
    caller: &Caller,
    body: &Map<String, Value>,
) -> Result<OriginalDevice, ApiError> {
    let id = body.get("device_id").and_then(Value::as_str);
    OriginalDevice::named(app, caller, id.ok_or_else(|| bad("device_id is required"))?).await
}

/// Sets the two intervals that the earlier generations know; refuses values that are not allowed.
async fn set(
    app: &App,
    by: Acting,
    device: OriginalDevice,
    (poll, upload): (Option<&Value>, Option<&Value>),
    done: &str,
) -> Result<Json<Value>, ApiError> {
    let named = [("sampling_interval", poll), ("upload_interval", upload)];
    let update: Map<String, Value> = named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.clone())))
        .collect();
    let Json(answer) = apply(app, by, device, &update).await?;
    match answer["config_ack"]["errors"].get(0).and_then(Value::as_str) {
        Some(error) => Err(bad(error)),
        None => Ok(Json(json!({ "status": done }))),
    }
}

/// Changes the settings of a device, as the first generation writes them.
#[utoipa::path(
    post,
    path = "/device_settings",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
        (status = CONFLICT, description = "The device has no further generation of settings.", body = OriginalRefusal),
    ),
)]
pub(super) async fn update_original_device_settings(
    State(app): State<App>,
    caller: Caller,
    by: Acting,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let device = device_of(&app, &caller, &body).await?;
    let settings = body.get("settings").and_then(Value::as_object);
    let settings = settings.ok_or_else(|| bad("settings is required"))?;
    let intervals = (settings.get("poll_freq"), settings.get("upload_freq"));
    set(&app, by, device, intervals, "updated").await
}

/// Changes the settings of a device, as the second generation writes them.
#[utoipa::path(
    post,
    path = "/config/update",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
        (status = CONFLICT, description = "The device has no further generation of settings.", body = OriginalRefusal),
    ),
)]
pub(super) async fn update_earlier_original_config(
    State(app): State<App>,
    caller: Caller,
    by: Acting,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let device = device_of(&app, &caller, &body).await?;
    let intervals = (body.get("poll_frequency"), body.get("upload_frequency"));
    set(&app, by, device, intervals, "success").await
}

/// Queues a command, as the earlier generations write it.
#[utoipa::path(
    post,
    path = "/command/queue",
    tag = "original",
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
        (status = CONFLICT, description = "Too many commands have not ended.", body = OriginalRefusal),
    ),
)]
pub(super) async fn queue_original_command(
    State(app): State<App>,
    caller: Caller,
    Acting(by): Acting,
    Object(body): Object,
) -> Result<Json<Value>, ApiError> {
    let OriginalDevice { device, .. } = device_of(&app, &caller, &body).await?;
    let command = queue(&app, &caller.0, by, &device, &body).await?;
    Ok(Json(json!({ "status": "queued", "command_id": command })))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceQuery {
    /// What the device calls itself.
    device_id: Option<String>,
}

/// Lists the newest 100 commands of a device.
#[utoipa::path(
    get,
    path = "/command/history",
    tag = "original",
    params(DeviceQuery),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn list_earlier_original_commands(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<DeviceQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = query.device_id.ok_or_else(|| bad("device_id is required"))?;
    let OriginalDevice { id, device } = OriginalDevice::named(&app, &caller, &id).await?;
    let page = app.commands.list(&device, None, None, COMMANDS_MAX).await?;
    let commands: Vec<_> = page.commands.iter().map(|command| row(&id, command)).collect();
    Ok(Json(json!({ "commands": commands })))
}

/// Shows a command.
#[utoipa::path(
    get,
    path = "/command/status/{id}",
    tag = "original",
    params(("id" = String, Path, description = "Such as `cmd-17`.")),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such command.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_earlier_original_command(
    app: State<App>,
    caller: Caller,
    id: OriginalId,
) -> Result<Json<Value>, ApiError> {
    find_original_command(app, caller, id).await
}

/// Counts commands.
#[utoipa::path(
    get,
    path = "/command/statistics",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_earlier_original_statistics(
    app: State<App>,
) -> Result<Json<Value>, ApiError> {
    let Json(answer) = find_original_command_statistics(app).await?;
    let of = |name: &str| answer["statistics"][name].clone();
    Ok(Json(json!({
        "total_commands": of("total_commands"),
        "pending": of("pending_commands"),
        "completed": of("successful_commands"),
        "failed": of("failed_commands"),
        "success_rate": of("success_rate"),
    })))
}
