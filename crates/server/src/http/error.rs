//! The one conversion from internal errors to answers for clients.
//!
//! An [`ApiError`] becomes a response that carries a [`Failure`]; the outermost layer (`request`)
//! writes the JSON body, because only it knows the request id. Causes go to the log and nowhere else.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ecowatt_store::StoreError;

use super::error_code::ErrorCode;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    retry_after_s: Option<u64>,
    failure: Failure,
}

/// What the outermost layer renders: the documented code, the message, and the cause for the log.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) cause: Option<Arc<anyhow::Error>>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: ErrorCode,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let failure = Failure { code, message: message.into(), cause: None };
        Self { status, retry_after_s: None, failure }
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn bad_request(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            "a valid token or session is needed",
        )
    }

    pub(crate) fn device_unknown() -> Self {
        Self::not_found(ErrorCode::DeviceUnknown, "there is no such device")
    }

    pub(crate) fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            ErrorCode::Timeout,
            "the body took too long to arrive",
        )
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::TooLarge,
            "the body is longer than allowed, or broke off",
        )
    }

    pub(crate) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Busy,
            "the server has more to do than it can; try again shortly",
        )
    }

    /// Nothing can be stored until space is freed.
    pub(crate) fn storage_full() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::StorageFull,
            "the server's disk is full; nothing can be stored until there is space",
        )
    }

    /// Reading or writing the database fails.
    pub(crate) fn storage_failed() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::StorageFailed,
            "the server's database cannot be read or written; its log says why",
        )
    }

    /// Nothing is stored until a backup is in the place of the database.
    pub(crate) fn storage_damaged() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::StorageFailed,
            "the server's database is damaged; put a backup in its place with `ecowatt store restore`",
        )
    }

    /// Our own fault: the client gets a constant text, the log gets `cause`.
    pub(crate) fn internal(cause: anyhow::Error) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Internal,
            "something went wrong in the server; its log knows this request id",
        );
        error.failure.cause = Some(Arc::new(cause));
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self.failure);
        response
    }
}

impl Failure {
    /// Describes a status that a layer below returned without a body.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => (ErrorCode::RouteUnknown, "there is no such route"),
            StatusCode::METHOD_NOT_ALLOWED => {
                (ErrorCode::MethodNotAllowed, "the route exists, but not with this method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                (ErrorCode::TooLarge, "the body is longer than allowed")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                (ErrorCode::UnsupportedMediaType, "the body's content type is not the one expected")
            }
            StatusCode::REQUEST_TIMEOUT => (ErrorCode::Timeout, "the request took too long"),
            status if status.is_server_error() => (
                ErrorCode::Internal,
                "something went wrong in the server; its log knows this request id",
            ),
            _ => (ErrorCode::BadRequest, "the request cannot be understood"),
        };
        Self { code, message: message.into(), cause: None }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_transient() || matches!(error, StoreError::Closed) {
            let mut later = match error {
                StoreError::Full => Self::storage_full(),
                StoreError::Io(_) => Self::storage_failed(),
                StoreError::Damaged(_) => Self::storage_damaged(),
                _ => Self::busy(),
            };
            later.failure.cause = Some(Arc::new(error.into()));
            return later;
        }
        Self::internal(error.into())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
            _ => ErrorCode::InvalidBody,
        };
        Self::new(status, code, rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(ErrorCode::InvalidQuery, rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_is_called_one() {
        let code = |error: StoreError| ApiError::from(error).failure.code.as_str();
        assert_eq!(code(StoreError::Full), "storage_full");
        for error in [StoreError::RolledBack, StoreError::Busy, StoreError::Closed] {
            assert_eq!(code(error), "busy");
        }
    }
}
