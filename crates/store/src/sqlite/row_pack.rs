//! Reads and writes packs of roll-ups and edges, and finds the rows that go into them.

use ecowatt_model::{BatchId, DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use super::convert::batch_id;
use crate::StoreError;
use crate::edge_pack::{decode_counters, decode_powers};
use crate::energy::PowerEdges;
use crate::energy_counter::CounterBatch;
use crate::limits::EDGES_PER_PACK_MAX;
use crate::loaded::Place;
use crate::rollup_pack::{DAY_MS, QUARTERS_PER_DAY};
use crate::row_pack::{
    PackKind, RowKind, RowPack, Rows, SEQUENCES_PER_PACK, UnpackedRows, first_of, number_of,
};

pub(super) type Inverter = (DeviceNumber, SourceNumber);

impl PackKind {
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Minutes => "minute_pack",
            Self::Quarters => "quarter_pack",
            Self::Powers => "power_pack",
            Self::Counters => "counter_pack",
        }
    }
}

/// Returns the first rows of a kind, at or after the packs of this number, that are over: of UTC
/// days before the one that contains `before`.
pub(crate) fn loose(
    db: &Connection,
    inverter: Inverter,
    kind: RowKind,
    from: i64,
    before: UnixMs,
) -> Result<Option<UnpackedRows>, StoreError> {
    let end = before.0.div_euclid(DAY_MS);
    let found = match kind {
        RowKind::Minutes => loose_minutes(db, inverter, from, end)?,
        RowKind::Powers => loose_powers(db, inverter, from, end)?,
        RowKind::Counters => loose_counters(db, inverter, from, end)?,
    };
    let Some((number, rows)) = found else { return Ok(None) };
    let kinds: &[PackKind] = match kind {
        RowKind::Minutes => &[PackKind::Minutes, PackKind::Quarters],
        RowKind::Powers => &[PackKind::Powers],
        RowKind::Counters => &[PackKind::Counters],
    };
    let mut packs = Vec::with_capacity(kinds.len());
    for kind in kinds {
        packs.push((*kind, find(db, inverter, *kind, number)?));
    }
    Ok(Some(UnpackedRows { number, rows, packs }))
}

fn loose_minutes(
    db: &Connection,
    (device, source): Inverter,
    from: i64,
    end: i64,
) -> Result<Option<(i64, Rows)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT number, minutes FROM quarter
         WHERE device = ?1 AND source = ?2 AND number >= ?3 AND number < ?4 ORDER BY number",
    )?;
    let (from, end) = (from.saturating_mul(QUARTERS_PER_DAY), end.saturating_mul(QUARTERS_PER_DAY));
    let mut found = statement.query(params![device.0, source.0, from, end])?;
    let mut rows: Vec<(i64, Vec<u8>)> = Vec::new();
    let day = |number: i64| number.div_euclid(QUARTERS_PER_DAY);
    while let Some(row) = found.next()? {
        let number = row.get(0)?;
        if rows.first().is_some_and(|(first, _)| day(*first) != day(number)) {
            break;
        }
        rows.push((number, row.get(1)?));
    }
    Ok(rows.first().map(|(first, _)| day(*first)).map(|day| (day, Rows::Minutes(rows))))
}

fn loose_powers(
    db: &Connection,
    (device, source): Inverter,
    from: i64,
    end: i64,
) -> Result<Option<(i64, Rows)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT first_ms, epoch, sequence, edge FROM power_edge
         WHERE device = ?1 AND source = ?2 AND first_ms >= ?3 AND first_ms < ?4
         ORDER BY first_ms, epoch, sequence LIMIT ?5",
    )?;
    let (from, end) = (from.saturating_mul(DAY_MS), end.saturating_mul(DAY_MS));
    let values = params![device.0, source.0, from, end, EDGES_PER_PACK_MAX];
    let mut found = statement.query(values)?;
    let mut rows: Vec<(Place, Vec<u8>)> = Vec::new();
    while let Some(row) = found.next()? {
        let first = UnixMs(row.get("first_ms")?);
        if rows.first().is_some_and(|((of, _), _)| day_of(of) != day_of(&first)) {
            break;
        }
        rows.push(((first, batch_id(row)?), row.get("edge")?));
    }
    Ok(rows.first().map(|((of, _), _)| day_of(of)).map(|day| (day, Rows::Powers(rows))))
}

/// Edges of a counter have no time in their key, so those that are not over are sorted out. There
/// may be none left.
fn loose_counters(
    db: &Connection,
    (device, source): Inverter,
    from: i64,
    end: i64,
) -> Result<Option<(i64, Rows)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT epoch, sequence, calm, edge FROM counter_edge
         WHERE device = ?1 AND source = ?2 AND (epoch, sequence) >= (?3, ?4)
         ORDER BY epoch, sequence LIMIT ?5",
    )?;
    let (epoch, sequence) = first_of(from);
    let mut found =
        statement.query(params![device.0, source.0, epoch, sequence, SEQUENCES_PER_PACK])?;
    let (mut number, mut rows) = (None, Vec::new());
    while let Some(row) = found.next()? {
        let id = batch_id(row)?;
        if *number.get_or_insert(number_of(&id)) != number_of(&id) {
            break;
        }
        let bytes: Vec<u8> = row.get("edge")?;
        let is_over = |batch: CounterBatch| day_of(&batch.ends.last.at) < end;
        if CounterBatch::decode(&bytes).is_some_and(is_over) {
            rows.push((id, row.get("calm")?, bytes));
        }
    }
    Ok(number.map(|number| (number, Rows::Counters(rows))))
}

pub(super) fn day_of(at: &UnixMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

fn find(
    db: &Connection,
    (device, source): Inverter,
    kind: PackKind,
    number: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let table = kind.table();
    Ok(db
        .prepare_cached(&format!(
            "SELECT bytes FROM {table} WHERE device = ?1 AND source = ?2 AND number = ?3"
        ))?
        .query_row(params![device.0, source.0, number], |row| row.get(0))
        .optional()?)
}

/// Returns the edges of power of a batch, which are in a row or in a pack.
pub(super) fn find_power(
    db: &Connection,
    inverter: Inverter,
    place: Place,
) -> Result<Option<PowerEdges>, StoreError> {
    let (first, id) = place;
    let damaged = || StoreError::Corrupt("edge of power");
    let row: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT edge FROM power_edge WHERE device = ?1 AND source = ?2 AND first_ms = ?3
                 AND epoch = ?4 AND sequence = ?5",
        )?
        .query_row(params![inverter.0.0, inverter.1.0, first.0, id.epoch.0, id.sequence.0], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(bytes) = row {
        return PowerEdges::decode(first, &bytes).map(Some).ok_or_else(damaged);
    }
    let pack = find(db, inverter, PackKind::Powers, day_of(&first))?;
    let edges = pack.map(|bytes| decode_powers(&bytes).ok_or_else(damaged)).transpose()?;
    let mut edges = edges.into_iter().flatten();
    Ok(edges.find(|(of, _)| *of == place).map(|(_, edges)| edges))
}

/// Returns the edge of the counter of a batch, which is in a row or in a pack.
pub(super) fn find_counter(
    db: &Connection,
    inverter: Inverter,
    id: BatchId,
) -> Result<Option<CounterBatch>, StoreError> {
    let damaged = || StoreError::Corrupt("edge of a counter");
    let row: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT edge FROM counter_edge WHERE device = ?1 AND source = ?2 AND epoch = ?3
                 AND sequence = ?4",
        )?
        .query_row(params![inverter.0.0, inverter.1.0, id.epoch.0, id.sequence.0], |row| row.get(0))
        .optional()?;
    if let Some(bytes) = row {
        return CounterBatch::decode(&bytes).map(Some).ok_or_else(damaged);
    }
    let pack = find(db, inverter, PackKind::Counters, number_of(&id))?;
    let edges = pack.map(|bytes| decode_counters(&bytes).ok_or_else(damaged)).transpose()?;
    let mut edges = edges.into_iter().flatten();
    Ok(edges.find(|(of, _)| *of == id).map(|(_, edge)| edge.batch))
}

/// Replaces rows, and the packs before, by packs; returns whether all of them were as they were
/// read. If one was not, nothing changes.
pub(crate) fn keep(
    db: &Connection,
    inverter: Inverter,
    pack: &RowPack,
) -> Result<bool, StoreError> {
    db.execute_batch("SAVEPOINT row_pack")?;
    let kept = replace(db, inverter, pack);
    if !matches!(kept, Ok(true)) {
        db.execute_batch("ROLLBACK TO row_pack")?;
    }
    db.execute_batch("RELEASE row_pack")?;
    kept
}

fn replace(db: &Connection, inverter: Inverter, pack: &RowPack) -> Result<bool, StoreError> {
    let (device, source) = (inverter.0.0, inverter.1.0);
    let UnpackedRows { number, rows, packs } = &pack.loose;
    let is_whole = match rows {
        Rows::Minutes(rows) => delete(
            db,
            "DELETE FROM quarter
             WHERE device = ?1 AND source = ?2 AND number = ?3 AND minutes = ?4",
            rows.iter().map(|(number, bytes)| (device, source, number, bytes)),
        )?,
        Rows::Powers(rows) => delete(
            db,
            "DELETE FROM power_edge
             WHERE device = ?1 AND source = ?2 AND first_ms = ?3 AND epoch = ?4 AND sequence = ?5
               AND edge = ?6",
            rows.iter().map(|((first, id), bytes)| {
                (device, source, first.0, id.epoch.0, id.sequence.0, bytes)
            }),
        )?,
        Rows::Counters(rows) => delete(
            db,
            "DELETE FROM counter_edge
             WHERE device = ?1 AND source = ?2 AND epoch = ?3 AND sequence = ?4 AND calm = ?5
               AND edge = ?6",
            rows.iter()
                .map(|(id, calm, bytes)| (device, source, id.epoch.0, id.sequence.0, calm, bytes)),
        )?,
    };
    if !is_whole {
        return Ok(false);
    }
    for (kind, old) in packs {
        let table = kind.table();
        let sql = format!(
            "DELETE FROM {table}
             WHERE device = ?1 AND source = ?2 AND number = ?3 AND bytes = ?4"
        );
        if !delete(db, &sql, old.iter().map(|bytes| (device, source, number, bytes)))? {
            return Ok(false);
        }
    }
    for (kind, bytes) in &pack.packs {
        let table = kind.table();
        let sql = format!(
            "INSERT INTO {table} (device, source, number, bytes) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING"
        );
        // One that exists was added after the rows were read.
        if db.prepare_cached(&sql)?.execute(params![device, source, number, bytes])? != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes a row for each of the values; returns whether all existed.
fn delete<P: Params>(
    db: &Connection,
    sql: &str,
    values: impl Iterator<Item = P>,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    for values in values {
        if statement.execute(values)? != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Edges nearest to a key, on one side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Adds packed edges to those found in rows, nearest first, as far as they are among the nearest.
/// `decode` returns the edges of a pack, ascending.
pub(super) fn add_packed<K: Ord + Copy, V>(
    db: &Connection,
    (device, source): Inverter,
    kind: PackKind,
    (key, side, limit): (K, Side, u32),
    number_of: impl Fn(&K) -> i64,
    decode: impl Fn(&[u8]) -> Vec<(K, V)>,
    found: &mut Vec<(K, V)>,
) -> Result<(), StoreError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // With enough rows, only edges nearer than the farthest of them matter.
    let farthest = found.last().filter(|_| found.len() >= limit).map(|(key, _)| number_of(key));
    let (own, table) = (number_of(&key), kind.table());
    let (least, most, order) = match side {
        Side::Before => (farthest.unwrap_or(i64::MIN), own, "DESC"),
        Side::After => (own, farthest.unwrap_or(i64::MAX), "ASC"),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT bytes FROM {table}
         WHERE device = ?1 AND source = ?2 AND number BETWEEN ?3 AND ?4 ORDER BY number {order}"
    ))?;
    let mut packs = statement.query(params![device.0, source.0, least, most])?;
    let mut packed = Vec::new();
    while packed.len() < limit
        && let Some(row) = packs.next()?
    {
        let mut edges = decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        match side {
            Side::Before => {
                edges.retain(|(other, _)| *other < key);
                edges.reverse();
            }
            Side::After => edges.retain(|(other, _)| *other > key),
        }
        packed.extend(edges);
    }
    // An edge in a row was written later than the same one in a pack.
    packed.retain(|(other, _)| found.iter().all(|(held, _)| held != other));
    found.extend(packed);
    found.sort_by_key(|(other, _)| *other);
    if side == Side::Before {
        found.reverse();
    }
    found.truncate(limit);
    Ok(())
}
