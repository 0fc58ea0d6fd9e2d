//! The steps of a store's life in the sweep, and everything that can be read from the store.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use ecowatt_codec::{Batch, COLUMNS_MAX, CodecMemory, TimeBase, encode, encoded_len_max};
use ecowatt_fleet_sim::random::Random;
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, Quality, Sequence, SequenceRange,
    SourceNumber, StreamNumber, Unit, UnixMs,
};
use ecowatt_store::{
    Author, Block, Bucket, ClaimFor, DateRange, DayBucket, Device, DeviceReport, Diagnostic,
    Dropped, ENERGY_POINT, EnergyDay, EnergyGap, EnergyPoint, EnergyPoints, LocalDate, NewBlock,
    NewClaim, NewStream, POWER_POINT, Pack, PointDef, PointId, RedeemClaim, RowKind, RowPack,
    SourceLatest, Stepper, Store, StoreError, StreamId, Summariser, TimeQuality, TimeRange, Upload,
    UploadOutcome,
};

pub(crate) const DATABASE: &str = "ecowatt.db";
pub(crate) const DEVICES: u32 = 2;
const GENERATION: KeyGeneration = KeyGeneration(1);
const SOURCE: SourceNumber = SourceNumber(0);
const STREAM: StreamId = StreamId::new(KeyGeneration(1), StreamNumber(1));
/// A minute before 2026-06-22T00:00:00Z, so that batches are on two days.
const START: i64 = 20_626 * 86_400_000 - 60_000;
const POINTS: [PointId; 2] = [PointId(1), PointId(2)];

/// A step of the life. Each but [`Step::Reopen`] is one commit.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Claim(u32),
    Redeem(u32),
    Announce(u32),
    Uploads(Vec<Upload>),
    /// All batches of a device that are not in a pack are packed.
    Pack(u32),
    /// The first rows of a kind that can be packed are.
    PackRows(u32, RowKind),
    /// The store is closed in order, so its log is checkpointed.
    Reopen,
}

/// Returns steps in which two devices are enrolled and deliver: some batches late, some twice, some
/// dropped, messages repeated and out of order, some packed before others come, and a restart in
/// between.
pub(crate) fn short(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed, 1);
    let mut steps = vec![Step::Claim(1), Step::Redeem(1), Step::Announce(1)];
    steps.extend([Step::Claim(2), Step::Redeem(2), Step::Announce(2)]);
    let mut writer = Writer::default();
    for group in 0..10u32 {
        let mut uploads = Vec::new();
        for device in 1..=DEVICES {
            // Each group of three is out of order, so the second leaves a gap that the third fills.
            let sequences = [group * 3 + 3, group * 3 + 1, group * 3 + 2];
            let taken = if group % 4 == 3 { &sequences[..2] } else { &sequences };
            for sequence in taken {
                let mut batches = vec![Writer::block(device, *sequence)];
                if group > 0 && random.below(3) == 0 {
                    // A batch that was stored before is repeated.
                    batches.push(Writer::block(device, 1));
                }
                let mut upload = writer.upload(device, batches);
                if group % 4 == 3 {
                    let dropped = Sequence(group * 3 + 2);
                    let epoch = BootEpoch(1);
                    let batches = Some(SequenceRange { first: dropped, last: dropped });
                    let range = Dropped { epoch, batches, samples: 7 };
                    upload.dropped.push(range);
                }
                uploads.push(upload);
            }
            if let Some(last) = uploads.last().cloned()
                && group % 3 == 1
            {
                // The same message repeated, and an older one.
                let mut passed = last.clone();
                passed.counter = Counter(1);
                uploads.extend([last, passed]);
            }
        }
        steps.push(Step::Uploads(uploads));
        if group % 4 == 2 {
            steps.push(Step::Pack(1 + group / 4 % DEVICES));
        }
        // Twice, so that rows of late batches are added to packs that exist.
        if group % 4 == 1 {
            steps.extend(RowKind::ALL.map(|kind| Step::PackRows(1, kind)));
        }
        if group == 5 {
            steps.push(Step::Reopen);
        }
    }
    steps.push(Step::Reopen);
    steps
}

/// Returns steps whose messages are so large that the log is checkpointed while the store works.
pub(crate) fn voluminous(groups: u32) -> Vec<Step> {
    let mut steps = vec![Step::Claim(1), Step::Redeem(1), Step::Announce(1)];
    let mut writer = Writer::default();
    for group in 1..=groups {
        let batches = vec![Writer::block(1, group)];
        let mut upload = writer.upload(1, batches);
        // Each message replaces this text, so that the log grows and the database does not.
        let text = format!("{group:04}").repeat(250_000);
        upload.reported.diagnostics = Some(vec![Diagnostic::new("report", text)]);
        steps.push(Step::Uploads(vec![upload]));
    }
    steps
}

#[derive(Debug, Default)]
struct Writer {
    counters: [u64; DEVICES as usize + 1],
}

/// Encodes words that cannot be compressed, so that batches fill pages.
fn encoded(times: &[UnixMs], columns: usize, random: &mut Random) -> Vec<u8> {
    let mut noise = vec![0; 2 * columns * times.len()];
    random.fill(&mut noise);
    let words: Vec<u16> =
        noise.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let times: Vec<i64> = times.iter().map(|at| at.0).collect();
    let batch = Batch { base: TimeBase::Unix, columns, times: &times, words: &words, marks: None };
    let mut bytes = vec![0; encoded_len_max(times.len(), columns)];
    let length = encode(&batch, &mut CodecMemory::<COLUMNS_MAX>::new(), &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn index(device: u32) -> usize {
    usize::try_from(device).unwrap()
}

impl Writer {
    /// Returns a batch; the same device and sequence yield the same batch.
    fn block(device: u32, sequence: u32) -> NewBlock {
        let mut own = Random::new(u64::from(device), 1000 + u64::from(sequence));
        let rows = 5 + i64::try_from(own.below(8)).unwrap();
        let start = START + i64::from(sequence) * 65_000;
        let energy = EnergyPoints {
            power: Some(EnergyPoint { index: 0, exponent: 0 }),
            counter: Some(EnergyPoint { index: 1, exponent: 0 }),
            rated_w: None,
        };
        let mut summarise = Summariser::new(&POINTS, energy);
        let times: Vec<UnixMs> = (0..rows).map(|row| UnixMs(start + row * 5000)).collect();
        for at in &times {
            let date = LocalDate(i32::try_from(at.0.div_euclid(86_400_000)).unwrap());
            let power = 3000 + i64::try_from(own.below(500)).unwrap();
            let counter = 1_000_000 + (at.0 - START) / 1000;
            summarise.sample(*at, date, [power, counter].map(|v| (Quality::Good, Some(v))));
        }
        let columns = usize::try_from(8 + own.below(120)).unwrap();
        let bytes = encoded(&times, columns, &mut own);
        NewBlock {
            id: BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) },
            stream: STREAM,
            source: SOURCE,
            rows: u16::try_from(rows).unwrap(),
            first: times[0],
            last: times[times.len() - 1],
            time_offset_ms: 0,
            time_quality: TimeQuality::Device,
            bytes,
            summary: summarise.finish(),
        }
    }

    fn upload(&mut self, device: u32, batches: Vec<NewBlock>) -> Upload {
        self.counters[index(device)] += 1;
        upload(device, self.counters[index(device)], batches)
    }
}

/// Returns a message; its digest follows from its counter.
pub(crate) fn upload(device: u32, counter: u64, batches: Vec<NewBlock>) -> Upload {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&counter.to_be_bytes());
    Upload {
        device: DeviceNumber(device),
        generation: GENERATION,
        counter: Counter(counter),
        digest,
        // After all samples, so that the newest reading does not depend on when it arrived.
        received_at: UnixMs(START + 86_400_000 + i64::try_from(counter).unwrap()),
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

/// A store that is stepped by hand.
pub(crate) struct Running {
    pub(crate) store: Store,
    pub(crate) stepper: Stepper,
}

/// Result of a step; an error if the disk failed.
pub(crate) type Done<T> = Result<T, StoreError>;

fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl Running {
    pub(crate) fn open(vfs: &str) -> Result<Self, ecowatt_store::OpenError> {
        let (store, stepper) = Store::open_stepped(Path::new(DATABASE), vfs)?;
        Ok(Self { store, stepper })
    }

    /// Runs a query, which is ready at once.
    fn read<T>(&self, query: impl Future<Output = Done<T>>) -> Done<T> {
        poll(pin!(query)).expect("reads do not wait")
    }

    /// Makes one change in a commit of its own.
    fn change<T>(&self, change: impl Future<Output = T>) -> T {
        let mut change = pin!(change);
        assert!(poll(change.as_mut()).is_none(), "answered before its commit");
        assert_eq!(self.stepper.commit(), 1);
        poll(change).expect("answered after its commit")
    }

    /// Ingests messages in one commit; each is answered after it and not before.
    pub(crate) fn ingest(&self, uploads: &[Upload]) -> Vec<Done<UploadOutcome>> {
        let mut asked: Vec<_> =
            uploads.iter().map(|upload| Box::pin(self.store.ingest(upload.clone()))).collect();
        for asked in &mut asked {
            assert!(poll(asked.as_mut()).is_none(), "answered before its commit");
        }
        assert_eq!(self.stepper.commit(), uploads.len());
        asked.iter_mut().map(|asked| poll(asked.as_mut()).expect("answered")).collect()
    }

    /// Does a step that is a commit.
    pub(crate) fn step(&self, step: &Step) -> Done<Vec<UploadOutcome>> {
        let store = &self.store;
        let unexpected = |what: &dyn std::fmt::Debug| -> ! { panic!("{what:?}") };
        match step {
            Step::Claim(device) => {
                let claim = NewClaim {
                    claim_for: ClaimFor::New {
                        name: format!("device {device}"),
                        site: "Hof".into(),
                        time_zone: Some("Europe/Berlin".into()),
                    },
                    id: format!("C-{device}"),
                    secret: vec![1; 15],
                    created: UnixMs(START),
                    expires: UnixMs(START + 1000),
                };
                match self.change(store.create_claim(Author::new("a test", UnixMs(START)), claim)) {
                    Ok(number) => assert_eq!(number, DeviceNumber(*device)),
                    Err(ecowatt_store::CreateClaimError::Store(error)) => return Err(error),
                    Err(other) => unexpected(&other),
                }
            }
            Step::Redeem(device) => {
                let claim = RedeemClaim {
                    id: format!("C-{device}"),
                    public_key: [7; 32],
                    generation: GENERATION,
                    first_epoch: ecowatt_model::BootEpoch(1),
                    secret: [9; 32],
                    reply: b"welcome".to_vec(),
                    at: UnixMs(START),
                };
                match self.change(store.redeem_claim(Author::new("a test", UnixMs(START)), claim)) {
                    Ok(()) => {}
                    Err(ecowatt_store::RedeemClaimError::Store(error)) => return Err(error),
                    Err(other) => unexpected(&other),
                }
            }
            Step::Announce(device) => {
                let point =
                    |name: &str, unit| PointDef { name: name.to_owned(), unit, exponent: 0 };
                let stream = NewStream {
                    id: STREAM,
                    source: SOURCE,
                    layout: b"layout".to_vec(),
                    points: vec![
                        point(POWER_POINT, Unit::Watt),
                        point(ENERGY_POINT, Unit::WattHour),
                    ],
                    at: UnixMs(START),
                };
                match self.change(store.announce(DeviceNumber(*device), stream)) {
                    Ok(points) => assert_eq!(points, POINTS),
                    Err(ecowatt_store::AnnounceError::Store(error)) => return Err(error),
                    Err(other) => unexpected(&other),
                }
            }
            Step::Uploads(uploads) => return self.ingest(uploads).into_iter().collect(),
            Step::Pack(device) => self.pack(DeviceNumber(*device))?,
            Step::PackRows(device, kind) => self.pack_rows(DeviceNumber(*device), *kind)?,
            Step::Reopen => panic!("is no commit"),
        }
        Ok(Vec::new())
    }

    fn pack(&self, device: DeviceNumber) -> Done<()> {
        let mut range = TimeRange { from: UnixMs(0), to: UnixMs(i64::MAX) };
        let mut blocks = Vec::new();
        loop {
            let day = self.read(self.store.loose_blocks(device, SOURCE, range))?;
            let Some(last) = day.last() else { break };
            range.from = UnixMs(last.first.0 + 1);
            blocks.extend(day);
        }
        // What was packed before a cut stays packed; the step counts as a commit nevertheless.
        let Some(pack) = Pack::new(&blocks) else {
            return self.change(self.store.set_states(Vec::new(), UnixMs(0))).map(|_| ());
        };
        assert!(self.change(self.store.keep_pack(device, SOURCE, pack))?, "all are there");
        Ok(())
    }

    fn pack_rows(&self, device: DeviceNumber, kind: RowKind) -> Done<()> {
        let after_all = UnixMs(START + 10 * 86_400_000);
        let rows = self.read(self.store.loose_rows(device, SOURCE, kind, i64::MIN, after_all))?;
        let Some(pack) = rows.and_then(RowPack::new) else {
            return self.change(self.store.set_states(Vec::new(), UnixMs(0))).map(|_| ());
        };
        assert!(self.change(self.store.keep_row_pack(device, SOURCE, pack))?, "all are there");
        Ok(())
    }

    /// Returns how many batches of a device are in packs, and how many are not.
    fn forms(&self, device: DeviceNumber) -> Done<(usize, usize)> {
        let range = TimeRange { from: UnixMs(0), to: UnixMs(i64::MAX) };
        let (mut packed, mut alone) = (0, 0);
        for stretch in self.read(self.store.stretches(device, SOURCE, range, None))? {
            match stretch.batches.len() {
                1 => alone += 1,
                count => packed += count,
            }
        }
        Ok((packed, alone))
    }

    /// Everything that can be read.
    pub(crate) fn look(&self) -> Done<Picture> {
        let mut devices = Vec::new();
        for device in (1..=DEVICES).map(DeviceNumber) {
            let store = &self.store;
            let Some(found) = self.read(store.find_device(device))? else { continue };
            let range = TimeRange { from: UnixMs(0), to: UnixMs(i64::MAX) };
            let dates = DateRange { from: LocalDate(0), to: LocalDate(i32::MAX) };
            let points = POINTS.to_vec();
            let key = self.read(store.find_key(device, GENERATION))?;
            let batches = self.read(store.list_batches(device))?;
            devices.push(Seen {
                counter: key.map(|key| key.counter),
                device: found,
                forms: self.forms(device)?,
                streams: self.read(store.list_streams(device))?.len(),
                telemetry: Telemetry {
                    blocks: self.read(store.list_blocks(device, SOURCE, None))?,
                    batches: batches.iter().map(|batch| (batch.id, batch.rows)).collect(),
                    minutes: self.read(store.minutes(device, SOURCE, range, points.clone()))?,
                    quarters: self.read(store.quarters(device, SOURCE, range, points.clone()))?,
                    days: self.read(store.days(device, SOURCE, dates, points))?,
                    energy: self.read(store.energy_days(device, dates))?,
                    gaps: self.read(store.energy_gaps(device, range))?,
                    latest: self.read(store.latest(device))?,
                },
            });
        }
        Ok(Picture(devices))
    }
}

/// Everything that a store shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture(pub(crate) Vec<Seen>);

/// Everything that it shows of a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) counter: Option<Counter>,
    pub(crate) device: Device,
    pub(crate) streams: usize,
    forms: (usize, usize),
    pub(crate) telemetry: Telemetry,
}

/// What was delivered, and what was derived from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Telemetry {
    pub(crate) blocks: Vec<Block>,
    pub(crate) batches: Vec<(BatchId, u16)>,
    minutes: Vec<Bucket>,
    quarters: Vec<Bucket>,
    days: Vec<DayBucket>,
    energy: Vec<EnergyDay>,
    gaps: Vec<EnergyGap>,
    latest: Vec<SourceLatest>,
}

impl Seen {
    /// Returns what must not depend on the order of the messages.
    pub(crate) fn lasting(&self) -> (&Telemetry, [u64; 4], Option<UnixMs>) {
        let link = &self.device.link;
        let counts = [link.batches, link.samples, link.refused, link.dropped_samples];
        (&self.telemetry, counts, link.last_sample)
    }
}
