//! Answers in the shape that devices and programs of the earlier EcoWatt read.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::OriginalRefusal;

use super::super::error::ApiError;
use super::super::error_code::ErrorCode;
use super::super::request::seconds;

/// Refuses a request with the original's text.
pub(super) fn refused(status: StatusCode, error: impl Into<String>) -> Response {
    let refusal = OriginalRefusal { success: false, error: error.into() };
    (status, Json(refusal)).into_response()
}

/// Refuses a device that has sent more than its share.
pub(super) fn over_quota(wait: Duration) -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::OverQuota,
        "the device has sent more than its share; send it again later",
    )
    .retry_after(seconds(wait))
}
