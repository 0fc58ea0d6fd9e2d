//! `GET /api/v1/system`.

use axum::Json;
use axum::extract::State;
use ecowatt_api::System;

use super::App;
use crate::time::rfc3339;

/// What this server is and whose time it shows.
#[utoipa::path(
    get,
    path = "/api/v1/system",
    tag = "system",
    responses((status = OK, body = System)),
)]
pub(super) async fn show_system(State(app): State<App>) -> Json<System> {
    Json(System {
        version: env!("CARGO_PKG_VERSION").into(),
        now: rfc3339(app.clock.now()),
        is_simulated: app.clock.is_simulated(),
        speed: app.clock.speed(),
    })
}
