//! Who may use the API, as stored: tokens, browser sessions and the one-time set-up code.
//!
//! The store only sees SHA-256 hashes of secrets; creating and comparing secrets is the caller's
//! task.

use ecowatt_model::UnixMs;

use crate::StoreError;
use crate::limits::TOKENS_MAX;

/// SHA-256 of a secret.
pub type SecretHash = [u8; 32];

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Owner,
    /// Read devices, sites and measurements.
    Viewer,
    /// Read the server's own metrics.
    Metrics,
}

impl Role {
    const ALL: [Self; 3] = [Self::Owner, Self::Viewer, Self::Metrics];

    /// The word stored in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Viewer => "viewer",
            Self::Metrics => "metrics",
        }
    }

    pub(crate) fn from_str(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Number of a token, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub i64);

/// A new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub role: Role,
    pub hash: SecretHash,
    pub created: UnixMs,
    /// Absent: the token never expires.
    pub expires: Option<UnixMs>,
}

/// A token as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    pub created: UnixMs,
    pub expires: Option<UnixMs>,
    /// When the token or one of its sessions was last used; up to some minutes late.
    pub last_used: Option<UnixMs>,
}

/// Number of a session, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

/// A token and the session that it was used through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSession {
    pub token: Token,
    pub session: SessionId,
}

/// A browser session as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub token: TokenId,
    pub token_name: String,
    pub created: UnixMs,
    pub expires: UnixMs,
    pub last_used: Option<UnixMs>,
}

/// A use of a token or of one of its sessions, with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    pub token: TokenId,
    pub session: Option<SessionId>,
    pub at: UnixMs,
}

/// A new browser session.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub hash: SecretHash,
    pub token: TokenId,
    pub created: UnixMs,
    pub expires: UnixMs,
}

/// Spends the set-up code to create a token with a session.
#[derive(Debug, Clone)]
pub struct RedeemSetup {
    pub code: SecretHash,
    pub token: NewToken,
    pub session: SecretHash,
    pub session_expires: UnixMs,
}

/// Why a token was not created.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateTokenError {
    #[error("there is a token of that name")]
    NameTaken,
    #[error("there are {TOKENS_MAX} tokens already; revoke an unused one")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a token was not deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeleteTokenError {
    #[error("there is no such token")]
    Unknown,
    #[error("it is the last token of an owner")]
    LastOwner,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a set-up code was not redeemed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedeemSetupError {
    #[error("no such set-up code, or it was redeemed")]
    Unknown,
    #[error("there is a token of that name")]
    NameTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}
