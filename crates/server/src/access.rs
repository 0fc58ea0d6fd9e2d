//! Who may use the API: tokens, browser sessions and the one-time set-up code.
//!
//! Secrets are 256 random bits. The store has only their SHA-256: they need no slow hash, because
//! nobody can try 2^256 of them. All are found by their hash, so how long a look-up takes says
//! nothing about a secret.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use ecowatt_clock::Clock;
use ecowatt_store::{
    CreateTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError, Role, SecretHash, Store,
    StoreError, Token, TokenId,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::limits::SESSION_LIFETIME;

/// Name of the token that a redeemed set-up code gives.
const SETUP_TOKEN: &str = "set-up";

/// Whoever sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub role: Role,
    pub token: TokenId,
    pub token_name: String,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("no such token or session")]
    Unknown,
    #[error("no such set-up code")]
    SetupCode,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeTokenError {
    #[error("there is a token of that name")]
    NameTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no random numbers")]
    Random(#[from] getrandom::Error),
}

/// 256 random bits that are nobody else's business.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    fn hash(&self) -> SecretHash {
        Sha256::digest(self.0).into()
    }

    /// The secret as its owner sees it. It must not reach a log.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl FromStr for Secret {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(AccessError::Unknown);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or(AccessError::Unknown)?;
        }
        Ok(Self(bytes))
    }
}

/// What a session cookie holds.
pub type SessionSecret = Secret;

/// A token as its owner holds it: `ew_<id>_<secret>`.
///
/// The id is the beginning of the secret's hash, so it gives nothing away, tells tokens apart and
/// shows a mistyped one without asking the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText(Secret);

impl TokenText {
    /// The token as its owner sees it. It must not reach a log.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("ew_{}_{}", self.id(), self.0.expose())
    }

    fn id(&self) -> String {
        let [a, b, c, d, ..] = self.0.hash();
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }
}

impl FromStr for TokenText {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let (id, secret) = text
            .trim()
            .strip_prefix("ew_")
            .and_then(|rest| rest.split_once('_'))
            .ok_or(AccessError::Unknown)?;
        let token = Self(secret.parse()?);
        if bool::from(token.id().as_bytes().ct_eq(id.as_bytes())) {
            Ok(token)
        } else {
            Err(AccessError::Unknown)
        }
    }
}

/// A session that was just made.
#[derive(Debug)]
pub struct Opened {
    pub principal: Principal,
    pub session: SessionSecret,
}

/// Decides who is who.
#[derive(Debug, Clone)]
pub struct Access {
    store: Store,
    clock: Clock,
}

impl Access {
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for whatever is not a valid token.
    pub async fn principal_of_token(&self, text: &str) -> Result<Principal, AccessError> {
        let TokenText(secret) = text.parse()?;
        let token = self.store.find_token(secret.hash(), self.clock.now()).await?;
        token.map(Principal::from).ok_or(AccessError::Unknown)
    }

    /// Whose session this is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for whatever is not a running session.
    pub async fn principal_of_session(
        &self,
        secret: &SessionSecret,
    ) -> Result<Principal, AccessError> {
        let token = self.store.find_session(secret.hash(), self.clock.now()).await?;
        token.map(Principal::from).ok_or(AccessError::Unknown)
    }

    /// Exchanges a token for a session.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for whatever is not a valid token.
    pub async fn open_session(&self, token: &str) -> Result<Opened, AccessError> {
        let principal = self.principal_of_token(token).await?;
        self.session_of(principal).await
    }

    /// Ends a session; one that does not run has ended already.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn end_session(&self, secret: &SessionSecret) -> Result<(), AccessError> {
        self.store.delete_session(secret.hash()).await?;
        Ok(())
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`MakeTokenError::NameTaken`] if there is one of that name.
    pub async fn make_token(&self, name: &str, role: Role) -> Result<TokenText, MakeTokenError> {
        let token = TokenText(Secret::random()?);
        match self.store.create_token(self.new_token(&token, name, role)).await {
            Ok(_) => Ok(token),
            Err(CreateTokenError::NameTaken) => Err(MakeTokenError::NameTaken),
            Err(CreateTokenError::Store(error)) => Err(error.into()),
        }
    }

    /// The code for the set-up link, as long as there is no token. Each start ends the code of the
    /// one before, so that a link in an old log is worth nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn setup_code(&self) -> Result<Option<Secret>, AccessError> {
        let code = Secret::random()?;
        let replaced = self.store.replace_setup_code(code.hash(), self.clock.now()).await;
        let is_owned = !self.store.list_tokens().await?.is_empty();
        match replaced {
            // Nobody can redeem a code of a server that is owned, so it starts on a full disk too.
            Err(error) if is_owned && error.is_transient() => {
                tracing::warn!(%error, "the set-up code of the last start is not replaced");
                Ok(None)
            }
            Err(error) => Err(error.into()),
            Ok(()) => Ok((!is_owned).then_some(code)),
        }
    }

    /// Exchanges the set-up code for an owner token and a session, once.
    ///
    /// # Errors
    /// [`AccessError::SetupCode`] if the code is not the one that was printed last, or was used.
    pub async fn redeem_setup(&self, code: &str) -> Result<(TokenText, Opened), AccessError> {
        let code: Secret = code.trim().parse().map_err(|_| AccessError::SetupCode)?;
        let text = TokenText(Secret::random()?);
        let session = Secret::random()?;
        let redeem = RedeemSetup {
            code: code.hash(),
            token: self.new_token(&text, SETUP_TOKEN, Role::Owner),
            session: session.hash(),
            session_expires: self.clock.now().plus(SESSION_LIFETIME),
        };
        let token = match self.store.redeem_setup(redeem).await {
            Ok(token) => token,
            // Whoever made a token of that name already has access to the folder.
            Err(RedeemSetupError::Unknown | RedeemSetupError::NameTaken) => {
                return Err(AccessError::SetupCode);
            }
            Err(RedeemSetupError::Store(error)) => return Err(error.into()),
        };
        Ok((text, Opened { principal: token.into(), session }))
    }

    async fn session_of(&self, principal: Principal) -> Result<Opened, AccessError> {
        let session = Secret::random()?;
        let created = self.clock.now();
        let new = NewSession {
            hash: session.hash(),
            token: principal.token,
            created,
            expires: created.plus(SESSION_LIFETIME),
        };
        self.store.create_session(new).await?;
        Ok(Opened { principal, session })
    }

    fn new_token(&self, token: &TokenText, name: &str, role: Role) -> NewToken {
        NewToken {
            name: name.into(),
            role,
            hash: token.0.hash(),
            created: self.clock.now(),
            expires: None,
        }
    }
}

impl From<Token> for Principal {
    fn from(token: Token) -> Self {
        Self { role: token.role, token: token.id, token_name: token.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_reads_back_and_a_mistyped_one_does_not() {
        let token = TokenText(Secret([0xa7; 32]));
        let text = token.expose();
        assert_eq!(text.len(), 3 + 8 + 1 + 64);
        assert_eq!(text.parse::<TokenText>().unwrap(), token);
        let mistyped = text.replacen("a7", "a8", 1);
        for bad in ["", "ew_", "ew__", &text[1..], &text[..text.len() - 1], &mistyped] {
            assert!(bad.parse::<TokenText>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(format!("{:?}", TokenText(Secret([1; 32]))), "TokenText(Secret(..))");
    }
}
