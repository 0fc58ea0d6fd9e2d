//! `ecowatt serve` is killed again and again while it removes what is no longer kept: at each moment
//! what was received is stored or recorded as removed, and no total changes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, Unit, UnixMs,
};
use ecowatt_store::{
    Author, ClaimFor, DateRange, DeviceReport, ENERGY_POINT, EnergyPoint, EnergyPoints, LocalDate,
    NewBlock, NewClaim, NewStream, POWER_POINT, PointDef, PointId, RedeemClaim, Resolution, Store,
    StreamId, Summariser, TimeQuality, TimeRange, Upload, UploadOutcome,
};
use serde_json::Value;

use crate::rig::run::{DEADLINE, Process, ecowatt};

const SOURCE: SourceNumber = SourceNumber(0);
const KEY: KeyGeneration = KeyGeneration(1);
const STREAM: StreamId = StreamId::new(KEY, StreamNumber(1));
const DEVICES: u32 = 3;
const DAYS: i64 = 40;
const BATCHES_PER_DAY: i64 = 24;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const ALWAYS: TimeRange = TimeRange { from: UnixMs(i64::MIN), to: UnixMs(i64::MAX) };

/// Creates a device with a key; returns the ids of its points.
async fn enrol(store: &Store, at: UnixMs, name: &str) -> (DeviceNumber, Vec<PointId>) {
    let by = || Author::new("test", at);
    let id = format!("C-{name}");
    let claim_for = ClaimFor::New {
        name: name.into(),
        site: "Home".into(),
        time_zone: Some("Europe/Berlin".into()),
    };
    let expires = UnixMs(at.0 + HOUR);
    let claim = NewClaim { claim_for, id: id.clone(), secret: vec![1; 15], created: at, expires };
    let device = store.create_claim(by(), claim).await.unwrap();
    let redeemed = RedeemClaim {
        id,
        public_key: [7; 32],
        generation: KEY,
        first_epoch: BootEpoch(1),
        secret: [9; 32],
        reply: b"welcome".to_vec(),
        at,
    };
    store.redeem_claim(by(), redeemed).await.unwrap();
    let point = |name: &str, unit| PointDef { name: name.to_owned(), unit, exponent: 0 };
    let points = vec![point(POWER_POINT, Unit::Watt), point(ENERGY_POINT, Unit::WattHour)];
    let stream = NewStream { id: STREAM, source: SOURCE, layout: b"layout".to_vec(), points, at };
    (device, store.announce(device, stream).await.unwrap())
}

/// A batch of four samples, a minute apart.
fn batch(points: &[PointId], sequence: u32, first: UnixMs) -> NewBlock {
    let energy = EnergyPoints {
        power: Some(EnergyPoint { index: 0, exponent: 0 }),
        counter: Some(EnergyPoint { index: 1, exponent: 0 }),
        rated_w: Some(10_000),
    };
    let mut summarise = Summariser::new(points, energy);
    let at = |n: i64| UnixMs(first.0 + n * 60_000);
    for n in 0..4 {
        let date = LocalDate(i32::try_from(at(n).0.div_euclid(DAY)).unwrap());
        let counter = 1_000_000 + i64::from(sequence) * 1_000 + n * 10;
        summarise.sample(at(n), date, [600, counter].map(|value| (Quality::Good, Some(value))));
    }
    NewBlock {
        id: BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) },
        stream: STREAM,
        source: SOURCE,
        rows: 4,
        first,
        last: at(3),
        time_offset_ms: 0,
        time_quality: TimeQuality::Device,
        bytes: sequence.to_be_bytes().to_vec(),
        summary: summarise.finish(),
    }
}

async fn fill(store: &Store, now: UnixMs) {
    let begin = now.0 / DAY * DAY - DAYS * DAY;
    for number in 1..=DEVICES {
        let (device, points) = enrol(store, now, &format!("roof-{number}")).await;
        let batches = DAYS * BATCHES_PER_DAY;
        let first = |n: i64| UnixMs(begin + n * DAY / BATCHES_PER_DAY);
        let all: Vec<NewBlock> =
            (0..batches).map(|n| batch(&points, u32::try_from(n + 1).unwrap(), first(n))).collect();
        for (counter, batches) in (1u64..).zip(all.chunks(40)) {
            let upload = Upload {
                device,
                generation: KEY,
                counter: Counter(counter),
                digest: [u8::try_from(counter).unwrap(); 32],
                received_at: now,
                size_bytes: 100,
                epoch: BootEpoch(1),
                batches: batches.to_vec(),
                streams: Vec::new(),
                refused: Vec::new(),
                dropped: Vec::new(),
                ask: Vec::new(),
                reported: DeviceReport::default(),
                commands_max: ecowatt_store::limits::COMMANDS_OUT_MAX,
                memory: None,
            };
            let outcome = store.ingest(upload).await.unwrap();
            assert!(matches!(outcome, UploadOutcome::Stored(_)), "{outcome:?}");
        }
    }
}

/// What is stored and what is recorded as removed, by resolution; and all totals.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    stored: [u64; 3],
    removed: [u64; 3],
    totals: String,
}

impl Picture {
    async fn of(store: &Store) -> Self {
        let (mut stored, mut removed, mut totals) = ([0; 3], [0; 3], String::new());
        let dates = DateRange { from: LocalDate(i32::MIN), to: LocalDate(i32::MAX) };
        for device in (1..=DEVICES).map(DeviceNumber) {
            let points = store.list_points(device, SOURCE).await.unwrap();
            let points: Vec<PointId> = points.iter().map(|point| point.id).collect();
            let batches = store.list_batches(device).await.unwrap();
            stored[0] += batches.iter().map(|batch| u64::from(batch.rows)).sum::<u64>();
            let minutes = store.minutes(device, SOURCE, ALWAYS, points.clone()).await.unwrap();
            let quarters = store.quarters(device, SOURCE, ALWAYS, points.clone()).await.unwrap();
            stored[1] += u64::try_from(minutes.len()).unwrap();
            stored[2] += u64::try_from(quarters.len()).unwrap();
            for of in store.list_expired(device).await.unwrap() {
                let place = Resolution::ALL.iter().position(|one| *one == of.resolution).unwrap();
                removed[place] += of.rows;
            }
            let energy = store.energy_days(device, dates).await.unwrap();
            let days = store.days(device, SOURCE, dates, points).await.unwrap();
            let gaps = store.energy_gaps(device, ALWAYS).await.unwrap();
            totals.push_str(&format!("{energy:?} {days:?} {gaps:?}\n"));
        }
        Self { stored, removed, totals }
    }

    fn all(&self) -> [u64; 3] {
        std::array::from_fn(|of| self.stored[of] + self.removed[of])
    }
}

fn picture(runtime: &tokio::runtime::Runtime, data: &Path) -> Picture {
    let store = Store::open(data).unwrap();
    runtime.block_on(Picture::of(&store))
}

#[test]
fn server_that_is_killed_while_it_removes_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let clock = Clock::system();
    let store = Store::open(&data).unwrap();
    runtime.block_on(fill(&store, clock.now()));
    drop(store);
    let before = picture(&runtime, &data);
    assert_eq!(before.removed, [0; 3]);

    let config = folder.path().join("server.toml");
    let keep = "samples = \"7d\"\nminutes = \"10d\"\nquarter_hours = \"20d\"\n";
    let address = "[server]\nlisten = \"127.0.0.1:0\"\n";
    fs::write(&config, format!("data = {data:?}\n{address}[retention]\n{keep}")).unwrap();
    let serve = ["serve", "--config", config.to_str().unwrap()];
    let is_over = |after: &Picture| after.removed.iter().all(|of| *of > 0);
    let (started, mut partial) = (clock.mono(), 0);
    let mut after = picture(&runtime, &data);
    let mut delay = 0;
    // Until a whole life removes nothing more.
    loop {
        let mut process = Process::start(folder.path(), "serve.log", &serve);
        process.line("listens at");
        std::thread::sleep(Duration::from_millis(delay));
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        let next = picture(&runtime, &data);
        assert_eq!((next.all(), &next.totals), (before.all(), &before.totals), "after {delay} ms");
        partial += u32::from(next.removed != after.removed);
        if next == after && is_over(&next) && delay > 2_000 {
            break;
        }
        after = next;
        delay += 40 + delay / 8;
        assert!(clock.mono().since(started) < 2 * DEADLINE, "{:?}", after.removed);
    }
    assert!(partial > 2, "only {partial} kills fell among the removals");
    // The newest sample is of yesterday, so that day counts as today.
    let days = |kept: i64| u64::try_from((DAYS - 1 - kept) * BATCHES_PER_DAY).unwrap();
    let gone = [7, 10, 20].map(|kept| u64::from(DEVICES) * days(kept));
    assert_eq!(after.removed, [gone[0] * 4, gone[1] * 4, gone[2]]);

    let said = ecowatt(&["store", "report", "--json", "--data", data.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    for (of, rows) in report["removed"].as_array().unwrap().iter().zip(after.removed) {
        assert_eq!(of["rows"], rows, "{report}");
        assert!(of["bytes"].as_u64().unwrap() > 0, "{report}");
    }
    let said = ecowatt(&["store", "report", "--data", data.to_str().unwrap()]);
    assert!(said.out.contains("removed by retention:"), "{}", said.out);
}
