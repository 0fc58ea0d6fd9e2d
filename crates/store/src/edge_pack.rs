//! The bytes of packs of edges: what the energy between batches is derived from, for many batches
//! together.
//!
//! A batch of seven samples leaves an edge of its power and one of its counter, which in rows of
//! their own take three times what its samples take in a pack.
//!
//! Pure. Bytes: format, number of edges, the unit that all their figures are multiples of, and one
//! code word of [`crate::integer_models`] with the edges in the order of their keys.

use ecowatt_codec::ROWS_MAX;
use ecowatt_codec::range_coder::{Coder, Encoder};
use ecowatt_model::{BatchId, BootEpoch, Sequence, UnixMs};

use crate::energy::{PowerEdges, PowerReading};
use crate::energy_counter::{
    CounterBatch, CounterDay, CounterEdge, CounterLimits, CounterReading, Ends,
};
use crate::ids::LocalDate;
use crate::integer_models::{Number, common_unit, decoded, encoded};
use crate::limits::EDGES_PER_PACK_MAX;
use crate::loaded::Place;
use crate::varint::{put_i64, put_u64, take_i64, take_u8, take_u64};

const FORMAT: u8 = 1;

/// Bytes that an edge is expected to take; more are found if it takes more.
const ROOM: usize = 4;

/// Encodes edges of power, ascending.
pub(crate) fn encode_powers(edges: &[(Place, PowerEdges)]) -> Vec<u8> {
    let readings = edges.iter().flat_map(|(_, edges)| [edges.first, edges.last]);
    let unit = common_unit(readings.filter_map(|reading| reading.mw));
    finish(edges.len(), unit, |coder| {
        let mut model = Powers::new(unit);
        for edge in edges {
            model.code(coder, edge);
        }
    })
}

/// Decodes edges of power; `None` if they are damaged.
pub(crate) fn decode_powers(bytes: &[u8]) -> Option<Vec<(Place, PowerEdges)>> {
    let (count, unit, bytes) = head(bytes)?;
    let any = PowerEdges { first: NO_POWER, last: NO_POWER, typical_ms: 0 };
    let any = ((UnixMs(0), NO_ID), any);
    decoded(bytes, |coder| {
        let mut model = Powers::new(unit);
        (0..count).map(|_| model.code(coder, &any)).collect()
    })
}

/// Encodes edges of a counter, ascending.
pub(crate) fn encode_counters(edges: &[(BatchId, CounterEdge)]) -> Vec<u8> {
    let figures = edges.iter().flat_map(|(_, edge)| {
        let CounterBatch { ends, days } = &edge.batch;
        let days = days.iter().map(|day| day.mwh);
        days.chain([ends.first.mwh, ends.last.mwh])
    });
    let unit = common_unit(figures);
    finish(edges.len(), unit, |coder| {
        let mut model = Counters::new(unit);
        for edge in edges {
            model.code(coder, edge);
        }
    })
}

/// Decodes edges of a counter; `None` if they are damaged.
pub(crate) fn decode_counters(bytes: &[u8]) -> Option<Vec<(BatchId, CounterEdge)>> {
    let (count, unit, bytes) = head(bytes)?;
    let ends = Ends { first: NO_READING, last: NO_READING, limits: CounterLimits::default() };
    let batch = CounterBatch { ends, days: Vec::new() };
    let any = (NO_ID, CounterEdge { calm: 0, batch });
    decoded(bytes, |coder| {
        let mut model = Counters::new(unit);
        (0..count).map(|_| model.code(coder, &any)).collect()
    })
}

fn finish(count: usize, unit: i64, code: impl Fn(&mut Encoder<'_>)) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_u64(&mut out, u64::try_from(count).unwrap_or(u64::MAX));
    put_i64(&mut out, unit);
    out.extend(encoded(64 + ROOM * count, code));
    out
}

fn head(mut bytes: &[u8]) -> Option<(usize, i64, &[u8])> {
    if take_u8(&mut bytes)? != FORMAT {
        return None;
    }
    let count = usize::try_from(take_u64(&mut bytes)?).ok()?;
    let unit = take_i64(&mut bytes)?;
    (count <= EDGES_PER_PACK_MAX as usize && unit > 0).then_some((count, unit, bytes))
}

/// Model of a sequence in which each number is expected to be as far from the one before as that
/// was from the one before it.
#[derive(Debug, Default)]
struct Steps {
    number: Number,
    last: i64,
    step: i64,
}

impl Steps {
    fn code(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let expected = self.last.wrapping_add(self.step);
        let off = self.number.code(coder, value.wrapping_sub(expected));
        let value = expected.wrapping_add(off);
        self.step = value.wrapping_sub(self.last);
        self.last = value;
        value
    }
}

/// Model of a sequence in which each number is expected to be like the one before.
#[derive(Debug, Default)]
struct Same {
    number: Number,
    last: i64,
}

impl Same {
    fn code(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let off = self.number.code(coder, value.wrapping_sub(self.last));
        self.last = self.last.wrapping_add(off);
        self.last
    }
}

/// Model of the ids of batches.
#[derive(Debug, Default)]
struct Ids {
    epoch: Same,
    sequence: Steps,
}

impl Ids {
    fn code(&mut self, coder: &mut impl Coder, id: BatchId) -> BatchId {
        let epoch = self.epoch.code(coder, id.epoch.0.into());
        let sequence = self.sequence.code(coder, id.sequence.0.into());
        BatchId {
            epoch: BootEpoch(whole(coder, epoch)),
            sequence: Sequence(whole(coder, sequence)),
        }
    }
}

const NO_ID: BatchId = BatchId { epoch: BootEpoch(0), sequence: Sequence(0) };

/// Expected before the first reading.
const NO_POWER: PowerReading =
    PowerReading { at: UnixMs(0), date: LocalDate(0), mw: None, is_asleep: false };

/// Model of one end of a batch: its values relative to those of the end before.
#[derive(Debug, Default)]
struct End {
    date: Number,
    kind: Same,
    value: Number,
}

impl End {
    fn code(
        &mut self,
        coder: &mut impl Coder,
        unit: i64,
        before: &PowerReading,
        reading: &PowerReading,
    ) -> PowerReading {
        let date = date(&mut self.date, coder, before.date, reading.date);
        let kind = i64::from(reading.is_asleep) << 1 | i64::from(reading.mw.is_some());
        let kind = self.kind.code(coder, kind);
        let mw = (kind & 1 == 1).then(|| {
            let held = before.mw.unwrap_or(0) / unit;
            let off = (reading.mw.unwrap_or(0) / unit).wrapping_sub(held);
            held.wrapping_add(self.value.code(coder, off)).wrapping_mul(unit)
        });
        PowerReading { at: reading.at, date, mw, is_asleep: kind >> 1 == 1 }
    }
}

struct Powers {
    unit: i64,
    start: Steps,
    ids: Ids,
    typical: Same,
    lead: Same,
    span: Same,
    first: End,
    last: End,
    before: PowerReading,
}

impl Powers {
    fn new(unit: i64) -> Self {
        Self {
            unit,
            start: Steps::default(),
            ids: Ids::default(),
            typical: Same::default(),
            lead: Same::default(),
            span: Same::default(),
            first: End::default(),
            last: End::default(),
            before: NO_POWER,
        }
    }

    fn code(
        &mut self,
        coder: &mut impl Coder,
        ((start, id), edges): &(Place, PowerEdges),
    ) -> (Place, PowerEdges) {
        let start = UnixMs(self.start.code(coder, start.0));
        let id = self.ids.code(coder, *id);
        let typical = self.typical.code(coder, edges.typical_ms.into());
        let typical_ms = whole(coder, typical);
        let lead = edges.first.at.0.wrapping_sub(start.0);
        let lead = self.lead.code(coder, lead);
        let span = edges.last.at.0.wrapping_sub(edges.first.at.0);
        let span = self.span.code(coder, span);
        let mut first = self.first.code(coder, self.unit, &self.before, &edges.first);
        let mut last = self.last.code(coder, self.unit, &first, &edges.last);
        first.at = UnixMs(start.0.wrapping_add(lead));
        last.at = UnixMs(first.at.0.wrapping_add(span));
        self.before = last;
        ((start, id), PowerEdges { first, last, typical_ms })
    }
}

struct Counters {
    unit: i64,
    ids: Ids,
    calm: Same,
    has_rated: Same,
    rated: Same,
    quantum: Same,
    gap: Same,
    span: Same,
    /// Dates and figures of first readings, last readings, and days.
    dates: [Number; 3],
    figures: [Number; 3],
    days: Same,
    believed: Same,
    passed_over: Same,
    before: CounterReading,
}

/// Expected before the first reading.
const NO_READING: CounterReading = CounterReading { at: UnixMs(0), date: LocalDate(0), mwh: 0 };

impl Counters {
    fn new(unit: i64) -> Self {
        Self {
            unit,
            ids: Ids::default(),
            calm: Same::default(),
            has_rated: Same::default(),
            rated: Same::default(),
            quantum: Same::default(),
            gap: Same::default(),
            span: Same::default(),
            dates: Default::default(),
            figures: Default::default(),
            days: Same::default(),
            believed: Same::default(),
            passed_over: Same::default(),
            before: NO_READING,
        }
    }

    fn code(
        &mut self,
        coder: &mut impl Coder,
        (id, edge): &(BatchId, CounterEdge),
    ) -> (BatchId, CounterEdge) {
        let Ends { first, last, limits } = edge.batch.ends;
        let id = self.ids.code(coder, *id);
        let calm = self.calm.code(coder, edge.calm.into());
        let calm = whole(coder, calm);
        let limits = self.limits(coder, limits);
        let end = self.before;
        let gap = self.gap.code(coder, first.at.0.wrapping_sub(end.at.0));
        let span = self.span.code(coder, last.at.0.wrapping_sub(first.at.0));
        let mut first = self.reading(0, coder, end, first);
        let mut last = self.reading(1, coder, first, last);
        first.at = UnixMs(end.at.0.wrapping_add(gap));
        last.at = UnixMs(first.at.0.wrapping_add(span));
        let days = self.days(coder, (first, last), &edge.batch.days);
        self.before = last;
        let ends = Ends { first, last, limits };
        (id, CounterEdge { calm, batch: CounterBatch { ends, days } })
    }

    fn limits(&mut self, coder: &mut impl Coder, limits: CounterLimits) -> CounterLimits {
        let has_rated = self.has_rated.code(coder, limits.rated_w.is_some().into());
        let rated_w = (has_rated == 1).then(|| {
            let rated = self.rated.code(coder, limits.rated_w.unwrap_or(0).into());
            whole(coder, rated)
        });
        CounterLimits { rated_w, quantum_mwh: self.quantum.code(coder, limits.quantum_mwh) }
    }

    /// Codes a reading but its time, relative to the one before.
    fn reading(
        &mut self,
        end: usize,
        coder: &mut impl Coder,
        before: CounterReading,
        reading: CounterReading,
    ) -> CounterReading {
        let date = date(&mut self.dates[end], coder, before.date, reading.date);
        let off = reading.mwh.wrapping_sub(before.mwh) / self.unit;
        let off = self.figures[end].code(coder, off).wrapping_mul(self.unit);
        CounterReading { at: before.at, date, mwh: before.mwh.wrapping_add(off) }
    }

    fn days(
        &mut self,
        coder: &mut impl Coder,
        (first, last): (CounterReading, CounterReading),
        days: &[CounterDay],
    ) -> Vec<CounterDay> {
        let count = self.days.code(coder, i64::try_from(days.len()).unwrap_or(i64::MAX));
        let mut coded: Vec<CounterDay> = Vec::with_capacity(1);
        let count = usize::try_from(count).ok().filter(|count| *count <= ROWS_MAX);
        if count.is_none() {
            coder.reject();
        }
        for at in 0..count.unwrap_or(0) {
            let none = CounterDay { date: first.date, mwh: 0, believed: 0, passed_over: 0 };
            let day = days.get(at).copied().unwrap_or(none);
            let before = coded.last().map_or(first.date, |day| day.date);
            // The first day is expected to have all of the batch.
            let expected = if at == 0 { last.mwh.wrapping_sub(first.mwh) } else { 0 };
            let date = date(&mut self.dates[2], coder, before, day.date);
            let off = day.mwh.wrapping_sub(expected) / self.unit;
            let off = self.figures[2].code(coder, off).wrapping_mul(self.unit);
            let believed = self.believed.code(coder, day.believed.into());
            let believed = whole(coder, believed);
            let passed_over = self.passed_over.code(coder, day.passed_over.into());
            let passed_over = whole(coder, passed_over);
            coded.push(CounterDay { date, mwh: expected.wrapping_add(off), believed, passed_over });
        }
        coded
    }
}

fn whole(coder: &mut impl Coder, value: i64) -> u32 {
    u32::try_from(value).unwrap_or_else(|_| {
        coder.reject();
        0
    })
}

/// Codes a date as its distance from another.
fn date(
    model: &mut Number,
    coder: &mut impl Coder,
    before: LocalDate,
    date: LocalDate,
) -> LocalDate {
    let off = model.code(coder, i64::from(date.0) - i64::from(before.0));
    let date = i64::from(before.0).wrapping_add(off);
    LocalDate(i32::try_from(date).unwrap_or_else(|_| {
        coder.reject();
        0
    }))
}

#[cfg(test)]
mod tests;
