//! Who may use the API, as it is stored: tokens, browser sessions and the one-time set-up code.
//!
//! Secrets never come here, only their SHA-256 hashes; comparing and making them is the caller's.

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
    /// Looking at devices, sites and measurements.
    Viewer,
    /// The server's own counts.
    Metrics,
}

impl Role {
    const ALL: [Self; 3] = [Self::Owner, Self::Viewer, Self::Metrics];

    /// The word that is stored.
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

/// Names a token for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub i64);

/// A token that is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub role: Role,
    pub hash: SecretHash,
    pub created: UnixMs,
    /// Never, if absent.
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
    /// When it was last shown, itself or through one of its sessions; some minutes late.
    pub last_used: Option<UnixMs>,
}

/// Names a session for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

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

/// A token or a session of it, and when it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub token: TokenId,
    pub session: Option<SessionId>,
    pub at: UnixMs,
}

/// A browser session that is to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub hash: SecretHash,
    pub token: TokenId,
    pub created: UnixMs,
    pub expires: UnixMs,
}

/// Spends the set-up code for a token and a session of it.
#[derive(Debug, Clone)]
pub struct RedeemSetup {
    pub code: SecretHash,
    pub token: NewToken,
    pub session: SecretHash,
    pub session_expires: UnixMs,
}

/// Why a token was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateTokenError {
    #[error("there is a token of that name")]
    NameTaken,
    #[error("there are {TOKENS_MAX} tokens already; revoke one that nobody needs")]
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
