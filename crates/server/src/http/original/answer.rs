//! Answers in the shape that devices and programs of the earlier EcoWatt read.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ecowatt_api::OriginalRefusal;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::App;
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

/// The server's time in seconds.
pub(super) fn now_s(app: &App) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^52")]
    let ms = app.clock.now().0 as f64;
    ms / 1000.0
}

/// How many rows a list has by default and at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) default: u32,
    pub(super) max: u32,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LimitQuery {
    /// Rows of the answer; more than the original gives are not given.
    limit: Option<u32>,
}

impl Limit {
    pub(super) fn of(self, query: LimitQuery) -> u32 {
        query.limit.unwrap_or(self.default).clamp(1, self.max)
    }
}
