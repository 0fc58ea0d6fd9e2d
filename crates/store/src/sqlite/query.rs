//! Statements that read telemetry.

use ecowatt_model::{BatchId, BootEpoch, DeviceNumber, Quality, Sequence, SourceNumber, UnixMs};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::columns::count;
use super::fleet::point;
use super::pack::{self, Form};
use crate::StoreError;
use crate::latest::Latest;
use crate::limits::{
    BLOCK_BYTES_PER_QUERY, BLOCK_ROWS_PER_QUERY, BLOCKS_PER_QUERY_MAX, BUCKET_CELLS_PER_QUERY_MAX,
    GAPS_PER_QUERY_MAX,
};
use crate::rollup::{Aggregate, Day, LocalDate, MINUTE_MS, QUARTER_MS, Quarter, quarter_of};
use crate::telemetry::{
    Block, Bucket, DayBucket, DeviceDay, EnergyDay, EnergyGap, LatestReading, PointId,
    SourceLatest, Stretch, TimeRange,
};

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
        row_count += stretch.batches.iter().map(|(_, rows)| u32::from(*rows)).sum::<u32>();
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

/// Returns ids and row counts of all batches of a device, from what is stored and not from what was
/// received.
pub(crate) fn list_batches(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<(SourceNumber, BatchId, u16)>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT source, epoch, sequence, rows FROM block WHERE device = ?1")?;
    let mut batches = statement
        .query_map([device.0], |row| {
            let id = BatchId { epoch: BootEpoch(row.get(1)?), sequence: Sequence(row.get(2)?) };
            Ok((SourceNumber(row.get(0)?), id, row.get(3)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    batches.extend(pack::list_batches(db, device)?);
    batches.sort_unstable_by_key(|(source, id, _)| (*id, *source));
    Ok(batches)
}

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
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
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
        sources.push(SourceLatest { source: SourceNumber(row.get(0)?), readings });
    }
    Ok(sources)
}

fn find_point(db: &Connection, id: PointId) -> Result<Option<crate::Point>, StoreError> {
    Ok(db
        .prepare_cached("SELECT id, name, unit, exponent FROM point WHERE id = ?1")?
        .query_row([id.0], |row| point(row, 0))
        .optional()?)
}

/// Returns for each device the newest good readings of its AC power: inverter, time, milliwatts,
/// and the quality of the newest attempt.
pub(crate) fn powers(
    db: &Connection,
    devices: &[DeviceNumber],
) -> Result<Vec<(DeviceNumber, Vec<SourcePower>)>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id, exponent FROM point WHERE name = ?1")?;
    let power_points = statement
        .query_map([crate::POWER_POINT], |row| Ok((PointId(row.get(0)?), row.get(1)?)))?
        .collect::<Result<Vec<(PointId, i8)>, _>>()?;
    let mut statement = db.prepare_cached(LATEST)?;
    let mut all = Vec::with_capacity(devices.len());
    for device in devices {
        let mut sources = Vec::new();
        let mut rows = statement.query([device.0])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let held = Latest::decode(bytes).ok_or(StoreError::Corrupt("latest readings"))?;
            let newest = power_points
                .iter()
                .filter_map(|(id, exponent)| Some((held.points.get(id)?, *exponent)))
                .max_by_key(|(newest, _)| newest.tried.0);
            if let Some((newest, exponent)) = newest {
                sources.push(SourcePower {
                    source: SourceNumber(row.get(0)?),
                    good_mw: newest.good.and_then(|(at, value)| {
                        Some((at, crate::summary::milli(value, exponent)?))
                    }),
                    tried: newest.tried,
                });
            }
        }
        all.push((*device, sources));
    }
    Ok(all)
}

/// The newest AC power of one inverter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcePower {
    pub source: SourceNumber,
    /// Newest good reading, milliwatts.
    pub good_mw: Option<(UnixMs, i64)>,
    /// Newest attempt.
    pub tried: (UnixMs, Quality),
}

/// Returns for each device the newest good reading of every inverter's state.
pub(crate) fn states(
    db: &Connection,
    devices: &[DeviceNumber],
) -> Result<Vec<(DeviceNumber, Vec<StateReading>)>, StoreError> {
    let mut statement = db.prepare_cached("SELECT id FROM point WHERE name = ?1")?;
    let points = statement
        .query_map([crate::STATE_POINT], |row| Ok(PointId(row.get(0)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut statement = db.prepare_cached(
        "SELECT source, readings,
             (SELECT layout FROM stream
              WHERE stream.device = latest.device AND stream.source = latest.source
              ORDER BY number DESC LIMIT 1)
         FROM inverter_state AS latest WHERE device = ?1 ORDER BY source",
    )?;
    let mut all = Vec::with_capacity(devices.len());
    for device in devices {
        let mut readings = Vec::new();
        let mut rows = statement.query([device.0])?;
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let held = Latest::decode(bytes).ok_or(StoreError::Corrupt("latest readings"))?;
            let newest = points.iter().filter_map(|id| held.points.get(id)?.good).max();
            let layout = row.get::<_, Option<i64>>(2)?.map(LayoutId);
            if let (Some((_, code)), Some(layout)) = (newest, layout) {
                readings.push(StateReading { source: SourceNumber(row.get(0)?), code, layout });
            }
        }
        all.push((*device, readings));
    }
    Ok(all)
}

/// The state that an inverter reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateReading {
    pub source: SourceNumber,
    pub code: i64,
    /// The inverter's newest layout, which names the state's code.
    pub layout: LayoutId,
}

/// Number of a layout in the dictionary of all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(i64);

/// Returns layouts as they were announced.
pub(crate) fn layouts(
    db: &Connection,
    ids: &[LayoutId],
) -> Result<Vec<(LayoutId, Vec<u8>)>, StoreError> {
    let mut statement = db.prepare_cached("SELECT cbor FROM layout WHERE id = ?1")?;
    let mut layouts = Vec::with_capacity(ids.len());
    for id in ids {
        let found = statement.query_row([id.0], |row| row.get(0)).optional()?;
        layouts.extend(found.map(|cbor| (*id, cbor)));
    }
    Ok(layouts)
}

/// A query without tables, to check that reading works.
pub(crate) fn nothing(db: &Connection) -> Result<(), StoreError> {
    Ok(db.prepare_cached("SELECT 1")?.query_row([], |_| Ok(()))?)
}

/// Returns the number of devices.
pub(crate) fn count_devices(db: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM device WHERE deleted IS NULL";
    Ok(db.prepare_cached(sql)?.query_row([], |row| count(row, 0))?)
}

/// Returns the size of the database from its page count; some pages may still be in the write-ahead
/// log.
pub(crate) fn size_bytes(db: &Connection) -> Result<u64, StoreError> {
    let of = |pragma: &str| -> Result<u64, StoreError> {
        Ok(db.pragma_query_value(None, pragma, |row| count(row, 0))?)
    };
    Ok(of("page_count")?.saturating_mul(of("page_size")?))
}
