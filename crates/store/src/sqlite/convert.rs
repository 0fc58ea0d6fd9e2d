//! Converts columns to types and back.

use ecowatt_model::{BatchId, BootEpoch, Sequence, UnixMs};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{ErrorCode, Row, RowIndex};

use crate::StreamId;
use crate::audit::Author;
use crate::telemetry::Block;
use crate::upload::TimeQuality;

/// The error for a column with a value that this program never writes.
pub(super) fn corrupt(what: &'static str) -> rusqlite::Error {
    // The text says what is wrong, so the number of the column does not matter.
    let cause = Box::new(FromSqlError::Other(what.into()));
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, cause)
}

pub(super) fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// Reads a count; negative numbers are never written.
pub(super) fn count(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.try_into().unwrap_or(0))
}

/// Converts a count for a column.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads bytes in place.
pub(super) fn blob<'a>(row: &'a Row<'_>, column: &str) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

/// Reads the id of a batch.
pub(super) fn batch_id(row: &Row<'_>) -> rusqlite::Result<BatchId> {
    Ok(BatchId { epoch: BootEpoch(row.get("epoch")?), sequence: Sequence(row.get("sequence")?) })
}

/// Reads who changed something, and when.
pub(super) fn author(row: &Row<'_>) -> rusqlite::Result<Author> {
    Ok(Author { at: UnixMs(row.get("at")?), who: row.get("who")?, request: row.get("request")? })
}

/// Reads a batch that has a row of its own.
pub(super) fn block(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block {
        first: UnixMs(row.get("first_ms")?),
        id: batch_id(row)?,
        last: UnixMs(row.get("last_ms")?),
        rows: row.get("rows")?,
        stream: StreamId::from_code(row.get("stream")?),
        time_offset_ms: row.get("time_offset_ms")?,
        time_quality: TimeQuality::from_code(row.get("time_quality")?)
            .ok_or_else(|| corrupt("time quality"))?,
        bytes: row.get("bytes")?,
    })
}
