//! Statements that read the newest readings of inverters.

use std::collections::BTreeMap;

use ecowatt_model::{DeviceNumber, SourceNumber};
use rusqlite::{Connection, OptionalExtension as _};

use super::convert::blob;
use super::stream;
use crate::StoreError;
use crate::batch_summary::milli;
use crate::ids::{LayoutId, PointId};
use crate::latest::{Latest, Reading};
use crate::telemetry::{LatestReading, SourceLatest, SourcePower, StateReading};

const LATEST: &str =
    "SELECT source, readings FROM inverter_state WHERE device = ?1 ORDER BY source";

pub(crate) fn latest(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<SourceLatest>, StoreError> {
    let mut statement = db.prepare_cached(LATEST)?;
    let mut rows = statement.query([device.0])?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes = blob(row, "readings")?;
        let held = Latest::decode(bytes).ok_or(StoreError::Corrupt("latest readings"))?;
        // A device that was reset has no readings.
        if held.points.is_empty() {
            continue;
        }
        let mut readings = Vec::with_capacity(held.points.len());
        for (id, newest) in held.points {
            let point = find_point(db, id)?.ok_or(StoreError::Corrupt("point"))?;
            readings.push(LatestReading { point, good: newest.good, tried: newest.tried });
        }
        sources.push(SourceLatest { source: SourceNumber(row.get("source")?), readings });
    }
    Ok(sources)
}

fn find_point(db: &Connection, id: PointId) -> Result<Option<crate::Point>, StoreError> {
    Ok(db
        .prepare_cached("SELECT id, name, unit, exponent FROM point WHERE id = ?1")?
        .query_row([id.0], stream::point)
        .optional()?)
}

/// Returns for each device the newest good readings of its AC power: inverter, time, milliwatts,
/// and the quality of the newest attempt.
pub(crate) fn powers(
    db: &Connection,
    devices: &[DeviceNumber],
) -> Result<BTreeMap<DeviceNumber, Vec<SourcePower>>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id, exponent FROM point WHERE name = ?1")?;
    let power_points = statement
        .query_map([crate::POWER_POINT], |row| Ok((PointId(row.get(0)?), row.get(1)?)))?
        .collect::<Result<Vec<(PointId, i8)>, _>>()?;
    let mut statement = db.prepare_cached(LATEST)?;
    let mut all = BTreeMap::new();
    for device in devices {
        let mut sources = Vec::new();
        let mut rows = statement.query([device.0])?;
        while let Some(row) = rows.next()? {
            let bytes = blob(row, "readings")?;
            let held = Latest::decode(bytes).ok_or(StoreError::Corrupt("latest readings"))?;
            let newest = power_points
                .iter()
                .filter_map(|(id, exponent)| Some((held.points.get(id)?, *exponent)))
                .max_by_key(|(newest, _)| newest.tried.at);
            if let Some((newest, exponent)) = newest {
                sources.push(SourcePower {
                    source: SourceNumber(row.get("source")?),
                    good_mw: newest.good.and_then(|Reading { at, value }| {
                        Some(Reading { at, value: milli(value, exponent)? })
                    }),
                    tried: newest.tried,
                });
            }
        }
        all.insert(*device, sources);
    }
    Ok(all)
}

/// Returns for each device the newest good reading of every inverter's state.
pub(crate) fn states(
    db: &Connection,
    devices: &[DeviceNumber],
) -> Result<BTreeMap<DeviceNumber, Vec<StateReading>>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id FROM point WHERE name = ?1")?;
    let points = statement
        .query_map([crate::STATE_POINT], |row| Ok(PointId(row.get(0)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut statement = db.prepare_cached(
        "SELECT source, readings,
             (SELECT layout FROM stream
              WHERE stream.device = latest.device AND stream.source = latest.source
              ORDER BY number DESC LIMIT 1) AS layout
         FROM inverter_state AS latest WHERE device = ?1 ORDER BY source",
    )?;
    let mut all = BTreeMap::new();
    for device in devices {
        let mut readings = Vec::new();
        let mut rows = statement.query([device.0])?;
        while let Some(row) = rows.next()? {
            let bytes = blob(row, "readings")?;
            let held = Latest::decode(bytes).ok_or(StoreError::Corrupt("latest readings"))?;
            let newest = points.iter().filter_map(|id| held.points.get(id)?.good).max();
            let layout = row.get::<_, Option<i64>>("layout")?.map(LayoutId);
            if let (Some(Reading { value: code, .. }), Some(layout)) = (newest, layout) {
                readings.push(StateReading {
                    source: SourceNumber(row.get("source")?),
                    code,
                    layout,
                });
            }
        }
        all.insert(*device, readings);
    }
    Ok(all)
}
