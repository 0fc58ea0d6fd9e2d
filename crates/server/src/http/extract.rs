//! Extractors that refuse with the API's own errors.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use ecowatt_model::DeviceNumber;
use serde::de::DeserializeOwned;

use super::App;
use super::auth::Caller;
use super::error::ApiError;
use super::error_code::ErrorCode;
use crate::fleet::Reached;

/// A JSON body; the outermost layer has already read its bytes.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// The query string. Unknown parameters are refused, so that a misspelt one is not silently
/// ignored.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(params) = Query::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}

/// The device that the path names, found in the store and visible to the caller.
pub(crate) struct DevicePath(pub(crate) Reached);

impl FromRequestParts<App> for DevicePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, app).await?;
        let Path(text) =
            Path::<String>::from_request_parts(parts, app).await.map_err(|rejection| {
                ApiError::bad_request(ErrorCode::InvalidDevice, rejection.body_text())
            })?;
        let within = app.fleet.within(caller.scope());
        let device = within.device(device_number(&text)?).await?;
        device.map(Self).ok_or_else(ApiError::device_unknown)
    }
}

/// The path's last part as a number.
pub(crate) struct NumberPath(pub(crate) i64);

impl<S: Send + Sync> FromRequestParts<S> for NumberPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let TextPath(text) = TextPath::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|_| {
            ApiError::bad_request(ErrorCode::InvalidId, "the last part of the address is a number")
        })
    }
}

/// The path's last part as text.
pub(crate) struct TextPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for TextPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| {
                ApiError::bad_request(ErrorCode::InvalidId, rejection.body_text())
            })?;
        Ok(Self(text))
    }
}

/// Parses a device id.
pub(crate) fn device_number(text: &str) -> Result<DeviceNumber, ApiError> {
    text.parse().map_err(|error: ecowatt_model::ParseDeviceIdError| {
        ApiError::bad_request(ErrorCode::InvalidDevice, error.to_string())
    })
}

/// The address that the request came from; behind a trusted proxy, the one that the proxy names.
/// Absent where there is no socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) Option<std::net::IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}
