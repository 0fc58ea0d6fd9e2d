//! The id of a request, in its answer and in the log.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::header::HeaderName;
use axum::http::request::Parts;

use super::error::ApiError;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Identifies a request in answers and in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestId(pub(super) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let id = parts.extensions.get().copied();
        id.ok_or_else(|| ApiError::internal(anyhow::anyhow!("a request without an id")))
    }
}
