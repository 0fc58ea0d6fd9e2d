//! Who may use the API: tokens, browser sessions and the one-time set-up code.
//!
//! Nothing is cached here: each request asks the store, so what another process revokes
//! (`ecowatt token revoke --data DIR`) is void at once.

mod secret;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use ecowatt_store::{
    Author, CreateTokenError, DeleteTokenError, NewSession, NewToken, RedeemSetup,
    RedeemSetupError, Role, Session, SessionId, Store, StoreError, Token, TokenId, TokenUse,
};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::entered_name::checked_name;
use crate::limits::{SESSION_LIFETIME, TOKEN_LIFETIME_MAX, USES_HELD_MAX, USES_KEPT_EVERY};
use crate::stop::stopped;

pub use secret::{Secret, SessionSecret, TokenText};

/// Name of the token that redeeming the set-up code creates.
const SETUP_TOKEN: &str = "set-up";

/// Actors in the audit log: who replaces the set-up code, and who redeems it.
const SERVER: &str = "server";
const SETUP_LINK: &str = "set-up link";

/// The authenticated sender of a request.
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

/// What a route lets its caller do. Each right includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// To see and to end one's own session.
    Enter,
    /// To read the server's metrics.
    Measure,
    /// To see devices, sites and measurements.
    Read,
    /// To change things, and to see who else has access.
    Write,
    /// To write any register of an inverter, whatever its profile says.
    Expert,
}

impl Right {
    /// The right's name in the API document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Measure => "measure",
            Self::Read => "read",
            Self::Write => "write",
            Self::Expert => "expert",
        }
    }

    /// Returns the highest right of a role.
    fn of(role: Role) -> Self {
        match role {
            Role::Owner => Self::Expert,
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

/// The part of the fleet that a caller may see. Every read takes one, and only an authenticated
/// [`Principal`] can make one, so a read on behalf of no caller does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope(pub(in crate::access) Reach);

/// How far a scope reaches. Reads match on it, so that the compiler points to all of them when a
/// narrower one is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Fleet,
}

impl Principal {
    /// Returns the part of the fleet that the caller may see.
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

/// Why access is refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("no such token or session")]
    Unknown,
    #[error("no such set-up code")]
    SetupCode,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the operating system has no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Why a token was not created.
#[derive(Debug, thiserror::Error)]
pub enum MakeTokenError {
    #[error(
        "a token's name has 1 to {} characters and no control characters",
        crate::limits::NAME_CHARS_MAX
    )]
    Name,
    #[error("a token is valid for at least a minute and at most {} days, or without end", TOKEN_LIFETIME_MAX.as_secs() / 86_400)]
    Lifetime,
    #[error("there is a token of that name")]
    NameTaken,
    #[error(
        "there are {} tokens already; revoke one that is not needed",
        ecowatt_store::limits::TOKENS_MAX
    )]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the operating system has no random numbers")]
    Random(#[from] getrandom::Error),
}

/// A request for a new token.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub name: String,
    pub role: Role,
    /// If absent, the token does not expire.
    pub valid_for: Option<Duration>,
}

/// A new token with its text, which cannot be shown again.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub token: Token,
    pub text: TokenText,
}

/// A new session.
#[derive(Debug)]
pub struct OpenedSession {
    pub principal: Principal,
    pub session: SessionSecret,
}

/// What the set-up code was exchanged for.
#[derive(Debug)]
pub struct RedeemedSetup {
    /// An owner token.
    pub token: TokenText,
    pub opened: OpenedSession,
}

/// Authenticates callers, and manages tokens and sessions.
#[derive(Debug, Clone)]
pub struct Access {
    store: Store,
    clock: Clock,
    uses: Arc<Mutex<Uses>>,
}

/// When tokens and sessions were last used. Kept in memory until it is stored, so that a request
/// that reads does not cause a write.
type Uses = HashMap<(TokenId, Option<SessionId>), UnixMs>;

impl Access {
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, uses: Arc::default() }
    }

    /// Returns whose token this is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] if it is not a valid token.
    pub async fn principal_of_token(&self, text: &str) -> Result<Principal, AccessError> {
        let token: TokenText = text.parse()?;
        let now = self.clock.now();
        let token = self.store.find_token(token.hash(), now).await?;
        let principal = Principal::new(token.ok_or(AccessError::Unknown)?, None);
        self.note(&principal, now);
        Ok(principal)
    }

    /// Returns whose session this is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] if it is not a running session.
    pub async fn principal_of_session(
        &self,
        secret: &SessionSecret,
    ) -> Result<Principal, AccessError> {
        let now = self.clock.now();
        let found = self.store.find_session(secret.hash(), now).await?;
        let found = found.ok_or(AccessError::Unknown)?;
        let principal = Principal::new(found.token, Some(found.session));
        self.note(&principal, now);
        Ok(principal)
    }

    /// Whether a request's token or session is still valid, for event streams.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn is_valid(&self, principal: &Principal) -> Result<bool, StoreError> {
        self.store.is_valid(principal.token, principal.session, self.clock.now()).await
    }

    /// Exchanges a token for a session.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] if it is not a valid token.
    pub async fn open_session(
        &self,
        token: &str,
        request: String,
    ) -> Result<OpenedSession, AccessError> {
        let principal = self.principal_of_token(token).await?;
        self.session_of(principal, request).await
    }

    /// Returns the running sessions, the newest first.
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

    /// Ends a session; returns whether it was running.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn end_session(&self, by: Author, id: SessionId) -> Result<bool, StoreError> {
        self.store.delete_session(by, id).await
    }

    /// Ends all sessions but one; returns how many it ended.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn end_sessions(
        &self,
        by: Author,
        but: Option<SessionId>,
    ) -> Result<usize, StoreError> {
        self.store.delete_sessions(by, but).await
    }

    /// Creates a token.
    ///
    /// # Errors
    /// If the name or lifetime is invalid, the name is taken, or there are too many tokens.
    pub async fn make_token(
        &self,
        by: Author,
        request: TokenRequest,
    ) -> Result<IssuedToken, MakeTokenError> {
        let name = checked_name(&request.name).ok_or(MakeTokenError::Name)?;
        let sensible = Duration::from_secs(60)..=TOKEN_LIFETIME_MAX;
        if request.valid_for.is_some_and(|valid_for| !sensible.contains(&valid_for)) {
            return Err(MakeTokenError::Lifetime);
        }
        let text = TokenText::random()?;
        let new = self.new_token(&text, &name, request.role, request.valid_for);
        match self.store.create_token(by, new).await {
            Ok(token) => Ok(IssuedToken { token, text }),
            Err(CreateTokenError::NameTaken) => Err(MakeTokenError::NameTaken),
            Err(CreateTokenError::TooMany) => Err(MakeTokenError::TooMany),
            Err(CreateTokenError::Store(error)) => Err(error.into()),
        }
    }

    /// Returns all tokens, expired ones included.
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

    /// Revokes a token with its sessions. The last valid owner token stays: without one, access
    /// could not be restored over the network.
    ///
    /// # Errors
    /// If there is no such token or it must stay.
    pub async fn revoke_token(&self, by: Author, id: TokenId) -> Result<(), DeleteTokenError> {
        self.store.delete_token(by, id, Some(self.clock.now())).await
    }

    /// Returns the code for the set-up link while there is no owner. Each start replaces the code,
    /// so that a link in an old log is useless.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn setup_code(&self) -> Result<Option<Secret>, AccessError> {
        let code = Secret::random()?;
        let now = self.clock.now();
        let replaced =
            self.store.replace_setup_code(Author::new(SERVER, now), code.hash(), now).await;
        let is_owned = self.store.is_owned().await?;
        match replaced {
            // A code cannot be redeemed once there is an owner, so the old one may stay: an owned
            // server starts on a full disk too.
            Err(error) if is_owned && error.is_transient() => {
                tracing::warn!(%error, "set-up code of the last start not replaced");
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
    ) -> Result<RedeemedSetup, AccessError> {
        let code: Secret = code.trim().parse().map_err(|_| AccessError::SetupCode)?;
        let text = TokenText::random()?;
        let session = Secret::random()?;
        let at = self.clock.now();
        let by = Author { who: SETUP_LINK.into(), request: Some(request), at };
        let redeem = RedeemSetup {
            code: code.hash(),
            token: self.new_token(&text, SETUP_TOKEN, Role::Owner, None),
            session: session.hash(),
            session_expires: self.clock.now().plus(SESSION_LIFETIME),
        };
        let owner = match self.store.redeem_setup(by, redeem).await {
            Ok(owner) => owner,
            // A token of that name can only have been created by someone with access to the folder,
            // so there is no need to tell the two cases apart.
            Err(RedeemSetupError::Unknown | RedeemSetupError::NameTaken) => {
                return Err(AccessError::SetupCode);
            }
            Err(RedeemSetupError::Store(error)) => return Err(error.into()),
        };
        let principal = Principal::new(owner.token, Some(owner.session));
        Ok(RedeemedSetup { token: text, opened: OpenedSession { principal, session } })
    }

    async fn session_of(
        &self,
        principal: Principal,
        request: String,
    ) -> Result<OpenedSession, AccessError> {
        let session = Secret::random()?;
        let created = self.clock.now();
        let expires = created.plus(SESSION_LIFETIME);
        let new = NewSession {
            hash: session.hash(),
            token: principal.token,
            created,
            expires: principal.expires.map_or(expires, |end| end.min(expires)),
        };
        let by = Author { who: principal.to_string(), request: Some(request), at: created };
        // None if the token was revoked in between.
        let id = self.store.create_session(by, new).await?.ok_or(AccessError::Unknown)?;
        Ok(OpenedSession { principal: Principal { session: Some(id), ..principal }, session })
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
            hash: text.hash(),
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

    /// Stores when tokens and sessions were last used. What the store does not take is dropped: it
    /// is only shown to operators, and the next use replaces it.
    async fn keep_uses(&self) {
        let uses = std::mem::take(&mut *self.lock());
        if uses.is_empty() {
            return;
        }
        let uses = uses.into_iter().map(|((token, session), at)| TokenUse { token, session, at });
        if let Err(error) = self.store.note_uses(uses.collect()).await {
            tracing::debug!(%error, "last use of tokens not stored");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores every [`USES_KEPT_EVERY`] when tokens and sessions were last used, until the server
/// stops.
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
