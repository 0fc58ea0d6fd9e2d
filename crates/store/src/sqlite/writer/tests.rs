//! The writer's memory equals what the database would answer, also after a failure.

use super::super::load::load;
use super::super::{configure, schema};
use super::*;
use crate::energy::EnergySums;
use crate::energy_counter::{CounterBatch, energy_of};
use crate::ingest::{InverterWants, Wants};
use crate::loaded::LoadedDevice;
use crate::rollup::{Day, Quarter};
use crate::sorted_map::SortedMap;
use crate::{
    DeviceReport, EnergyPoint, EnergyPoints, LocalDate, NewBlock, PointId, StreamId, Summariser,
    TimeQuality,
};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, UnixMs,
};
use proptest::prelude::*;
use rusqlite::OptionalExtension as _;

const DEVICE: u32 = 1;

/// Start in seconds, epoch, rows, and which of power and counter are read.
type Shape = (i64, u32, i64, (bool, bool));

fn shape() -> impl Strategy<Value = Shape> {
    (0i64..300, 1u32..3, 1i64..9, any::<(bool, bool)>())
}

fn block(sequence: u32, (start, epoch, rows, (has_power, has_counter)): Shape) -> NewBlock {
    let points = [PointId(1), PointId(2)];
    let energy = EnergyPoints {
        power: Some(EnergyPoint { index: 0, exponent: 0 }),
        counter: Some(EnergyPoint { index: 1, exponent: 0 }),
        rated_w: None,
    };
    let mut summarise = Summariser::new(&points, energy);
    let read = |is_read, value| {
        if is_read { (Quality::Good, Some(value)) } else { (Quality::Timeout, None) }
    };
    for second in start..start + rows {
        let readings = [read(has_power, 3_600), read(has_counter, 1_000 + second)];
        summarise.sample(UnixMs(second * 1_000), LocalDate(0), readings);
    }
    NewBlock {
        id: BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) },
        stream: StreamId::new(KeyGeneration(1), StreamNumber(1)),
        source: SourceNumber(0),
        rows: u16::try_from(rows).unwrap(),
        first: UnixMs(start * 1_000),
        last: UnixMs((start + rows - 1) * 1_000),
        time_offset_ms: 0,
        time_quality: TimeQuality::Device,
        bytes: vec![0; 4],
        summary: summarise.finish(),
    }
}

fn upload(counter: u64, block: NewBlock) -> Upload {
    Upload {
        device: DeviceNumber(DEVICE),
        generation: KeyGeneration(1),
        counter: Counter(counter),
        digest: [0; 32],
        received_at: UnixMs(0),
        size_bytes: 0,
        epoch: block.id.epoch,
        batches: vec![block],
        streams: Vec::new(),
        refused: Vec::new(),
        dropped: Vec::new(),
        ask: Vec::new(),
        reported: DeviceReport::default(),
        commands_max: crate::limits::COMMANDS_OUT_MAX,
        memory: None,
    }
}

fn writer(folder: &tempfile::TempDir) -> Writer {
    let path = folder.path().join("test.db");
    let mut connection = Connection::open(&path).unwrap();
    configure(&connection).unwrap();
    schema::migrate(&mut connection, &path).unwrap();
    let device = "INSERT INTO site VALUES (1, 1, 'Hof', 'UTC');
         INSERT INTO device VALUES (1, 'a', 1, 0, 0, NULL, 0, 0, 0, NULL);
         INSERT INTO device_key VALUES (1, 1, x'00', 0, NULL, 1, 0);";
    connection.execute_batch(device).unwrap();
    Writer::new(connection, Arc::new(Journal::none()))
}

fn commit(writer: &mut Writer, upload: Upload) -> Result<UploadOutcome, StoreError> {
    let (answer, mut answered) = oneshot::channel();
    writer.commit(vec![Job::Upload(Box::new(upload), answer)]).answer();
    answered.try_recv().unwrap()
}

fn totals(writer: &Writer) -> Vec<Vec<u8>> {
    let days = "SELECT date, totals FROM day UNION ALL SELECT date, totals FROM inverter_state
         ORDER BY date";
    let mut days = writer.connection().prepare(days).unwrap();
    days.query_map([], |row| row.get(1)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// First sample, epoch, sequence.
type Name = (i64, u32, u32);

/// What a new query finds to be the newest of each kind; for counters by id only.
fn stored_newest(writer: &Writer) -> [Option<Name>; 2] {
    let db = writer.connection();
    let name = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let counter = "SELECT 0, epoch, sequence FROM counter_edge ORDER BY 2 DESC, 3 DESC LIMIT 1";
    let power =
        "SELECT first_ms, epoch, sequence FROM power_edge ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1";
    [counter, power].map(|newest| db.query_row(newest, [], name).optional().unwrap())
}

/// The keys of all but the last, which is stored elsewhere.
fn others<K: Ord + Copy, V>(held: &SortedMap<K, V>) -> Vec<K> {
    let last = held.last().map(|(key, _)| *key);
    held.iter().map(|(key, _)| *key).filter(|key| Some(*key) != last).collect()
}

/// What the database answers for what is held.
fn loaded_again(writer: &mut Writer, held: &LoadedDevice) -> LoadedDevice {
    let mut wants = Wants {
        device: held.key.map(|(generation, _)| generation),
        received: others(&held.received),
        ..Wants::default()
    };
    for (source, inverter) in held.inverters.iter() {
        wants.inverters.replace(
            *source,
            InverterWants { row: true, days: others(&inverter.days), ..InverterWants::default() },
        );
    }
    let mut state = LoadedDevice::default();
    load(writer.connection(), DeviceNumber(DEVICE), &wants, &mut state).unwrap();
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_is_what_the_database_answers(
        shapes in proptest::collection::vec(shape(), 1..40),
        is_sorted: bool,
    ) {
        let mut shapes = shapes;
        if is_sorted {
            shapes.sort_unstable_by_key(|(start, epoch, ..)| (*epoch, *start));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        writer.connection().pragma_update(None, "synchronous", "off").unwrap();
        for (sequence, shape) in (1u32..).zip(&shapes) {
            commit(&mut writer, upload(u64::from(sequence), block(sequence, *shape))).unwrap();
            let mut state = writer.states.state(DeviceNumber(DEVICE)).clone();
            let inverter = state.inverters.entry(SourceNumber(0));
            for (number, quarter) in inverter.quarters.iter_mut() {
                // Columns of points that were not read are not written.
                *quarter = Quarter::decode(*number, &quarter.encode(*number)).unwrap();
            }
            let counter = inverter.counters.held.last().map(|(id, _)| (0, id.epoch.0, id.sequence.0));
            let power = inverter.powers.held.last();
            let power = power.map(|((at, id), _)| (at.0, id.epoch.0, id.sequence.0));
            let stored = stored_newest(&writer);
            let was_read = |is_read: fn(&Shape) -> bool| {
                shapes[..usize::try_from(sequence).unwrap()].iter().any(is_read)
            };
            prop_assert!(counter == stored[0] || !was_read(|shape| shape.3.1));
            prop_assert!(power == stored[1] || !was_read(|shape| shape.3.0));
            let fresh = loaded_again(&mut writer, &state);
            prop_assert_eq!(fresh, state);
        }
    }
}

#[test]
fn group_that_fails_leaves_nothing_behind() {
    const BOTH: (bool, bool) = (true, true);
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [mut disturbed, mut calm] = [&folders[0], &folders[1]].map(writer);
    for writer in [&mut disturbed, &mut calm] {
        commit(writer, upload(1, block(1, (0, 1, 5, BOTH)))).unwrap();
    }
    let mut large = block(2, (100, 1, 5, BOTH));
    large.bytes = vec![0; 1_000_000];
    let connection = disturbed.connection();
    let pages: u32 = connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    let limit = |connection: &Connection, pages: u32| {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(connection, pages + 2);
    assert!(matches!(commit(&mut disturbed, upload(2, large)), Err(StoreError::Full)));
    limit(disturbed.connection(), 100_000);
    // The batch that was not stored would have been the one before this.
    for writer in [&mut disturbed, &mut calm] {
        let outcome = commit(writer, upload(2, block(3, (200, 1, 5, BOTH)))).unwrap();
        assert!(matches!(outcome, UploadOutcome::Stored(_)), "{outcome:?}");
    }
    assert_eq!(totals(&disturbed), totals(&calm));
}

/// Some failures make SQLite undo the whole group. Only a full disk is called one.
#[test]
fn group_that_sqlite_undid_is_not_called_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    let (answer, mut changed) = oneshot::channel();
    let undo = |db: &Connection| -> Result<(), StoreError> { Ok(db.execute_batch("ROLLBACK")?) };
    let undo = Job::Change(change(undo, answer));
    let (answer, mut stored) = oneshot::channel();
    let one = || upload(1, block(1, (0, 1, 5, (true, true))));
    writer.commit(vec![undo, Job::Upload(Box::new(one()), answer)]).answer();
    let failures =
        [changed.try_recv().unwrap().unwrap_err(), stored.try_recv().unwrap().unwrap_err()];
    for failure in failures {
        assert!(matches!(failure, StoreError::RolledBack), "{failure:?}");
        assert!(failure.is_transient() && !failure.is_of_medium());
    }
    let outcome = commit(&mut writer, one()).unwrap();
    assert!(matches!(outcome, UploadOutcome::Stored(_)), "{outcome:?}");
}

/// Counts the steps of SQLite's virtual machine for storing a block.
fn steps(writer: &mut Writer, upload: Upload) -> usize {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let step = move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        false
    };
    writer.connection.progress_handler(1, Some(step)).unwrap();
    commit(writer, upload).unwrap();
    writer.connection.progress_handler(1, None::<fn() -> bool>).unwrap();
    count.load(std::sync::atomic::Ordering::Relaxed)
}

/// Blocks of one kind, then of the other on their far side, before and after, by id and by time.
#[test]
fn work_for_a_block_does_not_grow_with_the_blocks_beside_it() {
    for (many, few) in [((true, false), (false, true)), ((false, true), (true, false))] {
        for neighbour in [(true, true), (false, false), few] {
            let most = |count: u32| {
                let folder = tempfile::tempdir().unwrap();
                let mut writer = writer(&folder);
                writer.connection().pragma_update(None, "synchronous", "off").unwrap();
                let mut counter = 0;
                let mut next = |shape| {
                    counter += 1;
                    upload(counter, block(u32::try_from(counter).unwrap(), shape))
                };
                commit(&mut writer, next((0, 2, 2, neighbour))).unwrap();
                for at in 0..i64::from(count) {
                    commit(&mut writer, next((10 + at * 2, 2, 1, many))).unwrap();
                }
                let after = 100 + i64::from(count) * 2;
                let blocks =
                    [(5, 1, 1, few), (after, 3, 1, few), (3, 2, 1, few), (after + 9, 1, 1, few)];
                blocks.map(|shape| steps(&mut writer, next(shape))).into_iter().max().unwrap()
            };
            let (few_beside, many_beside) = (most(300), most(3_000));
            assert!(
                many_beside < few_beside + few_beside / 4,
                "{few_beside} steps beside 300 blocks, {many_beside} beside 3,000"
            );
        }
    }
}
/// A batch of three readings of the counter.
fn counter_block(sequence: u32, watt_hours: i64) -> NewBlock {
    let points = [PointId(1), PointId(2)];
    let energy = EnergyPoints {
        power: None,
        counter: Some(EnergyPoint { index: 1, exponent: 0 }),
        rated_w: Some(10_000),
    };
    let mut summarise = Summariser::new(&points, energy);
    for row in 0..3 {
        let at = UnixMs((i64::from(sequence) * 3 + row) * 5_000);
        let counter = (Quality::Good, Some(watt_hours));
        summarise.sample(at, LocalDate(0), [(Quality::NotDue, None), counter]);
    }
    let empty = block(sequence, (i64::from(sequence) * 15, 1, 1, (false, false)));
    NewBlock { summary: summarise.finish(), ..empty }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Two lines of readings that alternate in any way, and some that fit neither.
    #[test]
    fn what_one_batch_after_the_other_adds_is_what_all_of_them_say(
        turns in proptest::collection::vec((0u8..4, 1usize..30), 1..12),
        stride in 1usize..7,
    ) {
        let kinds = turns.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
        let counters: Vec<i64> = (0i64..)
            .zip(kinds)
            .map(|(n, kind)| match kind {
                0 | 1 => 1_200_000 + n * 10,
                2 => 310_000 + n * 10,
                _ => 1_200_000 + (n * 7_919) % 6_000,
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        writer.connection().pragma_update(None, "synchronous", "off").unwrap();
        let order = (0..stride).flat_map(|from| (from..counters.len()).rev().step_by(stride));
        let mut order: Vec<usize> = order.filter(|place| *place < counters.len()).collect();
        let mut seen = std::collections::BTreeSet::new();
        order.retain(|place| seen.insert(*place));
        for (counter, place) in (1..).zip(order) {
            let sequence = u32::try_from(place + 1).unwrap();
            let outcome =
                commit(&mut writer, upload(counter, counter_block(sequence, counters[place])));
            prop_assert!(matches!(outcome, Ok(UploadOutcome::Stored(_))));
            let db = writer.connection();
            let mut all = db
                .prepare("SELECT edge FROM counter_edge ORDER BY epoch, sequence")
                .unwrap();
            let all: Vec<Vec<u8>> =
                all.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
            let all: Vec<CounterBatch> =
                all.iter().map(|bytes| CounterBatch::decode(bytes).unwrap()).collect();
            let mut expected = EnergySums::default();
            for (_, sums) in energy_of(&all.iter().map(|batch| (BootEpoch(1), batch)).collect::<Vec<_>>()) {
                expected.add(&sums);
            }
            let day = Day::decode(LocalDate(0), &totals(&writer)[0]).unwrap();
            prop_assert_eq!(day.energy, expected, "batch {}", sequence);
        }
    }
}
