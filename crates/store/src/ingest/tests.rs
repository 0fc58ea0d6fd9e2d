//! Decisions without a database: the test's engine keeps rows in lists.

mod earlier_keys;
mod streams;

use std::collections::{BTreeMap, BTreeSet};

use ecowatt_model::{
    BootEpoch, Counter, DeviceNumber, Quality, Sequence, SequenceRange, StreamNumber, Unit, UnixMs,
};
use proptest::prelude::*;

use super::*;
use crate::energy::{EnergySums, PowerEdges};
use crate::energy_counter::{CounterBatch, CounterEdge, energy_of};
use crate::limits::{POINTS_PER_SOURCE_MAX, STREAMS_PER_KEY_MAX};
use crate::loaded::KeyState;
use crate::{Dropped, EnergyPoint, EnergyPoints, PointDef, PointId, Summariser};

const SOURCE: SourceNumber = SourceNumber(0);
const KEY: KeyGeneration = KeyGeneration(2);

/// All rows of one device.
#[derive(Default)]
struct Rows {
    key: KeyState,
    link: LoadedLink,
    received: BTreeMap<(BootEpoch, KeyGeneration), Received>,
    streams: BTreeMap<StreamId, Announced>,
    announced: KeyStreams,
    blocks: BTreeMap<(SourceNumber, BatchId), NewBlock>,
    /// What is left of batches that retention may have removed.
    expired: BTreeMap<BatchId, BatchLookup>,
    /// The last row of each kind of an inverter, as the inverter's own row has it.
    row: Option<Inverter>,
    last_received: Option<((BootEpoch, KeyGeneration), Received)>,
    quarters: BTreeMap<i64, Quarter>,
    days: BTreeMap<LocalDate, Day>,
    counters: BTreeMap<BatchId, CounterEdge>,
    powers: BTreeMap<Place, PowerEdges>,
    gaps: BTreeSet<(UnixMs, UnixMs)>,
}

fn around<K: Copy + Ord, V: Clone>(rows: &BTreeMap<K, V>, wanted: Around<K>) -> Vec<(K, V)> {
    let Around { key, before, after } = wanted;
    let above = rows.iter().filter(|(held, _)| **held > key).take(after as usize);
    let below = rows.range(..key).rev().take(before as usize);
    below.chain(above).map(|(key, value)| (*key, value.clone())).collect()
}

impl Rows {
    fn load(&self, wants: &Wants, state: &mut LoadedDevice) {
        if let Some(generation) = wants.device {
            state.key = Some((generation, (generation == KEY).then_some(self.key)));
            state.link = Some(self.link.clone());
            state.commands.get_or_insert_default();
            state.received.merge(self.last_received.clone(), |_, _| ());
        }
        for place in &wants.received {
            let received = self.received.get(place).cloned().unwrap_or_default();
            state.received.replace(*place, received);
        }
        for (epoch, generation) in &wants.former {
            let former = self.received.iter().filter(|((of, under), _)| {
                of == epoch && under < generation && *under > self.key.forgotten.0
            });
            let former = former.map(|(_, received)| received.clone());
            let last = self.last_received.iter().filter(|((of, under), _)| {
                of == epoch && under < generation && *under > self.key.forgotten.0
            });
            let former = former.chain(last.map(|(_, received)| received.clone())).collect();
            state.former.replace((*epoch, *generation), former);
        }
        if let Some((generation, end)) = wants.doubtful {
            let all = self.received.iter().map(|(place, set)| (*place, set));
            let all = all.chain(self.last_received.iter().map(|(place, set)| (*place, set)));
            let mut span: Option<IdSpan> = None;
            for ((epoch, _), set) in all.filter(|((e, g), _)| *e < end && *g == generation) {
                let Some(held) = set.bounds() else { continue };
                for sequence in [*held.start(), *held.end()] {
                    let id = BatchId { epoch, sequence: Sequence(sequence) };
                    span = Some(span.map_or(IdSpan::of(id), |span| span.with(id)));
                }
            }
            state.doubtful = Some(span);
        }
        for name in &wants.bytes {
            let block = self.blocks.get(&(name.source, name.id));
            let block = block.filter(|block| block.first == name.first);
            let found = block.map(|block| BatchLookup::Held(block.bytes.clone()));
            let expired = self.expired.get(&name.id).cloned();
            state.bytes.replace(*name, found.or(expired).unwrap_or(BatchLookup::Absent));
        }
        for id in &wants.streams {
            state.streams.replace(*id, self.streams.get(id).cloned());
            state.announced = Some(self.announced.clone());
        }
        for (source, wants) in wants.inverters.iter() {
            if wants.row {
                state.inverters.replace(*source, self.row.clone().unwrap_or_default());
            }
            let inverter = state.inverters.entry(*source);
            for number in &wants.quarters {
                let quarter = self.quarters.get(number).cloned().unwrap_or_default();
                inverter.quarters.replace(*number, quarter);
            }
            for date in &wants.days {
                inverter.days.replace(*date, self.days.get(date).cloned().unwrap_or_default());
            }
            for wanted in &wants.counters {
                inverter.counters.loaded(*wanted, around(&self.counters, *wanted));
            }
            for wanted in &wants.powers {
                inverter.powers.loaded(*wanted, around(&self.powers, *wanted));
            }
        }
    }

    fn write(&mut self, state: &LoadedDevice, changes: Changes) {
        self.link = state.link.clone().unwrap();
        self.last_received = state.received.last().map(|(place, set)| (*place, set.clone()));
        let is_last = |place| state.received.last().is_some_and(|(last, _)| *last == place);
        for (place, ()) in changes.received.into_iter().filter(|(place, ())| !is_last(*place)) {
            self.received.insert(place, state.received.get(&place).unwrap().clone());
        }
        for NewStream { id, source, layout, points, .. } in changes.streams {
            self.announced.add(source, &points).unwrap();
            assert!(self.streams.insert(id, Announced { source, layout }).is_none(), "{id}");
        }
        for block in changes.blocks {
            let name = (block.source, block.id);
            assert!(self.blocks.insert(name, block).is_none(), "{name:?} is stored twice");
        }
        for (source, changes) in changes.inverters {
            let inverter = state.inverters.get(&source).unwrap();
            let mut row = inverter.clone();
            row.trim();
            row.days.keep_last(1);
            self.row = Some(row);
            let (quarter, day) = (inverter.quarters.last(), inverter.days.last());
            let (quarter, day) = (quarter.map(|(number, _)| *number), day.map(|(date, _)| *date));
            let quarters = changes.quarters.into_iter().filter(|(at, ())| Some(*at) != quarter);
            for (number, ()) in quarters {
                self.quarters.insert(number, inverter.quarters.get(&number).unwrap().clone());
            }
            for (date, ()) in changes.days.into_iter().filter(|(at, ())| Some(*at) != day) {
                self.days.insert(date, inverter.days.get(&date).unwrap().clone());
            }
            for (id, ()) in changes.counters {
                self.counters.insert(id, inverter.counters.held.get(&id).unwrap().clone());
            }
            for (place, ()) in changes.powers {
                self.powers.insert(place, *inverter.powers.held.get(&place).unwrap());
            }
            for gap in changes.gaps {
                match gap {
                    GapChange::Add(from, to) => self.gaps.insert((from, to)),
                    GapChange::Take(from, to) => self.gaps.remove(&(from, to)),
                };
            }
        }
    }
}

/// How much an engine keeps in memory between uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Everything,
    WhatStays,
    Nothing,
}

/// The stored rows and the held state.
struct Engine {
    rows: Rows,
    state: LoadedDevice,
    holds: Holds,
    /// What the last upload requested.
    wanted: Vec<Wants>,
}

impl Engine {
    fn new(holds: Holds) -> Self {
        let key = KeyState { first_epoch: BootEpoch(1), ..KeyState::default() };
        let rows = Rows { key, ..Rows::default() };
        Self { rows, state: LoadedDevice::default(), holds, wanted: Vec::new() }
    }

    fn ingest(&mut self, upload: Upload) -> UploadOutcome {
        match self.holds {
            Holds::Everything => {}
            Holds::WhatStays => self.state.trim(),
            Holds::Nothing => self.state = LoadedDevice::default(),
        }
        self.wanted.clear();
        loop {
            match decide(&self.state, &upload) {
                Err(wants) => {
                    assert!(!self.wanted.contains(&wants), "asks again for {wants:?}");
                    self.rows.load(&wants, &mut self.state);
                    self.wanted.push(*wants);
                }
                Ok(Decision::Answer(outcome)) => return outcome,
                Ok(Decision::Take(plan)) => {
                    let (receipt, changes) = plan.carry_out(&mut self.state, upload);
                    self.rows.write(&self.state, changes);
                    return UploadOutcome::Stored(receipt);
                }
            }
        }
    }

    fn stored(&mut self, upload: Upload) -> Receipt {
        match self.ingest(upload) {
            UploadOutcome::Stored(receipt) => receipt,
            other => panic!("{other:?}"),
        }
    }
}

fn id(epoch: u32, sequence: u32) -> BatchId {
    BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
}

/// The batch's start in seconds, its rows a second apart, the error of its counter, and whether
/// power and counter are read.
type Shape = (i64, i64, i64, (bool, bool));

fn block(id: BatchId, (start, rows, off, (has_power, has_counter)): Shape) -> NewBlock {
    let energy = EnergyPoints {
        power: Some(EnergyPoint { index: 0, exponent: 0 }),
        counter: Some(EnergyPoint { index: 1, exponent: 0 }),
        rated_w: None,
    };
    let mut summarise = Summariser::new(&[PointId(1), PointId(2)], energy);
    let read = |is_read, value| {
        if is_read { (Quality::Good, Some(value)) } else { (Quality::Timeout, None) }
    };
    for second in start..start + rows {
        let counter = read(has_counter, 1_000_000 + second + off);
        let at = UnixMs(second * 1_000);
        let date = LocalDate(i32::try_from(second.div_euclid(5_000)).unwrap());
        summarise.sample(at, date, [read(has_power, 3_600), counter]);
    }
    NewBlock {
        id,
        stream: StreamId::new(KEY, StreamNumber(1)),
        source: SOURCE,
        rows: u16::try_from(rows).unwrap(),
        first: UnixMs(start * 1_000),
        last: UnixMs((start + rows - 1) * 1_000),
        time_offset_ms: 0,
        time_quality: TimeQuality::Device,
        bytes: format!("{id} {start} {rows}").into_bytes(),
        summary: summarise.finish(),
    }
}

fn upload(counter: u64, batches: Vec<NewBlock>) -> Upload {
    Upload {
        device: DeviceNumber(1),
        generation: KEY,
        counter: Counter(counter),
        digest: [u8::try_from(counter % 251).unwrap(); 32],
        received_at: UnixMs(0),
        size_bytes: 100,
        epoch: batches.iter().map(|block| block.id.epoch).max().unwrap_or_default(),
        ask: batches.iter().map(|block| block.id.epoch).collect(),
        batches,
        streams: Vec::new(),
        refused: Vec::new(),
        dropped: Vec::new(),
        reported: DeviceReport::default(),
        commands_max: crate::limits::COMMANDS_OUT_MAX,
        memory: None,
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let off = prop_oneof![6 => Just(0), 1 => Just(-900_000), 1 => -50_000i64..50_000];
    (0i64..20_000, 1i64..30, off, any::<(bool, bool)>())
}

/// Messages of batches by id; an id always has the same content.
fn messages() -> impl Strategy<Value = Vec<Vec<(BatchId, Shape)>>> {
    let names = proptest::collection::vec(shape(), 1..60).prop_map(|shapes| {
        let name = |n: u32| id(1 + n / 25, 1 + n % 25);
        (0..).map(name).zip(shapes).collect::<Vec<_>>()
    });
    names.prop_flat_map(|names| {
        let one = proptest::sample::select(names);
        proptest::collection::vec(proptest::collection::vec(one, 0..9), 1..25)
    })
}

fn sums<'a>(days: impl IntoIterator<Item = &'a Day>) -> EnergySums {
    let mut all = EnergySums::default();
    days.into_iter().for_each(|day| all.add(&day.energy));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The rows do not depend on what the engine has in memory, and each batch counts once however
    /// often it arrives.
    #[test]
    fn decision_does_not_depend_on_what_is_held(messages in messages()) {
        let all = [Holds::Everything, Holds::WhatStays, Holds::Nothing];
        let mut engines = all.map(Engine::new);
        let mut names = BTreeMap::new();
        for (counter, message) in (1..).zip(&messages) {
            names.extend(message.iter().copied());
            let outcomes = engines.each_mut().map(|engine| {
                let batches = message.iter().map(|(id, shape)| block(*id, *shape)).collect();
                engine.ingest(upload(counter, batches))
            });
            prop_assert!(matches!(outcomes[0], UploadOutcome::Stored(_)));
            prop_assert_eq!(&outcomes[0], &outcomes[1]);
            prop_assert_eq!(&outcomes[0], &outcomes[2]);
        }
        let [all, ..] = &engines;
        for Engine { rows, .. } in &engines[1..] {
            prop_assert_eq!(&rows.link, &all.rows.link);
            prop_assert_eq!(&rows.received, &all.rows.received);
            prop_assert_eq!(&rows.days, &all.rows.days);
            prop_assert_eq!(&rows.quarters, &all.rows.quarters);
            prop_assert_eq!(&rows.row, &all.rows.row);
            prop_assert_eq!(&rows.last_received, &all.rows.last_received);
            prop_assert_eq!(&rows.counters, &all.rows.counters);
            prop_assert_eq!(&rows.powers, &all.rows.powers);
            prop_assert_eq!(&rows.gaps, &all.rows.gaps);
        }
        let Engine { rows, .. } = all;
        let stored: BTreeSet<BatchId> = rows.blocks.keys().map(|(_, id)| *id).collect();
        prop_assert_eq!(&stored, &names.keys().copied().collect());
        let count: i64 = names.values().map(|(_, rows, ..)| *rows).sum();
        prop_assert_eq!(rows.link.samples, u64::try_from(count).unwrap());
        let powers = names.values().filter(|shape| shape.3.0).map(|(_, rows, ..)| *rows);
        let open = rows.row.iter().flat_map(|row| row.days.iter().map(|(_, day)| day));
        let counted = sums(rows.days.values().chain(open));
        prop_assert_eq!(counted.power_readings, powers.sum::<i64>());
        let batches: Vec<(BootEpoch, &CounterBatch)> =
            rows.counters.iter().map(|(id, edge)| (id.epoch, &edge.batch)).collect();
        let mut expected = EnergySums::default();
        energy_of(&batches).iter().for_each(|(_, sums)| expected.add(sums));
        prop_assert_eq!(counted.counter_mwh, expected.counter_mwh);
        prop_assert_eq!(counted.counter_readings, expected.counter_readings);
        prop_assert_eq!(counted.refused_steps, expected.refused_steps);
    }
}

const GOOD: (bool, bool) = (true, true);

#[test]
fn upload_after_all_others_asks_for_nothing() {
    let mut engine = Engine::new(Holds::WhatStays);
    for sequence in 1..=60u32 {
        let start = i64::from(sequence) * 5;
        let one = block(id(1, sequence), (start, 5, 0, GOOD));
        engine.stored(upload(sequence.into(), vec![one]));
    }
    assert_eq!(engine.wanted, []);
    engine.holds = Holds::Nothing;
    engine.stored(upload(61, vec![block(id(1, 61), (305, 5, 0, GOOD))]));
    assert_eq!(engine.wanted.len(), 2, "its row, its inverter's row: {:?}", engine.wanted);
}

#[test]
fn refused_upload_asks_for_no_more_than_its_key() {
    let mut engine = Engine::new(Holds::Nothing);
    engine.stored(upload(7, vec![block(id(1, 1), (0, 5, 0, GOOD))]));
    let one = || vec![block(id(1, 2), (9, 5, 0, GOOD))];
    let stale = UploadOutcome::Stale { last: Counter(7) };
    let altered = Upload { digest: [9; 32], ..upload(7, one()) };
    for old in [upload(6, one()), upload(0, one()), altered] {
        assert_eq!(engine.ingest(old), stale);
        assert_eq!(engine.wanted.len(), 1);
    }
    let other = Upload { generation: KeyGeneration(1), ..upload(8, one()) };
    assert_eq!(engine.ingest(other), UploadOutcome::UnknownDevice);
    engine.rows.key.is_revoked = true;
    assert_eq!(engine.ingest(upload(8, one())), UploadOutcome::UnknownDevice);
    assert_eq!(engine.wanted.len(), 1);
    assert_eq!(engine.rows.blocks.len(), 1);
}

#[test]
fn suspect_times_are_stored_and_count_nowhere() {
    let mut engine = Engine::new(Holds::WhatStays);
    let mut one = block(id(1, 1), (0, 5, 0, GOOD));
    one.time_quality = TimeQuality::Suspect;
    engine.stored(upload(1, vec![one]));
    let Rows { blocks, link, days, counters, powers, .. } = &engine.rows;
    assert_eq!((blocks.len(), link.samples, link.last_sample), (1, 5, None));
    assert_eq!((days.len(), counters.len(), powers.len()), (0, 0, 0));
}

#[test]
fn losses_of_epochs_that_are_to_come_are_passed_over() {
    let mut engine = Engine::new(Holds::WhatStays);
    let lost = |epoch| Dropped {
        epoch: BootEpoch(epoch),
        batches: Some(SequenceRange { first: Sequence(10), last: Sequence(11) }),
        samples: 8,
    };
    let one = upload(1, vec![block(id(2, 1), (0, 5, 0, GOOD))]);
    engine.stored(Upload { dropped: vec![lost(1), lost(2), lost(3)], ..one });
    assert_eq!(engine.rows.link.dropped_samples, 16);
    assert!(!engine.rows.received.contains_key(&(BootEpoch(3), KEY)));
}
