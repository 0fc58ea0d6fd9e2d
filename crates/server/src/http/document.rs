//! The OpenAPI document, made from the route table.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ComponentsBuilder, OpenApi};

use crate::access::Right;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "EcoWatt",
        description = "Operator API. Every answer that is not a success has the body `Error`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(
        ecowatt_api::Error,
        ecowatt_api::LiveSample,
        ecowatt_api::DeviceChanged,
        ecowatt_api::EventKind,
    ))
)]
struct Head;

/// The document before any route is in it.
pub(super) fn head() -> OpenApi {
    let mut head = Head::openapi();
    let schemes = ComponentsBuilder::from(head.components.take().unwrap_or_default())
        .security_scheme(
            "token",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        )
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("ecowatt_session"))),
        );
    head.components = Some(schemes.build());
    head
}

/// Says of every operation which right a token or a session must have; none if it is open.
pub(super) fn require(document: &mut OpenApi, right: Option<Right>) {
    for item in document.paths.paths.values_mut() {
        let slots =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in slots.into_iter().flatten() {
            let schemes: &[&str] = if right.is_some() { &["token", "session"] } else { &[] };
            let needs = |scheme: &&str| {
                SecurityRequirement::new(*scheme, right.iter().map(|right| right.as_str()))
            };
            operation.security = Some(schemes.iter().map(needs).collect());
        }
    }
}

/// The document as it is committed and served.
#[must_use]
pub fn document() -> String {
    let (_, document) = super::table(|_, routes| routes);
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The OpenAPI document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "system",
    responses((status = OK, description = "This document.", body = serde_json::Value)),
)]
pub(super) async fn show_document() -> Response {
    let (_, document) = super::table(|_, routes| routes);
    Json(document).into_response()
}
