//! `/api/v1/settings` and `/api/v1/devices/{id}/config`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{
    CONFIG_CHANGES_PAGE_MAX, ConfigChange, ConfigHistory, ConfigReport, ConfigState, DeviceConfig,
    Setting, SettingChange, SettingKind, SettingList, SettingOrigin, SettingRefusal, SettingScope,
    SettingState, SettingStatus, SettingValue, UpdateConfig,
};
use ecowatt_model::{ConfigGeneration, SourceNumber, setting as model};
use ecowatt_store::{self as stored, EditConfigError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Acting, Caller};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, DevicePath, Params};
use crate::desired::{
    self, ConfigError, ConfigRequest, ConfigStatus, HistoryLine, SettingError, value_text,
};
use crate::limits::CONFIG_CHANGES_PAGE_DEFAULT;
use crate::time::rfc3339;

/// Lists the settings that devices can be given, with their allowed values.
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    tag = "config",
    responses((status = OK, body = SettingList)),
)]
pub(super) async fn list_settings() -> Json<SettingList> {
    Json(SettingList { settings: model::SETTINGS.iter().map(setting).collect() })
}

/// Shows what a device should use and what it uses, setting by setting.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/config",
    tag = "config",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    responses(
        (status = OK, body = DeviceConfig),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn find_config(
    State(app): State<App>,
    DevicePath(device): DevicePath,
) -> Result<Json<DeviceConfig>, ApiError> {
    Ok(Json(device_config(&app.desired.find(&device).await?)))
}

/// Changes what a device should use.
///
/// Nothing is changed if any value is refused. The device gets the change with the reply to its next
/// message.
#[utoipa::path(
    patch,
    path = "/api/v1/devices/{id}/config",
    tag = "config",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = UpdateConfig,
    responses(
        (status = OK, body = DeviceConfig),
        (status = BAD_REQUEST, description = "A setting or value is not allowed; the message names the bounds.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device or inverter.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The configuration has another generation than expected.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn update_config(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
    Body(body): Body<UpdateConfig>,
) -> Result<Json<DeviceConfig>, ApiError> {
    let UpdateConfig { set, unset, generation } = body;
    let expected = generation.map(ConfigGeneration);
    let is_changed = app.desired.edit(by, &device, &ConfigRequest { set, unset, expected }).await?;
    let status = app.desired.find(&device).await?;
    if is_changed {
        let generation = status.config.desired.as_ref().map(|now| now.desired.generation.0);
        tracing::info!(by = %caller, device_id = %device.number(), generation, "settings changed");
    }
    Ok(Json(device_config(&status)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Changes on the page: 1 to 100. Default: 20.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the changes of what a device should use, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/config/history",
    tag = "config",
    params(("id" = String, Path, description = "Such as `dev-42`."), HistoryQuery),
    responses(
        (status = OK, body = ConfigHistory),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn list_config_changes(
    State(app): State<App>,
    DevicePath(device): DevicePath,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<ConfigHistory>, ApiError> {
    let limit = query.limit.unwrap_or(CONFIG_CHANGES_PAGE_DEFAULT);
    if limit == 0 || limit > CONFIG_CHANGES_PAGE_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidLimit,
            format!("`limit` is 1 to {CONFIG_CHANGES_PAGE_MAX}"),
        ));
    }
    let before = query.cursor.as_deref().map(str::parse).transpose().map_err(|_| {
        ApiError::bad_request(ErrorCode::InvalidCursor, "`cursor` is not one that a page gave")
    })?;
    let page = app.desired.history(&device, before.map(ConfigGeneration), limit).await?;
    Ok(Json(ConfigHistory {
        changes: page.lines.iter().map(change).collect(),
        next_cursor: page.next.map(|generation| generation.0.to_string()),
    }))
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        let conflict = |code, text| Self::new(StatusCode::CONFLICT, code, text);
        match error {
            ConfigError::Setting(error) => setting_refused(&error),
            ConfigError::Edit(EditConfigError::TooMany) => {
                Self::bad_request(ErrorCode::InvalidSetting, text)
            }
            ConfigError::NoInverter(_) => Self::not_found(ErrorCode::InverterUnknown, text),
            ConfigError::Edit(EditConfigError::UnknownDevice) => Self::device_unknown(),
            ConfigError::Edit(EditConfigError::OtherGeneration(_)) => {
                conflict(ErrorCode::ConfigChanged, text)
            }
            ConfigError::Edit(EditConfigError::Exhausted) => {
                conflict(ErrorCode::DeviceUsedUp, text)
            }
            ConfigError::Edit(EditConfigError::Store(error)) => error.into(),
        }
    }
}

pub(super) fn setting_refused(error: &SettingError) -> ApiError {
    let code = match error {
        SettingError::Unknown(_) => ErrorCode::SettingUnknown,
        SettingError::NotOfInverter(_)
        | SettingError::Inverter(_)
        | SettingError::Both(_)
        | SettingError::Value { .. } => ErrorCode::InvalidSetting,
    };
    ApiError::bad_request(code, error.to_string())
}

fn setting(setting: &model::Setting) -> Setting {
    let value = |number| Some(value(setting, number));
    let (kind, min, max, choices) = match setting.kind {
        model::SettingKind::Duration { min_ms, max_ms } => {
            (SettingKind::Duration, value(min_ms), value(max_ms), &[][..])
        }
        model::SettingKind::Count { min, max } => {
            (SettingKind::Count, value(min), value(max), &[][..])
        }
        model::SettingKind::OneOf(names) => (SettingKind::OneOf, None, None, names),
    };
    Setting {
        name: setting.name.into(),
        summary: setting.summary.into(),
        kind,
        scope: match setting.scope {
            model::SettingScope::Device => SettingScope::Device,
            model::SettingScope::Inverter => SettingScope::Inverter,
        },
        min,
        max,
        choices: choices.iter().map(|name| (*name).into()).collect(),
    }
}

pub(super) fn value(setting: &model::Setting, value: u32) -> SettingValue {
    SettingValue { value, text: value_text(setting, value) }
}

pub(super) fn device_config(status: &ConfigStatus) -> DeviceConfig {
    let ConfigStatus { config, settings } = status;
    let desired = config.desired.as_ref();
    let report = config.current_report().map(|report| ConfigReport {
        generation: report.reported.generation.0,
        state: match report.reported.state {
            stored::ConfigState::Unknown => ConfigState::Unknown,
            stored::ConfigState::Applied => ConfigState::Applied,
            stored::ConfigState::Trial => ConfigState::Trial,
            stored::ConfigState::Reverted => ConfigState::Reverted,
        },
        received: rfc3339(report.received_at),
    });
    DeviceConfig {
        generation: desired.map_or(0, |version| version.desired.generation.0),
        changed: desired.map(|version| rfc3339(version.by.at)),
        by: desired.map(|version| version.by.who.clone()),
        pending: config.is_pending(),
        template: config.template.clone(),
        report,
        settings: settings.iter().map(setting_status).collect(),
    }
}

fn setting_status(status: &desired::SettingStatus) -> SettingStatus {
    let desired::SettingStatus { setting, key, desired, origin, in_use, state } = status;
    let (state, refused) = match state {
        desired::SettingState::InUse => (SettingState::InUse, None),
        desired::SettingState::Pending => (SettingState::Pending, None),
        desired::SettingState::Refused(reason) => (SettingState::Refused, Some(refusal(*reason))),
        desired::SettingState::Reverted => (SettingState::Reverted, None),
        desired::SettingState::NotUsed => (SettingState::NotUsed, None),
        desired::SettingState::OwnConfiguration => (SettingState::OwnConfiguration, None),
    };
    SettingStatus {
        name: setting.name.into(),
        inverter: number(key.source),
        desired: desired.map(|number| value(setting, number)),
        origin: origin.map(|origin| match origin {
            desired::SettingOrigin::Device => SettingOrigin::Device,
            desired::SettingOrigin::Template => SettingOrigin::Template,
        }),
        in_use: in_use.map(|number| value(setting, number)),
        state,
        refused,
    }
}

fn refusal(reason: stored::SettingRefusal) -> SettingRefusal {
    match reason {
        stored::SettingRefusal::Other => SettingRefusal::Other,
        stored::SettingRefusal::UnknownSetting => SettingRefusal::UnknownSetting,
        stored::SettingRefusal::OutOfBounds => SettingRefusal::OutOfBounds,
        stored::SettingRefusal::Unsupported => SettingRefusal::Unsupported,
        stored::SettingRefusal::NoSource => SettingRefusal::NoInverter,
    }
}

fn number(source: Option<SourceNumber>) -> Option<u8> {
    source.map(|source| source.0)
}

pub(super) fn changed_setting(change: &desired::SettingChange) -> SettingChange {
    SettingChange {
        name: change.setting.name.into(),
        inverter: number(change.source),
        before: change.before.map(|number| value(change.setting, number)),
        after: change.after.map(|number| value(change.setting, number)),
    }
}

fn change(line: &HistoryLine) -> ConfigChange {
    ConfigChange {
        generation: line.version.desired.generation.0,
        at: rfc3339(line.version.by.at),
        by: line.version.by.who.clone(),
        settings: line.changes.iter().map(changed_setting).collect(),
    }
}
