//! Authenticates requests by bearer token or session cookie, and keeps pages of other sites from
//! using our sessions.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ecowatt_store::Author;

use super::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::request_id::RequestId;
use crate::access::{AccessError, Principal, Right, SessionSecret};
use crate::limits::SESSION_LIFETIME;

/// Name of the session cookie.
const COOKIE: &str = "ecowatt_session";

/// Its name behind TLS: browsers accept it from this host only, so a neighbouring host cannot plant
/// one of its own (RFC 6265bis, section 4.1.3.2).
const HOST_COOKIE: &str = "__Host-ecowatt_session";

/// Most session cookies of one request that are tried.
const COOKIES_TRIED_MAX: usize = 4;

/// Lets a request through to a guarded route if its caller is known and has the right.
pub(crate) async fn guard(
    State((app, right)): State<(App, Right)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match principal(&app, &parts).await {
        Ok(principal) if principal.may(right) => {
            parts.extensions.insert(Caller(principal));
            next.run(Request::from_parts(parts, body)).await
        }
        Ok(_) => forbidden().into_response(),
        Err(error) => error.into_response(),
    }
}

fn forbidden() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        ErrorCode::Forbidden,
        "the role of this token or session does not allow that",
    )
}

async fn principal(app: &App, request: &Parts) -> Result<Principal, ApiError> {
    if let Some(value) = request.headers.get(header::AUTHORIZATION) {
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(ApiError::unauthorized)?;
        return Ok(app.access.principal_of_token(token).await?);
    }
    let mut sessions = session_secrets(app, &request.headers).peekable();
    if sessions.peek().is_some() && !request.method.is_safe() && !is_same_origin(&request.headers) {
        return Err(cross_site());
    }
    // A stale cookie, or one of that name from a neighbouring host, may come first.
    for session in sessions.take(COOKIES_TRIED_MAX) {
        match app.access.principal_of_session(&session).await {
            Err(AccessError::Unknown) => {}
            other => return Ok(other?),
        }
    }
    Err(ApiError::unauthorized())
}

/// Refuses requests of other sites' pages to the open routes that set a cookie.
///
/// Programs send neither header and are let through: they have no cookie to abuse.
pub(crate) async fn refuse_cross_site(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_from_page =
        headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    if request.method() != Method::GET && is_from_page && !is_same_origin(headers) {
        return cross_site().into_response();
    }
    next.run(request).await
}

fn cross_site() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        ErrorCode::CrossSite,
        "a session may only be used by this server's own pages; programs use a token",
    )
}

/// Whether the browser reports that one of our own pages sent this.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    // Browsers without Fetch Metadata. The scheme is not compared: a proxy may have ended TLS.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    host.is_some() && host == origin
}

/// Returns the session secrets in the request's cookies; malformed ones are skipped.
fn session_secrets(app: &App, headers: &HeaderMap) -> impl Iterator<Item = SessionSecret> {
    let name = cookie_name(app);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(found, _)| *found == name)
        .filter_map(|(_, value)| value.parse().ok())
}

fn cookie_name(app: &App) -> &'static str {
    if app.is_https { HOST_COOKIE } else { COOKIE }
}

/// Returns the header that gives a browser its session.
pub(crate) fn set_cookie(app: &App, secret: &SessionSecret) -> Result<HeaderValue, ApiError> {
    cookie(app, &secret.expose(), SESSION_LIFETIME.as_secs())
}

/// Returns the header that removes a browser's session.
pub(crate) fn clear_cookie(app: &App) -> Result<HeaderValue, ApiError> {
    cookie(app, "", 0)
}

fn cookie(app: &App, value: &str, age_s: u64) -> Result<HeaderValue, ApiError> {
    let secure = if app.is_https { "; Secure" } else { "" };
    let name = cookie_name(app);
    let text =
        format!("{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
    let mut header =
        HeaderValue::from_str(&text).map_err(|error| ApiError::internal(error.into()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The caller that [`guard`] let through. On a route outside the guard, extracting it fails.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(ApiError::unauthorized)
    }
}

/// Who makes a change, and with which request.
#[derive(Debug, Clone)]
pub(crate) struct Acting(pub(crate) Author);

impl FromRequestParts<App> for Acting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, app).await?;
        let id = RequestId::from_request_parts(parts, app).await?;
        let request = Some(id.to_string());
        Ok(Self(Author { who: caller.to_string(), request, at: app.clock.now() }))
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Unknown => Self::unauthorized(),
            AccessError::SetupCode => Self::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::SetupCodeUnknown,
                "this set-up link is not valid or was used; restart the server for another",
            ),
            AccessError::Store(error) => error.into(),
            AccessError::Random(error) => Self::internal(error.into()),
        }
    }
}
