//! Removes what retention no longer keeps, some in each transaction, and records what was removed.
//!
//! The record changes in the transaction that removes, so it is exact wherever a kill hits. Only what
//! ends before the bound is removed: a batch that reaches beyond it stays whole.

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::convert::{corrupt, count, signed};
use super::row_pack::{Inverter, day_of};
use crate::StoreError;
use crate::limits::{EXPIRED_BYTES_PER_COMMIT, EXPIRED_ROWS_PER_COMMIT};
use crate::retention::{Expired, Removed, Resolution, RetentionClock};
use crate::rollup_pack::{DAY_MS, Width, count_buckets};
use crate::row_pack::PackKind;
use crate::telemetry::RemovedRows;

/// Returns those of some inverters that have something of a resolution that ends before the UTC day
/// of an instant.
pub(crate) fn due(
    db: &Connection,
    inverters: &[Inverter],
    resolution: Resolution,
    before: UnixMs,
) -> Result<Vec<Inverter>, StoreError> {
    let sql = match table_of(resolution) {
        None => {
            "SELECT 1 FROM block
             WHERE device = ?1 AND source = ?2 AND first_ms < ?3 AND last_ms < ?3
             UNION ALL
             SELECT 1 FROM pack
             WHERE device = ?1 AND source = ?2 AND first_ms < ?3 AND last_ms < ?3
             LIMIT 1"
        }
        Some(PackKind::Minutes) => {
            "SELECT 1 FROM minute_pack
             WHERE device = ?1 AND source = ?2 AND number < ?3 / 86400000 LIMIT 1"
        }
        Some(_) => {
            "SELECT 1 FROM quarter_pack
             WHERE device = ?1 AND source = ?2 AND number < ?3 / 86400000 LIMIT 1"
        }
    };
    let mut statement = db.prepare_cached(sql)?;
    let end = start_of_day(before);
    let mut found = Vec::new();
    for (device, source) in inverters {
        if statement.exists(params![device.0, source.0, end])? {
            found.push((*device, *source));
        }
    }
    Ok(found)
}

/// Removes some of what ends before the UTC day of an instant.
pub(crate) fn expire(
    db: &Connection,
    inverter: Inverter,
    resolution: Resolution,
    before: UnixMs,
) -> Result<Removed, StoreError> {
    let mut step = Step::default();
    let end = start_of_day(before);
    match (resolution, table_of(resolution)) {
        (Resolution::Minutes, Some(kind)) => {
            packs(db, inverter, kind, Width::Minute, end, &mut step)?
        }
        (_, Some(kind)) => packs(db, inverter, kind, Width::Quarter, end, &mut step)?,
        (_, None) => {
            for table in ["pack", "block"] {
                samples(db, inverter, table, end, &mut step)?;
            }
        }
    }
    if step.deleted > 0 {
        note(db, inverter, resolution, &step)?;
    }
    Ok(step.removed)
}

/// The packs of a resolution; samples are in two tables of their own.
fn table_of(resolution: Resolution) -> Option<PackKind> {
    match resolution {
        Resolution::Samples => None,
        Resolution::Minutes => Some(PackKind::Minutes),
        Resolution::Quarters => Some(PackKind::Quarters),
    }
}

fn start_of_day(at: UnixMs) -> i64 {
    day_of(&at).saturating_mul(DAY_MS)
}

/// What a transaction has removed so far.
#[derive(Debug, Default)]
struct Step {
    removed: Removed,
    deleted: u32,
    /// The last UTC day of which something was removed.
    last_day: Option<i64>,
}

impl Step {
    /// Returns whether there is room for one more, and notes if not.
    fn has_room(&mut self) -> bool {
        let is_full = self.deleted >= EXPIRED_ROWS_PER_COMMIT
            || self.removed.bytes >= EXPIRED_BYTES_PER_COMMIT;
        self.removed.has_more |= is_full;
        !is_full
    }

    fn add(&mut self, rows: u64, bytes: u64, last_day: i64) {
        self.removed.rows += rows;
        self.removed.bytes += bytes;
        self.deleted += 1;
        self.last_day = self.last_day.max(Some(last_day));
    }
}

fn samples(
    db: &Connection,
    (device, source): Inverter,
    table: &str,
    end: i64,
    step: &mut Step,
) -> Result<(), StoreError> {
    let mut found = db.prepare_cached(&format!(
        "SELECT first_ms, epoch, sequence, last_ms, rows, length(bytes) AS size FROM {table}
         WHERE device = ?1 AND source = ?2 AND first_ms < ?3 AND last_ms < ?3
         ORDER BY first_ms, epoch, sequence LIMIT ?4"
    ))?;
    // One more than fits shows that there is more.
    let limit = EXPIRED_ROWS_PER_COMMIT + 1;
    let mut rows = found.query(params![device.0, source.0, end, limit])?;
    let mut keys: Vec<(i64, u32, u32)> = Vec::new();
    while let Some(row) = rows.next()? {
        if !step.has_room() {
            break;
        }
        step.add(count(row, "rows")?, count(row, "size")?, day_of(&UnixMs(row.get("last_ms")?)));
        keys.push((row.get("first_ms")?, row.get("epoch")?, row.get("sequence")?));
    }
    let mut delete = db.prepare_cached(&format!(
        "DELETE FROM {table} WHERE device = ?1 AND source = ?2 AND first_ms = ?3 AND epoch = ?4
             AND sequence = ?5"
    ))?;
    for (first, epoch, sequence) in keys {
        delete.execute(params![device.0, source.0, first, epoch, sequence])?;
    }
    Ok(())
}

fn packs(
    db: &Connection,
    (device, source): Inverter,
    kind: PackKind,
    width: Width,
    end: i64,
    step: &mut Step,
) -> Result<(), StoreError> {
    let table = kind.table();
    let mut found = db.prepare_cached(&format!(
        "SELECT number, bytes FROM {table}
         WHERE device = ?1 AND source = ?2 AND number < ?3 ORDER BY number LIMIT ?4"
    ))?;
    let limit = EXPIRED_ROWS_PER_COMMIT + 1;
    let mut rows = found.query(params![device.0, source.0, end.div_euclid(DAY_MS), limit])?;
    let mut numbers: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        if !step.has_room() {
            break;
        }
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let day = row.get(0)?;
        // Of a damaged pack only the bytes are known.
        let buckets = count_buckets(width, bytes).unwrap_or(0);
        step.add(buckets, u64::try_from(bytes.len()).unwrap_or(0), day);
        numbers.push(day);
    }
    let mut delete = db.prepare_cached(&format!(
        "DELETE FROM {table} WHERE device = ?1 AND source = ?2 AND number = ?3"
    ))?;
    for number in numbers {
        delete.execute(params![device.0, source.0, number])?;
    }
    Ok(())
}

/// Adds a transaction's removal to the record.
fn note(
    db: &Connection,
    (device, source): Inverter,
    resolution: Resolution,
    step: &Step,
) -> Result<(), StoreError> {
    let before = step.last_day.unwrap_or_default().saturating_add(1).saturating_mul(DAY_MS);
    db.prepare_cached(
        "INSERT INTO expired (device, source, resolution, before_ms, removed, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (device, source, resolution) DO UPDATE SET
             before_ms = CASE WHEN excluded.before_ms > expired.before_ms
                 THEN excluded.before_ms ELSE expired.before_ms END,
             removed = expired.removed + excluded.removed,
             bytes = expired.bytes + excluded.bytes",
    )?
    .execute(params![
        device.0,
        source.0,
        resolution.code(),
        before,
        signed(step.removed.rows),
        signed(step.removed.bytes)
    ])?;
    Ok(())
}

/// Returns what was removed of a device, by inverter and resolution.
pub(crate) fn list(db: &Connection, device: DeviceNumber) -> Result<Vec<Expired>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT device, source, resolution, before_ms, removed, bytes FROM expired
         WHERE device = ?1 ORDER BY source, resolution",
    )?;
    let found = statement.query_map([device.0], expired)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn expired(row: &Row<'_>) -> rusqlite::Result<Expired> {
    Ok(Expired {
        device: DeviceNumber(row.get("device")?),
        source: SourceNumber(row.get("source")?),
        resolution: Resolution::from_code(row.get("resolution")?)
            .ok_or_else(|| corrupt("resolution"))?,
        before: UnixMs(row.get("before_ms")?),
        rows: count(row, "removed")?,
        bytes: count(row, "bytes")?,
    })
}

/// Returns what was removed of all inverters, by resolution.
pub(super) fn sum(db: &Connection) -> Result<Vec<RemovedRows>, StoreError> {
    let mut statement = db.prepare(
        "SELECT coalesce(sum(removed), 0), coalesce(sum(bytes), 0) FROM expired
         WHERE resolution = ?1",
    )?;
    let mut all = Vec::with_capacity(Resolution::ALL.len());
    for resolution in Resolution::ALL {
        all.push(statement.query_row([resolution.code()], |row| {
            Ok(RemovedRows { resolution, rows: count(row, 0)?, bytes: count(row, 1)? })
        })?);
    }
    Ok(all)
}

/// Returns the newest sample of the fleet.
pub(crate) fn newest_sample(db: &Connection) -> Result<Option<UnixMs>, StoreError> {
    let newest: Option<i64> = db
        .prepare_cached("SELECT max(last_sample) FROM device_state")?
        .query_row([], |r| r.get(0))?;
    Ok(newest.map(UnixMs))
}

/// Moves retention's clock and returns it; `None` if it has not begun.
pub(crate) fn move_clock(
    db: &Connection,
    now: UnixMs,
    newest: Option<UnixMs>,
) -> Result<Option<UnixMs>, StoreError> {
    let held = db
        .prepare_cached("SELECT at_ms, seen_ms FROM retention_clock")?
        .query_row([], |row| {
            Ok(RetentionClock { at: UnixMs(row.get(0)?), seen: UnixMs(row.get(1)?) })
        })
        .optional()?;
    let moved = RetentionClock::moved(held, now, newest);
    if let Some(RetentionClock { at, seen }) = moved.filter(|_| moved != held) {
        db.prepare_cached(
            "INSERT INTO retention_clock (one, at_ms, seen_ms) VALUES (1, ?1, ?2)
             ON CONFLICT (one) DO UPDATE SET at_ms = excluded.at_ms, seen_ms = excluded.seen_ms",
        )?
        .execute(params![at.0, seen.0])?;
    }
    Ok(moved.map(|clock| clock.at))
}
