//! Statements on the audit log.

use rusqlite::{Connection, params};

use super::convert::author;
use crate::StoreError;
use crate::audit::{AuditLine, Audited, Author};
use crate::limits::{AUDIT_KEPT, AUDIT_REMOVED_MAX};

/// Writes a line, and removes some that are older than [`AUDIT_KEPT`].
pub(super) fn note(db: &Connection, audited: &Audited, subject: &str) -> Result<(), StoreError> {
    let Author { who, request, at } = audited.by();
    db.prepare_cached(
        "INSERT INTO audit (at, who, request, change, subject) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![at.0, who, request, audited.change(), subject])?;
    // The oldest lines have the lowest ids, so this reads no other lines.
    let kept_ms = i64::try_from(AUDIT_KEPT.as_millis()).unwrap_or(i64::MAX);
    db.prepare_cached(
        "DELETE FROM audit WHERE id IN (
             SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT ?1) WHERE at < ?2)",
    )?
    .execute(params![AUDIT_REMOVED_MAX, at.0.saturating_sub(kept_ms)])?;
    Ok(())
}

/// Returns the lines below the given one, newest first.
pub(crate) fn list(
    db: &Connection,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditLine>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT id, at, who, request, change, subject FROM audit
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let lines = statement
        .query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
            let by = author(row)?;
            Ok(AuditLine {
                id: row.get("id")?,
                by,
                change: row.get("change")?,
                subject: row.get("subject")?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(lines)
}
