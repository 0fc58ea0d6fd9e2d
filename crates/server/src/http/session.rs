//! Log-in: `/api/v1/session` and `/api/v1/setup`.

use std::net::IpAddr;
use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use ecowatt_api::{CreateSession, RedeemSetup, Role, Session};
use ecowatt_store as stored;

use super::App;
use super::auth::{Caller, clear_cookie, session_secret, set_cookie};
use super::error::ApiError;
use super::extract::{Body, Peer};
use super::frame::seconds;
use crate::access::{AccessError, Principal};

/// Exchanges a token for a session cookie.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    tag = "access",
    request_body = CreateSession,
    responses(
        (status = OK, description = "The cookie `ecowatt_session` is set.", body = Session),
        (status = UNAUTHORIZED, description = "The token is not valid.", body = ecowatt_api::Error),
        (status = TOO_MANY_REQUESTS, description = "Too many attempts from this address.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_session(
    State(app): State<App>,
    peer: Peer,
    Body(body): Body<CreateSession>,
) -> Result<Response, ApiError> {
    let attempt = Attempt::spend(&app, peer)?;
    let opened = app.access.open_session(&body.token).await;
    count(&app, "session", &opened);
    let opened = opened?;
    attempt.was_right();
    let cookie = set_cookie(&app, &opened.session)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(session(&opened.principal))).into_response())
}

/// Redeems the one-time set-up link that the server printed at its first start.
#[utoipa::path(
    post,
    path = "/api/v1/setup",
    tag = "access",
    request_body = RedeemSetup,
    responses(
        (status = OK, description = "An owner token, shown this once; the cookie `ecowatt_session` is set.", body = Session),
        (status = UNAUTHORIZED, description = "The code is not valid or was used.", body = ecowatt_api::Error),
        (status = TOO_MANY_REQUESTS, description = "Too many attempts from this address.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn redeem_setup(
    State(app): State<App>,
    peer: Peer,
    Body(body): Body<RedeemSetup>,
) -> Result<Response, ApiError> {
    let attempt = Attempt::spend(&app, peer)?;
    let redeemed = app.access.redeem_setup(&body.code).await;
    count(&app, "setup", &redeemed);
    let (token, opened) = redeemed?;
    attempt.was_right();
    let cookie = set_cookie(&app, &opened.session)?;
    let session = Session { token: Some(token.expose()), ..session(&opened.principal) };
    Ok(([(header::SET_COOKIE, cookie)], Json(session)).into_response())
}

/// Who the token or session of this request belongs to.
#[utoipa::path(
    get,
    path = "/api/v1/session",
    tag = "access",
    responses((status = OK, body = Session)),
)]
pub(super) async fn find_session(Caller(principal): Caller) -> Json<Session> {
    Json(session(&principal))
}

/// Ends the session of this request's cookie.
#[utoipa::path(
    delete,
    path = "/api/v1/session",
    tag = "access",
    responses((status = NO_CONTENT, description = "The session has ended.")),
)]
pub(super) async fn delete_session(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1]), ApiError> {
    if let Some(secret) = session_secret(&headers) {
        app.access.end_session(&secret).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, clear_cookie(&app)?)]))
}

/// One of the attempts that an address has at guessing secrets, spent until it proves right.
#[must_use]
pub(super) struct Attempt<'a> {
    app: &'a App,
    address: Option<IpAddr>,
}

impl<'a> Attempt<'a> {
    /// Spends an attempt.
    pub(super) fn spend(app: &'a App, Peer(address): Peer) -> Result<Self, Refused> {
        // Without a socket there is no address, and nobody guesses.
        if let Some(address) = address {
            let mut throttle = app.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.attempt(address, app.world.mono()).map_err(Refused)?;
        }
        Ok(Self { app, address })
    }

    /// Gives it back.
    pub(super) fn was_right(self) {
        if let Some(address) = self.address {
            let mut throttle = self.app.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.refund(address, self.app.world.mono());
        }
    }
}

/// Too many attempts; the time until the next is allowed.
#[derive(Debug)]
pub(super) struct Refused(std::time::Duration);

impl From<Refused> for ApiError {
    fn from(Refused(wait): Refused) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_attempts",
            "too many attempts from this address; try again shortly",
        )
        .retry_after(seconds(wait))
    }
}

fn count<T>(app: &App, what: &'static str, outcome: &Result<T, AccessError>) {
    let outcome = match outcome {
        Ok(_) => "accepted",
        Err(AccessError::Unknown | AccessError::SetupCode) => "refused",
        Err(AccessError::Store(_) | AccessError::Random(_)) => "failed",
    };
    app.metrics.log_ins.add([what, outcome], 1);
}

fn session(principal: &Principal) -> Session {
    let role = match principal.role {
        stored::Role::Owner => Role::Owner,
    };
    Session { role, token_name: principal.token_name.clone(), token: None }
}
