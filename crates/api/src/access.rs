//! Who may use the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Owner,
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
