//! `PATCH /api/v1/devices/{id}` and `PATCH /api/v1/sites/{id}`.

use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{UpdateDevice, UpdateSite};
use ecowatt_store::{ChangeError, DeviceChange, SiteChange, SiteId};

use super::App;
use super::auth::Caller;
use super::devices::device_unknown;
use super::error::ApiError;
use super::extract::{Body, DevicePath, NumberPath};
use crate::naming::NamingError;

/// Renames a device or moves it to another site; what was measured stays.
#[utoipa::path(
    patch,
    path = "/api/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "Such as `dev-42`.")),
    request_body = UpdateDevice,
    responses(
        (status = NO_CONTENT, description = "It is as wished."),
        (status = BAD_REQUEST, description = "A name or time zone is not one.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such device.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The site is in another time zone.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn update_device(
    State(app): State<App>,
    Caller(caller): Caller,
    DevicePath(number): DevicePath,
    Body(body): Body<UpdateDevice>,
) -> Result<StatusCode, ApiError> {
    let site = body.site.map(|site| (site.name, site.time_zone));
    app.naming.change_device(number, DeviceChange { name: body.name, site }).await?;
    app.ingest.forget_places();
    tracing::info!(by = %caller, device_id = %number, "device renamed or moved");
    Ok(StatusCode::NO_CONTENT)
}

/// Renames a site, or puts one where nothing was measured yet into another time zone.
#[utoipa::path(
    patch,
    path = "/api/v1/sites/{id}",
    tag = "sites",
    params(("id" = i64, Path, description = "The site's number.")),
    request_body = UpdateSite,
    responses(
        (status = NO_CONTENT, description = "It is as wished."),
        (status = BAD_REQUEST, description = "The name or time zone is not one.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such site.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The name is taken, or days are counted already.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn update_site(
    State(app): State<App>,
    Caller(caller): Caller,
    NumberPath(id): NumberPath,
    Body(body): Body<UpdateSite>,
) -> Result<StatusCode, ApiError> {
    let change = SiteChange { name: body.name, time_zone: body.time_zone };
    app.naming.change_site(SiteId(id), change).await?;
    app.ingest.forget_places();
    tracing::info!(by = %caller, site = id, "site changed");
    Ok(StatusCode::NO_CONTENT)
}

impl From<NamingError> for ApiError {
    fn from(error: NamingError) -> Self {
        let text = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, text.clone());
        match error {
            NamingError::Name(_) => Self::bad_request("invalid_name", text),
            NamingError::TimeZone(_) => Self::bad_request("invalid_time_zone", text),
            NamingError::Change(error) => match error {
                ChangeError::Store(error) => error.into(),
                ChangeError::UnknownDevice(_) => device_unknown(),
                ChangeError::UnknownSite(_) => Self::not_found("site_unknown", text),
                ChangeError::NoSuchSite => Self::bad_request("site_unknown", text),
                ChangeError::NameTaken => conflict("name_taken"),
                ChangeError::OtherTimeZone(_) => conflict("site_in_other_time_zone"),
                ChangeError::DaysCounted(_) => conflict("days_counted"),
            },
        }
    }
}
