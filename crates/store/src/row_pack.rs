//! Packs rows of past days: minutes, with the quarter hours made of them, and edges.
//!
//! What is stored of a quarter hour is the merge of its row and its place in a pack, and an edge is
//! where it was written last: in its row, if it has one, else in a pack. So a batch that arrives
//! late for a packed day only writes rows, and the next pass adds them to the packs. Merging is
//! exact and independent of order (`rollup`), so it does not matter what was packed when.
//!
//! Pure. Rows are packed only if the packs return them exactly.

use ecowatt_model::BatchId;

use crate::edge_pack::{decode_counters, decode_powers, encode_counters, encode_powers};
use crate::energy::PowerEdges;
use crate::energy_counter::{CounterBatch, CounterEdge};
use crate::limits::EDGES_PER_PACK_MAX;
use crate::loaded::Place;
use crate::rollup::Quarter;
use crate::rollup_pack::{DayColumns, Width};

/// Sequences of one epoch that share a pack of a counter's edges, whichever days they are of.
pub(crate) const SEQUENCES_PER_PACK: u32 = 1024;

/// Rows that are packed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// Minutes of a UTC day.
    Minutes,
    /// Edges of power of a UTC day.
    Powers,
    /// Edges of a counter with neighbouring ids.
    Counters,
}

impl RowKind {
    pub const ALL: [Self; 3] = [Self::Minutes, Self::Powers, Self::Counters];
}

/// What a pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackKind {
    Minutes,
    Quarters,
    Powers,
    Counters,
}

/// Rows of an inverter that go into the same packs, and what these hold so far.
#[derive(Debug)]
pub struct UnpackedRows {
    /// Of the packs: a UTC day as days since 1970-01-01, or [`number_of`] an id.
    pub(crate) number: i64,
    pub(crate) rows: Rows,
    /// The packs that the rows go into, if they exist.
    pub(crate) packs: Vec<(PackKind, Option<Vec<u8>>)>,
}

/// Rows with their keys, ascending, as they are stored.
#[derive(Debug)]
pub(crate) enum Rows {
    Minutes(Vec<(i64, Vec<u8>)>),
    Powers(Vec<(Place, Vec<u8>)>),
    Counters(Vec<(BatchId, u32, Vec<u8>)>),
}

impl UnpackedRows {
    /// Where the search for the next rows of this kind goes on.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.number.saturating_add(1)
    }
}

/// Packs that replace rows, and the packs before them.
#[derive(Debug)]
pub struct RowPack {
    pub(crate) loose: UnpackedRows,
    pub(crate) packs: Vec<(PackKind, Vec<u8>)>,
}

impl RowPack {
    /// Packs rows; `None` if there are none, or if some cannot be read or restored.
    #[must_use]
    pub fn new(loose: UnpackedRows) -> Option<Self> {
        let day = loose.number;
        let mut packs = Vec::with_capacity(loose.packs.len());
        for (kind, old) in &loose.packs {
            let old = old.as_deref();
            let bytes = match (kind, &loose.rows) {
                (PackKind::Minutes, Rows::Minutes(rows)) => columns(Width::Minute, day, old, rows)?,
                (PackKind::Quarters, Rows::Minutes(rows)) => {
                    columns(Width::Quarter, day, old, rows)?
                }
                (PackKind::Powers, Rows::Powers(rows)) => powers(old, rows)?,
                (PackKind::Counters, Rows::Counters(rows)) => counters(old, rows)?,
                (_, Rows::Minutes(_) | Rows::Powers(_) | Rows::Counters(_)) => return None,
            };
            packs.push((*kind, bytes));
        }
        let is_empty = match &loose.rows {
            Rows::Minutes(rows) => rows.is_empty(),
            Rows::Powers(rows) => rows.is_empty(),
            Rows::Counters(rows) => rows.is_empty(),
        };
        (!is_empty).then_some(Self { loose, packs })
    }
}

fn columns(width: Width, day: i64, old: Option<&[u8]>, rows: &[(i64, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut all = match old {
        Some(old) => DayColumns::decode(width, day, old)?,
        None => DayColumns::new(width, day),
    };
    for (number, minutes) in rows {
        all.add(*number, &Quarter::decode(*number, minutes)?);
    }
    let bytes = all.encode();
    (DayColumns::decode(width, day, &bytes).as_ref() == Some(&all)).then_some(bytes)
}

fn powers(old: Option<&[u8]>, rows: &[(Place, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut all = old.map_or(Some(Vec::new()), decode_powers)?;
    for (place, bytes) in rows {
        all.push((*place, PowerEdges::decode(place.0, bytes)?));
    }
    let all = latest(all)?;
    let bytes = encode_powers(&all);
    (decode_powers(&bytes).as_ref() == Some(&all)).then_some(bytes)
}

fn counters(old: Option<&[u8]>, rows: &[(BatchId, u32, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut all = old.map_or(Some(Vec::new()), decode_counters)?;
    for (id, calm, bytes) in rows {
        all.push((*id, CounterEdge { calm: *calm, batch: CounterBatch::decode(bytes)? }));
    }
    let all = latest(all)?;
    let bytes = encode_counters(&all);
    (decode_counters(&bytes).as_ref() == Some(&all)).then_some(bytes)
}

/// Sorts edges by key; of two with the same key the later one of the list stays.
fn latest<K: Ord + Copy, V>(edges: Vec<(K, V)>) -> Option<Vec<(K, V)>> {
    let mut edges = edges;
    edges.reverse();
    edges.sort_by_key(|(key, _)| *key);
    edges.dedup_by_key(|(key, _)| *key);
    (edges.len() <= EDGES_PER_PACK_MAX as usize).then_some(edges)
}

/// Number of the pack with the edge of a batch's counter; ascends with the ids.
pub(crate) fn number_of(id: &BatchId) -> i64 {
    let per_epoch = (1 << 32) / i64::from(SEQUENCES_PER_PACK);
    i64::from(id.epoch.0) * per_epoch + i64::from(id.sequence.0 / SEQUENCES_PER_PACK)
}

/// First id whose edge is in the pack of a number, or in one after it.
pub(crate) fn first_of(number: i64) -> (i64, i64) {
    let per_epoch = (1 << 32) / i64::from(SEQUENCES_PER_PACK);
    (number.div_euclid(per_epoch), number.rem_euclid(per_epoch) * i64::from(SEQUENCES_PER_PACK))
}
