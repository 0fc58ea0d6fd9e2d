//! `/api/v1/sites`.

use axum::Json;
use axum::extract::State;
use ecowatt_api::Site;

use super::App;
use super::error::ApiError;

/// Lists all sites.
#[utoipa::path(
    get,
    path = "/api/v1/sites",
    tag = "sites",
    responses((status = OK, body = Vec<Site>)),
)]
pub(super) async fn list_sites(State(app): State<App>) -> Result<Json<Vec<Site>>, ApiError> {
    let sites = app.fleet.sites().await?;
    Ok(Json(sites.into_iter().map(site).collect()))
}

pub(super) fn site(site: ecowatt_store::Site) -> Site {
    Site { id: site.id.0, name: site.name, time_zone: site.time_zone }
}
