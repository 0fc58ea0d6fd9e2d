//! Encodes the newest edges of an inverter, which the next batch continues, for the inverter's row.

use ecowatt_model::{BatchId, BootEpoch, Sequence, UnixMs};

use crate::energy::PowerEdges;
use crate::energy_counter::{CounterBatch, CounterEdge};
use crate::loaded::Place;
use crate::varint::{put_i64, put_u64, take_i64, take_u32};

pub(super) fn counter_bytes(id: &BatchId, edge: &CounterEdge) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    put_id(&mut out, id);
    put_u64(&mut out, edge.calm.into());
    out.extend(edge.batch.encode());
    out
}

pub(super) fn counter(mut bytes: &[u8]) -> Option<(BatchId, CounterEdge)> {
    let id = take_id(&mut bytes)?;
    let calm = take_u32(&mut bytes)?;
    Some((id, CounterEdge { calm, batch: CounterBatch::decode(bytes)? }))
}

pub(super) fn power_bytes((first, id): &Place, edges: &PowerEdges) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    put_i64(&mut out, first.0);
    put_id(&mut out, id);
    out.extend(edges.encode(*first));
    out
}

pub(super) fn power(mut bytes: &[u8]) -> Option<(Place, PowerEdges)> {
    let first = UnixMs(take_i64(&mut bytes)?);
    let id = take_id(&mut bytes)?;
    Some(((first, id), PowerEdges::decode(first, bytes)?))
}

fn put_id(out: &mut Vec<u8>, id: &BatchId) {
    put_u64(out, id.epoch.0.into());
    put_u64(out, id.sequence.0.into());
}

fn take_id(bytes: &mut &[u8]) -> Option<BatchId> {
    Some(BatchId { epoch: BootEpoch(take_u32(bytes)?), sequence: Sequence(take_u32(bytes)?) })
}
