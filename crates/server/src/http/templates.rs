//! `/api/v1/config/templates`: templates and their changes. [`template_use`] has their devices.
//!
//! [`template_use`]: super::template_use

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ecowatt_api::{
    CONFIG_CHANGES_PAGE_MAX, ConfigTemplate, ConfigTemplateList, CreateTemplate, DEVICES_PAGE_MAX,
    TemplateChange, TemplateHistory, TemplatePreview, TemplatePreviewDevice, TemplateSetting,
    UpdateTemplate,
};
use ecowatt_model::setting::Setting;
use ecowatt_store::{self as stored, TemplateError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Acting, Caller};
use super::configuration::{changed_setting, setting_refused, value};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, Params, device_number};
use crate::desired::{ChangeTemplateError, DevicePreview, TemplateLine, TemplateRequest};
use crate::limits::{CONFIG_CHANGES_PAGE_DEFAULT, PREVIEW_PAGE_DEFAULT};
use crate::time::rfc3339;

/// Lists all templates by name.
#[utoipa::path(
    get,
    path = "/api/v1/config/templates",
    tag = "config",
    responses((status = OK, body = ConfigTemplateList)),
)]
pub(super) async fn list_templates(
    State(app): State<App>,
) -> Result<Json<ConfigTemplateList>, ApiError> {
    let templates = app.templates.list().await?;
    Ok(Json(ConfigTemplateList { templates: templates.iter().map(template).collect() }))
}

/// Creates a template, which no device uses yet.
#[utoipa::path(
    post,
    path = "/api/v1/config/templates",
    tag = "config",
    request_body = CreateTemplate,
    responses(
        (status = CREATED, body = ConfigTemplate),
        (status = BAD_REQUEST, description = "The name, a setting or a value is not allowed.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The name is taken, or there are 500 templates.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_template(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    Body(body): Body<CreateTemplate>,
) -> Result<(StatusCode, Json<ConfigTemplate>), ApiError> {
    let CreateTemplate { name, set } = body;
    let request = TemplateRequest { name, set, ..TemplateRequest::default() };
    app.templates.create(by, &request).await?;
    tracing::info!(by = %caller, template = request.name, "template created");
    let found = app.templates.find(&request.name).await?;
    Ok((StatusCode::CREATED, Json(template(&found))))
}

/// Shows a template.
#[utoipa::path(
    get,
    path = "/api/v1/config/templates/{name}",
    tag = "config",
    params(("name" = String, Path, description = "Such as `mobile-uplink`.")),
    responses(
        (status = OK, body = ConfigTemplate),
        (status = NOT_FOUND, description = "There is no such template.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn find_template(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ConfigTemplate>, ApiError> {
    Ok(Json(template(&app.templates.find(&name).await?)))
}

/// Changes a template; the devices that use it follow.
///
/// A device keeps the values that are set for itself. Each device gets the change with the reply to
/// its next message.
#[utoipa::path(
    patch,
    path = "/api/v1/config/templates/{name}",
    tag = "config",
    params(("name" = String, Path, description = "Such as `mobile-uplink`.")),
    request_body = UpdateTemplate,
    responses(
        (status = OK, body = ConfigTemplate),
        (status = BAD_REQUEST, description = "A setting or value is not allowed.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such template.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The template has another version than expected.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn update_template(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    Path(name): Path<String>,
    Body(body): Body<UpdateTemplate>,
) -> Result<Json<ConfigTemplate>, ApiError> {
    let is_changed = app.templates.edit(by, &request(name.clone(), body)).await?;
    let found = app.templates.find(&name).await?;
    if is_changed {
        let version = found.version;
        tracing::info!(by = %caller, template = name, version, "template changed");
    }
    Ok(Json(template(&found)))
}

/// Deletes a template that no device uses.
#[utoipa::path(
    delete,
    path = "/api/v1/config/templates/{name}",
    tag = "config",
    params(("name" = String, Path, description = "Such as `mobile-uplink`.")),
    responses(
        (status = NO_CONTENT, description = "The template is deleted."),
        (status = NOT_FOUND, description = "There is no such template.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "Devices use the template.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_template(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.templates.delete(by, &name).await?;
    tracing::info!(by = %caller, template = name, "template deleted");
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewQuery {
    /// Devices on the page: 1 to 500. Default: 100.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the devices that a change of a template would change, and how. Nothing is changed.
#[utoipa::path(
    post,
    path = "/api/v1/config/templates/{name}/preview",
    tag = "config",
    params(("name" = String, Path, description = "Such as `mobile-uplink`."), PreviewQuery),
    request_body = UpdateTemplate,
    responses(
        (status = OK, body = TemplatePreview),
        (status = BAD_REQUEST, description = "A setting or value is not allowed.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such template.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The template has another version than expected.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn preview_template(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<PreviewQuery>,
    Body(body): Body<UpdateTemplate>,
) -> Result<Json<TemplatePreview>, ApiError> {
    let limit = query.limit.unwrap_or(PREVIEW_PAGE_DEFAULT);
    if limit == 0 || limit > DEVICES_PAGE_MAX {
        return Err(invalid_limit(DEVICES_PAGE_MAX));
    }
    let after =
        query.cursor.as_deref().map(device_number).transpose().map_err(|_| invalid_cursor())?;
    let page = app.templates.preview(&request(name, body), after, limit).await?;
    let device = |preview: &DevicePreview| TemplatePreviewDevice {
        device: preview.device.to_string(),
        settings: preview.changes.iter().map(changed_setting).collect(),
    };
    Ok(Json(TemplatePreview {
        devices: page.devices.iter().map(device).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TemplateHistoryQuery {
    /// Changes on the page: 1 to 100. Default: 20.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists the changes of a template, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/config/templates/{name}/history",
    tag = "config",
    params(("name" = String, Path, description = "Such as `mobile-uplink`."), TemplateHistoryQuery),
    responses(
        (status = OK, body = TemplateHistory),
        (status = NOT_FOUND, description = "There is no such template.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn list_template_changes(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<TemplateHistoryQuery>,
) -> Result<Json<TemplateHistory>, ApiError> {
    let limit = query.limit.unwrap_or(CONFIG_CHANGES_PAGE_DEFAULT);
    if limit == 0 || limit > CONFIG_CHANGES_PAGE_MAX {
        return Err(invalid_limit(CONFIG_CHANGES_PAGE_MAX));
    }
    let before =
        query.cursor.as_deref().map(str::parse).transpose().map_err(|_| invalid_cursor())?;
    let page = app.templates.history(&name, before, limit).await?;
    let change = |line: &TemplateLine| TemplateChange {
        version: line.version.version,
        at: rfc3339(line.version.by.at),
        by: line.version.by.who.clone(),
        settings: line.changes.iter().map(changed_setting).collect(),
    };
    Ok(Json(TemplateHistory {
        changes: page.lines.iter().map(change).collect(),
        next_cursor: page.next.map(|version| version.to_string()),
    }))
}

fn request(name: String, body: UpdateTemplate) -> TemplateRequest {
    let UpdateTemplate { set, unset, version } = body;
    TemplateRequest { name, set, unset, expected: version }
}

fn template(template: &stored::ConfigTemplate) -> ConfigTemplate {
    let setting = |(key, number): (&stored::SettingKey, &u32)| {
        let setting = Setting::numbered(key.setting)?;
        Some(TemplateSetting { name: setting.name.into(), value: value(setting, *number) })
    };
    ConfigTemplate {
        name: template.name.clone(),
        version: template.version,
        changed: rfc3339(template.by.at),
        by: template.by.who.clone(),
        settings: template.settings.0.iter().filter_map(setting).collect(),
        devices: template.devices,
        outdated: template.outdated,
    }
}

fn invalid_limit(max: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(ErrorCode::InvalidLimit, format!("`limit` is 1 to {max}"))
}

fn invalid_cursor() -> ApiError {
    ApiError::bad_request(ErrorCode::InvalidCursor, "`cursor` is not one that a page gave")
}

impl From<ChangeTemplateError> for ApiError {
    fn from(error: ChangeTemplateError) -> Self {
        match error {
            ChangeTemplateError::Name => {
                Self::bad_request(ErrorCode::InvalidName, error.to_string())
            }
            ChangeTemplateError::OfInverter(_) => {
                Self::bad_request(ErrorCode::InvalidSetting, error.to_string())
            }
            ChangeTemplateError::Setting(error) => setting_refused(&error),
            ChangeTemplateError::Template(error) => error.into(),
        }
    }
}

impl From<TemplateError> for ApiError {
    fn from(error: TemplateError) -> Self {
        let text = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, text.clone());
        match error {
            TemplateError::Unknown => Self::not_found(ErrorCode::TemplateUnknown, text),
            TemplateError::UnknownDevice => Self::device_unknown(),
            TemplateError::NameTaken => conflict(ErrorCode::TemplateNameTaken),
            TemplateError::InUse(_) => conflict(ErrorCode::TemplateInUse),
            TemplateError::OtherVersion(_) => conflict(ErrorCode::ConfigChanged),
            TemplateError::TooMany => conflict(ErrorCode::TooManyTemplates),
            TemplateError::Exhausted | TemplateError::TooManyValues(_) => {
                conflict(ErrorCode::DeviceUsedUp)
            }
            TemplateError::Store(error) => error.into(),
        }
    }
}
