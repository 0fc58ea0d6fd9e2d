//! Reads the blocks and packs of an inverter in one order, by first sample and id, and stores
//! packs.

use std::collections::BTreeMap;

use ecowatt_codec::CodecMemory;
use ecowatt_model::{BatchId, DeviceNumber, SourceNumber, UnixMs};
use rusqlite::{Connection, Row, Rows, params};

use super::convert::{batch_id, block, corrupt, signed};
use crate::StoreError;
use crate::limits::{INVERTERS_PER_QUERY_MAX, PACK_BYTES_MAX, PACK_ROWS_MAX};
use crate::pack::{Pack, Place, blocks, stretches};
use crate::telemetry::{BatchRows, Block, StoredBatch, Stretch, TimeRange};

const DAY_MS: i64 = 86_400_000;

/// Longest time that a block may span and still be found by a query that begins inside it: a
/// thousand rows at one per minute take 17 hours.
const BLOCK_SPAN_MAX_MS: i64 = 2 * DAY_MS;

/// The same for a pack, whose blocks begin within one day.
const PACK_SPAN_MAX_MS: i64 = DAY_MS + BLOCK_SPAN_MAX_MS;

/// The form in which packed batches are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is stored: sections of many batches.
    Sections,
    /// Each batch as its device sent it.
    Batches,
}

impl Stretch {
    fn place(&self) -> Place {
        (self.first, self.batches[0].id)
    }

    fn is_in(&self, range: TimeRange) -> bool {
        self.first < range.to && self.last >= range.from
    }
}

impl From<Block> for Stretch {
    fn from(block: Block) -> Self {
        let Block { id, stream, rows, first, last, time_offset_ms, time_quality, bytes } = block;
        let batches = vec![BatchRows { id, rows }];
        Self { batches, stream, first, last, time_offset_ms, time_quality, bytes }
    }
}

impl From<Stretch> for Block {
    fn from(stretch: Stretch) -> Self {
        let Stretch { batches, stream, first, last, time_offset_ms, time_quality, bytes } = stretch;
        let BatchRows { id, rows } = batches[0];
        Self { id, stream, rows, first, last, time_offset_ms, time_quality, bytes }
    }
}

/// Passes the stretches that touch the range to `take`, starting after the given place, until it
/// returns false.
pub(super) fn walk(
    db: &Connection,
    (device, source): (DeviceNumber, SourceNumber),
    range: TimeRange,
    after: Option<Place>,
    form: Form,
    mut take: impl FnMut(Stretch) -> bool,
) -> Result<(), StoreError> {
    // A block or pack can begin before the range and reach into it, hence the earlier lower bounds.
    let (first, epoch, sequence) = key_after(after);
    let mut alone = db.prepare_cached(
        "SELECT first_ms, epoch, sequence, last_ms, rows, stream, time_offset_ms, time_quality,
             bytes
         FROM block
         WHERE device = ?1 AND source = ?2 AND first_ms >= ?3 AND first_ms < ?4 AND last_ms >= ?5
           AND (first_ms, epoch, sequence) > (?6, ?7, ?8)
         ORDER BY first_ms, epoch, sequence",
    )?;
    let mut alone = alone.query(params![
        device.0,
        source.0,
        range.from.0.saturating_sub(BLOCK_SPAN_MAX_MS).max(first),
        range.to.0,
        range.from.0,
        first,
        epoch,
        sequence
    ])?;
    let mut packs = db.prepare_cached(
        "SELECT first_ms, epoch, sequence, bytes FROM pack
         WHERE device = ?1 AND source = ?2 AND first_ms >= ?3 AND first_ms < ?4 AND last_ms >= ?5
         ORDER BY first_ms, epoch, sequence",
    )?;
    let from = range.from.0.max(first);
    let earliest = from.saturating_sub(PACK_SPAN_MAX_MS);
    let mut packs = packs.query(params![device.0, source.0, earliest, range.to.0, from])?;
    let mut state = Box::new(CodecMemory::new());
    // Stretches of packs that were opened and not passed on yet: packs and blocks overlap in time.
    let mut opened: BTreeMap<Place, Stretch> = BTreeMap::new();
    let (mut block, mut pack) = (next_block(&mut alone)?, next_pack(&mut packs)?);
    loop {
        let least = opened.keys().next().copied();
        let least = least.into_iter().chain(block.as_ref().map(Stretch::place)).min();
        // A pack contains nothing before its place, so it is opened once its place is reached.
        if let Some((place, bytes)) = &pack
            && least.is_none_or(|least| *place <= least)
        {
            let found = open(bytes, form, &mut state)?;
            let wanted = found
                .into_iter()
                .filter(|stretch| Some(stretch.place()) > after && stretch.is_in(range));
            opened.extend(wanted.map(|stretch| (stretch.place(), stretch)));
            pack = next_pack(&mut packs)?;
            continue;
        }
        // The lower of the next block and the lowest opened stretch.
        let next = match (&block, opened.first_key_value()) {
            (Some(block), Some((place, _))) if *place < block.place() => opened.pop_first(),
            (None, _) => opened.pop_first(),
            (Some(_), _) => None,
        };
        let next = match next {
            Some((_, stretch)) => Some(stretch),
            None => std::mem::replace(&mut block, next_block(&mut alone)?),
        };
        let Some(stretch) = next else { return Ok(()) };
        if !take(stretch) {
            return Ok(());
        }
    }
}

/// Lower bound of the key of blocks after the given one, or of all blocks: no epoch is below 0.
fn key_after(after: Option<(UnixMs, BatchId)>) -> (i64, i64, i64) {
    after.map_or((i64::MIN, -1, 0), |(first, id)| {
        (first.0, i64::from(id.epoch.0), i64::from(id.sequence.0))
    })
}

fn next_block(rows: &mut Rows<'_>) -> Result<Option<Stretch>, StoreError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(block(row)?.into()))
}

fn next_pack(rows: &mut Rows<'_>) -> Result<Option<(Place, Vec<u8>)>, StoreError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((place(row)?, row.get("bytes")?)))
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    let id = batch_id(row)?;
    Ok((UnixMs(row.get("first_ms")?), id))
}

fn open(bytes: &[u8], form: Form, state: &mut CodecMemory) -> Result<Vec<Stretch>, StoreError> {
    let damaged = || StoreError::Corrupt("pack of batches");
    let sections = stretches(bytes).ok_or_else(damaged)?;
    if form == Form::Sections {
        return Ok(sections);
    }
    let mut each = Vec::new();
    for section in sections {
        each.extend(blocks(&section, state).ok_or_else(damaged)?.into_iter().map(Stretch::from));
    }
    Ok(each)
}

/// Returns the batches in all packs of a device.
pub(super) fn list_batches(
    db: &Connection,
    device: DeviceNumber,
) -> Result<Vec<StoredBatch>, StoreError> {
    let mut statement = db.prepare_cached("SELECT source, bytes FROM pack WHERE device = ?1")?;
    let mut rows = statement.query([device.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let source = SourceNumber(row.get(0)?);
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let sections = stretches(bytes).ok_or_else(|| corrupt("pack of batches"))?;
        let names = sections.into_iter().flat_map(|section| section.batches);
        found.extend(names.map(|BatchRows { id, rows }| StoredBatch { source, id, rows }));
    }
    Ok(found)
}

/// Returns the bytes of a batch that is in a pack.
pub(super) fn find_bytes(
    db: &Connection,
    (device, source): (DeviceNumber, SourceNumber),
    place: Place,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT bytes FROM pack
         WHERE device = ?1 AND source = ?2 AND first_ms BETWEEN ?3 AND ?4 AND last_ms >= ?4",
    )?;
    let earliest = place.0.0.saturating_sub(PACK_SPAN_MAX_MS);
    let mut rows = statement.query(params![device.0, source.0, earliest, place.0.0])?;
    let mut state = Box::new(CodecMemory::new());
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let found = open(bytes, Form::Batches, &mut state)?;
        if let Some(stretch) = found.into_iter().find(|stretch| stretch.place() == place) {
            return Ok(Some(stretch.bytes));
        }
    }
    Ok(None)
}

/// Returns the inverters with stored data, ascending, starting after the given one.
pub(crate) fn list_inverters(
    db: &Connection,
    after: Option<(DeviceNumber, SourceNumber)>,
) -> Result<Vec<(DeviceNumber, SourceNumber)>, StoreError> {
    let (device, source) =
        after.map_or((-1, 0), |(device, source)| (i64::from(device.0), source.0));
    let mut statement = db.prepare_cached(
        "SELECT device, source FROM inverter_state WHERE (device, source) > (?1, ?2)
         ORDER BY device, source LIMIT ?3",
    )?;
    let found = statement
        .query_map(params![device, source, INVERTERS_PER_QUERY_MAX], |row| {
            Ok((DeviceNumber(row.get(0)?), SourceNumber(row.get(1)?)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Returns unpacked blocks that begin in the range: those of the first UTC day that has any, as
/// many as a pack may hold.
pub(crate) fn loose_blocks(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    range: TimeRange,
) -> Result<Vec<Block>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT first_ms, epoch, sequence, last_ms, rows, stream, time_offset_ms, time_quality,
             bytes
         FROM block
         WHERE device = ?1 AND source = ?2 AND first_ms >= ?3 AND first_ms < ?4
         ORDER BY first_ms, epoch, sequence",
    )?;
    let mut rows = statement.query(params![device.0, source.0, range.from.0, range.to.0])?;
    let mut found: Vec<Block> = Vec::new();
    let (mut row_count, mut byte_count) = (0, 0);
    while let Some(row) = rows.next()? {
        let block = block(row)?;
        let day = |block: &Block| block.first.0.div_euclid(DAY_MS);
        row_count += u32::from(block.rows);
        byte_count += block.bytes.len();
        let is_over = row_count > PACK_ROWS_MAX || byte_count > PACK_BYTES_MAX;
        if found.first().is_some_and(|first| is_over || day(first) != day(&block)) {
            break;
        }
        found.push(block);
    }
    Ok(found)
}

/// Replaces blocks by their pack; returns whether all of them existed. If one was missing, nothing
/// changes.
pub(crate) fn keep(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    pack: &Pack,
) -> Result<bool, StoreError> {
    let Some((first, id)) = pack.places.first() else { return Ok(false) };
    db.execute_batch("SAVEPOINT pack")?;
    let kept = take_out(db, device, source, pack).and_then(|is_whole| {
        if is_whole {
            db.prepare_cached(
                "INSERT INTO pack (device, source, first_ms, epoch, sequence, last_ms, batches,
                     rows, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                device.0,
                source.0,
                first.0,
                id.epoch.0,
                id.sequence.0,
                pack.last.0,
                signed(pack.batches()),
                pack.rows,
                pack.bytes
            ])?;
        }
        Ok(is_whole)
    });
    if !matches!(kept, Ok(true)) {
        db.execute_batch("ROLLBACK TO pack")?;
    }
    db.execute_batch("RELEASE pack")?;
    kept
}

/// Deletes the blocks of a pack; returns whether all of them existed.
fn take_out(
    db: &Connection,
    device: DeviceNumber,
    source: SourceNumber,
    pack: &Pack,
) -> Result<bool, StoreError> {
    let mut statement = db.prepare_cached(
        "DELETE FROM block WHERE device = ?1 AND source = ?2 AND first_ms = ?3 AND epoch = ?4
             AND sequence = ?5",
    )?;
    for (first, id) in &pack.places {
        let key = params![device.0, source.0, first.0, id.epoch.0, id.sequence.0];
        if statement.execute(key)? != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}
