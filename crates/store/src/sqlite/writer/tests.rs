//! What the writer holds in memory is what the database would answer, also after a failure.

use super::super::ingest::{Side, neighbours};
use super::super::{configure, schema};
use super::*;
use crate::energy::Edges;
use crate::{
    EnergyPoints, LocalDate, NewBlock, PointId, Reported, StreamId, Summarise, TimeQuality,
};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, UnixMs,
};
use proptest::prelude::*;

const DEVICE: u32 = 1;

/// Start in seconds, epoch, rows, and which of power and counter are read.
type Shape = (i64, u32, i64, (bool, bool));

fn shape() -> impl Strategy<Value = Shape> {
    (0i64..300, 1u32..3, 1i64..9, any::<(bool, bool)>())
}

fn block(sequence: u32, (start, epoch, rows, (has_power, has_counter)): Shape) -> NewBlock {
    let points = [PointId(1), PointId(2)];
    let energy = EnergyPoints { power: Some((0, 0)), counter: Some((1, 0)), rated_w: None };
    let mut summarise = Summarise::new(&points, energy);
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
        reported: Reported::default(),
    }
}

fn writer(folder: &tempfile::TempDir) -> Writer {
    let path = folder.path().join("test.db");
    let mut connection = Connection::open(&path).unwrap();
    configure(&connection).unwrap();
    schema::migrate(&mut connection, &path).unwrap();
    let device = "INSERT INTO site VALUES (1, 'Hof', 'UTC');
         INSERT INTO device VALUES (1, 'a', 1, 0, 0, NULL, 0, 0, NULL);
         INSERT INTO device_key VALUES (1, 1, x'00', 0, NULL, 0, NULL, 1);";
    connection.execute_batch(device).unwrap();
    Writer::new(connection, Arc::new(Journal::none()))
}

fn commit(writer: &mut Writer, upload: Upload) -> Result<Outcome, StoreError> {
    let (answer, mut answered) = oneshot::channel();
    writer.commit(vec![Job::Upload(Box::new(upload), answer)]).answer();
    answered.try_recv().unwrap()
}

fn totals(writer: &Writer) -> Vec<Vec<u8>> {
    let days = "SELECT totals FROM day ORDER BY date";
    let mut days = writer.connection().prepare(days).unwrap();
    days.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
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
            shapes.sort_unstable();
        }
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        writer.connection().pragma_update(None, "synchronous", "off").unwrap();
        let mut held = 0;
        for (sequence, shape) in (1u32..).zip(&shapes) {
            let block = block(sequence, *shape);
            let edges = block.summary.inside.edges;
            if let Some(before) = writer.rows.ends.before(DEVICE, &block) {
                held += 1;
                let look = |side| neighbours(writer.connection(), DEVICE, &block, &side).unwrap();
                let (expected, after) = (look(Side::Before), look(Side::After));
                let stored = |edges: Option<Edges>| edges.map(|e| e.encode(UnixMs(0)));
                if edges.counter.is_some() {
                    prop_assert_eq!(stored(before.counter), stored(expected.counter));
                    prop_assert_eq!(after.counter, None);
                }
                if edges.power.is_some() {
                    prop_assert_eq!(stored(before.power), stored(expected.power));
                    prop_assert_eq!(after.power, None);
                }
            }
            commit(&mut writer, upload(u64::from(sequence), block)).unwrap();
        }
        let all_read = shapes.iter().all(|(_, _, _, read)| *read == (true, true));
        prop_assert!(!(is_sorted && all_read) || held + 1 >= shapes.len());
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
        assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
    }
    assert_eq!(totals(&disturbed), totals(&calm));
}
