//! Who may use the API, as it is stored: tokens, browser sessions and the one-time set-up code.
//!
//! Secrets never come here, only their SHA-256 hashes; comparing and making them is the caller's.

use ecowatt_model::UnixMs;

use crate::StoreError;
use crate::error::store_failures;

/// SHA-256 of a secret.
pub type SecretHash = [u8; 32];

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Owner,
}

impl Role {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Owner => "owner",
        }
    }

    pub(crate) fn from_code(code: &str) -> Option<Self> {
        (code == "owner").then_some(Self::Owner)
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

store_failures!(CreateTokenError, RedeemSetupError);
