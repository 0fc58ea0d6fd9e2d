//! `/api/v1/original-devices`: enrolment of devices of the earlier EcoWatt.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{EnrolOriginal, EnrolledOriginal};

use super::App;
use super::auth::Acting;
use super::error::ApiError;
use super::extract::Body;
use crate::original_request::OriginalRequest;

/// Enrols a device of the earlier EcoWatt with the key that it has, or gives an enrolled one another
/// key.
///
/// Under another key its nonces start again.
#[utoipa::path(
    post,
    path = "/api/v1/original-devices",
    tag = "devices",
    request_body = EnrolOriginal,
    responses(
        (status = CREATED, body = EnrolledOriginal),
        (status = BAD_REQUEST, description = "The id, key, name or time zone is invalid, or the key is the published one.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "The site exists in another time zone, or the device has used all key generations.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn enrol_original(
    State(app): State<App>,
    Acting(by): Acting,
    Body(body): Body<EnrolOriginal>,
) -> Result<(StatusCode, Json<EnrolledOriginal>), ApiError> {
    let EnrolOriginal { id, key, name, site, published_key } = body;
    let site = site.map(|site| (site.name, site.time_zone));
    let request = OriginalRequest { id: id.clone(), key, name, site, published_key };
    let who = by.who.clone();
    let device = app.enrolment.enrol_original(by, request).await?;
    tracing::info!(by = who, device_id = %device, id, "device of the earlier EcoWatt enrolled");
    Ok((StatusCode::CREATED, Json(EnrolledOriginal { device: device.to_string(), id })))
}
