//! `/api/v1/devices/{id}/commands` and `/api/v1/commands`.

mod answer;

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{
    COMMANDS_PAGE_MAX, Command, CommandDetail, CommandKindList, CommandList, CommandState,
    CommandStatistics, CreateCommand,
};
use ecowatt_model::{SourceNumber, UnixMs, command as model};
use ecowatt_store::{self as stored, CancelCommandError, CommandNumber, CreateCommandError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Acting, Caller};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, DevicePath, Params, TextPath, device_number};
use crate::access::{Principal, Right};
use crate::command::{CommandRequest, CommandTextError, SendError};
use crate::limits::{
    COMMAND_FIGURES_HOURS_DEFAULT, COMMAND_FIGURES_HOURS_MAX, COMMANDS_PAGE_DEFAULT,
};
use crate::time::instant;
pub(super) use answer::failure_on_wire;
use answer::{command, kind, statistics, stored_state, transition};

/// Lists the kinds of commands that devices can be sent, with their arguments.
#[utoipa::path(
    get,
    path = "/api/v1/commands/kinds",
    tag = "commands",
    responses((status = OK, body = CommandKindList)),
)]
pub(super) async fn list_command_kinds() -> Json<CommandKindList> {
    Json(CommandKindList { kinds: model::COMMANDS.iter().map(kind).collect() })
}

/// Sends a command to a device.
///
/// The device gets it with the reply to its next message, and executes it at most once.
#[utoipa::path(
    post,
    path = "/api/v1/devices/{id}/commands",
    tag = "commands",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = CreateCommand,
    responses(
        (status = CREATED, body = Command),
        (status = OK, description = "The same request was made before with this key; this is its command.", body = Command),
        (status = BAD_REQUEST, description = "The command or an argument is not allowed; the message names the bounds.", body = ecowatt_api::Error),
        (status = FORBIDDEN, description = "The command needs the right `expert`.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device or inverter.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The key was used for another command, too many have not ended, or the deadline has passed.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_command(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
    Body(body): Body<CreateCommand>,
) -> Result<(StatusCode, Json<Command>), ApiError> {
    let request = request(body)?;
    let may_expert = caller.may(Right::Expert);
    let created = app.commands.send(by, &device, may_expert, &request).await?;
    let answer = Json(command(&created.command));
    if !created.is_new {
        return Ok((StatusCode::OK, answer));
    }
    tracing::info!(
        by = %caller,
        device_id = %device.number(),
        command = %created.command.number,
        kind = request.kind,
        "command made"
    );
    Ok((StatusCode::CREATED, answer))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CommandsQuery {
    /// Commands on the page: 1 to 100. Default: 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    state: Option<CommandState>,
}

/// Lists the commands of a device, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/commands",
    tag = "commands",
    params(("id" = String, Path, description = "Such as `dev-42`."), CommandsQuery),
    responses(
        (status = OK, body = CommandList),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn list_commands(
    State(app): State<App>,
    DevicePath(device): DevicePath,
    Params(query): Params<CommandsQuery>,
) -> Result<Json<CommandList>, ApiError> {
    let limit = query.limit.unwrap_or(COMMANDS_PAGE_DEFAULT);
    if limit == 0 || limit > COMMANDS_PAGE_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidLimit,
            format!("`limit` is 1 to {COMMANDS_PAGE_MAX}"),
        ));
    }
    let before = query.cursor.as_deref().map(str::parse).transpose().map_err(|_| {
        ApiError::bad_request(ErrorCode::InvalidCursor, "`cursor` is not one that a page gave")
    })?;
    let page = app.commands.list(&device, query.state.map(stored_state), before, limit).await?;
    Ok(Json(CommandList {
        commands: page.commands.iter().map(command).collect(),
        next_cursor: page.next.map(|number| number.to_string()),
    }))
}

/// Shows a command with every state that it had.
#[utoipa::path(
    get,
    path = "/api/v1/commands/{id}",
    tag = "commands",
    params(("id" = String, Path, description = "Such as `cmd-17`.")),
    responses(
        (status = OK, body = CommandDetail),
        (status = NOT_FOUND, description = "There is no such command, or it is no longer kept.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn find_command(
    State(app): State<App>,
    Caller(caller): Caller,
    TextPath(id): TextPath,
) -> Result<Json<CommandDetail>, ApiError> {
    let found = reached(&app, &caller, &id).await?;
    Ok(Json(detail(&app, &found).await?))
}

/// Cancels a command that was not sent yet.
#[utoipa::path(
    post,
    path = "/api/v1/commands/{id}/cancel",
    tag = "commands",
    params(("id" = String, Path, description = "Such as `cmd-17`.")),
    responses(
        (status = OK, body = CommandDetail),
        (status = NOT_FOUND, description = "There is no such command.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "It was sent, so the device may have begun it, or it has ended.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn cancel_command(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    TextPath(id): TextPath,
) -> Result<Json<CommandDetail>, ApiError> {
    let number = reached(&app, &caller, &id).await?.number;
    let cancelled = app.commands.cancel(by, number).await?;
    tracing::info!(by = %caller, command = %number, "command cancelled");
    Ok(Json(detail(&app, &cancelled).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatisticsQuery {
    /// Counts the commands of one device, such as `dev-42`. Default: those of all.
    device: Option<String>,
    /// Hours before now in which counted commands ended: 1 to 744. Default: 24.
    hours: Option<u32>,
}

/// Counts commands and shows how long they took.
#[utoipa::path(
    get,
    path = "/api/v1/commands/statistics",
    tag = "commands",
    params(StatisticsQuery),
    responses(
        (status = OK, body = CommandStatistics),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn find_command_statistics(
    State(app): State<App>,
    Caller(caller): Caller,
    Params(query): Params<StatisticsQuery>,
) -> Result<Json<CommandStatistics>, ApiError> {
    let hours = query.hours.unwrap_or(COMMAND_FIGURES_HOURS_DEFAULT);
    if hours == 0 || hours > COMMAND_FIGURES_HOURS_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidRange,
            format!("`hours` is 1 to {COMMAND_FIGURES_HOURS_MAX}"),
        ));
    }
    let within = app.fleet.within(caller.scope());
    let device = match query.device.as_deref().map(device_number).transpose()? {
        Some(number) => {
            let found = within.device(number).await?.ok_or_else(ApiError::device_unknown)?;
            Some(found.number())
        }
        None => None,
    };
    let from = UnixMs(app.clock.now().0 - i64::from(hours) * 3_600_000);
    let figures = app.commands.figures(device, from).await?;
    Ok(Json(statistics(from, &figures)))
}

/// Returns a command if it exists and the caller may see its device.
async fn reached(app: &App, caller: &Principal, id: &str) -> Result<stored::Command, ApiError> {
    let number: CommandNumber = id.parse().map_err(|error: stored::ParseCommandNumberError| {
        ApiError::bad_request(ErrorCode::InvalidId, error.to_string())
    })?;
    let found = app.commands.find(number).await?.ok_or_else(unknown)?;
    let device = app.fleet.within(caller.scope()).device(found.new.device).await?;
    device.map(|_| found).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::not_found(ErrorCode::CommandUnknown, "there is no such command")
}

async fn detail(app: &App, found: &stored::Command) -> Result<CommandDetail, ApiError> {
    let transitions = app.commands.transitions(found).await?;
    Ok(CommandDetail {
        command: command(found),
        transitions: transitions.iter().map(transition).collect(),
    })
}

fn request(body: CreateCommand) -> Result<CommandRequest, ApiError> {
    let CreateCommand { kind, inverter, arguments, valid_for_s, priority, not_before, key } = body;
    let not_before = match &not_before {
        Some(text) => Some(instant(text).ok_or_else(|| {
            let text = "`not_before` is not an RFC 3339 instant such as 2026-11-27T10:15:00Z";
            ApiError::bad_request(ErrorCode::InvalidTime, text)
        })?),
        None => None,
    };
    Ok(CommandRequest {
        kind,
        source: inverter.map(SourceNumber),
        arguments,
        valid_for: valid_for_s.map(Duration::from_secs),
        priority,
        not_before,
        key,
    })
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        let text = error.to_string();
        match error {
            SendError::Text(CommandTextError::Kind(_)) => {
                Self::bad_request(ErrorCode::CommandKindUnknown, text)
            }
            SendError::Text(_)
            | SendError::NotOfInverter(_)
            | SendError::NotOfOriginal(_)
            | SendError::WhichInverter => Self::bad_request(ErrorCode::InvalidCommand, text),
            SendError::Expert(_) => Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, text),
            SendError::NoInverter(_) => Self::not_found(ErrorCode::InverterUnknown, text),
            SendError::ValidFor => Self::bad_request(ErrorCode::InvalidDuration, text),
            SendError::Priority => Self::bad_request(ErrorCode::InvalidPriority, text),
            SendError::Ahead => Self::bad_request(ErrorCode::InvalidTime, text),
            SendError::Create(error) => error.into(),
            SendError::Store(error) => error.into(),
        }
    }
}

impl From<CreateCommandError> for ApiError {
    fn from(error: CreateCommandError) -> Self {
        let text = error.to_string();
        let conflict = |code, text| Self::new(StatusCode::CONFLICT, code, text);
        match error {
            CreateCommandError::UnknownDevice => Self::device_unknown(),
            CreateCommandError::TooMany => conflict(ErrorCode::TooManyCommands, text),
            CreateCommandError::Late => conflict(ErrorCode::DeadlinePassed, text),
            CreateCommandError::KeyTaken(_) => conflict(ErrorCode::CommandKeyTaken, text),
            CreateCommandError::Key => Self::bad_request(ErrorCode::InvalidKey, text),
            CreateCommandError::Store(error) => error.into(),
        }
    }
}

impl From<CancelCommandError> for ApiError {
    fn from(error: CancelCommandError) -> Self {
        let text = error.to_string();
        let conflict = |code, text| Self::new(StatusCode::CONFLICT, code, text);
        match error {
            CancelCommandError::Unknown => unknown(),
            CancelCommandError::Sent => conflict(ErrorCode::CommandSent, text),
            CancelCommandError::Ended => conflict(ErrorCode::CommandEnded, text),
            CancelCommandError::Store(error) => error.into(),
        }
    }
}
