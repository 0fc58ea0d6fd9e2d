//! Energy and gaps between blocks and their neighbours.

use ecowatt_model::{BatchId, BootEpoch, UnixMs};

use super::{InverterChanges, open};
use crate::batch_summary::Summary;
use crate::energy::{self, Change, EnergySums, PowerEdges};
use crate::energy_counter::{self, CALM, CounterBatch, CounterEdge, Link, REACH};
use crate::ids::LocalDate;
use crate::loaded::{Around, Edges, Inverter, Place};
use crate::sorted_map::SortedMap;

/// A stretch without readings that was found or filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapChange {
    Add(UnixMs, UnixMs),
    Take(UnixMs, UnixMs),
}

/// Changes to the joins of one inverter by the batches of an upload.
#[derive(Debug, Default)]
pub(super) struct Joins {
    counters: SortedMap<BatchId, CounterEdge>,
    powers: SortedMap<Place, PowerEdges>,
    energy: Days,
    gaps: Vec<GapChange>,
}

/// Edges of a counter needed around a batch, unless a neighbour is in doubt.
pub(super) fn around(id: BatchId) -> Around<BatchId> {
    Around { key: id, before: 1, after: CALM }
}

impl Joins {
    /// Days whose energy changes.
    pub(super) fn dates(&self) -> impl Iterator<Item = LocalDate> {
        self.energy.changed().map(|(date, _)| date)
    }

    /// Joins by time. If this block fills a gap, the energy counted across the gap is replaced by
    /// the two parts on either side.
    pub(super) fn join_power(
        &mut self,
        inverter: &Inverter,
        place: Place,
        summary: &Summary,
    ) -> Result<(), Around<Place>> {
        let Some(edges) = &summary.power.edges else { return Ok(()) };
        inverter.powers.require(Around { key: place, before: 1, after: 1 })?;
        self.gaps.extend(summary.power.gaps.iter().map(|(from, to)| GapChange::Add(*from, *to)));
        let before = before(&inverter.powers, &self.powers, &place).next().map(|(_, edges)| *edges);
        let after = after(&inverter.powers, &self.powers, &place).next().map(|(_, edges)| *edges);
        if let (Some(before), Some(after)) = (before, after) {
            let Change { days, gap } = energy::power_join(&before, &after);
            self.energy.take(days);
            self.gaps.extend(gap.map(|(from, to)| GapChange::Take(from, to)));
        }
        let joins = [
            before.map(|before| energy::power_join(&before, edges)),
            after.map(|after| energy::power_join(edges, &after)),
        ];
        for Change { days, gap } in joins.into_iter().flatten() {
            self.energy.add(days);
            self.gaps.extend(gap.map(|(from, to)| GapChange::Add(from, to)));
        }
        self.powers.replace(place, *edges);
        Ok(())
    }

    /// Joins by id, the order in which the counter was read.
    pub(super) fn join_counter(
        &mut self,
        inverter: &Inverter,
        id: BatchId,
        summary: &Summary,
    ) -> Result<(), Around<BatchId>> {
        let Some(batch) = &summary.counter else { return Ok(()) };
        inverter.counters.require(around(id))?;
        let held = &inverter.counters;
        let before = before(held, &self.counters, &id).next();
        let after: Vec<_> = after(held, &self.counters, &id).take(CALM as usize).collect();
        let link = batch.link(id.epoch);
        let calm = if is_calm(before, &link, &after) {
            let before = before.map(|(before, edge)| edge.batch.link(before.epoch));
            let days = &mut self.energy;
            days.add(batch.after(id.epoch, before.as_ref()));
            if let Some((after, edge)) = after.first() {
                days.take(edge.batch.after(after.epoch, before.as_ref()));
                days.add(edge.batch.after(after.epoch, Some(&link)));
            }
            CALM
        } else {
            inverter.counters.require(Around { key: id, before: REACH, after: REACH })?;
            self.join_anew(held, id, batch)
        };
        self.counters.replace(id, CounterEdge { calm, batch: batch.clone() });
        Ok(())
    }

    /// Recounts all surrounding batches that could matter; returns how many steps up to this one
    /// are continuous.
    fn join_anew(
        &mut self,
        held: &Edges<BatchId, CounterEdge>,
        id: BatchId,
        batch: &CounterBatch,
    ) -> u32 {
        const REACHED: usize = REACH as usize;
        let mut around: Vec<_> = before(held, &self.counters, &id).take(REACHED).collect();
        around.reverse();
        let place = around.len();
        around.extend(after(held, &self.counters, &id).take(REACHED));
        let mut batches: Vec<(BootEpoch, &CounterBatch)> =
            around.iter().map(|(id, edge)| (id.epoch, &edge.batch)).collect();
        // One batch can change which of those around it are believed, so the energy of all of them
        // is replaced.
        self.energy.take(energy_counter::energy_of(&batches));
        batches.insert(place, (id.epoch, batch));
        self.energy.add(energy_counter::energy_of(&batches));
        // With fewer batches before it, the first of all is among them and has nothing to continue.
        let mut calm = if place < REACHED { CALM } else { 0 };
        let mut own = calm;
        let mut broken = Vec::new();
        let links: Vec<Link> = batches.iter().map(|(epoch, batch)| batch.link(*epoch)).collect();
        for (at, pair) in (1..).zip(links.windows(2)) {
            let goes_on = pair[0].is_continued_by(&pair[1]);
            calm = if goes_on { (calm + 1).min(CALM) } else { 0 };
            if at == place {
                own = calm;
            }
            // A later edge promised more calm than there is with this batch in between.
            if at > place
                && let Some((id, edge)) = around.get(at - 1)
                && edge.calm > calm
            {
                broken.push((*id, CounterEdge { calm, batch: edge.batch.clone() }));
            }
        }
        for (id, edge) in broken {
            self.counters.replace(id, edge);
        }
        own
    }

    pub(super) fn carry_out(self, held: &mut Inverter, changed: &mut InverterChanges) {
        for (date, sums) in self.energy.changed() {
            open(&held.days, &date, &mut changed.days);
            held.days.entry(date).energy.add(sums);
        }
        for (id, edge) in self.counters {
            changed.counters.replace(id, ());
            held.counters.held.replace(id, edge);
        }
        for (place, edges) in self.powers {
            changed.powers.replace(place, ());
            held.powers.held.replace(place, edges);
        }
        changed.gaps.extend(self.gaps);
    }
}

/// Returns whether every batch that could matter continues the one before it.
fn is_calm(
    before: Option<&(BatchId, CounterEdge)>,
    link: &Link,
    after: &[&(BatchId, CounterEdge)],
) -> bool {
    let link_of = |(id, edge): &(BatchId, CounterEdge)| edge.batch.link(id.epoch);
    before.is_none_or(|found| found.1.calm >= CALM && link_of(found).is_continued_by(link))
        && after.iter().all(|(_, edge)| edge.calm >= CALM)
        && after.first().is_none_or(|found| link.is_continued_by(&link_of(found)))
}

/// Edges below a key, the nearest first; if both lists have a key, the added edge wins.
fn before<'a, K: Ord, V>(
    held: &'a Edges<K, V>,
    added: &'a SortedMap<K, V>,
    key: &K,
) -> impl Iterator<Item = &'a (K, V)> {
    let (held, added) = (held.held.before(key), added.before(key));
    nearest(held.iter().rev(), added.iter().rev(), |held, added| held > added)
}

/// Edges above a key, the nearest first; if both lists have a key, the added edge wins.
fn after<'a, K: Ord, V>(
    held: &'a Edges<K, V>,
    added: &'a SortedMap<K, V>,
    key: &K,
) -> impl Iterator<Item = &'a (K, V)> {
    nearest(held.held.after(key).iter(), added.after(key).iter(), |held, added| held < added)
}

fn nearest<'a, K: Ord + 'a, V: 'a>(
    held: impl Iterator<Item = &'a (K, V)>,
    added: impl Iterator<Item = &'a (K, V)>,
    is_nearer: fn(&K, &K) -> bool,
) -> impl Iterator<Item = &'a (K, V)> {
    let (mut held, mut added) = (held.peekable(), added.peekable());
    std::iter::from_fn(move || match (held.peek(), added.peek()) {
        (Some((one, _)), Some((other, _))) if one == other => {
            held.next();
            added.next()
        }
        (Some((one, _)), Some((other, _))) if is_nearer(one, other) => held.next(),
        (Some(_), None) => held.next(),
        (_, _) => added.next(),
    })
}

/// Changes of energy by day.
#[derive(Debug, Default)]
struct Days(SortedMap<LocalDate, EnergySums>);

impl Days {
    fn add(&mut self, days: Vec<(LocalDate, EnergySums)>) {
        for (date, sums) in days {
            self.0.add(date, sums, |held, more| held.add(&more));
        }
    }

    fn take(&mut self, days: Vec<(LocalDate, EnergySums)>) {
        self.add(days.into_iter().map(|(date, sums)| (date, sums.negated())).collect());
    }

    fn changed(&self) -> impl Iterator<Item = (LocalDate, &EnergySums)> {
        let changed = self.0.iter().filter(|(_, sums)| **sums != EnergySums::default());
        changed.map(|(date, sums)| (*date, sums))
    }
}
