//! What a block adds to the energy and the gaps between it and the blocks around it.
//!
//! Each kind of edge has a table of its own, which holds only blocks that have it: a neighbour is one
//! step of an index away, and no number of other blocks is between. Edges outlive their blocks.

use ecowatt_model::{BatchId, BootEpoch, Sequence, UnixMs};
use rusqlite::{Connection, Row, params};

use super::newest::CounterEdge;
use super::rows::{self, Rows, readable};
use crate::StoreError;
use crate::ascending::Ascending;
use crate::counter::{self, CALM, CounterBatch, REACH};
use crate::energy::{self, Change, EnergySums, PowerEdges};
use crate::rollup::LocalDate;
use crate::telemetry::NewBlock;

#[derive(Debug, Clone, Copy)]
enum Side {
    Before,
    After,
}

/// By time: an energy that spanned the hole which this block fills makes way for two.
pub(super) fn join_power(
    db: &Connection,
    rows: &mut Rows,
    device: u32,
    block: &NewBlock,
) -> Result<(), StoreError> {
    let source = block.source.0;
    for gap in &block.summary.power.gaps {
        insert_gap(db, device, source, *gap)?;
    }
    let Some(edges) = block.summary.power.edges else { return Ok(()) };
    let place = (block.first, block.id);
    let newest = rows.newest.of(device, source).power;
    let (before, after) = match newest.filter(|(newest, _)| *newest < place) {
        Some((_, before)) => (Some(before), None),
        None => (
            power_beside(db, device, block, Side::Before)?,
            power_beside(db, device, block, Side::After)?,
        ),
    };
    db.prepare_cached(
        "INSERT INTO power_edge (device, source, first_ms, epoch, sequence, edge)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        device,
        source,
        block.first.0,
        block.id.epoch.0,
        block.id.sequence.0,
        edges.encode(block.first)
    ])?;
    if after.is_none() {
        rows.newest.of(device, source).power = Some((place, edges));
    }
    if let (Some(before), Some(after)) = (before, after) {
        let Change { days, gap } = energy::power_join(&before, &after);
        for (date, sums) in days {
            add_energy(db, rows, (device, source, date), &sums.negated())?;
        }
        if let Some(gap) = gap {
            delete_gap(db, device, source, gap)?;
        }
    }
    let joins = [
        before.map(|before| energy::power_join(&before, &edges)),
        after.map(|after| energy::power_join(&edges, &after)),
    ];
    for Change { days, gap } in joins.into_iter().flatten() {
        for (date, sums) in days {
            add_energy(db, rows, (device, source, date), &sums)?;
        }
        if let Some(gap) = gap {
            insert_gap(db, device, source, gap)?;
        }
    }
    Ok(())
}

fn power_beside(
    db: &Connection,
    device: u32,
    block: &NewBlock,
    side: Side,
) -> Result<Option<PowerEdges>, StoreError> {
    let mut statement = db.prepare_cached(match side {
        Side::Before => {
            "SELECT first_ms, edge FROM power_edge
             WHERE device = ?1 AND source = ?2 AND (first_ms, epoch, sequence) < (?3, ?4, ?5)
             ORDER BY first_ms DESC, epoch DESC, sequence DESC LIMIT 1"
        }
        Side::After => {
            "SELECT first_ms, edge FROM power_edge
             WHERE device = ?1 AND source = ?2 AND (first_ms, epoch, sequence) > (?3, ?4, ?5)
             ORDER BY first_ms, epoch, sequence LIMIT 1"
        }
    })?;
    let (epoch, sequence) = (block.id.epoch.0, block.id.sequence.0);
    let mut found =
        statement.query(params![device, block.source.0, block.first.0, epoch, sequence])?;
    let Some(row) = found.next()? else { return Ok(None) };
    let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    let edges = PowerEdges::decode(UnixMs(row.get(0)?), bytes);
    Ok(readable(edges, device, "edge of power"))
}

/// A batch of counter readings as it is stored.
struct Held {
    id: BatchId,
    calm: u32,
    batch: CounterBatch,
}

impl Held {
    fn edge(&self) -> CounterEdge {
        CounterEdge { id: self.id, calm: self.calm, link: self.batch.link }
    }
}

/// By name: the order in which the counter was read.
pub(super) fn join_counter(
    db: &Connection,
    rows: &mut Rows,
    device: u32,
    block: &NewBlock,
) -> Result<(), StoreError> {
    let Some(batch) = &block.summary.counter else { return Ok(()) };
    let (id, key) = (block.id, (device, block.source.0));
    let newest = rows.newest.of(key.0, key.1).counter.filter(|newest| newest.id < id);
    let (before, after) = match newest {
        Some(before) => (Some(before), Vec::new()),
        None => {
            let before = counters_beside(db, key, id, (Side::Before, 1))?;
            (before.first().map(Held::edge), counters_beside(db, key, id, (Side::After, CALM))?)
        }
    };
    let mut days = Days::default();
    let is_calm = is_calm(before.as_ref(), batch, &after);
    let calm = if is_calm {
        let before = before.map(|before| before.link);
        days.add(batch.after(before.as_ref()));
        if let Some(Held { batch: after, .. }) = after.first() {
            days.take(after.after(before.as_ref()));
            days.add(after.after(Some(&batch.link)));
        }
        CALM
    } else {
        join_anew(db, key, id, batch, &mut days)?
    };
    db.prepare_cached(
        "INSERT INTO counter_edge (device, source, epoch, sequence, calm, edge)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![key.0, key.1, id.epoch.0, id.sequence.0, calm, batch.encode()])?;
    let newest = rows.newest.of(key.0, key.1);
    if after.is_empty() {
        newest.counter = Some(CounterEdge { id, calm, link: batch.link });
    } else if !is_calm {
        // Steps up to the newest one may have been broken.
        newest.counter = None;
    }
    for (date, sums) in days.0 {
        if sums != EnergySums::default() {
            add_energy(db, rows, (key.0, key.1, date), &sums)?;
        }
    }
    Ok(())
}

/// Whether every batch that could matter continues the one before it.
fn is_calm(before: Option<&CounterEdge>, batch: &CounterBatch, after: &[Held]) -> bool {
    before.is_none_or(|before| before.calm >= CALM && before.link.is_continued_by(&batch.link))
        && after.iter().all(|after| after.calm >= CALM)
        && after.first().is_none_or(|after| batch.link.is_continued_by(&after.batch.link))
}

/// Looks at all batches around that could matter; gives how many steps up to this one are continued.
fn join_anew(
    db: &Connection,
    key: (u32, u8),
    id: BatchId,
    batch: &CounterBatch,
    days: &mut Days,
) -> Result<u32, StoreError> {
    let mut before = counters_beside(db, key, id, (Side::Before, REACH))?;
    before.reverse();
    let after = counters_beside(db, key, id, (Side::After, REACH))?;
    let starts_calm = u32::try_from(before.len()).is_ok_and(|before| before < REACH);
    let place = before.len();
    let after_stored: Vec<(BatchId, u32)> = after.iter().map(|held| (held.id, held.calm)).collect();
    let mut batches: Vec<CounterBatch> = before.into_iter().map(|held| held.batch).collect();
    batches.extend(after.into_iter().map(|held| held.batch));
    days.take(counter::energy_of(&batches));
    batches.insert(place, batch.clone());
    days.add(counter::energy_of(&batches));
    let mut calm = if starts_calm { CALM } else { 0 };
    let mut own = calm;
    let mut update = db.prepare_cached(
        "UPDATE counter_edge SET calm = ?5
         WHERE device = ?1 AND source = ?2 AND epoch = ?3 AND sequence = ?4",
    )?;
    for (at, pair) in (1..).zip(batches.windows(2)) {
        let goes_on = pair[0].link.is_continued_by(&pair[1].link);
        calm = if goes_on { (calm + 1).min(CALM) } else { 0 };
        if at == place {
            own = calm;
        }
        if at > place
            && let Some((id, stored)) = after_stored.get(at - place - 1)
            && *stored > calm
        {
            update.execute(params![key.0, key.1, id.epoch.0, id.sequence.0, calm])?;
        }
    }
    Ok(own)
}

/// Batches of counter readings by name, the nearest first.
fn counters_beside(
    db: &Connection,
    (device, source): (u32, u8),
    id: BatchId,
    (side, count): (Side, u32),
) -> Result<Vec<Held>, StoreError> {
    let mut statement = db.prepare_cached(match side {
        Side::Before => {
            "SELECT epoch, sequence, calm, edge FROM counter_edge
             WHERE device = ?1 AND source = ?2 AND (epoch, sequence) < (?3, ?4)
             ORDER BY epoch DESC, sequence DESC LIMIT ?5"
        }
        Side::After => {
            "SELECT epoch, sequence, calm, edge FROM counter_edge
             WHERE device = ?1 AND source = ?2 AND (epoch, sequence) > (?3, ?4)
             ORDER BY epoch, sequence LIMIT ?5"
        }
    })?;
    let mut found = statement.query(params![device, source, id.epoch.0, id.sequence.0, count])?;
    let mut batches = Vec::new();
    while let Some(row) = found.next()? {
        if let Some(held) = readable(held(row)?, device, "edge of a counter") {
            batches.push(held);
        }
    }
    Ok(batches)
}

fn held(row: &Row<'_>) -> rusqlite::Result<Option<Held>> {
    let id = BatchId { epoch: BootEpoch(row.get(0)?), sequence: Sequence(row.get(1)?) };
    let calm = row.get(2)?;
    Ok(CounterBatch::decode(row.get_ref(3)?.as_blob()?).map(|batch| Held { id, calm, batch }))
}

/// Changes of energy by day.
#[derive(Default)]
struct Days(Ascending<LocalDate, EnergySums>);

impl Days {
    fn add(&mut self, days: Vec<(LocalDate, EnergySums)>) {
        for (date, sums) in days {
            self.0.add(date, sums, |held, more| held.add(&more));
        }
    }

    fn take(&mut self, days: Vec<(LocalDate, EnergySums)>) {
        self.add(days.into_iter().map(|(date, sums)| (date, sums.negated())).collect());
    }
}

fn add_energy(
    db: &Connection,
    rows: &mut Rows,
    key: (u32, u8, LocalDate),
    sums: &EnergySums,
) -> Result<(), StoreError> {
    rows.days.change(key, || rows::load_day(db, key), |day| day.energy.add(sums))
}

fn insert_gap(
    db: &Connection,
    device: u32,
    source: u8,
    (from, to): (UnixMs, UnixMs),
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO energy_gap (device, source, from_ms, to_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![device, source, from.0, to.0])?;
    Ok(())
}

fn delete_gap(
    db: &Connection,
    device: u32,
    source: u8,
    (from, to): (UnixMs, UnixMs),
) -> Result<(), StoreError> {
    db.prepare_cached(
        "DELETE FROM energy_gap
         WHERE device = ?1 AND source = ?2 AND from_ms = ?3 AND to_ms = ?4",
    )?
    .execute(params![device, source, from.0, to.0])?;
    Ok(())
}
