//! Extractors for the original's requests.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use serde_json::{Map, Value};

use super::super::App;
use super::super::auth::Caller;
use super::super::error::ApiError;
use super::super::error_code::ErrorCode;
use crate::fleet::Reached;
use crate::limits::JSON_BYTES_MAX;

/// A body that is a JSON object.
pub(super) struct Object(pub(super) Map<String, Value>);

/// What a device calls itself, as the path says.
pub(super) struct OriginalId(pub(super) String);

/// The device that the path names, found in the store and visible to the caller.
pub(super) struct OriginalDevice {
    /// What it calls itself.
    pub(super) id: String,
    pub(super) device: Reached,
}

pub(super) fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(ErrorCode::BadRequest, message.into())
}

/// Whether a body is announced as JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next()).map_or("", str::trim) == "application/json"
}

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(bad("Content-Type must be application/json"));
        }
        let body = axum::body::to_bytes(body, JSON_BYTES_MAX).await;
        match serde_json::from_slice(&body.map_err(|_| ApiError::too_large())?) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(bad("the body is not a JSON object")),
            Err(_) => Err(bad("the body is not valid JSON")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OriginalId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|rejection| bad(rejection.body_text()))
    }
}

impl OriginalDevice {
    /// Finds a device that a body or a query names.
    pub(super) async fn named(app: &App, caller: &Caller, id: &str) -> Result<Self, ApiError> {
        let Caller(caller) = caller;
        let unknown =
            || ApiError::not_found(ErrorCode::DeviceUnknown, format!("Device {id:.64} not found"));
        let number = app.store.find_original(id.into()).await?.ok_or_else(unknown)?.key.device;
        let device = app.fleet.within(caller.scope()).device(number).await?.ok_or_else(unknown)?;
        Ok(Self { id: id.into(), device })
    }
}

impl FromRequestParts<App> for OriginalDevice {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let OriginalId(id) = OriginalId::from_request_parts(parts, app).await?;
        Self::named(app, &caller, &id).await
    }
}
