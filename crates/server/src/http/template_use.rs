//! `/api/v1/devices/{id}/config/template` and `/api/v1/config/templates/{name}/devices`: which devices
//! use a template.

use axum::Json;
use axum::extract::{Path, State};
use ecowatt_api::{
    AssignTemplate, AssignTemplateToGroup, AssignedTemplate, DEVICES_PAGE_MAX, DeviceConfig,
};
use ecowatt_store::DeviceQuery;

use super::App;
use super::auth::{Acting, Caller};
use super::configuration::device_config;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, DevicePath, device_number};
use super::states::stored_device_state;
use crate::fleet::{Reached, Within};
use crate::limits::{SEARCH_CHARS_MAX, TEMPLATE_GROUP_MAX};

/// Assigns a template to a device, or takes it away.
///
/// The values that are set for the device stay.
#[utoipa::path(
    put,
    path = "/api/v1/devices/{id}/config/template",
    tag = "config",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = AssignTemplate,
    responses(
        (status = OK, body = DeviceConfig),
        (status = NOT_FOUND, description = "There is no such device or template.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The device can be given no further configuration.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn assign_template(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    DevicePath(device): DevicePath,
    Body(body): Body<AssignTemplate>,
) -> Result<Json<DeviceConfig>, ApiError> {
    if app.templates.assign(by, &device, body.template.as_deref()).await? {
        let (device_id, template) = (device.number(), body.template);
        tracing::info!(by = %caller, %device_id, template, "template assigned");
    }
    Ok(Json(device_config(&app.desired.find(&device).await?)))
}

/// Assigns a template to a group of devices.
///
/// A group is a list of devices, or all that match the filters of the device list. If the request is
/// cut short, some devices have the template; it can be repeated.
#[utoipa::path(
    put,
    path = "/api/v1/config/templates/{name}/devices",
    tag = "config",
    params(("name" = String, Path, description = "Such as `mobile-uplink`.")),
    request_body = AssignTemplateToGroup,
    responses(
        (status = OK, body = AssignedTemplate),
        (status = BAD_REQUEST, description = "No group is named, or it has too many devices.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such template or device.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "A device can be given no further configuration.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn assign_template_to_group(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    Path(name): Path<String>,
    Body(body): Body<AssignTemplateToGroup>,
) -> Result<Json<AssignedTemplate>, ApiError> {
    // Before the group is read: without a template no device counts.
    app.templates.find(&name).await?;
    let group = group(app.fleet.within(caller.scope()), body).await?;
    let changed = app.templates.assign_all(&by, &group, Some(&name)).await?;
    if changed > 0 {
        tracing::info!(by = %caller, template = name, devices = changed, "template assigned");
    }
    Ok(Json(AssignedTemplate { devices: group.len() as u64, changed: changed as u64 }))
}

/// Finds the devices of a group.
async fn group(within: Within<'_>, body: AssignTemplateToGroup) -> Result<Vec<Reached>, ApiError> {
    let AssignTemplateToGroup { devices, search, state } = body;
    let has_filter = search.is_some() || state.is_some();
    if devices.is_empty() != has_filter {
        return Err(invalid_group("a group is a list of devices, or a filter".into()));
    }
    if !has_filter {
        return listed(within, devices).await;
    }
    if search.as_ref().is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX) {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidSearch,
            format!("`search` has {SEARCH_CHARS_MAX} characters at most"),
        ));
    }
    let limit = u32::try_from(DEVICES_PAGE_MAX).unwrap_or(u32::MAX);
    matching(
        within,
        DeviceQuery { after: None, limit, search, state: state.map(stored_device_state) },
    )
    .await
}

async fn listed(within: Within<'_>, devices: Vec<String>) -> Result<Vec<Reached>, ApiError> {
    if devices.len() > DEVICES_PAGE_MAX {
        return Err(invalid_group(format!("a list has {DEVICES_PAGE_MAX} devices at most")));
    }
    let mut found = Vec::with_capacity(devices.len());
    for text in devices {
        let device = within.device(device_number(&text)?).await?;
        found.push(device.ok_or_else(ApiError::device_unknown)?);
    }
    Ok(found)
}

/// Finds all devices that match, page by page.
async fn matching(within: Within<'_>, mut query: DeviceQuery) -> Result<Vec<Reached>, ApiError> {
    let mut found = Vec::new();
    loop {
        let page = within.select(query.clone()).await?;
        if page.total > TEMPLATE_GROUP_MAX {
            return Err(invalid_group(format!("a group has {TEMPLATE_GROUP_MAX} devices at most")));
        }
        found.extend(page.devices);
        query.after = page.next;
        if query.after.is_none() {
            return Ok(found);
        }
    }
}

fn invalid_group(text: String) -> ApiError {
    ApiError::bad_request(ErrorCode::InvalidGroup, text)
}
