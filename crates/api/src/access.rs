//! Who may use the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and changes everything.
    Owner,
    /// Reads devices, sites and measurements.
    Viewer,
    /// Reads the server's own metrics (`GET /metrics`).
    Metrics,
}

/// Redeems the one-time set-up link that `ecowatt serve` prints when it first starts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemSetup {
    /// The code from the link.
    #[schema(example = "8c1d5e7a90b2f4631d0c9e8b7a6f5d4c3b2a190887766554433221100ffeedd0")]
    pub code: String,
}

/// Exchanges a token for a browser session, a cookie that scripts cannot read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    #[schema(
        example = "ew_3f9a12cd_8c1d5e7a90b2f4631d0c9e8b7a6f5d4c3b2a190887766554433221100ffeedd0"
    )]
    pub token: String,
}

/// The session that the answer's cookie carries.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    pub role: Role,
    /// Name of the token behind the session.
    #[schema(example = "grafana")]
    pub token_name: String,
    /// The owner token, returned once: in the answer to a redeemed set-up link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(
        example = "ew_3f9a12cd_8c1d5e7a90b2f4631d0c9e8b7a6f5d4c3b2a190887766554433221100ffeedd0"
    )]
    pub token: Option<String>,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    #[schema(example = 3)]
    pub id: i64,
    #[schema(example = "grafana")]
    pub name: String,
    pub role: Role,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub created: String,
    /// When it expires; absent if it never does.
    #[schema(example = "2027-11-27T10:15:00.000Z")]
    pub expires: Option<String>,
    /// When it or one of its sessions was last used.
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub last_used: Option<String>,
    /// Whether this request was made with it, or with a session of it.
    #[schema(example = false)]
    pub is_own: bool,
}

/// Creates a token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// 1 to 80 characters, and not the name of another token.
    #[schema(example = "grafana")]
    pub name: String,
    pub role: Role,
    /// How long it is valid; absent for a token that never expires.
    #[serde(default)]
    #[schema(example = 31_536_000)]
    pub valid_for_s: Option<u64>,
}

/// A new token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    #[serde(flatten)]
    pub token: Token,
    /// The token, returned this once.
    #[schema(
        example = "ew_3f9a12cd_8c1d5e7a90b2f4631d0c9e8b7a6f5d4c3b2a190887766554433221100ffeedd0"
    )]
    pub secret: String,
}

/// An open browser session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningSession {
    #[schema(example = 12)]
    pub id: i64,
    /// The token that was exchanged for it.
    #[schema(example = 3)]
    pub token_id: i64,
    #[schema(example = "grafana")]
    pub token_name: String,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub created: String,
    #[schema(example = "2026-12-27T10:15:00.000Z")]
    pub expires: String,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub last_used: Option<String>,
    /// Whether this request was made with it.
    #[schema(example = true)]
    pub is_own: bool,
}

/// A claim code that can still be redeemed, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenClaim {
    /// The code's first group.
    #[schema(example = "7KQM2")]
    pub id: String,
    /// The device that redeeming it enrols.
    #[schema(example = "dev-42")]
    pub device: String,
    #[schema(example = "Barn")]
    pub device_name: String,
    #[schema(example = "2026-11-27T10:15:00.000Z")]
    pub created: String,
    #[schema(example = "2026-11-28T10:15:00.000Z")]
    pub expires: String,
}
