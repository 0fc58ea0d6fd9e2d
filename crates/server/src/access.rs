//! Who may use the API: tokens, browser sessions and the one-time set-up code.
//!
//! Secrets are 256 random bits. The store has only their SHA-256: they need no slow hash, because
//! nobody can try 2^256 of them. All are found by their hash, so how long a look-up takes says
//! nothing about a secret.
//!
//! Nothing that was withdrawn is remembered here: each request asks the store, so what another
//! process revokes (`ecowatt token revoke --data DIR`) is void at once as well.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_store::{
    By, CreateTokenError, DeleteTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError,
    Role, SecretHash, Session, SessionId, Store, StoreError, Token, TokenId, Use,
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::limits::{SESSION_LIFETIME, TOKEN_LIFETIME_MAX, USES_HELD_MAX, USES_KEPT_EVERY};
use crate::stopping::stopped;
use crate::text::checked_name;

/// Name of the token that a redeemed set-up code gives.
const SETUP_TOKEN: &str = "set-up";

/// Who replaces the set-up code, and whoever has it, in the lines that say who changed what.
const SERVER: &str = "server";
const SETUP_LINK: &str = "set-up link";

/// Whoever sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub role: Role,
    pub token: TokenId,
    pub token_name: String,
    /// The session of the token that the request showed, if it did not show the token itself.
    pub session: Option<SessionId>,
    /// When the token expires.
    pub expires: Option<UnixMs>,
}

/// What a route lets its caller do. Each right contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// To be somebody: to see and to end the session that one has.
    Enter,
    /// To read the server's own counts.
    Measure,
    /// To look at devices, sites and measurements.
    Read,
    /// To change things, and to see who else has access.
    Write,
}

impl Right {
    /// The word for it in the API's document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Measure => "measure",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The highest right of a role.
    fn of(role: Role) -> Self {
        match role {
            Role::Owner => Self::Write,
            Role::Viewer => Self::Read,
            Role::Metrics => Self::Measure,
        }
    }
}

impl Principal {
    pub(crate) fn may(&self, right: Right) -> bool {
        right <= Right::of(self.role)
    }
}

/// What of the fleet somebody may see. A read asks for one, and nobody has one but a
/// [`Principal`] who was let in: what is read for nobody cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope(pub(in crate::access) Reach);

/// How far a scope reaches. Reads take it apart, so that the compiler leads whoever adds a narrower
/// one to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Fleet,
}

impl Principal {
    /// What of the fleet they may see.
    pub(crate) fn scope(&self) -> Scope {
        Scope(Reach::Fleet)
    }
}

impl Scope {
    pub(crate) fn reach(self) -> Reach {
        self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} ({})", self.token.0, self.token_name)?;
        match self.session {
            Some(session) => write!(f, ", session {}", session.0),
            None => Ok(()),
        }
    }
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
    #[error(
        "a token's name has 1 to {} characters and no control characters",
        crate::limits::NAME_CHARS_MAX
    )]
    Name,
    #[error("a token is valid for a minute at least and {} days at most, or without end", TOKEN_LIFETIME_MAX.as_secs() / 86_400)]
    Lifetime,
    #[error("there is a token of that name")]
    NameTaken,
    #[error(
        "there are {} tokens already; revoke one that nobody needs",
        ecowatt_store::limits::TOKENS_MAX
    )]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no random numbers")]
    Random(#[from] getrandom::Error),
}

/// A token that is to be.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub name: String,
    pub role: Role,
    /// Without end if absent.
    pub valid_for: Option<Duration>,
}

/// A token just made, and the only time that its text is seen.
#[derive(Debug, Clone)]
pub struct MadeToken {
    pub token: Token,
    pub text: TokenText,
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
    uses: Arc<Mutex<Uses>>,
}

/// When tokens and sessions were used, until that is stored: a request that reads writes nothing.
type Uses = HashMap<(TokenId, Option<SessionId>), UnixMs>;

impl Access {
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, uses: Arc::default() }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for whatever is not a valid token.
    pub async fn principal_of_token(&self, text: &str) -> Result<Principal, AccessError> {
        let TokenText(secret) = text.parse()?;
        let now = self.clock.now();
        let token = self.store.find_token(secret.hash(), now).await?;
        let principal = Principal::new(token.ok_or(AccessError::Unknown)?, None);
        self.note(&principal, now);
        Ok(principal)
    }

    /// Whose session this is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for whatever is not a running session.
    pub async fn principal_of_session(
        &self,
        secret: &SessionSecret,
    ) -> Result<Principal, AccessError> {
        let now = self.clock.now();
        let found = self.store.find_session(secret.hash(), now).await?;
        let (token, session) = found.ok_or(AccessError::Unknown)?;
        let principal = Principal::new(token, Some(session));
        self.note(&principal, now);
        Ok(principal)
    }

    /// Whether what a request showed is still valid, for answers that go on.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn is_valid(&self, principal: &Principal) -> Result<bool, StoreError> {
        self.store.is_valid(principal.token, principal.session, self.clock.now()).await
    }

    /// Exchanges a token for a session.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for whatever is not a valid token.
    pub async fn open_session(&self, token: &str, request: String) -> Result<Opened, AccessError> {
        let principal = self.principal_of_token(token).await?;
        self.session_of(principal, request).await
    }

    /// Sessions that run, the youngest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        let mut sessions = self.store.list_sessions(self.clock.now()).await?;
        let uses = self.lock();
        for session in &mut sessions {
            let used = uses.get(&(session.token, Some(session.id))).copied();
            session.last_used = session.last_used.max(used);
        }
        Ok(sessions)
    }

    /// Ends a session; says whether it ran.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn end_session(&self, by: By, id: SessionId) -> Result<bool, StoreError> {
        self.store.delete_session(by, id).await
    }

    /// Ends all sessions but one; gives their number.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn end_sessions(&self, by: By, but: Option<SessionId>) -> Result<usize, StoreError> {
        self.store.delete_sessions(by, but).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// If the name is taken or is none, or the lifetime is none.
    pub async fn make_token(
        &self,
        by: By,
        request: TokenRequest,
    ) -> Result<MadeToken, MakeTokenError> {
        let name = checked_name(&request.name).ok_or(MakeTokenError::Name)?;
        let sensible = Duration::from_secs(60)..=TOKEN_LIFETIME_MAX;
        if request.valid_for.is_some_and(|valid_for| !sensible.contains(&valid_for)) {
            return Err(MakeTokenError::Lifetime);
        }
        let text = TokenText(Secret::random()?);
        let new = self.new_token(&text, &name, request.role, request.valid_for);
        match self.store.create_token(by, new).await {
            Ok(token) => Ok(MadeToken { token, text }),
            Err(CreateTokenError::NameTaken) => Err(MakeTokenError::NameTaken),
            Err(CreateTokenError::TooMany) => Err(MakeTokenError::TooMany),
            Err(CreateTokenError::Store(error)) => Err(error.into()),
        }
    }

    /// All tokens, those that expired included.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let mut tokens = self.store.list_tokens().await?;
        let uses = self.lock();
        for token in &mut tokens {
            let used = uses.iter().filter(|((id, _), _)| *id == token.id).map(|(_, at)| *at);
            token.last_used = token.last_used.max(used.max());
        }
        Ok(tokens)
    }

    /// Revokes a token with its sessions, but not the last one of an owner: that would leave nobody
    /// to give access back over the network.
    ///
    /// # Errors
    /// If there is no such token or it must stay.
    pub async fn revoke_token(&self, by: By, id: TokenId) -> Result<(), DeleteTokenError> {
        self.store.delete_token(by, id, Some(self.clock.now())).await
    }

    /// The code for the set-up link, as long as there is no owner. Each start ends the code of the
    /// one before, so that a link in an old log is worth nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn setup_code(&self) -> Result<Option<Secret>, AccessError> {
        let code = Secret::random()?;
        let now = self.clock.now();
        let replaced = self.store.replace_setup_code(By::new(SERVER, now), code.hash(), now).await;
        let is_owned = self.store.is_owned().await?;
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
    pub async fn redeem_setup(
        &self,
        code: &str,
        request: String,
    ) -> Result<(TokenText, Opened), AccessError> {
        let code: Secret = code.trim().parse().map_err(|_| AccessError::SetupCode)?;
        let text = TokenText(Secret::random()?);
        let session = Secret::random()?;
        let at = self.clock.now();
        let by = By { who: SETUP_LINK.into(), request: Some(request), at };
        let redeem = RedeemSetup {
            code: code.hash(),
            token: self.new_token(&text, SETUP_TOKEN, Role::Owner, None),
            session: session.hash(),
            session_expires: self.clock.now().plus(SESSION_LIFETIME),
        };
        let (token, id) = match self.store.redeem_setup(by, redeem).await {
            Ok(token) => token,
            // Whoever made a token of that name already has access to the folder.
            Err(RedeemSetupError::Unknown | RedeemSetupError::NameTaken) => {
                return Err(AccessError::SetupCode);
            }
            Err(RedeemSetupError::Store(error)) => return Err(error.into()),
        };
        Ok((text, Opened { principal: Principal::new(token, Some(id)), session }))
    }

    async fn session_of(
        &self,
        principal: Principal,
        request: String,
    ) -> Result<Opened, AccessError> {
        let session = Secret::random()?;
        let created = self.clock.now();
        let expires = created.plus(SESSION_LIFETIME);
        let new = NewSession {
            hash: session.hash(),
            token: principal.token,
            created,
            expires: principal.expires.map_or(expires, |end| end.min(expires)),
        };
        let by = By { who: principal.to_string(), request: Some(request), at: created };
        // A token that was revoked in between gives no session.
        let id = self.store.create_session(by, new).await?.ok_or(AccessError::Unknown)?;
        Ok(Opened { principal: Principal { session: Some(id), ..principal }, session })
    }

    fn new_token(
        &self,
        text: &TokenText,
        name: &str,
        role: Role,
        valid_for: Option<Duration>,
    ) -> NewToken {
        let created = self.clock.now();
        NewToken {
            name: name.into(),
            role,
            hash: text.0.hash(),
            created,
            expires: valid_for.map(|valid_for| created.plus(valid_for)),
        }
    }

    fn note(&self, principal: &Principal, at: UnixMs) {
        let mut uses = self.lock();
        let key = (principal.token, principal.session);
        if uses.len() < USES_HELD_MAX || uses.contains_key(&key) {
            uses.insert(key, at);
        }
    }

    /// Stores when tokens and sessions were used. What the store does not take is noted no more: it
    /// is for people, and the next use says as much.
    async fn keep_uses(&self) {
        let uses = std::mem::take(&mut *self.lock());
        if uses.is_empty() {
            return;
        }
        let uses = uses.into_iter().map(|((token, session), at)| Use { token, session, at });
        if let Err(error) = self.store.note_uses(uses.collect()).await {
            tracing::debug!(%error, "last uses of tokens not stored");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores now and then when tokens and sessions were used, until `stop` says so.
pub(crate) async fn keep_uses(access: Access, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(USES_KEPT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => break,
            _ = ticks.tick() => access.keep_uses().await,
        }
    }
    access.keep_uses().await;
}

impl Principal {
    fn new(token: Token, session: Option<SessionId>) -> Self {
        Self {
            role: token.role,
            token: token.id,
            token_name: token.name,
            session,
            expires: token.expires,
        }
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
