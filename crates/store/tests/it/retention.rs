//! Retention removes samples, minutes and quarter hours, records exactly what it removed, and changes
//! no total.

use std::collections::BTreeMap;

use ecowatt_model::{BatchId, BootEpoch, StreamNumber, Unit, UnixMs};
use ecowatt_store::limits::EXPIRED_ROWS_PER_COMMIT;
use ecowatt_store::{
    DateRange, Expired, LocalDate, NewBlock, NewStream, PointDef, Removed, Resolution, RowKind,
    RowPack, StreamId, Summary, TimeRange,
};

use crate::configuration::enrol_again;
use crate::fixture::{ARRIVAL, DAY, Fixture, SOURCE, STREAM, block, by, samples, upload};

const DAY_MS: i64 = 86_400_000;
const HOUR_S: i64 = 3_600;
const ALWAYS: TimeRange = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };
const DATES: DateRange = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };
const DAYS: i64 = 6;

/// The calendar of a site two hours ahead of UTC: its days end within a UTC day.
fn local(at: UnixMs) -> LocalDate {
    LocalDate(i32::try_from((at.0 + 2 * HOUR_S * 1000).div_euclid(DAY_MS)).unwrap())
}

fn after_days(days: i64) -> UnixMs {
    UnixMs(DAY.0 + days * DAY_MS)
}

/// What a device has sent, which a rebuild needs decoded.
#[derive(Default)]
struct Sent {
    counter: u64,
    summaries: BTreeMap<BatchId, Summary>,
}

impl Sent {
    async fn send(&mut self, fixture: &Fixture, block: NewBlock) {
        self.counter += 1;
        self.summaries.insert(block.id, block.summary.clone());
        let receipt = fixture.stored(upload(fixture.device(), self.counter, vec![block])).await;
        assert_eq!((receipt.stored.len(), receipt.duplicates), (1, 0));
    }

    /// Rebuilds the device; returns how many rows changed.
    async fn rebuild(&self, fixture: &Fixture, is_check: bool) -> u64 {
        let summaries = self.summaries.clone();
        let summarise = move |block: &ecowatt_store::Block| summaries.get(&block.id).cloned();
        let by = (!is_check).then(by);
        let rebuilt = fixture.store.rebuild(by, fixture.device(), summarise).await.unwrap();
        assert_eq!(rebuilt.unreadable, 0);
        rebuilt.rows_changed
    }
}

/// Batches of some days: a day's four are an hour each, with a gap after the first, and the last
/// reaches over midnight.
fn history(fixture: &Fixture) -> Vec<NewBlock> {
    let mut all = Vec::new();
    for day in 0..DAYS {
        for (place, hour) in [(0u32, 7), (1, 8), (2, 12), (3, 23)] {
            let start = day * 24 * HOUR_S + hour * HOUR_S + if hour == 23 { 1_800 } else { 0 };
            let sequence = u32::try_from(day).unwrap() * 4 + place + 1;
            all.push(block(&fixture.points, (1, sequence), &samples(start, 700), local));
        }
    }
    all
}

/// A fixture with a history, its rows packed as days later. Some batches arrive late, and the device's
/// clock was days back for one of the fourth day, which is among the oldest by its time.
async fn filled() -> (Fixture, Sent) {
    let fixture = Fixture::new().await;
    let mut sent = Sent::default();
    let mut batches = history(&fixture);
    let mut wrong = samples(3 * 24 * HOUR_S + 10 * HOUR_S, 50);
    wrong.iter_mut().for_each(|sample| sample.at.0 -= 3 * DAY_MS);
    batches.push(block(&fixture.points, (1, 1_000), &wrong, local));
    batches.swap(3, 9);
    batches.swap(5, 20);
    for (place, mut batch) in batches.into_iter().enumerate() {
        // The one with the wrong clock was read between others.
        if batch.id.sequence.0 == 1_000 {
            batch.id = BatchId { epoch: BootEpoch(2), ..batch.id };
        } else if place > 14 {
            batch.id.epoch = BootEpoch(3);
        }
        sent.send(&fixture, batch).await;
    }
    pack_rows(&fixture).await;
    (fixture, sent)
}

async fn pack_rows(fixture: &Fixture) {
    let (store, device) = (&fixture.store, fixture.device());
    for kind in RowKind::ALL {
        let mut from = i64::MIN;
        while let Some(rows) = store.loose_rows(device, SOURCE, kind, from, ARRIVAL).await.unwrap()
        {
            from = rows.next();
            let Some(pack) = RowPack::new(rows) else { continue };
            assert!(store.keep_row_pack(device, SOURCE, pack).await.unwrap());
        }
    }
}

/// Removes everything of a resolution before an instant; returns the sum of what commits removed.
async fn expire(fixture: &Fixture, resolution: Resolution, before: UnixMs) -> (u64, u64) {
    let (store, device) = (&fixture.store, fixture.device());
    let (mut rows, mut bytes) = (0, 0);
    loop {
        let step = store.expire(device, SOURCE, resolution, before).await.unwrap();
        (rows, bytes) = (rows + step.rows, bytes + step.bytes);
        if !step.has_more {
            return (rows, bytes);
        }
    }
}

/// How much is stored of each resolution.
async fn stored(fixture: &Fixture) -> [u64; 3] {
    let (store, device) = (&fixture.store, fixture.device());
    let points = || fixture.points.clone();
    let batches = store.list_batches(device).await.unwrap();
    let samples = batches.iter().map(|batch| u64::from(batch.rows)).sum();
    let minutes = store.minutes(device, SOURCE, ALWAYS, points()).await.unwrap();
    let quarters = store.quarters(device, SOURCE, ALWAYS, points()).await.unwrap();
    [samples, minutes.len().try_into().unwrap(), quarters.len().try_into().unwrap()]
}

/// Everything that no retention may change.
async fn totals(fixture: &Fixture) -> String {
    let (store, device) = (&fixture.store, fixture.device());
    let energy = store.energy_days(device, DATES).await.unwrap();
    let days = store.days(device, SOURCE, DATES, fixture.points.clone()).await.unwrap();
    let gaps = store.energy_gaps(device, ALWAYS).await.unwrap();
    let latest = store.latest(device).await.unwrap();
    assert!(energy.len() >= 6 && gaps.len() >= 6, "{} {}", energy.len(), gaps.len());
    format!("{energy:?}\n{days:?}\n{gaps:?}\n{latest:?}")
}

async fn list_expired(fixture: &Fixture) -> Vec<Expired> {
    fixture.store.list_expired(fixture.device()).await.unwrap()
}

#[tokio::test]
async fn what_is_removed_is_recorded_exactly_and_no_total_changes() {
    let (fixture, _) = filled().await;
    let (before, total) = (stored(&fixture).await, totals(&fixture).await);
    let bounds = [after_days(4), after_days(3), UnixMs(after_days(2).0 + 5 * HOUR_S * 1000)];
    for (resolution, bound) in Resolution::ALL.into_iter().zip(bounds) {
        let due = fixture.store.list_due(vec![(fixture.device(), SOURCE)], resolution, bound);
        assert_eq!(due.await.unwrap(), [(fixture.device(), SOURCE)]);
        assert!(expire(&fixture, resolution, bound).await.0 > 0);
        assert_eq!(totals(&fixture).await, total, "{resolution:?}");
        // A second run finds nothing, and changes nothing.
        let record = list_expired(&fixture).await;
        let step = fixture.store.expire(fixture.device(), SOURCE, resolution, bound).await.unwrap();
        assert_eq!((step, list_expired(&fixture).await), (Removed::default(), record));
        let due = fixture.store.list_due(vec![(fixture.device(), SOURCE)], resolution, bound);
        assert_eq!(due.await.unwrap(), []);
    }
    let after = stored(&fixture).await;
    let record = list_expired(&fixture).await;
    assert_eq!(record.len(), 3);
    for (place, of) in record.iter().enumerate() {
        assert_eq!(before[place], after[place] + of.rows, "{of:?}");
        assert!(of.rows > 0 && of.bytes > 0, "{of:?}");
        assert!(of.before <= bounds[place] && of.before.0 % DAY_MS == 0, "{of:?}");
        assert!(of.before.0 > bounds[place].0 - 2 * DAY_MS, "{of:?}");
    }
    let device = fixture.store.find_device(fixture.device()).await.unwrap().unwrap();
    assert_eq!(device.link.samples, before[0]);
}

#[tokio::test]
async fn batch_that_reaches_beyond_the_bound_stays_whole() {
    let (fixture, _) = filled().await;
    expire(&fixture, Resolution::Samples, after_days(3)).await;
    let blocks = fixture.store.list_blocks(fixture.device(), SOURCE, None).await.unwrap();
    assert!(blocks[0].first < after_days(3) && blocks[0].last >= after_days(3));
    assert!(blocks[1..].iter().all(|block| block.first >= after_days(3)));
    // It goes with the day that it reaches into.
    expire(&fixture, Resolution::Samples, after_days(4)).await;
    let blocks = fixture.store.list_blocks(fixture.device(), SOURCE, None).await.unwrap();
    assert!(blocks.iter().all(|block| block.last >= after_days(4)));
}

#[tokio::test]
async fn one_commit_removes_no_more_than_its_limit() {
    let fixture = Fixture::new().await;
    let most = EXPIRED_ROWS_PER_COMMIT;
    for (counter, chunk) in (1..).zip((1..=most + 8).collect::<Vec<_>>().chunks(20)) {
        let one = |sequence: &u32| fixture.block(1, *sequence, &samples(i64::from(*sequence), 1));
        fixture.stored(upload(fixture.device(), counter, chunk.iter().map(one).collect())).await;
    }
    let step = || fixture.store.expire(fixture.device(), SOURCE, Resolution::Samples, ARRIVAL);
    let first = step().await.unwrap();
    assert_eq!((first.rows, first.has_more), (u64::from(most), true));
    // What was removed so far is recorded, wherever a kill hits.
    assert_eq!(list_expired(&fixture).await[0].rows, u64::from(most));
    let second = step().await.unwrap();
    assert_eq!((second.rows, second.has_more), (8, false));
    assert_eq!(list_expired(&fixture).await[0].rows, u64::from(most) + 8);
}

#[tokio::test]
async fn late_batches_for_expired_times_count_once_and_are_removed_again() {
    let (plain, expired) = (Fixture::new().await, Fixture::new().await);
    let is_late = |place: usize| matches!(place, 2 | 6 | 11);
    let (mut of_plain, mut of_expired) = (Sent::default(), Sent::default());
    for (place, batch) in history(&plain).into_iter().enumerate() {
        if !is_late(place) {
            of_plain.send(&plain, batch.clone()).await;
            of_expired.send(&expired, batch).await;
        }
    }
    pack_rows(&expired).await;
    for resolution in Resolution::ALL {
        expire(&expired, resolution, after_days(4)).await;
    }
    let mut record = list_expired(&expired).await;
    for (place, batch) in history(&plain).into_iter().enumerate().filter(|(at, _)| is_late(*at)) {
        of_plain.send(&plain, batch.clone()).await;
        of_expired.send(&expired, batch.clone()).await;
        assert_eq!(totals(&expired).await, totals(&plain).await, "{place}");
        // Again, before its samples are removed and after.
        for is_removed in [false, true] {
            of_expired.counter += 1;
            let again = upload(expired.device(), of_expired.counter, vec![batch.clone()]);
            let receipt = expired.stored(again).await;
            assert_eq!((receipt.duplicates, receipt.stored.len()), (1, 0), "{is_removed}");
            pack_rows(&expired).await;
            for resolution in Resolution::ALL {
                expire(&expired, resolution, after_days(4)).await;
            }
            assert_eq!(totals(&expired).await, totals(&plain).await, "{place}");
        }
        let now = list_expired(&expired).await;
        assert_eq!(now[0].rows, record[0].rows + 700);
        assert!(now[1].rows > record[1].rows && now[2].rows > record[2].rows, "{now:?}");
        record = now;
    }
    let left = stored(&expired).await;
    assert_eq!(left[0] + record[0].rows, stored(&plain).await[0]);
}

#[tokio::test]
async fn rebuild_leaves_what_it_cannot_make_again() {
    for (name, bounds) in [
        ("all at one bound", [3, 3, 3]),
        ("samples first", [4, 2, 1]),
        ("only samples", [5, 0, 0]),
        ("everything", [9, 9, 9]),
        ("everything but quarter hours", [9, 9, 0]),
    ] {
        let (fixture, sent) = filled().await;
        for (resolution, days) in Resolution::ALL.into_iter().zip(bounds) {
            expire(&fixture, resolution, after_days(days)).await;
        }
        let (before, total) = (stored(&fixture).await, totals(&fixture).await);
        for is_check in [true, false, true] {
            assert_eq!(sent.rebuild(&fixture, is_check).await, 0, "{name}");
        }
        assert_eq!((stored(&fixture).await, totals(&fixture).await), (before, total), "{name}");
    }
}

#[tokio::test]
async fn rebuild_repairs_the_days_whose_samples_are_kept() {
    let (fixture, sent) = filled().await;
    for (resolution, days) in Resolution::ALL.into_iter().zip([3, 2, 1]) {
        expire(&fixture, resolution, after_days(days)).await;
    }
    let (before, total) = (stored(&fixture).await, totals(&fixture).await);
    // Damage behind the store's back: everything of the last days but the samples is lost.
    let other = rusqlite::Connection::open(fixture.dir.path().join("ecowatt.db")).unwrap();
    let floor = list_expired(&fixture).await.iter().map(|of| of.before.0).max().unwrap();
    let day = floor / DAY_MS;
    for sql in [
        "DELETE FROM day WHERE date > ?1",
        "DELETE FROM minute_pack WHERE number >= ?1",
        "DELETE FROM quarter_pack WHERE number >= ?1",
        "DELETE FROM power_pack WHERE number >= ?1",
        "DELETE FROM energy_gap WHERE from_ms >= ?1 * 86400000",
    ] {
        assert!(other.execute(sql, [day]).unwrap() > 0, "{sql}");
    }
    drop(other);
    assert_ne!(stored(&fixture).await, before);
    assert!(sent.rebuild(&fixture, true).await > 0);
    assert_ne!(stored(&fixture).await, before, "a check changes nothing");
    assert!(sent.rebuild(&fixture, false).await > 0);
    assert_eq!((stored(&fixture).await, totals(&fixture).await), (before, total.clone()));
    assert_eq!(sent.rebuild(&fixture, true).await, 0);
    pack_rows(&fixture).await;
    assert_eq!((stored(&fixture).await, totals(&fixture).await), (before, total));
}

#[tokio::test]
async fn after_a_reset_a_batch_whose_time_has_expired_is_known_by_its_edges() {
    let (fixture, mut sent) = filled().await;
    expire(&fixture, Resolution::Samples, after_days(3)).await;
    let store = &fixture.store;
    assert!(store.reset_device(by(), fixture.device()).await.unwrap());
    let (generation, epoch) = enrol_again(store, fixture.device()).await;
    let stream = StreamId::new(generation, StreamNumber(1));
    let point = |name: &str, unit| PointDef { name: name.to_owned(), unit, exponent: 0 };
    let announced = NewStream {
        id: stream,
        source: SOURCE,
        layout: b"layout".to_vec(),
        points: vec![
            point(ecowatt_store::POWER_POINT, Unit::Watt),
            point(ecowatt_store::ENERGY_POINT, Unit::WattHour),
        ],
        at: DAY,
    };
    store.announce(fixture.device(), announced).await.unwrap();
    let total = totals(&fixture).await;
    let mut deliver = async |mut batch: NewBlock| {
        sent.counter += 1;
        batch.stream = stream;
        let mut again = upload(fixture.device(), sent.counter, vec![batch]);
        (again.generation, again.epoch) = (generation, epoch);
        fixture.stored(again).await
    };
    // Stored before the reset: one is removed, one is there.
    for place in [1, 2] {
        let batch = history(&fixture).swap_remove(place);
        assert_eq!(batch.stream, STREAM);
        let receipt = deliver(batch).await;
        assert_eq!((receipt.duplicates, receipt.stored.len()), (1, 0), "{place}");
    }
    assert_eq!(totals(&fixture).await, total);
    // Never stored, although its time has expired.
    let lost = block(&fixture.points, (1, 900), &samples(30 * HOUR_S, 10), local);
    let receipt = deliver(lost).await;
    assert_eq!((receipt.duplicates, receipt.stored.len()), (0, 1));
    assert_ne!(totals(&fixture).await, total);
}

#[tokio::test]
async fn clock_of_retention_is_kept_across_a_restart() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    assert_eq!(store.move_retention_clock(ARRIVAL).await.unwrap(), None, "no sample yet");
    fixture.stored(upload(fixture.device(), 1, vec![fixture.block(1, 1, &samples(0, 1))])).await;
    assert_eq!(store.move_retention_clock(ARRIVAL).await.unwrap(), Some(DAY));
    let far = block(&fixture.points, (1, 2), &samples(400 * 24 * HOUR_S, 1), local);
    fixture.stored(upload(fixture.device(), 2, vec![far])).await;
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    let store = ecowatt_store::Store::open(dir.path()).unwrap();
    let jumped = UnixMs(ARRIVAL.0 + 1000 * DAY_MS);
    assert_eq!(store.move_retention_clock(jumped).await.unwrap(), Some(after_days(1)));
    assert_eq!(store.move_retention_clock(jumped).await.unwrap(), Some(after_days(1)));
}
