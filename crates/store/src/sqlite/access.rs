//! Statements on tokens, sessions and the set-up code.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::{corrupt, is_unique_violation};
use super::revocation_file::Journal;
use crate::StoreError;
use crate::access::{
    CreateTokenError, DeleteTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError, Role,
    SecretHash, Session, SessionId, Token, TokenId, TokenSession, TokenUse,
};
use crate::limits::{SESSIONS_PER_TOKEN_MAX, TOKENS_MAX};
use crate::revocation::Revocation;
use ecowatt_model::UnixMs;

const TOKEN: &str =
    "token.id, token.name, token.role, token.created, token.expires, token.last_used";

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role: String = row.get("role")?;
    Ok(Token {
        id: TokenId(row.get("id")?),
        name: row.get("name")?,
        role: Role::from_str(&role).ok_or_else(|| corrupt("role"))?,
        created: UnixMs(row.get("created")?),
        expires: row.get::<_, Option<i64>>("expires")?.map(UnixMs),
        last_used: row.get::<_, Option<i64>>("last_used")?.map(UnixMs),
    })
}

fn size(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) fn create_token(db: &Connection, new: &NewToken) -> Result<Token, CreateTokenError> {
    let count: i64 =
        db.prepare_cached("SELECT count(*) FROM token")?.query_row([], |row| row.get(0))?;
    if count >= size(TOKENS_MAX) {
        return Err(CreateTokenError::TooMany);
    }
    let inserted = db
        .prepare_cached(
            "INSERT INTO token (name, role, hash, created, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![
            new.name,
            new.role.as_str(),
            new.hash,
            new.created.0,
            new.expires.map(|at| at.0)
        ]);
    let id = match inserted {
        Ok(id) => TokenId(id),
        Err(error) if is_unique_violation(&error) => return Err(CreateTokenError::NameTaken),
        Err(error) => return Err(error.into()),
    };
    Ok(Token {
        id,
        name: new.name.clone(),
        role: new.role,
        created: new.created,
        expires: new.expires,
        last_used: None,
    })
}

pub(crate) fn find_token(
    db: &Connection,
    hash: &SecretHash,
    now: UnixMs,
) -> Result<Option<Token>, StoreError> {
    let sql =
        format!("SELECT {TOKEN} FROM token WHERE hash = ?1 AND (expires IS NULL OR expires > ?2)");
    Ok(db.prepare_cached(&sql)?.query_row(params![hash, now.0], token).optional()?)
}

pub(crate) fn list_tokens(db: &Connection) -> Result<Vec<Token>, StoreError> {
    let sql = format!("SELECT {TOKEN} FROM token ORDER BY id");
    let mut statement = db.prepare_cached(&sql)?;
    let tokens = statement.query_map([], token)?.collect::<Result<_, _>>()?;
    Ok(tokens)
}

/// Deletes a token and its sessions. With `keep_owner`, the last owner token that is valid at that
/// time is not deleted.
pub(crate) fn delete_token(
    db: &Connection,
    journal: &Journal,
    id: TokenId,
    keep_owner: Option<UnixMs>,
) -> Result<(), DeleteTokenError> {
    if let Some(now) = keep_owner {
        let is_last = db
            .prepare_cached(
                "SELECT 1 FROM token WHERE id = ?1 AND role = ?2
                 AND (expires IS NULL OR expires > ?3)
                 AND NOT EXISTS (SELECT 1 FROM token WHERE id <> ?1 AND role = ?2
                                 AND (expires IS NULL OR expires > ?3))",
            )?
            .exists(params![id.0, Role::Owner.as_str(), now.0])?;
        if is_last {
            return Err(DeleteTokenError::LastOwner);
        }
    }
    let deleted = db
        .prepare_cached("DELETE FROM token WHERE id = ?1 RETURNING hash")?
        .query_row([id.0], |row| row.get::<_, SecretHash>(0))
        .optional()?;
    journal.append(&Revocation::Token(deleted.ok_or(DeleteTokenError::Unknown)?))?;
    Ok(())
}

/// Creates a session; beyond the limit it replaces the oldest of its token.
pub(crate) fn create_session(
    db: &Connection,
    new: &NewSession,
) -> Result<Option<SessionId>, StoreError> {
    db.prepare_cached("DELETE FROM session WHERE expires <= ?1")?.execute([new.created.0])?;
    let is_there = db.prepare_cached("SELECT 1 FROM token WHERE id = ?1")?.exists([new.token.0])?;
    if !is_there {
        return Ok(None);
    }
    let id = db
        .prepare_cached(
            "INSERT INTO session (hash, token, created, expires) VALUES (?1, ?2, ?3, ?4)",
        )?
        .insert(params![new.hash, new.token.0, new.created.0, new.expires.0])?;
    db.prepare_cached(
        "DELETE FROM session WHERE token = ?1 AND id NOT IN (
             SELECT id FROM session WHERE token = ?1 ORDER BY id DESC LIMIT ?2)",
    )?
    .execute([new.token.0, size(SESSIONS_PER_TOKEN_MAX)])?;
    Ok(Some(SessionId(id)))
}

pub(crate) fn find_session(
    db: &Connection,
    hash: &SecretHash,
    now: UnixMs,
) -> Result<Option<TokenSession>, StoreError> {
    let sql = format!(
        "SELECT {TOKEN}, session.id AS session FROM session JOIN token ON token.id = session.token
         WHERE session.hash = ?1 AND session.expires > ?2
           AND (token.expires IS NULL OR token.expires > ?2)"
    );
    let found = |row: &Row<'_>| {
        Ok(TokenSession { token: token(row)?, session: SessionId(row.get("session")?) })
    };
    Ok(db.prepare_cached(&sql)?.query_row(params![hash, now.0], found).optional()?)
}

/// Returns whether a token or one of its sessions is valid.
pub(crate) fn is_valid(
    db: &Connection,
    id: TokenId,
    session: Option<SessionId>,
    now: UnixMs,
) -> Result<bool, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT 1 FROM token WHERE id = ?1 AND (expires IS NULL OR expires > ?3)
             AND (?2 IS NULL OR EXISTS (
                 SELECT 1 FROM session WHERE id = ?2 AND token = ?1 AND expires > ?3))",
        )?
        .exists(params![id.0, session.map(|session| session.0), now.0])?)
}

/// Returns the sessions that are valid at `now`, newest first.
pub(crate) fn list_sessions(db: &Connection, now: UnixMs) -> Result<Vec<Session>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT session.id AS id, token.id AS token, token.name AS token_name,
                session.created AS created, session.expires AS expires,
                session.last_used AS last_used
         FROM session JOIN token ON token.id = session.token
         WHERE session.expires > ?1 AND (token.expires IS NULL OR token.expires > ?1)
         ORDER BY session.id DESC",
    )?;
    let sessions = statement
        .query_map([now.0], |row| {
            Ok(Session {
                id: SessionId(row.get("id")?),
                token: TokenId(row.get("token")?),
                token_name: row.get("token_name")?,
                created: UnixMs(row.get("created")?),
                expires: UnixMs(row.get("expires")?),
                last_used: row.get::<_, Option<i64>>("last_used")?.map(UnixMs),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(sessions)
}

pub(crate) fn delete_session(
    db: &Connection,
    journal: &Journal,
    id: SessionId,
) -> Result<bool, StoreError> {
    let deleted = db
        .prepare_cached("DELETE FROM session WHERE id = ?1 RETURNING hash")?
        .query_row([id.0], |row| row.get::<_, SecretHash>(0))
        .optional()?;
    if let Some(hash) = deleted {
        journal.append(&Revocation::Session(hash))?;
    }
    Ok(deleted.is_some())
}

/// Deletes all sessions but one; returns how many.
pub(crate) fn delete_sessions(
    db: &Connection,
    journal: &Journal,
    but: Option<SessionId>,
) -> Result<usize, StoreError> {
    let mut statement =
        db.prepare_cached("DELETE FROM session WHERE id IS NOT ?1 RETURNING hash")?;
    let deleted: Vec<SecretHash> = statement
        .query_map([but.map(|session| session.0)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for hash in &deleted {
        journal.append(&Revocation::Session(*hash))?;
    }
    Ok(deleted.len())
}

/// Stores when tokens and sessions were last used.
pub(crate) fn note_uses(db: &Connection, uses: &[TokenUse]) -> Result<(), StoreError> {
    let mut tokens = db.prepare_cached(
        "UPDATE token SET last_used = max(coalesce(last_used, ?2), ?2) WHERE id = ?1",
    )?;
    let mut sessions = db.prepare_cached(
        "UPDATE session SET last_used = max(coalesce(last_used, ?2), ?2) WHERE id = ?1",
    )?;
    for TokenUse { token, session, at } in uses {
        tokens.execute([token.0, at.0])?;
        if let Some(session) = session {
            sessions.execute([session.0, at.0])?;
        }
    }
    Ok(())
}

/// Returns whether the server has an owner token: then its set-up link is void, printed or not.
pub(crate) fn is_owned(db: &Connection) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("SELECT 1 FROM token WHERE role = ?1")?.exists([Role::Owner.as_str()])?)
}

pub(crate) fn replace_setup_code(
    db: &Connection,
    hash: &SecretHash,
    created: UnixMs,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO setup (one, hash, created) VALUES (1, ?1, ?2)
         ON CONFLICT (one) DO UPDATE SET hash = excluded.hash, created = excluded.created",
    )?
    .execute(params![hash, created.0])?;
    Ok(())
}

pub(crate) fn redeem_setup(
    db: &Connection,
    redeem: &RedeemSetup,
) -> Result<TokenSession, RedeemSetupError> {
    let is_spent =
        db.prepare_cached("DELETE FROM setup WHERE hash = ?1")?.execute([redeem.code])? == 0;
    if is_owned(db)? || is_spent {
        return Err(RedeemSetupError::Unknown);
    }
    let token = create_token(db, &redeem.token).map_err(|error| match error {
        CreateTokenError::NameTaken | CreateTokenError::TooMany => RedeemSetupError::NameTaken,
        CreateTokenError::Store(error) => error.into(),
    })?;
    let session = NewSession {
        hash: redeem.session,
        token: token.id,
        created: token.created,
        expires: redeem.session_expires,
    };
    let session = create_session(db, &session)?.ok_or(StoreError::Corrupt("token just made"))?;
    Ok(TokenSession { token, session })
}
