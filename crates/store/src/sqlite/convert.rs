//! Converts columns to types and back.

use ecowatt_model::{BatchId, BootEpoch, Sequence, UnixMs};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{ErrorCode, Row};

use crate::StreamId;
use crate::telemetry::Block;
use crate::upload::TimeQuality;

/// The error for a column with a value that this program never writes.
pub(super) fn corrupt(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Blob,
        Box::new(FromSqlError::Other(what.into())),
    )
}

pub(super) fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// Reads a count; negative numbers are never written.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.try_into().unwrap_or(0))
}

/// Converts a count for a column.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a block from the first nine columns of a row.
pub(super) fn block(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block {
        first: UnixMs(row.get(0)?),
        id: BatchId { epoch: BootEpoch(row.get(1)?), sequence: Sequence(row.get(2)?) },
        last: UnixMs(row.get(3)?),
        rows: row.get(4)?,
        stream: StreamId::from_code(row.get(5)?),
        time_offset_ms: row.get(6)?,
        time_quality: TimeQuality::from_code(row.get(7)?)
            .ok_or_else(|| corrupt(7, "time quality"))?,
        bytes: row.get(8)?,
    })
}
