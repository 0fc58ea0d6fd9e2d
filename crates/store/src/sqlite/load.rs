//! Loads what an upload is decided by into the state of its device.

use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Sequence, SourceNumber, UnixMs,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::fleet;
use super::row::count;
use crate::StoreError;
use crate::counter::{CounterBatch, CounterEdge};
use crate::energy::PowerEdges;
use crate::ingest::{InverterWants, Wants};
use crate::latest::Latest;
use crate::received::Received;
use crate::reported::SelfReport;
use crate::rollup::{Day, LocalDate, Quarter};
use crate::state::{
    Announced, Around, BlockName, DeviceState, Inverter, KeyState, LinkState, Place, Stretch,
};

pub(super) fn load(
    db: &Connection,
    device: DeviceNumber,
    wants: &Wants,
    state: &mut DeviceState,
) -> Result<(), StoreError> {
    if let Some(generation) = wants.device {
        state.key = Some((generation, load_key(db, device, generation)?));
        if state.link.is_none() {
            state.link = Some(load_link(db, device)?);
        }
    }
    for (epoch, generation) in &wants.received {
        let received = load_received(db, device, *epoch, *generation)?;
        state.received.replace((*epoch, *generation), received);
    }
    for (epoch, generation) in &wants.former {
        let forgotten = state.key(*generation).flatten().map_or(0, |key| key.forgotten.0.0);
        let former = load_former(db, device, *epoch, (forgotten, generation.0))?;
        state.former.replace((*epoch, *generation), former);
    }
    for name in &wants.bytes {
        state.bytes.replace(*name, load_bytes(db, device, name)?);
    }
    for id in &wants.streams {
        let stream = fleet::find_stream(db, device, *id)?;
        let stream = stream.map(|(held, _)| Announced { source: held.source, layout: held.layout });
        state.streams.replace(*id, stream);
        state.streams_of_key = Some(fleet::count_streams(db, device, *id)?);
    }
    for (source, wants) in wants.inverters.iter() {
        load_inverter(db, (device, *source), wants, state.inverters.entry(*source))?;
    }
    Ok(())
}

/// One of a device's inverters.
type InverterKey = (DeviceNumber, SourceNumber);

fn load_inverter(
    db: &Connection,
    key: InverterKey,
    wants: &InverterWants,
    inverter: &mut Inverter,
) -> Result<(), StoreError> {
    if wants.latest {
        inverter.latest = Some(load_latest(db, key)?);
    }
    for number in &wants.quarters {
        inverter.quarters.replace(*number, load_quarter(db, key, *number)?);
    }
    for date in &wants.days {
        inverter.days.replace(*date, load_day(db, key, *date)?);
    }
    for stretch in &wants.counters {
        inverter.counters.loaded(*stretch, load_counters(db, key, *stretch)?);
    }
    for stretch in &wants.powers {
        inverter.powers.loaded(*stretch, load_powers(db, key, *stretch)?);
    }
    Ok(())
}

fn load_key(
    db: &Connection,
    device: DeviceNumber,
    generation: KeyGeneration,
) -> Result<Option<KeyState>, StoreError> {
    Ok(db
        .prepare_cached(
            "SELECT revoked IS NOT NULL, first_epoch, forgotten_key, forgotten_epoch
             FROM device_key JOIN device ON device.number = device_key.device
             WHERE device = ?1 AND generation = ?2",
        )?
        .query_row(params![device.0, generation.0], |row| {
            Ok(KeyState {
                is_revoked: row.get(0)?,
                first_epoch: BootEpoch(row.get(1)?),
                forgotten: (KeyGeneration(row.get(2)?), BootEpoch(row.get(3)?)),
            })
        })
        .optional()?)
}

fn load_link(db: &Connection, device: DeviceNumber) -> Result<LinkState, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT link.generation, last_seen, last_sample, epoch, messages, batches, samples,
                 duplicates, refused, dropped_samples, bytes, firmware, reported, counter, digest
             FROM link JOIN device_key ON device_key.device = link.device
                 AND device_key.generation = link.generation
             WHERE link.device = ?1",
        )?
        .query_row([device.0], link)
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn link(row: &Row<'_>) -> rusqlite::Result<LinkState> {
    let reported: Vec<u8> = row.get(12)?;
    Ok(LinkState {
        generation: KeyGeneration(row.get(0)?),
        last_seen: UnixMs(row.get(1)?),
        last_sample: row.get::<_, Option<i64>>(2)?.map(UnixMs),
        epoch: BootEpoch(row.get(3)?),
        messages: count(row, 4)?,
        batches: count(row, 5)?,
        samples: count(row, 6)?,
        duplicates: count(row, 7)?,
        refused: count(row, 8)?,
        dropped_samples: count(row, 9)?,
        bytes: count(row, 10)?,
        firmware: row.get(11)?,
        // What cannot be read is replaced by the device's next report.
        reported: SelfReport::decode(&reported).unwrap_or_default(),
        counter: Counter(count(row, 13)?),
        digest: row.get(14)?,
    })
}

/// The truth behind exactly-once: unreadable ranges stop the upload.
fn load_received(
    db: &Connection,
    device: DeviceNumber,
    epoch: BootEpoch,
    generation: KeyGeneration,
) -> Result<Received, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT ranges FROM received WHERE device = ?1 AND epoch = ?2 AND generation = ?3",
        )?
        .query_row(params![device.0, epoch.0, generation.0], |row| row.get(0))
        .optional()?;
    bytes.map_or_else(|| Ok(Received::default()), |bytes| received(&bytes))
}

/// What was received of an epoch under the keys between these generations, both left out.
fn load_former(
    db: &Connection,
    device: DeviceNumber,
    epoch: BootEpoch,
    (after, before): (u16, u16),
) -> Result<Vec<Received>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT ranges FROM received
         WHERE device = ?1 AND epoch = ?2 AND generation > ?3 AND generation < ?4",
    )?;
    let mut found = statement.query(params![device.0, epoch.0, after, before])?;
    let mut former = Vec::new();
    while let Some(row) = found.next()? {
        former.push(received(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?);
    }
    Ok(former)
}

fn received(bytes: &[u8]) -> Result<Received, StoreError> {
    Received::decode(bytes).ok_or(StoreError::Corrupt("received ranges"))
}

fn load_bytes(
    db: &Connection,
    device: DeviceNumber,
    name: &BlockName,
) -> Result<Option<Vec<u8>>, StoreError> {
    let BlockName { source, first, id } = name;
    Ok(db
        .prepare_cached(
            "SELECT bytes FROM block WHERE device = ?1 AND source = ?2 AND first_ms = ?3
             AND epoch = ?4 AND sequence = ?5",
        )?
        .query_row(params![device.0, source.0, first.0, id.epoch.0, id.sequence.0], |row| {
            row.get(0)
        })
        .optional()?)
}

fn load_quarter(
    db: &Connection,
    (device, source): InverterKey,
    number: i64,
) -> Result<Quarter, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached(
            "SELECT minutes FROM quarter WHERE device = ?1 AND source = ?2 AND number = ?3",
        )?
        .query_row(params![device.0, source.0, number], |row| row.get(0))
        .optional()?;
    let decode = |bytes: Vec<u8>| readable(Quarter::decode(number, &bytes), device, "quarter hour");
    Ok(bytes.and_then(decode).unwrap_or_default())
}

fn load_day(
    db: &Connection,
    (device, source): InverterKey,
    date: LocalDate,
) -> Result<Day, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT totals FROM day WHERE device = ?1 AND source = ?2 AND date = ?3")?
        .query_row(params![device.0, source.0, date.0], |row| row.get(0))
        .optional()?;
    let decode = |bytes: Vec<u8>| readable(Day::decode(date, &bytes), device, "day");
    Ok(bytes.and_then(decode).unwrap_or_default())
}

fn load_latest(db: &Connection, (device, source): InverterKey) -> Result<Latest, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT readings FROM latest WHERE device = ?1 AND source = ?2")?
        .query_row(params![device.0, source.0], |row| row.get(0))
        .optional()?;
    let decode = |bytes: Vec<u8>| readable(Latest::decode(&bytes), device, "latest readings");
    Ok(bytes.and_then(decode).unwrap_or_default())
}

const COUNTERS_BEFORE: &str = "SELECT epoch, sequence, calm, edge FROM counter_edge
     WHERE device = ?1 AND source = ?2 AND (epoch, sequence) < (?3, ?4)
     ORDER BY epoch DESC, sequence DESC LIMIT ?5";
const COUNTERS_AFTER: &str = "SELECT epoch, sequence, calm, edge FROM counter_edge
     WHERE device = ?1 AND source = ?2 AND (epoch, sequence) > (?3, ?4)
     ORDER BY epoch, sequence LIMIT ?5";
const COUNTERS_NEWEST: &str = "SELECT epoch, sequence, calm, edge FROM counter_edge
     WHERE device = ?1 AND source = ?2 ORDER BY epoch DESC, sequence DESC LIMIT 1";

fn load_counters(
    db: &Connection,
    (device, source): InverterKey,
    stretch: Stretch<BatchId>,
) -> Result<Vec<(BatchId, CounterEdge)>, StoreError> {
    let mut found = Vec::new();
    let mut take = |row: &Row<'_>| -> Result<(), StoreError> {
        let id = BatchId { epoch: BootEpoch(row.get(0)?), sequence: Sequence(row.get(1)?) };
        let calm = row.get(2)?;
        let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let batch = readable(CounterBatch::decode(bytes), device, "edge of a counter");
        found.extend(batch.map(|batch| (id, CounterEdge { calm, batch })));
        Ok(())
    };
    match stretch {
        Stretch::Newest => {
            let mut statement = db.prepare_cached(COUNTERS_NEWEST)?;
            let mut rows = statement.query(params![device.0, source.0])?;
            while let Some(row) = rows.next()? {
                take(row)?;
            }
        }
        Stretch::Around(Around { key: BatchId { epoch, sequence }, before, after }) => {
            for (sql, limit) in [(COUNTERS_BEFORE, before), (COUNTERS_AFTER, after)] {
                let mut statement = db.prepare_cached(sql)?;
                let values = params![device.0, source.0, epoch.0, sequence.0, limit];
                let mut rows = statement.query(values)?;
                while let Some(row) = rows.next()? {
                    take(row)?;
                }
            }
        }
    }
    Ok(found)
}

const POWERS_BEFORE: &str = "SELECT first_ms, epoch, sequence, edge FROM power_edge
     WHERE device = ?1 AND source = ?2 AND (first_ms, epoch, sequence) < (?3, ?4, ?5)
     ORDER BY first_ms DESC, epoch DESC, sequence DESC LIMIT ?6";
const POWERS_AFTER: &str = "SELECT first_ms, epoch, sequence, edge FROM power_edge
     WHERE device = ?1 AND source = ?2 AND (first_ms, epoch, sequence) > (?3, ?4, ?5)
     ORDER BY first_ms, epoch, sequence LIMIT ?6";
const POWERS_NEWEST: &str = "SELECT first_ms, epoch, sequence, edge FROM power_edge
     WHERE device = ?1 AND source = ?2
     ORDER BY first_ms DESC, epoch DESC, sequence DESC LIMIT 1";

fn load_powers(
    db: &Connection,
    (device, source): InverterKey,
    stretch: Stretch<Place>,
) -> Result<Vec<(Place, PowerEdges)>, StoreError> {
    let mut found = Vec::new();
    let mut take = |row: &Row<'_>| -> Result<(), StoreError> {
        let first = UnixMs(row.get(0)?);
        let id = BatchId { epoch: BootEpoch(row.get(1)?), sequence: Sequence(row.get(2)?) };
        let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let edges = readable(PowerEdges::decode(first, bytes), device, "edge of power");
        found.extend(edges.map(|edges| ((first, id), edges)));
        Ok(())
    };
    match stretch {
        Stretch::Newest => {
            let mut statement = db.prepare_cached(POWERS_NEWEST)?;
            let mut rows = statement.query(params![device.0, source.0])?;
            while let Some(row) = rows.next()? {
                take(row)?;
            }
        }
        Stretch::Around(Around { key: (first, id), before, after }) => {
            for (sql, limit) in [(POWERS_BEFORE, before), (POWERS_AFTER, after)] {
                let mut statement = db.prepare_cached(sql)?;
                let (epoch, sequence) = (id.epoch.0, id.sequence.0);
                let values = params![device.0, source.0, first.0, epoch, sequence, limit];
                let mut rows = statement.query(values)?;
                while let Some(row) = rows.next()? {
                    take(row)?;
                }
            }
        }
    }
    Ok(found)
}

/// A damaged roll-up must not stop deliveries: it begins again from nothing. What it held is in the
/// blocks, but nothing makes it of them again.
fn readable<T>(decoded: Option<T>, device: DeviceNumber, what: &'static str) -> Option<T> {
    if decoded.is_none() {
        tracing::error!(device = device.0, what, "stored bytes cannot be read; starting afresh");
    }
    decoded
}
