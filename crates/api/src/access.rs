//! Who may use the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Owner,
    /// Looking at devices, sites and measurements, and nothing else.
    Viewer,
    /// Reading the server's own counts (`/metrics`), and nothing else.
    Metrics,
}

/// Redeems the one-time set-up link that `ecowatt serve` prints at its first start.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemSetup {
    /// The code from the link.
    pub code: String,
}

/// Exchanges a token for a browser session (a cookie that scripts cannot read).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    pub token: String,
}

/// The session that the answer's cookie carries.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    pub role: Role,
    /// Name of the token behind the session.
    pub token_name: String,
    /// The owner token itself, shown this once: only in the answer to a redeemed set-up link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<String>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub role: Role,
    pub created: String,
    /// When it ceases to be valid; never, if absent.
    pub expires: Option<String>,
    /// When it was shown last, itself or through a session.
    pub last_used: Option<String>,
    /// Whether this request was made with it, or with a session of it.
    pub is_own: bool,
}

/// Makes a token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What people call it; 1 to 80 characters, and no other token's name.
    pub name: String,
    pub role: Role,
    /// How long it is valid; without end if absent.
    #[serde(default)]
    pub valid_for_s: Option<u64>,
}

/// A token just made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    #[serde(flatten)]
    pub token: Token,
    /// The token itself, shown this once.
    pub secret: String,
}

/// A browser session that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningSession {
    pub id: i64,
    /// The token that was exchanged for it.
    pub token_id: i64,
    pub token_name: String,
    pub created: String,
    pub expires: String,
    pub last_used: Option<String>,
    /// Whether this request was made with it.
    pub is_own: bool,
}

/// A claim code that can still be redeemed, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenClaim {
    /// The code's first group.
    pub id: String,
    /// The device that redeeming it enrols.
    pub device: String,
    pub device_name: String,
    pub created: String,
    pub expires: String,
}
