//! The OpenAPI document, made from the route table.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder,
};

use crate::access::Right;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "EcoWatt",
        description = "Operator API. Every answer that is not a success has the body `Error`; \
            routes with the tag `original` speak the protocol of the earlier EcoWatt, and each of \
            their refusals has the body `OriginalRefusal`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(
        ecowatt_api::Error,
        ecowatt_api::OriginalRefusal,
        ecowatt_api::LiveSample,
        ecowatt_api::DeviceChanged,
        ecowatt_api::ConfigChanged,
        ecowatt_api::CommandChanged,
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
        // Named `__Host-ecowatt_session` where browsers come through TLS.
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("ecowatt_session"))),
        );
    head.components = Some(schemes.build());
    head
}

/// Adds to every operation the right that a token or session must have (none if it is open), and
/// the refusals of the layers in front of it.
pub(super) fn require(document: &mut OpenApi, right: Option<Right>) {
    for item in document.paths.paths.values_mut() {
        let slots = [
            (true, &mut item.get),
            (false, &mut item.put),
            (false, &mut item.post),
            (false, &mut item.delete),
            (false, &mut item.patch),
        ];
        let operations = slots
            .into_iter()
            .filter_map(|(is_safe, slot)| slot.as_mut().map(|operation| (is_safe, operation)));
        for (is_safe, operation) in operations {
            let is_original = is_original(operation);
            let (refusals, body) = if is_original {
                (original_refusals(operation, right), "OriginalRefusal")
            } else {
                (refusals(operation, right, is_safe), "Error")
            };
            for (status, description) in refusals {
                operation
                    .responses
                    .responses
                    .entry(status.as_str().into())
                    .or_insert_with(|| RefOr::T(refusal(description, body)));
            }
            let schemes: &[&str] = if right.is_some() { &["token", "session"] } else { &[] };
            let needs = |scheme: &&str| {
                SecurityRequirement::new(*scheme, right.iter().map(|right| right.as_str()))
            };
            operation.security = Some(schemes.iter().map(needs).collect());
        }
    }
}

/// Returns how the guard, the extractors and the outermost layer may refuse a request, judging by what the
/// operation takes.
fn refusals(
    operation: &Operation,
    right: Option<Right>,
    is_safe: bool,
) -> Vec<(StatusCode, &'static str)> {
    let mut refusals = Vec::new();
    let body = operation.request_body.as_ref();
    let is_json = body.is_some_and(|body| match body {
        RefOr::T(body) => body.content.contains_key("application/json"),
        RefOr::Ref(_) => true,
    });
    if is_json || operation.parameters.iter().flatten().next().is_some() {
        refusals.push((StatusCode::BAD_REQUEST, "A parameter or the body cannot be read."));
    }
    if right.is_some() {
        refusals.push((StatusCode::UNAUTHORIZED, "There is no valid token or session."));
    }
    if right.is_some_and(|right| right != Right::Enter || !is_safe) {
        refusals.push((
            StatusCode::FORBIDDEN,
            "The role does not allow it, or another site's page uses the session.",
        ));
    } else if right.is_none() && is_json {
        refusals.push((StatusCode::FORBIDDEN, "Another site's page sends it."));
    }
    if body.is_some() {
        refusals.extend([
            (StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive."),
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than allowed."),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has another content type."),
        ]);
    }
    if is_json {
        refusals.push((
            StatusCode::UNPROCESSABLE_ENTITY,
            "The body is JSON, but not what the operation takes.",
        ));
    }
    if operation.operation_id.as_deref() != Some("check_health") {
        refusals.push((
            StatusCode::SERVICE_UNAVAILABLE,
            "The server has more to do than it can, no space, or stops; `Retry-After` says when to \
             try again.",
        ));
    }
    refusals
}

/// Whether an operation speaks the protocol of the earlier EcoWatt.
fn is_original(operation: &Operation) -> bool {
    operation.tags.iter().flatten().any(|tag| tag == "original")
}

/// Returns how such an operation may be refused: whatever is wrong with a parameter or a body is a
/// bad request there.
fn original_refusals(
    operation: &Operation,
    right: Option<Right>,
) -> Vec<(StatusCode, &'static str)> {
    let mut refusals = vec![(
        StatusCode::SERVICE_UNAVAILABLE,
        "The server has more to do than it can, no space, or stops; `Retry-After` says when to try \
         again.",
    )];
    let has_body = operation.request_body.is_some();
    if has_body || operation.parameters.iter().flatten().next().is_some() {
        refusals.push((StatusCode::BAD_REQUEST, "A parameter or the body cannot be read."));
    }
    if has_body {
        refusals.extend([
            (StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive."),
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than allowed."),
        ]);
    }
    if right.is_some() {
        refusals.extend([
            (StatusCode::UNAUTHORIZED, "There is no valid token or session."),
            (
                StatusCode::FORBIDDEN,
                "The role does not allow it, or another site's page uses the session.",
            ),
        ]);
    }
    refusals
}

fn refusal(description: &str, body: &str) -> Response {
    let error = ContentBuilder::new().schema(Some(Ref::from_schema_name(body))).build();
    ResponseBuilder::new().description(description).content("application/json", error).build()
}

/// Returns the document as it is committed and served.
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
pub(super) async fn show_document() -> axum::response::Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        let (_, document) = super::table(|_, routes| routes);
        document.to_json().unwrap_or_default().into()
    });
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}
