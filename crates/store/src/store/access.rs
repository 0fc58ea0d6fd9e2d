//! Tokens, sessions and the set-up code.

use ecowatt_model::UnixMs;

use crate::audit::Audited;
use crate::sqlite::access;
use crate::{
    Author, CreateTokenError, DeleteTokenError, NewSession, NewToken, RedeemSetup,
    RedeemSetupError, SecretHash, Session, SessionId, Store, StoreError, Token, TokenId,
    TokenSession, TokenUse,
};

fn subject_of_token(token: &Token) -> String {
    format!("token {} ({})", token.id.0, token.name)
}

/// Access: tokens, sessions and the set-up code.
impl Store {
    pub async fn create_token(&self, by: Author, new: NewToken) -> Result<Token, CreateTokenError> {
        self.sqlite()
            .change(
                Audited::new(by, "token.create"),
                move |db, _| access::create_token(db, &new),
                |token: &Token| Some(subject_of_token(token)),
            )
            .await
    }

    /// Returns the token with this hash unless it has expired at `now`.
    pub async fn find_token(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<Token>, StoreError> {
        self.sqlite().look_up(move |db| access::find_token(db, &hash, now)).await
    }

    pub async fn list_tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.sqlite().read(access::list_tokens).await
    }

    /// Deletes a token and its sessions. With `keep_owner`, the last owner token that is valid at
    /// that time is not deleted.
    pub async fn delete_token(
        &self,
        by: Author,
        id: TokenId,
        keep_owner: Option<UnixMs>,
    ) -> Result<(), DeleteTokenError> {
        self.sqlite()
            .change(
                Audited::new(by, "token.delete"),
                move |db, journal| access::delete_token(db, journal, id, keep_owner),
                move |()| Some(format!("token {}", id.0)),
            )
            .await
    }

    /// Creates a session, unless its token was deleted. A token has at most
    /// [`crate::limits::SESSIONS_PER_TOKEN_MAX`] sessions; a further one replaces the oldest.
    pub async fn create_session(
        &self,
        by: Author,
        new: NewSession,
    ) -> Result<Option<SessionId>, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.create"),
                move |db, _| access::create_session(db, &new),
                |id: &Option<SessionId>| id.map(|id| format!("session {}", id.0)),
            )
            .await
    }

    /// Returns a session and its token if neither has expired at `now`.
    pub async fn find_session(
        &self,
        hash: SecretHash,
        now: UnixMs,
    ) -> Result<Option<TokenSession>, StoreError> {
        self.sqlite().look_up(move |db| access::find_session(db, &hash, now)).await
    }

    /// Returns whether a token or one of its sessions is valid at `now`.
    pub async fn is_valid(
        &self,
        token: TokenId,
        session: Option<SessionId>,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        self.sqlite().look_up(move |db| access::is_valid(db, token, session, now)).await
    }

    /// Returns the sessions that are valid at `now`, newest first.
    pub async fn list_sessions(&self, now: UnixMs) -> Result<Vec<Session>, StoreError> {
        self.sqlite().read(move |db| access::list_sessions(db, now)).await
    }

    /// Deletes a session; returns whether it existed.
    pub async fn delete_session(&self, by: Author, id: SessionId) -> Result<bool, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.delete"),
                move |db, journal| access::delete_session(db, journal, id),
                move |was_there: &bool| was_there.then(|| format!("session {}", id.0)),
            )
            .await
    }

    /// Deletes all sessions but one; returns how many.
    pub async fn delete_sessions(
        &self,
        by: Author,
        but: Option<SessionId>,
    ) -> Result<usize, StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "session.delete"),
                move |db, journal| access::delete_sessions(db, journal, but),
                |count: &usize| (*count > 0).then(|| format!("{count} sessions")),
            )
            .await
    }

    /// Stores when tokens and sessions were last used.
    pub async fn note_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        self.sqlite().write(move |db| access::note_uses(db, &uses)).await
    }

    /// Returns whether there is an owner token, valid or not.
    pub async fn is_owned(&self) -> Result<bool, StoreError> {
        self.sqlite().read(access::is_owned).await
    }

    /// Stores a one-time set-up code, replacing any earlier one.
    pub async fn replace_setup_code(
        &self,
        by: Author,
        hash: SecretHash,
        created: UnixMs,
    ) -> Result<(), StoreError> {
        self.sqlite()
            .change(
                Audited::new(by, "setup.replace"),
                move |db, _| access::replace_setup_code(db, &hash, created),
                |()| Some("set-up code".to_owned()),
            )
            .await
    }

    /// Spends the set-up code and creates a token with a session, all of it or nothing.
    pub async fn redeem_setup(
        &self,
        by: Author,
        redeem: RedeemSetup,
    ) -> Result<TokenSession, RedeemSetupError> {
        self.sqlite()
            .change(
                Audited::new(by, "setup.redeem"),
                move |db, _| access::redeem_setup(db, &redeem),
                |owner: &TokenSession| Some(subject_of_token(&owner.token)),
            )
            .await
    }
}
