//! Turns packs of roll-ups and edges back into rows, to rebuild them.

use rusqlite::{Connection, params};

use super::load::load_quarter;
use super::row_pack::Inverter;
use crate::StoreError;
use crate::edge_pack::{decode_counters, decode_powers};
use crate::energy_counter::CounterEdge;
use crate::rollup_pack::{DayColumns, Width};
use crate::row_pack::PackKind;

/// Turns an inverter's packs back into rows, those of roll-ups from a UTC day on. Packs of quarter
/// hours are dropped: the minutes have all that is in them. Before that day they may not, because
/// retention has removed them.
pub(super) fn unpack(
    db: &Connection,
    inverter: Inverter,
    first_day: i64,
) -> Result<(), StoreError> {
    let (device, source) = (inverter.0.0, inverter.1.0);
    let damaged = || StoreError::Corrupt("pack of roll-ups");
    for (day, bytes) in take_packs(db, inverter, PackKind::Minutes, first_day)? {
        let columns = DayColumns::decode(Width::Minute, day, &bytes).ok_or_else(damaged)?;
        for (number, packed) in columns.quarters() {
            let mut quarter = load_quarter(db, inverter, number)?;
            quarter.merge(packed);
            db.prepare_cached(
                "INSERT OR REPLACE INTO quarter (device, source, number, minutes)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![device, source, number, quarter.encode(number)])?;
        }
    }
    take_packs(db, inverter, PackKind::Quarters, first_day)?;
    for (_, bytes) in take_packs(db, inverter, PackKind::Powers, i64::MIN)? {
        for ((first, id), edges) in decode_powers(&bytes).ok_or_else(damaged)? {
            let (epoch, sequence) = (id.epoch.0, id.sequence.0);
            db.prepare_cached(
                "INSERT OR IGNORE INTO power_edge (device, source, first_ms, epoch, sequence, edge)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                device,
                source,
                first.0,
                epoch,
                sequence,
                edges.encode(first)
            ])?;
        }
    }
    for (_, bytes) in take_packs(db, inverter, PackKind::Counters, i64::MIN)? {
        for (id, CounterEdge { calm, batch }) in decode_counters(&bytes).ok_or_else(damaged)? {
            let (epoch, sequence) = (id.epoch.0, id.sequence.0);
            db.prepare_cached(
                "INSERT OR IGNORE INTO counter_edge (device, source, epoch, sequence, calm, edge)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                device,
                source,
                epoch,
                sequence,
                calm,
                batch.encode()
            ])?;
        }
    }
    Ok(())
}

/// Deletes the packs of a kind from a number on and returns them.
fn take_packs(
    db: &Connection,
    (device, source): Inverter,
    kind: PackKind,
    from: i64,
) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let table = kind.table();
    let values = params![device.0, source.0, from];
    let packs = db
        .prepare_cached(&format!(
            "SELECT number, bytes FROM {table}
             WHERE device = ?1 AND source = ?2 AND number >= ?3 ORDER BY number"
        ))?
        .query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    db.prepare_cached(&format!(
        "DELETE FROM {table} WHERE device = ?1 AND source = ?2 AND number >= ?3"
    ))?
    .execute(values)?;
    Ok(packs)
}
