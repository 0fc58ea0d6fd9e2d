//! Statements that read roll-ups: minutes, quarter hours, days and energy.

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, Rows, params};

use super::convert::blob;
use super::row_pack::day_of;
use crate::StoreError;
use crate::ids::{DateRange, LocalDate, PointId};
use crate::limits::{GAPS_PER_QUERY_MAX, buckets_max};
use crate::rollup::{Day, QUARTER_MS, Quarter, quarter_of};
use crate::rollup_pack::{Column, DayColumns, QUARTERS_PER_DAY, Width};
use crate::row_pack::PackKind;
use crate::sorted_map::SortedMap;
use crate::telemetry::{Bucket, DayBucket, DeviceDay, EnergyDay, EnergyGap, MeanPower, TimeRange};

/// Returns buckets of minutes or UTC quarter hours that begin in the range, ascending; a quarter
/// hour is included whole. What is stored of a bucket is the merge of its pack and its row.
pub(crate) fn buckets(
    db: &Connection,
    (device, source): (DeviceNumber, SourceNumber),
    width: Width,
    range: TimeRange,
    points: &[PointId],
) -> Result<Vec<Bucket>, StoreError> {
    let kind = match width {
        Width::Minute => PackKind::Minutes,
        Width::Quarter => PackKind::Quarters,
    };
    let until = UnixMs(range.to.0.saturating_sub(1));
    let mut packs = db.prepare_cached(&format!(
        "SELECT number, bytes FROM {} WHERE device = ?1 AND source = ?2 AND number BETWEEN ?3 AND ?4
         ORDER BY number",
        kind.table()
    ))?;
    let days = params![device.0, source.0, day_of(&range.from), day_of(&until)];
    let mut packs = packs.query(days)?;
    let mut closed = db.prepare_cached(
        "SELECT number, minutes FROM quarter
         WHERE device = ?1 AND source = ?2 AND number BETWEEN ?3 AND ?4 ORDER BY number",
    )?;
    let ((first, _), (last, _)) = (quarter_of(range.from), quarter_of(until));
    let quarters = params![device.0, source.0, first, last];
    let mut closed = closed.query(quarters)?;
    let mut open = db.prepare_cached(
        "SELECT quarter, minutes FROM inverter_state
         WHERE device = ?1 AND source = ?2 AND quarter BETWEEN ?3 AND ?4",
    )?;
    let mut open = open.query(quarters)?;
    // The open quarter hour comes after all others.
    let mut next_row = || -> Result<_, StoreError> {
        let row = match closed.next()? {
            Some(row) => Some(row),
            None => open.next()?,
        };
        let Some(row) = row else { return Ok(None) };
        let number: i64 = row.get(0)?;
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let minutes = Quarter::decode_points(number, bytes, points);
        Ok(Some((number, minutes.ok_or(StoreError::Corrupt("quarter hour"))?)))
    };
    let (mut pack, mut row) = (next_pack(&mut packs, width, points)?, next_row()?);
    let mut found = Vec::new();
    loop {
        let of_row = row.as_ref().map(|(number, _)| number.div_euclid(QUARTERS_PER_DAY));
        let of_pack = pack.as_ref().map(|(day, _)| *day);
        let Some(day) = of_row.into_iter().chain(of_pack).min() else { return Ok(found) };
        let mut columns = match pack.take_if(|(of, _)| *of == day) {
            Some((_, columns)) => {
                pack = next_pack(&mut packs, width, points)?;
                columns
            }
            None => vec![SortedMap::default(); points.len()],
        };
        while let Some((number, minutes)) =
            row.take_if(|(number, _)| number.div_euclid(QUARTERS_PER_DAY) == day)
        {
            for (column, minutes) in columns.iter_mut().zip(minutes) {
                for (minute, aggregate) in minutes {
                    let slot = width.slot(number, minute);
                    column.add(slot, aggregate, |held, more| held.merge(&more));
                }
            }
            row = next_row()?;
        }
        push_day(&mut found, columns, range, |slot| width.start(day, slot));
        if found.len() >= buckets_max(points.len()) {
            return Ok(found);
        }
    }
}

fn next_pack(
    packs: &mut Rows<'_>,
    width: Width,
    points: &[PointId],
) -> Result<Option<(i64, Vec<Column>)>, StoreError> {
    let Some(row) = packs.next()? else { return Ok(None) };
    let day: i64 = row.get(0)?;
    let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    let columns = DayColumns::decode_points(width, day, bytes, points);
    Ok(Some((day, columns.ok_or(StoreError::Corrupt("pack of roll-ups"))?)))
}

/// Adds the buckets of a day that begin in the range.
fn push_day(
    buckets: &mut Vec<Bucket>,
    columns: Vec<Column>,
    range: TimeRange,
    start: impl Fn(u16) -> UnixMs,
) {
    let (first, width) = (buckets.len(), columns.len());
    for (place, column) in columns.into_iter().enumerate() {
        // Buckets and column ascend, so a cursor finds each bucket.
        let mut at = first;
        for (slot, aggregate) in column {
            let start = start(slot);
            if start < range.from || start >= range.to {
                continue;
            }
            while buckets.get(at).is_some_and(|bucket| bucket.start < start) {
                at += 1;
            }
            if buckets.get(at).is_none_or(|bucket| bucket.start != start) {
                buckets.insert(at, Bucket { start, aggregates: vec![None; width] });
            }
            buckets[at].aggregates[place] = Some(aggregate);
        }
    }
}

pub(crate) fn days(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    dates: DateRange,
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
    let limit = i64::try_from(buckets_max(points.len())).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![device.0, source.0, dates.from.0, dates.to.0, limit])?;
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
    dates: DateRange,
) -> Result<Vec<EnergyDay>, StoreError> {
    // Lists the sources first: the key begins (device, source, date).
    let mut statement = db.prepare_cached(
        "SELECT day.source AS source, day.date AS date, day.totals AS totals
         FROM inverter_state AS state
             JOIN day ON day.device = state.device AND day.source = state.source
         WHERE state.device = ?1 AND day.date >= ?2 AND day.date < ?3
         UNION ALL
         SELECT source, date, totals FROM inverter_state
         WHERE device = ?1 AND date >= ?2 AND date < ?3
         ORDER BY date, source",
    )?;
    let mut rows = statement.query(params![device.0, dates.from.0, dates.to.0])?;
    let mut days = Vec::new();
    while let Some(row) = rows.next()? {
        let date = LocalDate(row.get("date")?);
        let bytes = blob(row, "totals")?;
        let (sums, ..) = Day::decode_head(date, bytes).ok_or(StoreError::Corrupt("day"))?;
        days.push(EnergyDay {
            source: SourceNumber(row.get("source")?),
            date,
            energy: sums.figure(),
        });
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
                source: SourceNumber(row.get("source")?),
                from: UnixMs(row.get("from_ms")?),
                to: UnixMs(row.get("to_ms")?),
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
            power: power
                .into_iter()
                .map(|(quarter, mw)| MeanPower { start: UnixMs(quarter * QUARTER_MS), mw })
                .collect(),
        });
    }
    Ok(days)
}
