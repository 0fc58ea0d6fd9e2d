//! `/api/v1/tokens`: lists, creates and revokes access.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ecowatt_api::{CreateToken, CreatedToken, Role, Token};
use ecowatt_store::{self as stored, DeleteTokenError, TokenId};

use super::App;
use super::auth::{Acting, Caller};
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::{Body, NumberPath};
use crate::access::{MakeTokenError, Principal, TokenRequest};
use crate::time::rfc3339;

/// Lists all tokens, expired ones included; their secrets are not stored.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "access",
    responses((status = OK, body = Vec<Token>)),
)]
pub(super) async fn list_tokens(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Json<Vec<Token>>, ApiError> {
    let tokens = app.access.tokens().await?;
    Ok(Json(tokens.into_iter().map(|listed| token(listed, &caller)).collect()))
}

/// Creates a token.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "access",
    request_body = CreateToken,
    responses(
        (status = CREATED, description = "The token is shown this once.", body = CreatedToken),
        (status = BAD_REQUEST, description = "The name or duration is not one.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "There is a token of that name, or there are too many.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn create_token(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    Body(body): Body<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    let request = TokenRequest {
        name: body.name,
        role: stored_role(body.role),
        valid_for: body.valid_for_s.map(Duration::from_secs),
    };
    let made = app.access.make_token(by, request).await?;
    tracing::info!(
        by = %caller,
        token = made.token.id.0,
        name = made.token.name,
        role = made.token.role.as_str(),
        "token created"
    );
    let secret = made.text.expose();
    Ok((StatusCode::CREATED, Json(CreatedToken { token: token(made.token, &caller), secret })))
}

/// Revokes a token; its sessions and event streams end.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "access",
    params(("id" = i64, Path, description = "The token's number.")),
    responses(
        (status = NO_CONTENT, description = "The token is void."),
        (status = NOT_FOUND, description = "There is no such token.", body = ecowatt_api::Error),
        (status = CONFLICT, description = "It is the last valid token of an owner.", body = ecowatt_api::Error),
    ),
)]
pub(super) async fn delete_token(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(by): Acting,
    NumberPath(id): NumberPath,
) -> Result<StatusCode, ApiError> {
    app.access.revoke_token(by, TokenId(id)).await?;
    tracing::info!(by = %caller, token = id, "token revoked");
    Ok(StatusCode::NO_CONTENT)
}

fn token(token: stored::Token, caller: &Principal) -> Token {
    Token {
        id: token.id.0,
        is_own: token.id == caller.token,
        name: token.name,
        role: api_role(token.role),
        created: rfc3339(token.created),
        expires: token.expires.map(rfc3339),
        last_used: token.last_used.map(rfc3339),
    }
}

/// The API's name for a role.
pub(super) fn api_role(role: stored::Role) -> Role {
    match role {
        stored::Role::Owner => Role::Owner,
        stored::Role::Viewer => Role::Viewer,
        stored::Role::Metrics => Role::Metrics,
    }
}

fn stored_role(role: Role) -> stored::Role {
    match role {
        Role::Owner => stored::Role::Owner,
        Role::Viewer => stored::Role::Viewer,
        Role::Metrics => stored::Role::Metrics,
    }
}

impl From<MakeTokenError> for ApiError {
    fn from(error: MakeTokenError) -> Self {
        let (status, code) = match error {
            MakeTokenError::Store(error) => return error.into(),
            MakeTokenError::Random(error) => return Self::internal(error.into()),
            MakeTokenError::Name => (StatusCode::BAD_REQUEST, ErrorCode::InvalidName),
            MakeTokenError::Lifetime => (StatusCode::BAD_REQUEST, ErrorCode::InvalidDuration),
            MakeTokenError::NameTaken => (StatusCode::CONFLICT, ErrorCode::TokenNameTaken),
            MakeTokenError::TooMany => (StatusCode::CONFLICT, ErrorCode::TooManyTokens),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<DeleteTokenError> for ApiError {
    fn from(error: DeleteTokenError) -> Self {
        match error {
            DeleteTokenError::Store(error) => error.into(),
            DeleteTokenError::Unknown => {
                Self::not_found(ErrorCode::TokenUnknown, "there is no such token")
            }
            DeleteTokenError::LastOwner => Self::new(
                StatusCode::CONFLICT,
                ErrorCode::LastOwner,
                "this is the last valid token of an owner; make another before it is revoked",
            ),
        }
    }
}
