//! Statements that read roll-ups: minutes, quarter hours, days and energy.

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, params};

use crate::StoreError;
use crate::ids::{LocalDate, PointId};
use crate::limits::{BUCKET_CELLS_PER_QUERY_MAX, GAPS_PER_QUERY_MAX};
use crate::rollup::{Aggregate, Day, MINUTE_MS, QUARTER_MS, Quarter, quarter_of};
use crate::telemetry::{Bucket, DayBucket, DeviceDay, EnergyDay, EnergyGap, TimeRange};

/// Returns one-minute buckets, ascending, as (minute's start, aggregates by place).
pub(crate) fn minutes(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    range: TimeRange,
    points: &[PointId],
) -> Result<Vec<Bucket>, StoreError> {
    let mut buckets = Vec::new();
    each_quarter(db, device, source, range, points, |number, found| {
        let start = number * QUARTER_MS;
        let first = buckets.len();
        for (place, minutes) in found.iter().enumerate() {
            // Both lists ascend, so a cursor finds each minute's bucket.
            let mut at = first;
            for (minute, aggregate) in minutes {
                let bucket_start = UnixMs(start + i64::from(*minute) * MINUTE_MS);
                if bucket_start < range.from || bucket_start >= range.to {
                    continue;
                }
                while buckets.get(at).is_some_and(|b: &Bucket| b.start < bucket_start) {
                    at += 1;
                }
                if buckets.get(at).is_none_or(|b| b.start != bucket_start) {
                    let aggregates = vec![None; points.len()];
                    buckets.insert(at, Bucket { start: bucket_start, aggregates });
                }
                buckets[at].aggregates[place] = Some(*aggregate);
            }
        }
        buckets.len() < buckets_max(points)
    })?;
    Ok(buckets)
}

/// Returns quarter hours, merged from their minutes; one that begins in the range is included
/// whole.
pub(crate) fn quarters(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    range: TimeRange,
    points: &[PointId],
) -> Result<Vec<Bucket>, StoreError> {
    let mut buckets = Vec::new();
    each_quarter(db, device, source, range, points, |number, found| {
        let start = UnixMs(number * QUARTER_MS);
        let aggregates: Vec<_> = found.iter().map(|minutes| merged(minutes)).collect();
        if start >= range.from && start < range.to && aggregates.iter().any(Option::is_some) {
            buckets.push(Bucket { start, aggregates });
        }
        buckets.len() < buckets_max(points)
    })?;
    Ok(buckets)
}

/// How many buckets of these points one query returns.
fn buckets_max(points: &[PointId]) -> usize {
    (BUCKET_CELLS_PER_QUERY_MAX / points.len().max(1)).max(1)
}

fn merged(minutes: &[(u8, Aggregate)]) -> Option<Aggregate> {
    let ((_, first), rest) = minutes.split_first()?;
    let mut all = *first;
    for (_, aggregate) in rest {
        all.merge(aggregate);
    }
    Some(all)
}

/// Passes quarter hours to `take` until it returns false.
fn each_quarter(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    range: TimeRange,
    points: &[PointId],
    mut take: impl FnMut(i64, Vec<Vec<(u8, Aggregate)>>) -> bool,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT number, minutes FROM quarter
         WHERE device = ?1 AND source = ?2 AND number >= ?3 AND number * 900000 < ?4
           AND number <= ?5
         ORDER BY number",
    )?;
    let (first, _) = quarter_of(range.from);
    let (last, _) = quarter_of(range.to);
    // The open quarter hour comes after all others.
    let mut open = db.prepare_cached(
        "SELECT quarter, minutes FROM inverter_state
         WHERE device = ?1 AND source = ?2 AND quarter >= ?3 AND quarter * 900000 < ?4
           AND quarter <= ?5",
    )?;
    for statement in [&mut statement, &mut open] {
        let mut rows = statement.query(params![device.0, source.0, first, range.to.0, last])?;
        while let Some(row) = rows.next()? {
            let number = row.get(0)?;
            let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let found = Quarter::decode_points(number, bytes, points)
                .ok_or(StoreError::Corrupt("quarter hour"))?;
            if !take(number, found) {
                return Ok(());
            }
        }
    }
    Ok(())
}

pub(crate) fn days(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    (from, to): (LocalDate, LocalDate),
    points: &[PointId],
) -> Result<Vec<DayBucket>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT date, totals FROM day
         WHERE device = ?1 AND source = ?2 AND date >= ?3 AND date < ?4
         UNION ALL
         SELECT date, totals FROM inverter_state
         WHERE device = ?1 AND source = ?2 AND date >= ?3 AND date < ?4
         ORDER BY date LIMIT ?5",
    )?;
    let limit = i64::try_from(buckets_max(points)).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![device.0, source.0, from.0, to.0, limit])?;
    let mut buckets = Vec::new();
    while let Some(row) = rows.next()? {
        let date = LocalDate(row.get(0)?);
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let day = Day::decode(date, bytes).ok_or(StoreError::Corrupt("day"))?;
        let aggregates = points.iter().map(|point| day.point(*point)).collect();
        buckets.push(DayBucket { date, aggregates });
    }
    Ok(buckets)
}

pub(crate) fn energy_days(
    db: &Connection,
    device: DeviceNumber,
    (from, to): (LocalDate, LocalDate),
) -> Result<Vec<EnergyDay>, StoreError> {
    // Lists the sources first: the key begins (device, source, date).
    let mut statement = db.prepare_cached(
        "SELECT day.source AS source, day.date AS date, day.totals
         FROM inverter_state AS state
             JOIN day ON day.device = state.device AND day.source = state.source
         WHERE state.device = ?1 AND day.date >= ?2 AND day.date < ?3
         UNION ALL
         SELECT source, date, totals FROM inverter_state
         WHERE device = ?1 AND date >= ?2 AND date < ?3
         ORDER BY date, source",
    )?;
    let mut rows = statement.query(params![device.0, from.0, to.0])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        let date = LocalDate(row.get(1)?);
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let (sums, ..) = Day::decode_head(date, bytes).ok_or(StoreError::Corrupt("day"))?;
        days.push(EnergyDay { source: SourceNumber(row.get(0)?), date, energy: sums.figure() });
    }
    Ok(days)
}

/// Returns the gaps that touch the range.
pub(crate) fn energy_gaps(
    db: &Connection,
    device: DeviceNumber,
    range: TimeRange,
) -> Result<Vec<EnergyGap>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT source, from_ms, to_ms FROM energy_gap
         WHERE device = ?1 AND from_ms < ?3 AND to_ms > ?2 ORDER BY from_ms, source LIMIT ?4",
    )?;
    let gaps = statement
        .query_map(params![device.0, range.from.0, range.to.0, GAPS_PER_QUERY_MAX], |row| {
            Ok(EnergyGap {
                source: SourceNumber(row.get(0)?),
                from: UnixMs(row.get(1)?),
                to: UnixMs(row.get(2)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(gaps)
}

pub(crate) fn device_days(
    db: &Connection,
    wanted: &[(DeviceNumber, LocalDate)],
) -> Result<Vec<DeviceDay>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT day.totals FROM inverter_state AS state
             JOIN day ON day.device = state.device AND day.source = state.source
         WHERE state.device = ?1 AND day.date = ?2
         UNION ALL
         SELECT totals FROM inverter_state WHERE device = ?1 AND date = ?2",
    )?;
    let mut days = Vec::with_capacity(wanted.len());
    for (device, date) in wanted {
        let mut energy_mwh: Option<i64> = None;
        let mut power = std::collections::BTreeMap::<i64, i64>::new();
        let mut rows = statement.query(params![device.0, date.0])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            let (sums, quarters, _) =
                Day::decode_head(*date, bytes).ok_or(StoreError::Corrupt("day"))?;
            if let Some(mwh) = sums.figure().mwh() {
                energy_mwh = Some(energy_mwh.unwrap_or(0).saturating_add(mwh));
            }
            for (quarter, (sum_mw, readings)) in quarters {
                let mean = sum_mw / i64::from(readings.max(1));
                let held = power.entry(quarter).or_default();
                *held = held.saturating_add(mean);
            }
        }
        days.push(DeviceDay {
            device: *device,
            energy_wh: energy_mwh.map(|mwh| mwh.div_euclid(1000)),
            power_mw: power.into_iter().map(|(q, mw)| (UnixMs(q * QUARTER_MS), mw)).collect(),
        });
    }
    Ok(days)
}
