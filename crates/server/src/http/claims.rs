//! `/api/v1/claims`: claim codes that were not redeemed yet.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::OpenClaim;

use super::App;
use super::auth::{Acting, Caller};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::TextPath;
use crate::time::rfc3339;

/// Lists the claim codes that can still be redeemed, the youngest first; 1,000 at most.
#[utoipa::path(
    get,
    path = "/api/v1/claims",
    tag = "access",
    responses((status = OK, body = Vec<OpenClaim>)),
)]
pub(super) async fn list_claims(State(app): State<App>) -> Result<Json<Vec<OpenClaim>>, ApiError> {
    let claims = app.enrolment.open_claims().await?;
    Ok(Json(claims.into_iter().map(claim).collect()))
}

/// Voids a claim code.
#[utoipa::path(
    delete,
    path = "/api/v1/claims/{id}",
    tag = "access",
    params(("id" = String, Path, description = "The code's first group.")),
    responses(
        (status = NO_CONTENT, description = "The code cannot be redeemed."),
        (status = NOT_FOUND, description = "There is no such code, or it was redeemed.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_claim(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    TextPath(id): TextPath,
) -> Result<StatusCode, ApiError> {
    if !app.enrolment.void_claim(by, &id).await? {
        return Err(ApiError::not_found(
            ErrorCode::ClaimUnknown,
            "there is no such claim code to redeem",
        ));
    }
    tracing::info!(by = %caller, claim = id.to_ascii_uppercase(), "claim code voided");
    Ok(StatusCode::NO_CONTENT)
}

fn claim(claim: ecowatt_store::OpenClaim) -> OpenClaim {
    OpenClaim {
        id: claim.id,
        device: claim.device.to_string(),
        device_name: claim.device_name,
        created: rfc3339(claim.created),
        expires: rfc3339(claim.expires),
    }
}
