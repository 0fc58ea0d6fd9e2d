//! Statements on tokens, sessions and the set-up code.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::journal::Journal;
use super::row::{corrupt, is_unique_violation};
use crate::StoreError;
use crate::access::{
    CreateTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError, Role, SecretHash, Token,
    TokenId,
};
use crate::revocation::Revocation;
use ecowatt_model::UnixMs;

const TOKEN: &str = "token.id, token.name, token.role, token.created, token.expires";

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role: String = row.get(2)?;
    Ok(Token {
        id: TokenId(row.get(0)?),
        name: row.get(1)?,
        role: Role::from_code(&role).ok_or_else(|| corrupt(2, "role"))?,
        created: UnixMs(row.get(3)?),
        expires: row.get::<_, Option<i64>>(4)?.map(UnixMs),
    })
}

pub(crate) fn create_token(db: &Connection, new: &NewToken) -> Result<Token, CreateTokenError> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO token (name, role, hash, created, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![
            new.name,
            new.role.code(),
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

pub(crate) fn delete_token(
    db: &Connection,
    journal: &Journal,
    id: TokenId,
) -> Result<bool, StoreError> {
    let deleted = db
        .prepare_cached("DELETE FROM token WHERE id = ?1 RETURNING hash")?
        .query_row([id.0], |row| row.get::<_, SecretHash>(0))
        .optional()?;
    if let Some(hash) = deleted {
        journal.append(&Revocation::Token(hash))?;
    }
    Ok(deleted.is_some())
}

pub(crate) fn create_session(db: &Connection, new: &NewSession) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM session WHERE expires <= ?1")?.execute([new.created.0])?;
    db.prepare_cached(
        "INSERT INTO session (hash, token, created, expires) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![new.hash, new.token.0, new.created.0, new.expires.0])?;
    Ok(())
}

pub(crate) fn find_session(
    db: &Connection,
    hash: &SecretHash,
    now: UnixMs,
) -> Result<Option<Token>, StoreError> {
    let sql = format!(
        "SELECT {TOKEN} FROM session JOIN token ON token.id = session.token
         WHERE session.hash = ?1 AND session.expires > ?2
           AND (token.expires IS NULL OR token.expires > ?2)"
    );
    Ok(db.prepare_cached(&sql)?.query_row(params![hash, now.0], token).optional()?)
}

pub(crate) fn delete_session(db: &Connection, hash: &SecretHash) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("DELETE FROM session WHERE hash = ?1")?.execute([hash])? > 0)
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
) -> Result<Token, RedeemSetupError> {
    // A server with a token has an owner; its link is void, printed or not.
    let is_owned = db.prepare_cached("SELECT 1 FROM token")?.exists([])?;
    let is_spent =
        db.prepare_cached("DELETE FROM setup WHERE hash = ?1")?.execute([redeem.code])? == 0;
    if is_owned || is_spent {
        return Err(RedeemSetupError::Unknown);
    }
    let token = create_token(db, &redeem.token).map_err(|error| match error {
        CreateTokenError::NameTaken => RedeemSetupError::NameTaken,
        CreateTokenError::Store(error) => error.into(),
    })?;
    let session = NewSession {
        hash: redeem.session,
        token: token.id,
        created: token.created,
        expires: redeem.session_expires,
    };
    create_session(db, &session)?;
    Ok(token)
}
