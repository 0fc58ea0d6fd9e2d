//! Statements that read batches, packed or not.

use ecowatt_model::{BatchId, DeviceNumber, SourceNumber, UnixMs};
use rusqlite::Connection;

use super::convert::batch_id;
use super::pack::{self, Form};
use crate::StoreError;
use crate::limits::{BLOCK_BYTES_PER_QUERY, BLOCK_ROWS_PER_QUERY, BLOCKS_PER_QUERY_MAX};
use crate::telemetry::{Block, StoredBatch, Stretch, TimeRange};

/// Returns batches as they were sent.
pub(crate) fn blocks(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    range: TimeRange,
    after: Option<(UnixMs, BatchId)>,
) -> Result<Vec<Block>, StoreError> {
    let found = bounded(db, (device, source), range, after, Form::Batches)?;
    Ok(found.into_iter().map(Block::from).collect())
}

pub(crate) fn stretches(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    range: TimeRange,
    after: Option<(UnixMs, BatchId)>,
) -> Result<Vec<Stretch>, StoreError> {
    bounded(db, (device, source), range, after, Form::Sections)
}

fn bounded(
    db: &Connection,
    inverter: (DeviceNumber, SourceNumber),
    range: TimeRange,
    after: Option<(UnixMs, BatchId)>,
    form: Form,
) -> Result<Vec<Stretch>, StoreError> {
    let mut found: Vec<Stretch> = Vec::new();
    let (mut row_count, mut byte_count) = (0, 0);
    pack::walk(db, inverter, range, after, form, |stretch| {
        row_count += stretch.batches.iter().map(|batch| u32::from(batch.rows)).sum::<u32>();
        byte_count += stretch.bytes.len();
        found.push(stretch);
        row_count < BLOCK_ROWS_PER_QUERY
            && byte_count < BLOCK_BYTES_PER_QUERY
            && found.len() < BLOCKS_PER_QUERY_MAX as usize
    })?;
    Ok(found)
}

/// Returns batches as they were sent, in the order of their key, starting after the given one.
pub(crate) fn list_blocks(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    after: Option<(UnixMs, BatchId)>,
) -> Result<Vec<Block>, StoreError> {
    let always = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
    let mut found: Vec<Block> = Vec::new();
    pack::walk(db, (device, source), always, after, Form::Batches, |stretch| {
        found.push(stretch.into());
        found.len() < BLOCKS_PER_QUERY_MAX as usize
    })?;
    Ok(found)
}

/// Returns all batches of a device, from what is stored and not from what was
/// received.
pub(crate) fn list_batches(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<StoredBatch>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT source, epoch, sequence, rows FROM block WHERE device = ?1")?;
    let mut batches = statement
        .query_map([device.0], |row| {
            let source = SourceNumber(row.get("source")?);
            Ok(StoredBatch { source, id: batch_id(row)?, rows: row.get("rows")? })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    batches.extend(pack::list_batches(db, device)?);
    batches.sort_unstable_by_key(|batch| (batch.id, batch.source));
    Ok(batches)
}
