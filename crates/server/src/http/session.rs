//! Log-in: `/api/v1/session` and `/api/v1/setup`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use ecowatt_api::{CreateSession, RedeemSetup, RunningSession, Session};
use ecowatt_store::SessionId;

use super::App;
use super::auth::{Acting, Caller, clear_cookie, set_cookie};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, NumberPath, Peer};
use super::request_id::RequestId;
use super::tokens::api_role;
use crate::access::{AccessError, OpenedSession, Principal, RedeemedSetup};
use crate::time::rfc3339;

/// Exchanges a token for a session cookie.
#[utoipa::path(
    post,
    path = "/api/v1/session",
    tag = "access",
    request_body = CreateSession,
    responses(
        (status = OK, description = "The cookie `ecowatt_session` is set.", body = Session),
        (status = UNAUTHORIZED, description = "The token is not valid.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_session(
    State(app): State<App>,
    id: RequestId,
    peer: Peer,
    Body(body): Body<CreateSession>,
) -> Result<Response, ApiError> {
    let opened = app.access.open_session(&body.token, id.to_string()).await;
    record(&app, peer, "session", opened.as_ref());
    let opened = opened?;
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
    ),
)]
pub(super) async fn redeem_setup(
    State(app): State<App>,
    id: RequestId,
    peer: Peer,
    Body(body): Body<RedeemSetup>,
) -> Result<Response, ApiError> {
    let redeemed = app.access.redeem_setup(&body.code, id.to_string()).await;
    record(&app, peer, "setup", redeemed.as_ref().map(|redeemed| &redeemed.opened));
    let RedeemedSetup { token, opened } = redeemed?;
    let cookie = set_cookie(&app, &opened.session)?;
    let session = Session { token: Some(token.expose()), ..session(&opened.principal) };
    Ok(([(header::SET_COOKIE, cookie)], Json(session)).into_response())
}

/// Shows who the token or session of this request belongs to.
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
    Caller(caller): Caller,
    Acting(by): Acting,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1]), ApiError> {
    if let Some(session) = caller.session {
        app.access.end_session(by, session).await?;
        tracing::info!(by = %caller, "logged out");
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, clear_cookie(&app)?)]))
}

/// Lists the running browser sessions, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "access",
    responses((status = OK, body = Vec<RunningSession>)),
)]
pub(super) async fn list_sessions(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Json<Vec<RunningSession>>, ApiError> {
    let sessions = app.access.sessions().await?.into_iter();
    let listed = sessions.map(|session| RunningSession {
        id: session.id.0,
        token_id: session.token.0,
        token_name: session.token_name,
        created: rfc3339(session.created),
        expires: rfc3339(session.expires),
        last_used: session.last_used.map(rfc3339),
        is_own: caller.session == Some(session.id),
    });
    Ok(Json(listed.collect()))
}

/// Ends all sessions but the one of this request.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions",
    tag = "access",
    responses((status = NO_CONTENT, description = "No other session runs.")),
)]
pub(super) async fn delete_sessions(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
) -> Result<StatusCode, ApiError> {
    let ended = app.access.end_sessions(by, caller.session).await?;
    tracing::info!(by = %caller, ended, "all other sessions ended");
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a session.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    tag = "access",
    params(("id" = i64, Path, description = "The session's number.")),
    responses(
        (status = NO_CONTENT, description = "The session has ended."),
        (status = NOT_FOUND, description = "There is no such session.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_other_session(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    NumberPath(id): NumberPath,
) -> Result<StatusCode, ApiError> {
    if !app.access.end_session(by, SessionId(id)).await? {
        return Err(ApiError::not_found(ErrorCode::SessionUnknown, "there is no such session"));
    }
    tracing::info!(by = %caller, session = id, "session ended");
    Ok(StatusCode::NO_CONTENT)
}

/// Counts and logs the outcome of a log-in or set-up attempt.
fn record(
    app: &App,
    Peer(from): Peer,
    what: &'static str,
    outcome: Result<&OpenedSession, &AccessError>,
) {
    let from = from.map(tracing::field::display);
    let outcome = match outcome {
        Ok(OpenedSession { principal, .. }) => {
            let role = principal.role.as_str();
            tracing::info!(what, from, by = %principal, role, "logged in");
            "accepted"
        }
        Err(AccessError::Unknown | AccessError::SetupCode) => {
            if let Some(others) = app.refused_line.allow(app.real_time.mono()) {
                tracing::warn!(what, from, others, "log-in refused");
            }
            "refused"
        }
        Err(AccessError::Store(_) | AccessError::Random(_)) => "failed",
    };
    app.metrics.log_ins.add([what, outcome], 1);
}

fn session(principal: &Principal) -> Session {
    let role = api_role(principal.role);
    Session { role, token_name: principal.token_name.clone(), token: None }
}
