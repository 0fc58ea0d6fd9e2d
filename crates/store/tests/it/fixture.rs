//! A store in a folder of its own, with devices that have keys and one stream.

use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SourceNumber,
    StreamNumber, Unit, UnixMs,
};
use ecowatt_store::{
    Author, ClaimFor, DeviceReport, EnergyPoint, EnergyPoints, LocalDate, NewBlock, NewClaim,
    NewStream, PointDef, PointId, Receipt, RedeemClaim, Store, StreamId, Summariser, TimeQuality,
    Upload, UploadOutcome,
};

pub(crate) const GENERATION: KeyGeneration = KeyGeneration(1);
pub(crate) const STREAM: StreamId = StreamId::new(KeyGeneration(1), StreamNumber(1));
pub(crate) const SOURCE: SourceNumber = SourceNumber(0);
/// 2026-06-21T00:00:00Z.
pub(crate) const DAY: UnixMs = UnixMs(20_625 * 86_400_000);

/// When the first message arrives, after all of its samples were taken.
pub(crate) const ARRIVAL: UnixMs = UnixMs(DAY.0 + 3_650 * 86_400_000);

/// Day of the UTC calendar.
pub(crate) fn utc_date(at: UnixMs) -> LocalDate {
    LocalDate(i32::try_from(at.0.div_euclid(86_400_000)).unwrap())
}

/// One sample of the fixture's layout: power in watts and counter in watt-hours, each with its
/// quality if it is not good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: UnixMs,
    pub(crate) power_w: Result<i64, Quality>,
    pub(crate) counter_wh: Result<i64, Quality>,
}

/// The author of changes.
pub(crate) fn by() -> Author {
    by_at(DAY)
}

pub(crate) fn by_at(at: UnixMs) -> Author {
    Author::new("a test", at)
}

pub(crate) struct Fixture {
    // Before the folder, so that it is closed first.
    pub(crate) store: Store,
    pub(crate) points: Vec<PointId>,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let device = enrol(&store, "first").await;
        let points = announce(&store, device).await;
        assert_eq!(device, DeviceNumber(1));
        Self { store, points, dir }
    }

    pub(crate) fn device(&self) -> DeviceNumber {
        DeviceNumber(1)
    }

    pub(crate) fn block(&self, epoch: u32, sequence: u32, samples: &[Sample]) -> NewBlock {
        block(&self.points, (epoch, sequence), samples, utc_date)
    }

    /// Stores a message that must be accepted.
    pub(crate) async fn stored(&self, upload: Upload) -> Receipt {
        match self.store.ingest(upload).await.unwrap() {
            UploadOutcome::Stored(receipt) => receipt,
            other => panic!("{other:?}"),
        }
    }
}

/// Creates a device with a key.
pub(crate) async fn enrol(store: &Store, name: &str) -> DeviceNumber {
    let claim_for = ClaimFor::New {
        name: name.into(),
        site: "Hof".into(),
        time_zone: Some("Europe/Berlin".into()),
    };
    let (id, secret) = (format!("C-{name}"), vec![1; 15]);
    let claim =
        NewClaim { claim_for, id: id.clone(), secret, created: DAY, expires: UnixMs(DAY.0 + 1000) };
    let device = store.create_claim(by(), claim).await.unwrap();
    let redeemed = RedeemClaim {
        id,
        public_key: [7; 32],
        generation: GENERATION,
        first_epoch: BootEpoch(1),
        secret: [9; 32],
        reply: b"welcome".to_vec(),
        at: DAY,
    };
    store.redeem_claim(by(), redeemed).await.unwrap();
    device
}

/// Announces the fixture's layout: AC power in watts and the counter in watt-hours.
pub(crate) async fn announce(store: &Store, device: DeviceNumber) -> Vec<PointId> {
    let point = |name: &str, unit, exponent| PointDef { name: name.to_owned(), unit, exponent };
    let stream = NewStream {
        id: STREAM,
        source: SOURCE,
        layout: b"layout".to_vec(),
        points: vec![
            point(ecowatt_store::POWER_POINT, Unit::Watt, 0),
            point(ecowatt_store::ENERGY_POINT, Unit::WattHour, 0),
        ],
        at: DAY,
    };
    store.announce(device, stream).await.unwrap()
}

pub(crate) fn block(
    points: &[PointId],
    (epoch, sequence): (u32, u32),
    samples: &[Sample],
    date: impl Fn(UnixMs) -> LocalDate,
) -> NewBlock {
    let energy = EnergyPoints {
        power: Some(EnergyPoint { index: 0, exponent: 0 }),
        counter: Some(EnergyPoint { index: 1, exponent: 0 }),
        rated_w: Some(10_000),
    };
    let mut summarise = Summariser::new(points, energy);
    for sample in samples {
        let readings = [sample.power_w, sample.counter_wh].map(|reading| match reading {
            Ok(value) => (Quality::Good, Some(value)),
            Err(quality) => (quality, None),
        });
        summarise.sample(sample.at, date(sample.at), readings);
    }
    let times = || samples.iter().map(|sample| sample.at);
    NewBlock {
        id: BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) },
        stream: STREAM,
        source: SOURCE,
        rows: u16::try_from(samples.len()).unwrap(),
        first: times().min().unwrap_or(DAY),
        last: times().max().unwrap_or(DAY),
        time_offset_ms: 0,
        time_quality: TimeQuality::Device,
        bytes: sequence.to_be_bytes().to_vec(),
        summary: summarise.finish(),
    }
}

/// A message with these batches; its digest is derived from the counter.
pub(crate) fn upload(device: DeviceNumber, counter: u64, batches: Vec<NewBlock>) -> Upload {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&counter.to_be_bytes());
    Upload {
        device,
        generation: GENERATION,
        counter: Counter(counter),
        digest,
        received_at: UnixMs(ARRIVAL.0 + i64::try_from(counter).unwrap()),
        size_bytes: 100,
        epoch: BootEpoch(1),
        batches,
        streams: Vec::new(),
        refused: Vec::new(),
        dropped: Vec::new(),
        ask: Vec::new(),
        reported: DeviceReport::default(),
        commands_max: ecowatt_store::limits::COMMANDS_OUT_MAX,
        memory: None,
    }
}

/// `count` samples, 5 s apart, starting `start` seconds into the day, at a steady 3,600 W.
pub(crate) fn samples(start_s: i64, count: i64) -> Vec<Sample> {
    (0..count)
        .map(|i| {
            let seconds = start_s + i * 5;
            Sample {
                at: UnixMs(DAY.0 + seconds * 1000),
                power_w: Ok(3600),
                counter_wh: Ok(1_000_000 + seconds),
            }
        })
        .collect()
}
