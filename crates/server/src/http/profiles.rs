//! `/api/v1/profiles`.

use axum::Json;
use ecowatt_api::Profile;
use ecowatt_profile::catalogue;

/// Lists the profiles that every agent has, by title.
#[utoipa::path(
    get,
    path = "/api/v1/profiles",
    tag = "devices",
    responses((status = OK, body = Vec<Profile>)),
)]
pub(super) async fn list_profiles() -> Json<Vec<Profile>> {
    let profile = |entry: &catalogue::Entry| {
        let title = catalogue::find(entry.id)?.title().to_owned();
        Some(Profile { id: entry.id.into(), title })
    };
    let mut profiles: Vec<_> = catalogue::list().iter().filter_map(profile).collect();
    profiles.sort_by(|a, b| a.title.cmp(&b.title));
    Json(profiles)
}
