//! `/api/v1/sites`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{Site, UpdateSite, Updated};
use ecowatt_store::{EditSite, SiteId};

use super::App;
use super::auth::{Acting, Caller};
use super::change_refused::change_refused;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, NumberPath};

/// Lists all sites.
#[utoipa::path(
    get,
    path = "/api/v1/sites",
    tag = "sites",
    responses((status = OK, body = Vec<Site>)),
)]
pub(super) async fn list_sites(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Json<Vec<Site>>, ApiError> {
    let sites = app.fleet.within(caller.scope()).sites().await?;
    Ok(Json(sites.into_iter().map(site).collect()))
}

/// Changes a site's name and time zone.
///
/// Days that are stored stay as they were cut by the zone that the site had; if there are any,
/// `keep_past_days` must say that this may be so.
#[utoipa::path(
    patch,
    path = "/api/v1/sites/{id}",
    tag = "sites",
    params(("id" = i64, Path, description = "The site's number.")),
    request_body = UpdateSite,
    responses(
        (status = OK, body = Updated),
        (status = BAD_REQUEST, description = "The name or time zone is not one.", body = ecowatt_api::Error),
        (status = NOT_FOUND, description = "There is no such site.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "There is a site of that name, or past days would stay cut by another time zone.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn update_site(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    NumberPath(id): NumberPath,
    Body(body): Body<UpdateSite>,
) -> Result<Json<Updated>, ApiError> {
    let change = EditSite {
        site: SiteId(id),
        name: body.name,
        time_zone: body.time_zone,
        keeps_past_days: body.keep_past_days,
    };
    app.editor.site(by, change).await.map_err(|error| change_refused(error, site_unknown))?;
    app.ingest.forget_places();
    tracing::info!(by = %caller, site = id, "site changed");
    Ok(Json(Updated { warning: None }))
}

/// Deletes a site without devices.
#[utoipa::path(
    delete,
    path = "/api/v1/sites/{id}",
    tag = "sites",
    params(("id" = i64, Path, description = "The site's number.")),
    responses(
        (status = NO_CONTENT, description = "There is no such site any more."),
        (status = NOT_FOUND, description = "There is no such site.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The site has devices.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_site(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    NumberPath(id): NumberPath,
) -> Result<StatusCode, ApiError> {
    let deleted = app.editor.delete_site(by, SiteId(id)).await;
    deleted.map_err(|error| change_refused(error, site_unknown))?;
    tracing::info!(by = %caller, site = id, "site deleted");
    Ok(StatusCode::NO_CONTENT)
}

fn site_unknown() -> ApiError {
    ApiError::not_found(ErrorCode::SiteUnknown, "there is no such site")
}

pub(super) fn site(site: ecowatt_store::Site) -> Site {
    Site { id: site.id.0, name: site.name, time_zone: site.time_zone }
}
