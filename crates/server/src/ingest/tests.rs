//! Sends a device's messages, sealed as devices seal them, each test with a store of its own.

mod accepted;
mod bounds;
mod order;

use std::sync::Arc;

use ecowatt_clock::Clock;
use ecowatt_codec::{Batch, COLUMNS_MAX, CodecMemory, TimeBase, encode, encoded_len_max};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, RequestId, open_reply, seal_uplink};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, MonoMs, Sequence, SourceNumber,
    StreamNumber, UnixMs,
};
use ecowatt_profile::{Layout, Transport, catalogue};
use ecowatt_store::limits::POINTS_PER_SOURCE_MAX;
use ecowatt_store::{
    Author, Block, ClaimFor, Kind, NewClaim, RedeemClaim, Role, Store, StreamId, TimeQuality,
    TimeRange, TokenId,
};
use ecowatt_wire::{
    AckRange, BatchRefusal, Certainty, ClockReport, EpochStart, RefusedBatch, Reply, Stream,
    UplinkWriter,
};

use super::{Ingest, IngestError};
use crate::access::Principal;
use crate::entropy::Entropy;
use crate::limits::{TURNS_MAX, TURNS_WAITING_MAX};
use crate::live::{EventData, Live, LiveReading};
use crate::metrics::Metrics;
use crate::test_layout::with_states;

/// 2026-06-21T10:00:00Z.
const NOW: UnixMs = UnixMs(1_782_036_000_000);
const STREAM: StreamNumber = StreamNumber(1);
const SOURCE: SourceNumber = SourceNumber(0);
const SECRET: [u8; 32] = [9; 32];

struct World {
    ingest: Ingest,
    store: Store,
    live: Live,
    layout: Layout,
    device: DeviceNumber,
    _dir: tempfile::TempDir,
}

/// A message being built.
#[derive(Default)]
struct Message {
    counter: u64,
    batches: Vec<(BatchId, StreamNumber, Vec<u8>)>,
    /// Where the epochs began.
    starts: Vec<(u32, EpochStart)>,
    layouts: Vec<(StreamNumber, Vec<u8>)>,
    clock: Option<ClockReport>,
}

/// What the device reads from a reply.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    acks: Vec<AckRange>,
    wanted: Vec<StreamNumber>,
    refused: Vec<RefusedBatch>,
}

fn id(epoch: u32, sequence: u32) -> BatchId {
    BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
}

fn ack(epoch: u32, first: u32, last: u32) -> AckRange {
    AckRange { epoch: BootEpoch(epoch), first: Sequence(first), last: Sequence(last) }
}

fn unsealed(keys: &LinkKeys, request: RequestId, reply: &[u8]) -> Heard {
    let mut plain = [0; 4096];
    let plain = open_reply(keys, request, reply, &mut plain).unwrap();
    let reply = Reply::parse(plain).unwrap();
    assert!(reply.time().unwrap() >= NOW);
    Heard {
        acks: reply.acks().collect(),
        wanted: reply.wanted().collect(),
        refused: reply.refused().collect(),
    }
}

/// Enrols a device; returns its number.
async fn enrol(store: &Store, id: &str) -> DeviceNumber {
    let claim = NewClaim {
        claim_for: ClaimFor::New {
            name: "barn".into(),
            site: "Hof".into(),
            time_zone: Some("Europe/Berlin".into()),
        },
        id: id.into(),
        secret: vec![1; 15],
        created: NOW,
        expires: UnixMs(NOW.0 + 1),
    };
    let device = store.create_claim(Author::new("a test", NOW), claim).await.unwrap();
    let redeemed = RedeemClaim {
        id: id.into(),
        public_key: [1; 32],
        generation: KeyGeneration(1),
        first_epoch: BootEpoch(1),
        secret: SECRET,
        reply: Vec::new(),
        at: NOW,
    };
    store.redeem_claim(Author::new("a test", NOW), redeemed).await.unwrap();
    device
}

fn layout_of(columns: u8, points: u8) -> Vec<u8> {
    layout_named('p', columns, points)
}

/// Returns the bytes of a layout with this many columns and points, the points on the columns in
/// turn, their names with this letter. Written by hand, because not every such layout is valid.
fn layout_named(letter: char, columns: u8, points: u8) -> Vec<u8> {
    let head = |major: u8, n: u8| match n {
        0..24 => vec![major | n],
        _ => vec![major | 24, n],
    };
    let mut bytes = vec![0xa6, 0, 1, 1, 0x66];
    bytes.extend(b"x/bomb");
    bytes.extend([2, 1, 3, 0x81, 0x19, 0x03, 0xe8, 4, 0x81, 0x84, 0, 0, 0]);
    bytes.extend(head(0, columns));
    bytes.push(5);
    bytes.extend(head(0x80, points));
    for n in 0..points {
        bytes.extend([0xa4, 0, 0x66]);
        bytes.extend(format!("x.{letter}{n:03}").into_bytes());
        // No unit, u16.
        bytes.extend([1, 0, 2, 0, 3]);
        bytes.extend(head(0, n % columns));
    }
    bytes
}

/// A batch of constant words, one sample every `step_ms`.
fn constant(columns: usize, rows: i64, from: i64, step_ms: i64) -> Vec<u8> {
    let times: Vec<i64> = (0..rows).map(|row| from + row * step_ms).collect();
    let words = vec![7; times.len() * columns];
    let batch = Batch { base: TimeBase::Unix, columns, times: &times, words: &words, marks: None };
    let mut bytes = vec![0; encoded_len_max(times.len(), columns)];
    let mut state: Box<CodecMemory<COLUMNS_MAX>> = Box::default();
    let length = encode(&batch, &mut state, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// Returns 23 batches of 1,024 constant samples each.
fn bomb(counter: u64, columns: u8, points: u8, step_ms: i64) -> Message {
    let first = u32::try_from(counter).unwrap() * 23;
    let span = 1024 * step_ms;
    let batches = (0..23u32)
        .map(|n| {
            let from = 1_600_000_000_000 + i64::from(first + n) * (span + step_ms);
            (id(1, first + n + 1), STREAM, constant(columns.into(), 1024, from, step_ms))
        })
        .collect();
    let layouts = vec![(STREAM, layout_of(columns, points))];
    Message { counter, batches, starts: Vec::new(), layouts, clock: None }
}

/// A batch of ten columns: samples at these times, each with 1,000 W more than the one before.
fn batch(base: TimeBase, times: &[i64]) -> Vec<u8> {
    batch_of(base, times, 10)
}

fn batch_of(base: TimeBase, times: &[i64], columns: usize) -> Vec<u8> {
    let mut words = Vec::new();
    for row in 0..times.len() {
        let mut all = vec![2300, 40, 5001, 3000, 3000, 20, 20, 350, 100, 0];
        all[9] = u16::try_from(row * 1000 % 5000).unwrap();
        all.resize(columns, 7);
        words.extend(all);
    }
    let batch = Batch { base, columns, times, words: &words, marks: None };
    let mut bytes = vec![0; encoded_len_max(times.len(), columns)];
    let mut state: Box<CodecMemory<COLUMNS_MAX>> = Box::default();
    let length = encode(&batch, &mut state, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

impl World {
    async fn new() -> Self {
        Self::at_speed(0.001).await
    }

    /// A world whose clock runs this many times as fast as real time.
    async fn at_speed(speed: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let device = enrol(&store, "AAAAA").await;
        let live = Live::default();
        let metrics = Arc::new(Metrics::default());
        let clock = Clock::simulated(NOW, speed);
        let profile = catalogue::find("ecowatt/seed-sim").unwrap();
        Self {
            ingest: Ingest::new(store.clone(), clock, Entropy::system(), live.clone(), metrics),
            store,
            live,
            layout: profile.compile(Transport::TCP).unwrap().layout,
            device,
            _dir: dir,
        }
    }

    fn request(&self, counter: u64) -> (LinkKeys, RequestId) {
        let kid = KeyId { device: self.device, generation: KeyGeneration(1) };
        let request = RequestId { kid, counter: Counter(counter) };
        (LinkKeys::derive(&DeviceKey::new(SECRET), kid), request)
    }

    fn seal(&self, message: &Message) -> Vec<u8> {
        let mut buffer = vec![0; 60_000];
        let mut writer = UplinkWriter::new(&mut buffer);
        let mut batches = message.batches.iter().map(|(id, stream, bytes)| ecowatt_wire::Batch {
            id: *id,
            stream: *stream,
            bytes,
            start: message.starts.iter().find(|(epoch, _)| *epoch == id.epoch.0).map(|s| s.1),
        });
        assert_eq!(writer.batches(&mut batches, 0).unwrap(), message.batches.len());
        if let Some(clock) = &message.clock {
            writer.clock(clock).unwrap();
        }
        let mut layouts = message.layouts.iter().map(|(number, layout)| Stream {
            number: *number,
            source: SOURCE,
            layout,
        });
        writer.streams(&mut layouts, 0).unwrap();
        let length = writer.finish();
        let (keys, request) = self.request(message.counter);
        let length = seal_uplink(&keys, request, &mut buffer, length).unwrap();
        buffer.truncate(length);
        buffer
    }

    async fn send(&self, message: &Message) -> Heard {
        let reply = self.ingest.take(&self.seal(message)).await.unwrap();
        let (keys, request) = self.request(message.counter);
        unsealed(&keys, request, &reply)
    }

    /// A message with a known layout.
    fn announced(&self, counter: u64, batches: Vec<(BatchId, Vec<u8>)>) -> Message {
        Message {
            counter,
            batches: batches.into_iter().map(|(id, bytes)| (id, STREAM, bytes)).collect(),
            starts: Vec::new(),
            layouts: vec![(STREAM, self.layout.to_cbor())],
            clock: None,
        }
    }

    /// Returns the size of the store's files in bytes.
    fn size(&self) -> u64 {
        let files = std::fs::read_dir(self._dir.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    async fn blocks(&self) -> Vec<Block> {
        let range = TimeRange { from: UnixMs(0), to: UnixMs(i64::MAX) };
        self.store.blocks(self.device, SOURCE, range, None).await.unwrap()
    }
}

fn times(from: i64, count: i64) -> Vec<i64> {
    (0..count).map(|i| from + i * 5000).collect()
}

/// Returns the label of a message's outcome.
async fn fate(world: &World, message: &[u8]) -> &'static str {
    world.ingest.take(message).await.map_or_else(|error| error.as_str(), |_| "taken")
}
