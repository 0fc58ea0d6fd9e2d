//! Statements about the database itself.

use rusqlite::Connection;

use super::convert::count;
use crate::StoreError;

/// A query without tables, to check that reading works.
pub(crate) fn nothing(db: &Connection) -> Result<(), StoreError> {
    Ok(db.prepare_cached("SELECT 1")?.query_row([], |_| Ok(()))?)
}

/// Returns the number of devices.
pub(crate) fn count_devices(db: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM device WHERE deleted IS NULL";
    Ok(db.prepare_cached(sql)?.query_row([], |row| count(row, 0))?)
}

/// Returns the size of the database from its page count; some pages may still be in the write-ahead
/// log.
pub(crate) fn size_bytes(db: &Connection) -> Result<u64, StoreError> {
    let of = |pragma: &str| -> Result<u64, StoreError> {
        Ok(db.pragma_query_value(None, pragma, |row| count(row, 0))?)
    };
    Ok(of("page_count")?.saturating_mul(of("page_size")?))
}
