//! Measures how many uploads per second the store acknowledges, each after its commit, and how long
//! a chart's query takes: `cargo run --release -p ecowatt-store --example ingest -- [DEVICES]
//! [CLIENTS] [ROWS] [SECONDS] [FOLDER]`.
//!
//! Each client sends for its own devices in turn, one message at a time, with ten points per
//! sample. Results depend on the machine and disk; compare only figures of one run with each other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, Unit, UnixMs,
};
use ecowatt_store::{
    Author, ClaimFor, DeviceReport, EnergyPoint, EnergyPoints, LocalDate, NewBlock, NewClaim,
    NewStream, PointDef, PointId, RedeemClaim, Store, StreamId, Summariser, TimeQuality, TimeRange,
    Upload, UploadOutcome,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// 2026-06-21T00:00:00Z.
const DAY: i64 = 20_625 * 86_400_000;
const INTERVAL_MS: i64 = 5000;
const POINTS: usize = 10;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| -> Result<u32, Failure> {
        Ok(arguments.next().map(|text| text.parse()).transpose()?.unwrap_or(default))
    };
    let (devices, clients, rows, seconds) = (number(2000)?, number(256)?, number(7)?, number(5)?);
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store = Store::open(&folder)?;
    let mut points = Vec::new();
    for device in 1..=devices {
        points = enrol(&store, device).await?;
    }
    let points: Arc<[PointId]> = points.into();
    chart(&store, &points).await?;
    throughput(&store, &points, (devices, clients, rows, seconds)).await?;
    let counts = store.counts().await?;
    let mut samples = 0;
    for device in 1..=devices {
        let found = store.find_device(DeviceNumber(device)).await?;
        samples += found.map_or(0, |device| device.link.samples);
    }
    say(&format!(
        "database: {} bytes a sample, {} MB",
        counts.database_bytes / samples.max(1),
        counts.database_bytes / 1_000_000
    ));
    Ok(())
}

async fn throughput(
    store: &Store,
    points: &Arc<[PointId]>,
    (devices, clients, rows, seconds): (u32, u32, u32, u32),
) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stored = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for client in 0..clients {
        let (store, points) = (store.clone(), Arc::clone(points));
        let (stop, stored) = (Arc::clone(&stop), Arc::clone(&stored));
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            for sequence in 100_000u32.. {
                for device in (2..=devices).filter(|device| device % clients == client) {
                    if stop.load(Ordering::Relaxed) {
                        return Ok::<_, Failure>(latencies);
                    }
                    let message = message(device, sequence, rows, &points);
                    let asked = now();
                    match store.ingest(message).await? {
                        UploadOutcome::Stored(_) => stored.fetch_add(1, Ordering::Relaxed),
                        other => return Err(format!("{other:?}").into()),
                    };
                    latencies.push(now() - asked);
                }
            }
            Ok(latencies)
        }));
    }
    let begun = now();
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    stop.store(true, Ordering::Relaxed);
    let elapsed = now() - begun;
    let uploads = u128::from(stored.load(Ordering::Relaxed));
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    let per_second = uploads * 1_000_000 / elapsed.as_micros().max(1);
    say(&format!(
        "{devices} devices, {clients} clients, {rows} x {POINTS}: {per_second} uploads/s, {} \
         points/s, latency p50 {:?} p99 {:?}",
        per_second * u128::from(rows) * 10,
        part(&latencies, 50),
        part(&latencies, 99)
    ));
    Ok(())
}

/// One device, one day, in small uploads; then a day of one point by the minute.
async fn chart(store: &Store, points: &[PointId]) -> Result<(), Failure> {
    for sequence in 0..17_280 / 7 {
        store.ingest(message(1, sequence + 1, 7, points)).await?;
    }
    let range = TimeRange { from: UnixMs(DAY), to: UnixMs(DAY + 86_400_000) };
    for wanted in [1, POINTS] {
        let mut durations = Vec::new();
        let mut buckets = 0;
        for _ in 0..200 {
            let asked = now();
            let points = points[..wanted].to_vec();
            let source = SourceNumber(0);
            buckets = store.minutes(DeviceNumber(1), source, range, points).await?.len();
            durations.push(now() - asked);
        }
        durations.sort_unstable();
        say(&format!(
            "a day by the minute, {wanted} points: {buckets} buckets, p50 {:?} p99 {:?}",
            part(&durations, 50),
            part(&durations, 99)
        ));
    }
    Ok(())
}

fn part(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

async fn enrol(store: &Store, number: u32) -> Result<Vec<PointId>, Failure> {
    let id = format!("{number:05}");
    let claim_for = ClaimFor::New {
        name: format!("device {number}"),
        site: "Hof".into(),
        time_zone: Some("Etc/UTC".into()),
    };
    let claim = NewClaim {
        claim_for,
        id: id.clone(),
        secret: vec![0; 15],
        created: UnixMs(DAY),
        expires: UnixMs(DAY + 1),
    };
    let device = store.create_claim(Author::new("example", UnixMs(DAY)), claim).await?;
    let redeemed = RedeemClaim {
        id,
        public_key: [0; 32],
        generation: KeyGeneration(1),
        first_epoch: ecowatt_model::BootEpoch(1),
        secret: [0; 32],
        reply: Vec::new(),
        at: UnixMs(DAY),
    };
    store.redeem_claim(Author::new("example", UnixMs(DAY)), redeemed).await?;
    let point = |place: usize| PointDef {
        name: if place == 9 { "ac.power".into() } else { format!("x.point{place}") },
        unit: Unit::Watt,
        exponent: 0,
    };
    let stream = NewStream {
        id: StreamId::new(KeyGeneration(1), StreamNumber(1)),
        source: SourceNumber(0),
        layout: b"ten points".to_vec(),
        points: (0..POINTS).map(point).collect(),
        at: UnixMs(DAY),
    };
    Ok(store.announce(device, stream).await?)
}

/// Batch `sequence` of a device: its samples follow those of the batch before.
fn message(device: u32, sequence: u32, rows: u32, points: &[PointId]) -> Upload {
    let energy = EnergyPoints {
        power: Some(EnergyPoint { index: 9, exponent: 0 }),
        counter: None,
        rated_w: None,
    };
    let mut summarise = Summariser::new(points, energy);
    let first = DAY + i64::from(sequence - 1) * i64::from(rows) * INTERVAL_MS;
    let mut last = first;
    for row in 0..i64::from(rows) {
        last = first + row * INTERVAL_MS;
        let date = LocalDate(i32::try_from(last / 86_400_000).unwrap_or(0));
        let readings = (0..10i64).map(|point| {
            let noise = (row * 31 + point * 17 + i64::from(sequence) * 13) % 29;
            (Quality::Good, Some(2300 + point * 100 + noise))
        });
        summarise.sample(UnixMs(last), date, readings);
    }
    let id = BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) };
    // As large as the codec makes it: a quarter of raw when short, an eighth when long.
    let share = if rows < 60 { 4 } else { 8 };
    let length = usize::try_from(rows).unwrap_or(0) * POINTS * 2 / share;
    let block = NewBlock {
        id,
        stream: StreamId::new(KeyGeneration(1), StreamNumber(1)),
        source: SourceNumber(0),
        rows: u16::try_from(rows).unwrap_or(u16::MAX),
        first: UnixMs(first),
        last: UnixMs(last),
        time_offset_ms: 0,
        time_quality: TimeQuality::Device,
        bytes: vec![0xa5; length],
        summary: summarise.finish(),
    };
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&sequence.to_be_bytes());
    Upload {
        device: DeviceNumber(device),
        generation: KeyGeneration(1),
        counter: Counter(sequence.into()),
        digest,
        received_at: UnixMs(last),
        size_bytes: u32::try_from(length).unwrap_or(0) + 40,
        epoch: BootEpoch(1),
        batches: vec![block],
        streams: Vec::new(),
        refused: Vec::new(),
        dropped: Vec::new(),
        ask: Vec::new(),
        reported: DeviceReport::default(),
        commands_max: ecowatt_store::limits::COMMANDS_OUT_MAX,
        memory: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "a benchmark's result")]
fn say(line: &str) {
    println!("{line}");
}
