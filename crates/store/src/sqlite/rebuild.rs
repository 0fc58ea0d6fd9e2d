//! Rebuilds a device's roll-ups from its blocks.
//!
//! It is one transaction: if it stops for any reason, either the old roll-ups are in effect or the
//! new ones. The old rows are moved to temporary tables to count the differences, and to put back
//! those whose samples retention removed.

mod older;

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use rusqlite::Connection;

use super::{block, load, newest_edges, state_cache, unpack};
use crate::StoreError;
use crate::batch_summary::Summary;
use crate::ingest::{Changes, replay};
use crate::loaded::LoadedDevice;
use crate::telemetry::{Block, Rebuilt, TimeRange};
use crate::upload::{NewBlock, TimeQuality};
use older::Floor;

/// Tables that are rebuilt completely, and the columns that must come out unchanged: all but the
/// calm of a counter, which is a lower bound and depends on the order in which batches arrived.
const MADE: [(&str, &str); 5] = [
    ("quarter", "*"),
    ("day", "*"),
    ("energy_gap", "*"),
    ("counter_edge", "device, source, epoch, sequence, edge"),
    ("power_edge", "*"),
];

/// The table with the open day and quarter hour, and with the newest readings, which stay. Its
/// newest counter edge also has a calm, so [`count_other_counters`] compares it.
const OPEN: (&str, &str) =
    ("inverter_state", "device, source, readings, date, totals, quarter, minutes, power");

/// How often a block can request rows: for its inverter, and for the edges around it.
const ROUNDS_MAX: u32 = 64;

/// Decodes a block; `None` if it cannot be read.
pub(crate) type Summariser<'a> = &'a mut dyn FnMut(&Block) -> Option<Summary>;

pub(crate) fn rebuild(
    db: &Connection,
    device: DeviceNumber,
    is_check: bool,
    summarise: Summariser<'_>,
) -> Result<Rebuilt, StoreError> {
    db.execute_batch("SAVEPOINT rebuild")?;
    let rebuilt = rebuild_in_savepoint(db, device, summarise);
    // Where nothing was wrong, the packs stay.
    if is_check || !matches!(rebuilt, Ok(Rebuilt { rows_changed: 1.., .. })) {
        db.execute_batch("ROLLBACK TO rebuild")?;
    }
    db.execute_batch("RELEASE rebuild")?;
    rebuilt
}

fn rebuild_in_savepoint(
    db: &Connection,
    device: DeviceNumber,
    summarise: Summariser<'_>,
) -> Result<Rebuilt, StoreError> {
    let floors = older::floors(db, device)?;
    // Packs are turned into rows, so that rows are compared with rows.
    unpack_all(db, device, &floors)?;
    put_aside(db, device)?;
    older::put_back_edges(db, device, &floors)?;
    let rebuilt = make(db, device, summarise)?;
    older::put_back_rows(db, device, &floors)?;
    Ok(Rebuilt { rows_changed: compare(db, device)?, ..rebuilt })
}

fn unpack_all(db: &Connection, device: DeviceNumber, floors: &[Floor]) -> Result<(), StoreError> {
    for source in sources(db, device)? {
        let floor = floors.iter().find(|floor| floor.source == source);
        unpack::unpack(db, (device, source), floor.map_or(i64::MIN, Floor::day))?;
    }
    Ok(())
}

fn sources(db: &Connection, device: DeviceNumber) -> Result<Vec<SourceNumber>, StoreError> {
    let mut statement = db.prepare_cached("SELECT source FROM inverter_state WHERE device = ?1")?;
    let found = statement.query_map([device.0], |row| Ok(SourceNumber(row.get(0)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn put_aside(db: &Connection, device: DeviceNumber) -> Result<(), StoreError> {
    let device = device.0;
    for (table, _) in MADE.into_iter().chain([OPEN]) {
        db.execute_batch(&format!(
            "CREATE TEMP TABLE was_{table} AS SELECT * FROM main.{table} WHERE device = {device}"
        ))?;
    }
    for (table, _) in MADE {
        db.execute(&format!("DELETE FROM main.{table} WHERE device = ?1"), [device])?;
    }
    db.execute(
        "UPDATE inverter_state SET date = NULL, totals = NULL, quarter = NULL, minutes = NULL,
             counter = NULL, power = NULL
         WHERE device = ?1",
        [device],
    )?;
    Ok(())
}

/// Adds all blocks, those of an inverter in the order of time.
fn make(
    db: &Connection,
    device: DeviceNumber,
    summarise: Summariser<'_>,
) -> Result<Rebuilt, StoreError> {
    let sources: Vec<u8> = db
        .prepare(
            "SELECT source FROM block WHERE device = ?1
             UNION SELECT source FROM pack WHERE device = ?1",
        )?
        .query_map([device.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut state = LoadedDevice::default();
    let mut rebuilt = Rebuilt::default();
    let always = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
    for source in sources.into_iter().map(SourceNumber) {
        let mut after = None;
        loop {
            let blocks = block::blocks(db, device, source, always, after)?;
            let Some(last) = blocks.last() else { break };
            after = Some((last.first, last.id));
            let mut changes = Changes::default();
            for block in blocks {
                rebuilt.blocks += 1;
                if block.time_quality == TimeQuality::Suspect {
                    continue;
                }
                match summarise(&block) {
                    Some(summary) => {
                        let block = with(block, source, summary);
                        changes.also(take(db, device, &mut state, &block)?);
                    }
                    None => rebuilt.unreadable += 1,
                }
            }
            state_cache::write(db, device, &state, changes)?;
            state.trim();
        }
    }
    Ok(rebuilt)
}

fn take(
    db: &Connection,
    device: DeviceNumber,
    state: &mut LoadedDevice,
    block: &NewBlock,
) -> Result<Changes, StoreError> {
    for _ in 0..ROUNDS_MAX {
        match replay(state, block) {
            Ok(changes) => return Ok(changes),
            Err(wants) => load::load(db, device, &wants, state)?,
        }
    }
    Err(StoreError::Corrupt("rows of a device"))
}

fn with(block: Block, source: SourceNumber, summary: Summary) -> NewBlock {
    let Block { id, stream, rows, first, last, time_offset_ms, time_quality, bytes } = block;
    NewBlock { id, stream, source, rows, first, last, time_offset_ms, time_quality, bytes, summary }
}

/// Counts the rows that differ and drops the temporary tables.
fn compare(db: &Connection, device: DeviceNumber) -> Result<u64, StoreError> {
    let mut changed = count_other_counters(db, device)?;
    for (table, columns) in MADE.into_iter().chain([OPEN]) {
        let (was, is) = (
            format!("SELECT {columns} FROM temp.was_{table}"),
            format!("SELECT {columns} FROM main.{table} WHERE device = ?1"),
        );
        let count = |sql: String| -> Result<i64, StoreError> {
            Ok(db.query_row(&format!("SELECT count(*) FROM ({sql})"), [device.0], |r| r.get(0))?)
        };
        let (lost, made) =
            (count(format!("{was} EXCEPT {is}"))?, count(format!("{is} EXCEPT {was}"))?);
        changed += lost.max(made).unsigned_abs();
        db.execute_batch(&format!("DROP TABLE temp.was_{table}"))?;
    }
    Ok(changed)
}

/// Counts the inverters whose newest counter edge differs.
fn count_other_counters(db: &Connection, device: DeviceNumber) -> Result<u64, StoreError> {
    let mut both = db.prepare(
        "SELECT was.counter, made.counter FROM temp.was_inverter_state AS was
         JOIN main.inverter_state AS made USING (device, source) WHERE device = ?1",
    )?;
    let mut rows = both.query([device.0])?;
    let mut changed = 0;
    while let Some(row) = rows.next()? {
        let edge = |at| -> Result<_, StoreError> {
            let bytes: Option<Vec<u8>> = row.get(at)?;
            let edge = bytes.and_then(|bytes| newest_edges::counter(&bytes));
            Ok(edge.map(|(id, edge)| (id, edge.batch)))
        };
        changed += u64::from(edge(0)? != edge(1)?);
    }
    Ok(changed)
}
