//! Commands: what a device is to do next and how it ended, and what operators queue and look up.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::OriginalRefusal;
use ecowatt_model::{SourceNumber, UnixMs};
use ecowatt_store::{Author, Command, CommandNumber, CommandState};
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::auth::{Acting, Caller};
use super::super::error::ApiError;
use super::super::error_code::ErrorCode;
use super::super::extract::Params;
use super::answer::{Limit, LimitQuery, refused};
use super::command_fields::{action, item};
use super::extract::{Object, OriginalDevice, OriginalId, bad};
use crate::access::{Principal, Right};
use crate::command::{CommandRequest, OriginalAction};
use crate::fleet::Reached;
use crate::limits::COMMAND_FIGURES_HOURS_MAX;
use crate::time::{instant, rfc3339};

/// Their one inverter.
const INVERTER: SourceNumber = SourceNumber(0);

/// Commands on a page by default and at most.
const COMMANDS: Limit = Limit { default: 20, max: 100 };

/// The firmware opens a connection for each of these calls and waits for its end.
const CLOSE: [(HeaderName, HeaderValue); 1] =
    [(header::CONNECTION, HeaderValue::from_static("close"))];

/// Returns the next command of a device.
///
/// One at a time, because the firmware executes the first and drops the others. It counts as sent
/// from here on and is not sent again.
#[utoipa::path(
    get,
    path = "/commands/{id}/poll",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn take_original_command(
    State(app): State<App>,
    OriginalId(id): OriginalId,
) -> Result<Response, ApiError> {
    let next = app.ingest.original_calls.next_command(&id).await?;
    let commands: Vec<_> = next
        .map(
            |(number, action)| json!({ "command_id": number.to_string(), "command": item(action) }),
        )
        .into_iter()
        .collect();
    let count = commands.len();
    let answer = json!({ "success": true, "device_id": id, "commands": commands, "count": count });
    Ok((CLOSE, Json(answer)).into_response())
}

/// Notes how a command of a device ended.
#[utoipa::path(
    post,
    path = "/commands/{id}/result",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "The device was not sent such a command.", body = OriginalRefusal),
    ),
)]
pub(super) async fn report_original_result(
    State(app): State<App>,
    OriginalId(id): OriginalId,
    Object(body): Object,
) -> Result<Response, ApiError> {
    let result = body.get("command_result").and_then(Value::as_object);
    let result = result.ok_or_else(|| bad("command_result field is required"))?;
    let text = |name: &str| result.get(name).and_then(Value::as_str);
    let command = text("command_id").ok_or_else(|| bad("command_result.command_id is required"))?;
    let is_success = text("status") == Some("success");
    let at = text("executed_at").and_then(instant);
    if !note_result(&app, &id, command, is_success, at).await? {
        let error = format!("Command {command:.40} not found");
        return Ok((CLOSE, refused(StatusCode::NOT_FOUND, error)).into_response());
    }
    let status = if is_success { "completed" } else { "failed" };
    let answer =
        json!({ "success": true, "device_id": id, "command_id": command, "status": status });
    Ok((CLOSE, Json(answer)).into_response())
}

/// Notes how a command ended; returns whether the device was sent such a command.
pub(super) async fn note_result(
    app: &App,
    id: &str,
    command: &str,
    is_success: bool,
    at: Option<UnixMs>,
) -> Result<bool, ApiError> {
    let Ok(number) = command.parse() else { return Ok(false) };
    Ok(app.ingest.original_calls.result(id, number, is_success, at).await?)
}

/// Queues a command for a device of the earlier EcoWatt.
#[utoipa::path(
    post,
    path = "/commands/{id}",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself.")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = CREATED, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
        (status = CONFLICT, description = "Too many commands have not ended.", body = OriginalRefusal),
    ),
)]
pub(super) async fn create_original_command(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    OriginalDevice { id, device }: OriginalDevice,
    Object(body): Object,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let command = queue(&app, &caller, by, &device, &body).await?;
    Ok((
        StatusCode::CREATED,
        Json(json!({
            "success": true,
            "device_id": id,
            "command_id": command,
            "note": "the device gets it when it next asks",
        })),
    ))
}

/// Queues a command; returns its id.
pub(super) async fn queue(
    app: &App,
    caller: &Principal,
    by: Author,
    device: &Reached,
    body: &Map<String, Value>,
) -> Result<String, ApiError> {
    let (kind, arguments) = action(body).map_err(bad)?.kind();
    let arguments: BTreeMap<_, _> =
        arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let source = Some(INVERTER);
    let request =
        CommandRequest { kind: kind.into(), source, arguments, ..CommandRequest::default() };
    let created = app.commands.send(by, device, caller.may(Right::Expert), &request).await?;
    let command = created.command.number.to_string();
    tracing::info!(by = %caller, device_id = %device.number(), command, kind, "command made");
    Ok(command)
}

/// Shows a command of a device of the earlier EcoWatt.
#[utoipa::path(
    get,
    path = "/commands/status/{id}",
    tag = "original",
    params(("id" = String, Path, description = "Such as `cmd-17`.")),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such command.", body = OriginalRefusal),
    ),
)]
pub(super) async fn find_original_command(
    State(app): State<App>,
    Caller(caller): Caller,
    OriginalId(command): OriginalId,
) -> Result<Json<Value>, ApiError> {
    let unknown = || {
        let text = format!("Command {command:.40} not found");
        ApiError::not_found(ErrorCode::CommandUnknown, text)
    };
    let number: CommandNumber = command.parse().map_err(|_| unknown())?;
    let found = app.commands.find(number).await?.ok_or_else(unknown)?;
    let device = app.fleet.within(caller.scope()).device(found.new.device).await?;
    device.ok_or_else(unknown)?;
    let id = app.store.find_original_id(found.new.device).await?.ok_or_else(unknown)?;
    Ok(Json(json!({ "success": true, "command_id": command, "status": row(&id, &found) })))
}

/// Lists the commands of a device of the earlier EcoWatt, newest first.
#[utoipa::path(
    get,
    path = "/commands/{id}/history",
    tag = "original",
    params(("id" = String, Path, description = "What the device calls itself."), LimitQuery),
    responses(
        (status = OK, body = serde_json::Value),
        (status = NOT_FOUND, description = "There is no such device.", body = OriginalRefusal),
    ),
)]
pub(super) async fn list_original_commands(
    State(app): State<App>,
    OriginalDevice { id, device }: OriginalDevice,
    Params(query): Params<LimitQuery>,
) -> Result<Json<Value>, ApiError> {
    let page = app.commands.list(&device, None, None, COMMANDS.of(query)).await?;
    let commands: Vec<_> = page.commands.iter().map(|command| row(&id, command)).collect();
    let count = commands.len();
    Ok(Json(json!({ "success": true, "device_id": id, "commands": commands, "count": count })))
}

/// Counts commands.
#[utoipa::path(
    get,
    path = "/commands/stats",
    tag = "original",
    responses((status = OK, body = serde_json::Value)),
)]
pub(super) async fn find_original_command_statistics(
    State(app): State<App>,
) -> Result<Json<Value>, ApiError> {
    let hours = i64::from(COMMAND_FIGURES_HOURS_MAX);
    let since = UnixMs(app.clock.now().0.saturating_sub(hours * 3_600_000));
    let figures = app.commands.figures(None, since).await?;
    let count = |wanted: &[CommandState]| -> u64 {
        let of = figures.states.iter().filter(|of| wanted.contains(&of.state));
        of.map(|of| of.commands).sum()
    };
    let completed = count(&[CommandState::Succeeded]);
    let failed = count(&[CommandState::Failed]);
    let ended = completed + failed;
    #[expect(clippy::cast_precision_loss, reason = "a rate of counts far below 2^52")]
    let rate = if ended == 0 { 0.0 } else { 100.0 * completed as f64 / ended as f64 };
    Ok(Json(json!({
        "success": true,
        "statistics": {
            "total_commands": count(&CommandState::ALL),
            "pending_commands": count(&[CommandState::Queued]),
            "executing_commands": count(&[CommandState::Sent, CommandState::Accepted]),
            "completed_commands": ended,
            "successful_commands": completed,
            "failed_commands": failed,
            "success_rate": rate,
        },
    })))
}

pub(super) fn row(id: &str, command: &Command) -> Value {
    let ended = (!command.state.is_open()).then(|| rfc3339(command.since));
    json!({
        "id": command.number.0,
        "command_id": command.number.to_string(),
        "device_id": id,
        "command": OriginalAction::of(&command.new.order).map(item),
        "status": match command.state {
            CommandState::Queued => "pending",
            CommandState::Sent | CommandState::Accepted => "dispatched",
            CommandState::Succeeded => "completed",
            CommandState::Failed => "failed",
            CommandState::Expired => "expired",
            CommandState::Cancelled => "cancelled",
            CommandState::Unknown => "unknown",
        },
        "created_at": rfc3339(command.by.at),
        "acknowledged_at": ended,
    })
}
