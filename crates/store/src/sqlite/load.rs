//! Loads the rows that a decision needs into the state of a device.

use ecowatt_model::{
    BatchId, BootEpoch, CommandId, ConfigGeneration, Counter, DeviceNumber, KeyGeneration,
    LeaseGeneration, Sequence, SourceNumber, UnixMs,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::configuration::{self, REPORT};
use super::convert::{batch_id, blob, count};
use super::lease::{self, REPORT as LEASE_REPORT};
use super::row_pack::{Side, add_packed, day_of};
use super::{command, newest_edges, pack, retention, row_pack, stream};
use crate::StoreError;
use crate::command::Commands;
use crate::configuration::{Desired, Settings};
use crate::edge_pack::{decode_counters, decode_powers};
use crate::energy::PowerEdges;
use crate::energy_counter::{CounterBatch, CounterEdge};
use crate::fleet::StreamPoints;
use crate::ids::LocalDate;
use crate::ingest::{InverterWants, Wants};
use crate::latest::Latest;
use crate::loaded::{
    Announced, Around, BatchLookup, BlockName, IdSpan, Inverter, KeyState, LoadedDevice,
    LoadedLink, Place,
};
use crate::received_set::Received;
use crate::retention::{Expired, Resolution};
use crate::rollup::{Day, Quarter};
use crate::row_pack::{PackKind, number_of};
use crate::self_report::SelfReport;

pub(super) fn load(
    db: &Connection,
    device: DeviceNumber,
    wants: &Wants,
    state: &mut LoadedDevice,
) -> Result<(), StoreError> {
    if let Some(generation) = wants.device {
        load_device(db, device, generation, state)?;
    }
    for (epoch, generation) in &wants.received {
        let received = load_received(db, device, *epoch, *generation)?;
        state.received.replace((*epoch, *generation), received);
    }
    for (epoch, generation) in &wants.former {
        let forgotten = state.key(*generation).flatten().map_or(0, |key| key.forgotten.0.0);
        let (after, before) = (KeyGeneration(forgotten), *generation);
        let mut former = load_former(db, device, *epoch, (after, before))?;
        // The last one of all is part of the device's row.
        let last = state
            .received
            .last()
            .filter(|((of, under), _)| of == epoch && *under > after && *under < before);
        former.extend(last.map(|(_, received)| received.clone()));
        state.former.replace((*epoch, *generation), former);
    }
    if let Some((generation, end)) = wants.doubtful {
        let span = load_span(db, device, generation, end, state)?;
        state.doubtful = Some(span);
    }
    if let Some(commands) = &mut state.commands {
        for id in &wants.commands {
            commands.named.push((*id, command::find_named(db, device, *id)?));
        }
    }
    // A batch that is not stored is held as absent, which is an answer, too.
    for name in &wants.bytes {
        state.bytes.replace(*name, load_batch(db, device, name)?);
    }
    for id in &wants.streams {
        let stream = stream::find_stream(db, device, *id)?;
        let stream = stream.map(|StreamPoints { stream, .. }| Announced {
            source: stream.source,
            layout: stream.layout,
        });
        state.streams.replace(*id, stream);
        state.announced = Some(stream::announced(db, device, *id)?);
    }
    for (source, wants) in wants.inverters.iter() {
        let key = (device, *source);
        // The row replaces the inverter, so it is loaded before what is added to it.
        if wants.row {
            state.inverters.replace(*source, load_row(db, key)?);
        }
        load_inverter(db, key, wants, state.inverters.entry(*source))?;
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
    for number in &wants.quarters {
        inverter.quarters.replace(*number, load_quarter(db, key, *number)?);
    }
    for date in &wants.days {
        inverter.days.replace(*date, load_day(db, key, *date)?);
    }
    for around in &wants.counters {
        inverter.counters.loaded(*around, load_counters(db, key, *around)?);
    }
    for around in &wants.powers {
        inverter.powers.loaded(*around, load_powers(db, key, *around)?);
    }
    Ok(())
}

/// Loads the key, and the device's own row unless it is held.
fn load_device(
    db: &Connection,
    device: DeviceNumber,
    generation: KeyGeneration,
    state: &mut LoadedDevice,
) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT device_key.revoked IS NOT NULL AS is_revoked, device_key.first_epoch,
             forgotten_key, forgotten_epoch, state.generation AS generation, counter, digest,
             last_seen, last_sample, state.epoch AS epoch, messages, batches, samples, duplicates,
             state.refused AS refused, dropped_samples, bytes, firmware, reported, received_epoch,
             received_generation, received, {REPORT},
             desired.generation AS desired_generation, desired.settings AS desired_settings,
             last_command, EXISTS (
                 SELECT 1 FROM command WHERE device = device.number AND state < 3) AS has_open,
             memory, leases.generation AS lease_generation, {LEASE_REPORT}
         FROM device LEFT JOIN device_state AS state ON state.device = device.number
             LEFT JOIN configuration_report AS report ON report.device = device.number
             LEFT JOIN configuration AS desired ON desired.device = device.number
                 AND desired.generation = (
                     SELECT max(generation) FROM configuration WHERE device = device.number)
             LEFT JOIN device_leases AS leases ON leases.device = device.number
             LEFT JOIN lease_report ON lease_report.device = device.number
             LEFT JOIN device_key ON device_key.device = device.number
                 AND device_key.generation = ?2
         WHERE device.number = ?1"
    ))?;
    let mut found = statement.query(params![device.0, generation.0])?;
    let row = found.next()?;
    state.key = Some((generation, row.map_or(Ok(None), key)?));
    state.desired = row.map_or(Ok(None), |row| desired(row, device))?;
    let leases = row.map_or(Ok(None), |row| row.get::<_, Option<u32>>("lease_generation"))?;
    state.leases = match leases {
        Some(generation) => Some(lease::desired(db, device, LeaseGeneration(generation))?),
        None => None,
    };
    // Those held may have changes that are not written yet.
    if state.commands.is_none() {
        state.commands = Some(match row {
            Some(row) => commands(db, device, row)?,
            None => Commands::default(),
        });
    }
    if state.link.is_some() {
        return Ok(());
    }
    let Some(row) = row else {
        state.link = Some(LoadedLink::default());
        return Ok(());
    };
    if row.get_ref("generation")? == ValueRef::Null {
        // A device of the earlier EcoWatt reports its settings before its first message.
        let config = configuration::report(row)?;
        state.link = Some(LoadedLink { config, ..LoadedLink::default() });
        return Ok(());
    }
    if let Some(epoch) = row.get::<_, Option<u32>>("received_epoch")? {
        let place = (BootEpoch(epoch), KeyGeneration(row.get("received_generation")?));
        state.received.replace(place, received(blob(row, "received")?)?);
    }
    state.link = Some(link(row)?);
    Ok(())
}

/// Reads the desired configuration. An unreadable one is not sent, because it must not stop
/// deliveries; the next change replaces it.
fn desired(row: &Row<'_>, device: DeviceNumber) -> rusqlite::Result<Option<Desired>> {
    let Some(generation) = row.get::<_, Option<u32>>("desired_generation")?.map(ConfigGeneration)
    else {
        return Ok(None);
    };
    let settings = Settings::decode(blob(row, "desired_settings")?);
    if settings.is_none() {
        tracing::error!(device = device.0, "stored configuration is unreadable and is not sent");
    }
    Ok(settings.map(|settings| Desired { generation, settings }))
}

/// Reads the last number of a command on the wire and whether any command is open, and loads those.
fn commands(db: &Connection, device: DeviceNumber, row: &Row<'_>) -> Result<Commands, StoreError> {
    let has_open: bool = row.get("has_open")?;
    let open = if has_open { command::list_open(db, device)? } else { Vec::new() };
    Ok(Commands { last: CommandId(row.get("last_command")?), open, ..Commands::default() })
}

fn key(row: &Row<'_>) -> rusqlite::Result<Option<KeyState>> {
    let Some(first_epoch) = row.get::<_, Option<u32>>("first_epoch")?.map(BootEpoch) else {
        return Ok(None);
    };
    let is_revoked = row.get("is_revoked")?;
    let forgotten =
        (KeyGeneration(row.get("forgotten_key")?), BootEpoch(row.get("forgotten_epoch")?));
    Ok(Some(KeyState { is_revoked, first_epoch, forgotten }))
}

fn link(row: &Row<'_>) -> rusqlite::Result<LoadedLink> {
    let reported = blob(row, "reported")?;
    Ok(LoadedLink {
        generation: KeyGeneration(row.get("generation")?),
        counter: Counter(count(row, "counter")?),
        digest: row.get("digest")?,
        last_seen: UnixMs(row.get("last_seen")?),
        last_sample: row.get::<_, Option<i64>>("last_sample")?.map(UnixMs),
        epoch: BootEpoch(row.get("epoch")?),
        messages: count(row, "messages")?,
        batches: count(row, "batches")?,
        samples: count(row, "samples")?,
        duplicates: count(row, "duplicates")?,
        refused: count(row, "refused")?,
        dropped_samples: count(row, "dropped_samples")?,
        bytes: count(row, "bytes")?,
        firmware: row.get("firmware")?,
        // An unreadable report is replaced by the device's next one.
        reported: SelfReport::decode(reported).unwrap_or_default(),
        config: configuration::report(row)?,
        leases: lease::report(row)?,
        memory: row.get("memory")?,
    })
}

/// Received ranges are the basis of exactly-once, so unreadable ones fail the upload.
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

/// Loads the received sets of an epoch under the keys between these generations, exclusive.
fn load_former(
    db: &Connection,
    device: DeviceNumber,
    epoch: BootEpoch,
    (after, before): (KeyGeneration, KeyGeneration),
) -> Result<Vec<Received>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT ranges FROM received
         WHERE device = ?1 AND epoch = ?2 AND generation > ?3 AND generation < ?4",
    )?;
    let mut found = statement.query(params![device.0, epoch.0, after.0, before.0])?;
    let mut former = Vec::new();
    while let Some(row) = found.next()? {
        former.push(received(blob(row, "ranges")?)?);
    }
    Ok(former)
}

/// Returns the first and last batch received under a key of epochs before `end`.
fn load_span(
    db: &Connection,
    device: DeviceNumber,
    generation: KeyGeneration,
    end: BootEpoch,
    state: &LoadedDevice,
) -> Result<Option<IdSpan>, StoreError> {
    let ends = |epoch, received: &Received| {
        let id = |sequence| BatchId { epoch, sequence: Sequence(sequence) };
        received.bounds().map(|held| IdSpan { first: id(*held.start()), last: id(*held.end()) })
    };
    // The last one of all is part of the device's row.
    let last = state.received.last();
    let last = last.filter(|((epoch, under), _)| *under == generation && *epoch < end);
    let mut span = last.and_then(|((epoch, _), received)| ends(*epoch, received));
    for sql in [FIRST_RECEIVED, LAST_RECEIVED] {
        let mut statement = db.prepare_cached(sql)?;
        let mut found = statement.query(params![device.0, generation.0, end.0])?;
        // An epoch may be known by its losses alone.
        while let Some(row) = found.next()? {
            if let Some(more) = ends(BootEpoch(row.get("epoch")?), &received(blob(row, "ranges")?)?)
            {
                span = Some(span.map_or(more, |held| held.with(more.first).with(more.last)));
                break;
            }
        }
    }
    Ok(span)
}

const FIRST_RECEIVED: &str = "SELECT epoch, ranges FROM received
     WHERE device = ?1 AND generation = ?2 AND epoch < ?3 ORDER BY epoch";
const LAST_RECEIVED: &str = "SELECT epoch, ranges FROM received
     WHERE device = ?1 AND generation = ?2 AND epoch < ?3 ORDER BY epoch DESC";

fn received(bytes: &[u8]) -> Result<Received, StoreError> {
    Received::decode(bytes).ok_or(StoreError::Corrupt("received ranges"))
}

fn load_batch(
    db: &Connection,
    device: DeviceNumber,
    name: &BlockName,
) -> Result<BatchLookup, StoreError> {
    let BlockName { source, first, id } = name;
    let alone = db
        .prepare_cached(
            "SELECT bytes FROM block WHERE device = ?1 AND source = ?2 AND first_ms = ?3
             AND epoch = ?4 AND sequence = ?5",
        )?
        .query_row(params![device.0, source.0, first.0, id.epoch.0, id.sequence.0], |row| {
            row.get(0)
        })
        .optional()?;
    let found = match alone {
        Some(bytes) => Some(bytes),
        None => pack::find_bytes(db, (device, *source), (*first, *id))?,
    };
    if let Some(bytes) = found {
        return Ok(BatchLookup::Held(bytes));
    }
    let expired = retention::list(db, device)?;
    let is_of = |of: &Expired| of.source == *source && of.resolution == Resolution::Samples;
    if !expired.iter().any(|of| is_of(of) && *first < of.before) {
        return Ok(BatchLookup::Absent);
    }
    let inverter = (device, *source);
    Ok(BatchLookup::Expired {
        power: row_pack::find_power(db, inverter, (*first, *id))?,
        counter: row_pack::find_counter(db, inverter, *id)?,
    })
}

pub(super) fn load_quarter(
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

/// Loads an inverter's own row.
fn load_row(db: &Connection, (device, source): InverterKey) -> Result<Inverter, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT readings, date, totals, quarter, minutes, counter, power FROM inverter_state
         WHERE device = ?1 AND source = ?2",
    )?;
    let mut found = statement.query(params![device.0, source.0])?;
    let mut inverter = Inverter::default();
    let Some(row) = found.next()? else { return Ok(inverter) };
    let latest = Latest::decode(blob(row, "readings")?);
    inverter.latest = readable(latest, device, "latest readings").unwrap_or_default();
    if let Some(date) = row.get::<_, Option<i32>>("date")?.map(LocalDate) {
        let day = readable(Day::decode(date, blob(row, "totals")?), device, "day");
        inverter.days.replace(date, day.unwrap_or_default());
    }
    if let Some(number) = row.get("quarter")? {
        let quarter =
            readable(Quarter::decode(number, blob(row, "minutes")?), device, "quarter hour");
        inverter.quarters.replace(number, quarter.unwrap_or_default());
    }
    if row.get_ref("counter")? != ValueRef::Null {
        let newest = newest_edges::counter(blob(row, "counter")?);
        let newest = readable(newest, device, "newest edge of a counter");
        inverter.counters.held.merge(newest, |_, _| ());
    }
    if row.get_ref("power")? != ValueRef::Null {
        let newest =
            readable(newest_edges::power(blob(row, "power")?), device, "newest edge of power");
        inverter.powers.held.merge(newest, |_, _| ());
    }
    Ok(inverter)
}

const COUNTERS_BEFORE: &str = "SELECT epoch, sequence, calm, edge FROM counter_edge
     WHERE device = ?1 AND source = ?2 AND (epoch, sequence) < (?3, ?4)
     ORDER BY epoch DESC, sequence DESC LIMIT ?5";
const COUNTERS_AFTER: &str = "SELECT epoch, sequence, calm, edge FROM counter_edge
     WHERE device = ?1 AND source = ?2 AND (epoch, sequence) > (?3, ?4)
     ORDER BY epoch, sequence LIMIT ?5";
fn load_counters(
    db: &Connection,
    (device, source): InverterKey,
    around: Around<BatchId>,
) -> Result<Vec<(BatchId, CounterEdge)>, StoreError> {
    let Around { key, before, after } = around;
    let mut all = Vec::new();
    for (side, sql, limit) in
        [(Side::Before, COUNTERS_BEFORE, before), (Side::After, COUNTERS_AFTER, after)]
    {
        let mut statement = db.prepare_cached(sql)?;
        let mut rows =
            statement.query(params![device.0, source.0, key.epoch.0, key.sequence.0, limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id = batch_id(row)?;
            let calm = row.get("calm")?;
            let batch = readable(CounterBatch::decode(blob(row, "edge")?), device, COUNTER_EDGE);
            found.extend(batch.map(|batch| (id, CounterEdge { calm, batch })));
        }
        let decode = |bytes: &[u8]| {
            readable(decode_counters(bytes), device, COUNTER_EDGE).unwrap_or_default()
        };
        let nearest = (key, side, limit);
        let (inverter, kind) = ((device, source), PackKind::Counters);
        add_packed(db, inverter, kind, nearest, number_of, decode, &mut found)?;
        all.extend(found);
    }
    Ok(all)
}

const COUNTER_EDGE: &str = "edge of a counter";
const POWER_EDGE: &str = "edge of power";

const POWERS_BEFORE: &str = "SELECT first_ms, epoch, sequence, edge FROM power_edge
     WHERE device = ?1 AND source = ?2 AND (first_ms, epoch, sequence) < (?3, ?4, ?5)
     ORDER BY first_ms DESC, epoch DESC, sequence DESC LIMIT ?6";
const POWERS_AFTER: &str = "SELECT first_ms, epoch, sequence, edge FROM power_edge
     WHERE device = ?1 AND source = ?2 AND (first_ms, epoch, sequence) > (?3, ?4, ?5)
     ORDER BY first_ms, epoch, sequence LIMIT ?6";
fn load_powers(
    db: &Connection,
    (device, source): InverterKey,
    around: Around<Place>,
) -> Result<Vec<(Place, PowerEdges)>, StoreError> {
    let Around { key, before, after } = around;
    let (first, BatchId { epoch, sequence }) = key;
    let mut all = Vec::new();
    for (side, sql, limit) in
        [(Side::Before, POWERS_BEFORE, before), (Side::After, POWERS_AFTER, after)]
    {
        let mut statement = db.prepare_cached(sql)?;
        let values = params![device.0, source.0, first.0, epoch.0, sequence.0, limit];
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let first = UnixMs(row.get("first_ms")?);
            let id = batch_id(row)?;
            let edges = readable(PowerEdges::decode(first, blob(row, "edge")?), device, POWER_EDGE);
            found.extend(edges.map(|edges| ((first, id), edges)));
        }
        let decode =
            |bytes: &[u8]| readable(decode_powers(bytes), device, POWER_EDGE).unwrap_or_default();
        let number = |(first, _): &Place| day_of(first);
        let (inverter, kind) = ((device, source), PackKind::Powers);
        add_packed(db, inverter, kind, (key, side, limit), number, decode, &mut found)?;
        all.extend(found);
    }
    Ok(all)
}

/// Replaces an unreadable roll-up by an empty one, because it must not stop deliveries. Its
/// contents are still in the blocks, and `rebuild` restores them.
fn readable<T>(decoded: Option<T>, device: DeviceNumber, what: &'static str) -> Option<T> {
    if decoded.is_none() {
        tracing::error!(
            device = device.0,
            what,
            "stored roll-up is unreadable and was emptied (`ecowatt store rebuild` restores it)"
        );
    }
    decoded
}
