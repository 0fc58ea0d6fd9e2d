//! Keeps, through a rebuild, what cannot be made again because retention removed the samples.
//!
//! Everything removed of an inverter ended before its *floor*, the start of a UTC day. Quarter hours
//! and gaps that begin before it stay as they are, and so do local days that may begin before it in
//! some time zone. Edges of removed batches stay as well: with them in place, the batches that are
//! left are joined as they were, and what the joins among removed batches are worth belongs to days
//! that stay.

use std::collections::HashSet;

use ecowatt_model::{BatchId, DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::StoreError;
use crate::energy::PowerEdges;
use crate::energy_counter::{CounterBatch, CounterEdge};
use crate::rollup::QUARTER_MS;
use crate::rollup_pack::DAY_MS;
use crate::sqlite::convert::batch_id;
use crate::sqlite::{block, newest_edges};

/// An inverter of which samples, minutes or quarter hours were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) source: SourceNumber,
    at: i64,
}

impl Floor {
    /// The first UTC day of which everything is kept.
    pub(super) fn day(&self) -> i64 {
        self.at.div_euclid(DAY_MS)
    }

    /// The first local day that begins at or after the floor in every time zone: they are at most 14
    /// hours ahead of UTC.
    fn date(&self) -> i64 {
        self.day() + 1
    }
}

/// Returns the floors of a device's inverters.
pub(super) fn floors(db: &Connection, device: DeviceNumber) -> Result<Vec<Floor>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT source, max(before_ms) FROM expired WHERE device = ?1 GROUP BY source",
    )?;
    let found = statement.query_map([device.0], |row| {
        Ok(Floor { source: SourceNumber(row.get(0)?), at: row.get(1)? })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Puts back the edges of removed batches: those before the floor that no stored batch has.
pub(super) fn put_back_edges(
    db: &Connection,
    device: DeviceNumber,
    floors: &[Floor],
) -> Result<(), StoreError> {
    if floors.is_empty() {
        return Ok(());
    }
    let batches = block::list_batches(db, device)?;
    for floor in floors {
        let ids = batches.iter().filter(|batch| batch.source == floor.source);
        let stored: HashSet<BatchId> = ids.map(|batch| batch.id).collect();
        put_back_counters(db, device, floor, &stored)?;
        put_back_powers(db, device, floor, &stored)?;
    }
    Ok(())
}

fn put_back_counters(
    db: &Connection,
    device: DeviceNumber,
    floor: &Floor,
    stored: &HashSet<BatchId>,
) -> Result<(), StoreError> {
    let first = stored.iter().min().copied();
    let mut was = db.prepare(
        "SELECT epoch, sequence, calm, edge FROM temp.was_counter_edge WHERE source = ?1
         ORDER BY epoch, sequence",
    )?;
    let mut put = db.prepare(
        "INSERT INTO main.counter_edge (device, source, epoch, sequence, calm, edge)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut rows = was.query([floor.source.0])?;
    let mut newest = None;
    while let Some(row) = rows.next()? {
        let (id, bytes): (_, Vec<u8>) = (batch_id(row)?, row.get("edge")?);
        let Some(batch) = CounterBatch::decode(&bytes) else { continue };
        if stored.contains(&id) || batch.ends.last.at.0 >= floor.at {
            continue;
        }
        // How many steps up to it are calm is known again once the batches between are.
        let calm = if first.is_some_and(|first| first < id) { 0 } else { row.get("calm")? };
        put.execute(params![device.0, floor.source.0, id.epoch.0, id.sequence.0, calm, bytes])?;
        newest = Some(newest_edges::counter_bytes(&id, &CounterEdge { calm, batch }));
    }
    db.execute(
        "UPDATE main.inverter_state SET counter = ?3 WHERE device = ?1 AND source = ?2",
        params![device.0, floor.source.0, newest],
    )?;
    Ok(())
}

fn put_back_powers(
    db: &Connection,
    device: DeviceNumber,
    floor: &Floor,
    stored: &HashSet<BatchId>,
) -> Result<(), StoreError> {
    let mut was = db.prepare(
        "SELECT epoch, sequence, first_ms, edge FROM temp.was_power_edge
         WHERE source = ?1 AND first_ms < ?2 ORDER BY first_ms, epoch, sequence",
    )?;
    let mut put = db.prepare(
        "INSERT INTO main.power_edge (device, source, first_ms, epoch, sequence, edge)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut rows = was.query(params![floor.source.0, floor.at])?;
    let mut newest = None;
    while let Some(row) = rows.next()? {
        let (id, first, bytes): (_, _, Vec<u8>) =
            (batch_id(row)?, UnixMs(row.get("first_ms")?), row.get("edge")?);
        let Some(edges) = PowerEdges::decode(first, &bytes).filter(|_| !stored.contains(&id))
        else {
            continue;
        };
        let (epoch, sequence) = (id.epoch.0, id.sequence.0);
        put.execute(params![device.0, floor.source.0, first.0, epoch, sequence, bytes])?;
        newest = Some(newest_edges::power_bytes(&(first, id), &edges));
    }
    db.execute(
        "UPDATE main.inverter_state SET power = ?3 WHERE device = ?1 AND source = ?2",
        params![device.0, floor.source.0, newest],
    )?;
    Ok(())
}

/// Replaces everything that was made of times before the floor by what was there before.
pub(super) fn put_back_rows(
    db: &Connection,
    device: DeviceNumber,
    floors: &[Floor],
) -> Result<(), StoreError> {
    for floor in floors {
        let inverter = (device, floor.source);
        put_back(db, inverter, &DAYS, floor.date())?;
        put_back(db, inverter, &QUARTERS, floor.at.div_euclid(QUARTER_MS))?;
        let values = params![device.0, floor.source.0, floor.at];
        db.execute(
            "DELETE FROM main.energy_gap WHERE device = ?1 AND source = ?2 AND from_ms < ?3",
            values,
        )?;
        db.execute(
            "INSERT INTO main.energy_gap (device, source, from_ms, to_ms)
             SELECT device, source, from_ms, to_ms FROM temp.was_energy_gap
             WHERE device = ?1 AND source = ?2 AND from_ms < ?3",
            values,
        )?;
    }
    Ok(())
}

/// A table of roll-ups, whose last row is part of its inverter's row.
struct RollUps {
    table: &'static str,
    key: &'static str,
    value: &'static str,
    /// The key in the inverter's row.
    open_key: &'static str,
}

const DAYS: RollUps = RollUps { table: "day", key: "date", value: "totals", open_key: "date" };
const QUARTERS: RollUps =
    RollUps { table: "quarter", key: "number", value: "minutes", open_key: "quarter" };

fn put_back(
    db: &Connection,
    (device, source): (DeviceNumber, SourceNumber),
    roll_ups: &RollUps,
    floor: i64,
) -> Result<(), StoreError> {
    let RollUps { table, key, value, open_key } = roll_ups;
    let values = params![device.0, source.0, floor];
    db.execute(
        &format!("DELETE FROM main.{table} WHERE device = ?1 AND source = ?2 AND {key} < ?3"),
        values,
    )?;
    db.execute(
        &format!(
            "INSERT INTO main.{table} (device, source, {key}, {value})
             SELECT device, source, {key}, {value} FROM temp.was_{table}
             WHERE device = ?1 AND source = ?2 AND {key} < ?3
             UNION ALL
             SELECT device, source, {open_key}, {value} FROM temp.was_inverter_state
             WHERE device = ?1 AND source = ?2 AND {open_key} < ?3"
        ),
        values,
    )?;
    // The last one of all is the open one. If none was made, it is one that was put back.
    let is_made = db
        .prepare(&format!(
            "SELECT 1 FROM main.inverter_state
             WHERE device = ?1 AND source = ?2 AND {open_key} >= ?3"
        ))?
        .exists(values)?;
    if is_made {
        return Ok(());
    }
    let last: Option<(i64, Vec<u8>)> = db
        .query_row(
            &format!(
                "SELECT {key}, {value} FROM main.{table} WHERE device = ?1 AND source = ?2
                 ORDER BY {key} DESC LIMIT 1"
            ),
            params![device.0, source.0],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (last_key, last_value) = last.unzip();
    db.execute(
        &format!(
            "UPDATE main.inverter_state SET {open_key} = ?3, {value} = ?4
             WHERE device = ?1 AND source = ?2"
        ),
        params![device.0, source.0, last_key, last_value],
    )?;
    db.execute(
        &format!("DELETE FROM main.{table} WHERE device = ?1 AND source = ?2 AND {key} = ?3"),
        params![device.0, source.0, last_key],
    )?;
    Ok(())
}
