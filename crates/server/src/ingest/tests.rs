//! Sends a device's messages, sealed as devices seal them, each test with a store of its own.

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

fn live(point: &str, value: f64) -> LiveReading {
    LiveReading { point: point.to_owned(), value }
}

#[tokio::test]
async fn message_is_stored_answered_and_shown() {
    let world = World::new().await;
    let reader = Principal {
        role: Role::Viewer,
        token: TokenId(1),
        token_name: "viewer".into(),
        session: None,
        expires: None,
    };
    let mut events = world.live.subscribe(reader.scope());
    let first = batch(TimeBase::Unix, &times(NOW.0 - 70_000, 7));
    let second = batch(TimeBase::Unix, &times(NOW.0 - 35_000, 7));
    let message = world.announced(1, vec![(id(1, 2), second), (id(1, 1), first.clone())]);
    let sealed = world.seal(&message);
    let reply = world.ingest.take(&sealed).await.unwrap();
    let (keys, request) = world.request(1);
    let heard = unsealed(&keys, request, &reply);
    let expected = Heard { acks: vec![ack(1, 1, 2)], wanted: vec![], refused: vec![] };
    assert_eq!(heard, expected);

    let blocks = world.blocks().await;
    assert_eq!(blocks.len(), 2);
    assert_eq!((blocks[0].id, blocks[0].rows), (id(1, 1), 7));
    assert_eq!(blocks[0].bytes, first, "kept as it came");
    assert_eq!(blocks[0].time_quality, TimeQuality::Device);
    let event = events.try_recv().unwrap();
    let EventData::Sample(sample) = event.data() else { panic!("{event:?}") };
    assert_eq!((event.device, sample.inverter.0, sample.at.0), (world.device, 0, NOW.0 - 5000));
    assert!(sample.readings.contains(&live("ac.power", 1000.0)), "{sample:?}");
    assert!(sample.readings.contains(&live("ac.frequency", 50.01)), "{sample:?}");
    assert!(events.try_recv().is_err(), "one sample an inverter, the newest");

    // The reply was lost: the device sends the same bytes.
    let reply = world.ingest.take(&sealed).await.unwrap();
    assert_eq!(unsealed(&keys, request, &reply), expected);
    assert_eq!(world.blocks().await.len(), 2);
    assert!(events.try_recv().is_err());
    let link = world.store.find_device(world.device).await.unwrap().unwrap().link;
    assert_eq!((link.messages, link.batches), (1, 2));
}

/// At the second speed, hours pass on the server's clock before the message is stored.
#[tokio::test]
async fn a_reply_that_took_long_reports_it() {
    for (speed, is_slow) in [(0.001, false), (1e8, true)] {
        let world = World::at_speed(speed).await;
        let bytes = batch(TimeBase::Unix, &times(NOW.0 - 70_000, 7));
        let message = world.announced(1, vec![(id(1, 1), bytes)]);
        let before = world.ingest.link.clock.mono();
        let reply = world.ingest.take(&world.seal(&message)).await.unwrap();
        let took = world.ingest.link.clock.mono().since(before);
        let (keys, request) = world.request(1);
        let mut plain = [0; 4096];
        let reply = Reply::parse(open_reply(&keys, request, &reply, &mut plain).unwrap()).unwrap();
        assert_eq!(!reply.held().is_zero(), is_slow, "{:?}", reply.held());
        assert!(reply.held() <= took, "{:?} of {took:?}", reply.held());
    }
}

#[tokio::test]
async fn batch_without_layout_waits_for_its_announcement() {
    let world = World::new().await;
    let bytes = || batch(TimeBase::Unix, &times(NOW.0, 3));
    let mut message = world.announced(1, vec![(id(1, 1), bytes()), (id(1, 2), bytes())]);
    message.layouts.clear();
    let heard = world.send(&message).await;
    assert_eq!(heard, Heard { acks: vec![], wanted: vec![STREAM], refused: vec![] });
    assert!(world.blocks().await.is_empty());
    let heard = world.send(&world.announced(2, vec![(id(1, 1), bytes())])).await;
    assert_eq!(heard.acks, [ack(1, 1, 1)]);
    // Another server process, say: the layout is found in the store.
    let other = Ingest::new(
        world.store.clone(),
        Clock::simulated(NOW, 0.001),
        Entropy::system(),
        Live::default(),
        Arc::default(),
    );
    let world = World { ingest: other, ..world };
    let mut message = world.announced(3, vec![(id(1, 2), bytes())]);
    message.layouts.clear();
    assert_eq!(world.send(&message).await.acks, [ack(1, 1, 2)]);
}

#[tokio::test]
async fn unreadable_batch_is_refused_and_its_neighbours_are_stored() {
    let world = World::new().await;
    let good = batch(TimeBase::Unix, &times(NOW.0, 30));
    let mut trailing = good.clone();
    trailing.push(1);
    let mad = batch(TimeBase::Unix, &[i64::MAX / 2]);
    let narrow = batch_of(TimeBase::Unix, &times(NOW.0, 3), 9);
    let bad_stream = StreamNumber(2);
    let mut message = world.announced(
        1,
        vec![
            (id(1, 1), Vec::new()),
            (id(1, 2), vec![0xf0, 1, 2, 3]),
            (id(1, 3), trailing),
            (id(1, 4), mad),
            (id(1, 5), narrow),
            (id(1, 7), good),
        ],
    );
    message.batches.push((id(1, 6), bad_stream, batch(TimeBase::Unix, &[NOW.0])));
    message.layouts.push((bad_stream, vec![0xff; 20]));
    let heard = world.send(&message).await;
    let stored: Vec<BatchId> = world.blocks().await.iter().map(|block| block.id).collect();
    assert_eq!(stored, [id(1, 7)]);
    assert_eq!(heard.acks, [ack(1, 1, 7)], "refused ones are not to be sent again");
    let mut refused: Vec<_> =
        heard.refused.iter().map(|refused| (refused.id.sequence.0, refused.reason)).collect();
    refused.sort_unstable_by_key(|(sequence, _)| *sequence);
    let undecodable = BatchRefusal::Undecodable;
    assert_eq!(
        refused,
        [
            (1, undecodable),
            (2, undecodable),
            (3, undecodable),
            (4, undecodable),
            (5, BatchRefusal::WrongColumns),
            (6, BatchRefusal::BadLayout)
        ]
    );
    let link = world.store.find_device(world.device).await.unwrap().unwrap().link;
    assert_eq!((link.batches, link.refused), (1, 6));
}

#[tokio::test]
async fn message_that_is_not_the_devices_next_gets_no_reply() {
    let world = World::new().await;
    let message = world.announced(5, vec![(id(1, 1), batch(TimeBase::Unix, &[NOW.0]))]);
    let sealed = world.seal(&message);
    let mut altered = sealed.clone();
    *altered.last_mut().unwrap() ^= 1;
    let label = async |bytes: &[u8]| world.ingest.take(bytes).await.unwrap_err().as_str();
    assert_eq!(label(&altered).await, "bad_tag");
    assert_eq!(label(&[]).await, "bad_envelope");
    assert_eq!(label(&sealed[..sealed.len() - 1]).await, "bad_envelope");

    world.ingest.take(&sealed).await.unwrap();
    let replayed = world.announced(5, vec![(id(1, 2), batch(TimeBase::Unix, &[NOW.0 + 1]))]);
    assert_eq!(label(&world.seal(&replayed)).await, "stale");
    assert_eq!(label(&world.seal(&world.announced(4, Vec::new()))).await, "stale");

    world.store.revoke_keys(Author::new("a test", NOW), world.device).await.unwrap();
    let next = world.seal(&world.announced(6, Vec::new()));
    let revoked = world.ingest.take(&next).await;
    assert!(matches!(revoked, Err(IngestError::UnknownKey)), "known until a moment ago");
    let unknown = World { device: DeviceNumber(77), ..world };
    let stranger = unknown.seal(&unknown.announced(1, Vec::new()));
    let refused = unknown.ingest.take(&stranger).await;
    assert!(matches!(refused, Err(IngestError::UnknownKey)), "{refused:?}");
}

#[tokio::test]
async fn plain_message_that_is_no_uplink_is_refused() {
    let world = World::new().await;
    let (keys, request) = world.request(1);
    let mut buffer = vec![0; 200];
    buffer[..2].copy_from_slice(&[0x82, 0x01]);
    let length = seal_uplink(&keys, request, &mut buffer, 2).unwrap();
    let refused = world.ingest.take(&buffer[..length]).await;
    assert!(matches!(refused, Err(IngestError::Message(_))), "{refused:?}");
}

#[tokio::test]
async fn epoch_stands_where_its_device_says_and_as_surely() {
    let world = World::new().await;
    let start = |ms, certainty| EpochStart { unix: UnixMs(NOW.0 + ms), certainty };
    let mut message = world.announced(
        1,
        vec![
            (id(5, 1), batch(TimeBase::SinceBoot, &times(10_000, 3))),
            (id(4, 9), batch(TimeBase::SinceBoot, &times(40_000, 3))),
            (id(5, 2), batch(TimeBase::Unix, &times(NOW.0 - 50_000, 3))),
        ],
    );
    message.starts = vec![
        (5, start(-100_000, Certainty::Confirmed)),
        (4, start(-7_300_000, Certainty::Estimated)),
    ];
    // The time at which the message arrives, and the device's clock at that time, do not matter.
    let clock = |unix| ClockReport { epoch: BootEpoch(5), mono: MonoMs(999_000_000), unix };
    message.clock = Some(clock(Some(UnixMs(NOW.0 - 5_000_000))));
    world.send(&message).await;
    message.counter = 2;
    message.batches = vec![(id(4, 10), STREAM, batch(TimeBase::SinceBoot, &times(60_000, 3)))];
    message.clock = Some(clock(None));
    world.send(&message).await;
    let blocks = world.blocks().await;
    let placed: Vec<_> = blocks.iter().map(|b| (b.id, b.first.0 - NOW.0, b.time_quality)).collect();
    assert_eq!(
        placed,
        [
            (id(4, 9), -7_260_000, TimeQuality::Estimated),
            (id(4, 10), -7_240_000, TimeQuality::Estimated),
            (id(5, 1), -90_000, TimeQuality::Anchored),
            (id(5, 2), -50_000, TimeQuality::Device),
        ]
    );
    assert_eq!(blocks[2].time_offset_ms, NOW.0 - 100_000);
}

#[tokio::test]
async fn batch_whose_epoch_has_no_place_is_refused_alone() {
    let world = World::new().await;
    let mut message = world.announced(
        1,
        vec![
            (id(1, 1), batch(TimeBase::SinceBoot, &times(10_000, 3))),
            (id(1, 2), batch(TimeBase::Unix, &times(NOW.0 - 20_000, 3))),
        ],
    );
    message.clock =
        Some(ClockReport { epoch: BootEpoch(1), mono: MonoMs(30_000), unix: Some(NOW) });
    let heard = world.send(&message).await;
    assert_eq!(heard.refused, [RefusedBatch { id: id(1, 1), reason: BatchRefusal::NoStart }]);
    assert_eq!(heard.acks, [ack(1, 1, 2)]);
    assert_eq!(world.blocks().await.len(), 1);
}

#[tokio::test]
async fn clock_that_cannot_be_right_is_suspect_and_kept() {
    let world = World::new().await;
    let day = 86_400_000;
    let batches = vec![
        (id(1, 1), batch(TimeBase::Unix, &times(NOW.0 + 2 * day, 3))),
        (id(1, 2), batch(TimeBase::Unix, &times(0, 3))),
        (id(1, 3), batch(TimeBase::Unix, &times(NOW.0 + day / 2, 3))),
    ];
    let mut message = world.announced(1, batches);
    // An impossible start is no better, even if the device calls it confirmed.
    message.batches.push((id(2, 4), STREAM, batch(TimeBase::SinceBoot, &times(0, 3))));
    let start = EpochStart { unix: UnixMs(1000), certainty: Certainty::Confirmed };
    message.starts = vec![(2, start)];
    world.send(&message).await;
    let qualities: Vec<_> =
        world.blocks().await.iter().map(|b| (b.id.sequence.0, b.time_quality)).collect();
    let (suspect, device) = (TimeQuality::Suspect, TimeQuality::Device);
    assert_eq!(qualities, [(2, suspect), (4, suspect), (3, device), (1, suspect)]);
}

#[tokio::test]
async fn long_message_is_taken_whole() {
    let world = World::new().await;
    let batches: Vec<_> = (0..20i64)
        .map(|i| {
            let sequence = u32::try_from(i + 1).unwrap();
            (id(1, sequence), batch(TimeBase::Unix, &times(NOW.0 + i * 5_000_000, 1000)))
        })
        .collect();
    let message = world.announced(1, batches);
    const { assert!(20 * 1000 > crate::limits::DECODE_INLINE_VALUES_MAX) };
    assert_eq!(world.send(&message).await.acks, [ack(1, 1, 20)]);
    let rows: u32 = world.blocks().await.iter().map(|block| u32::from(block.rows)).sum();
    assert_eq!(rows, 20_000);
}

/// Returns the label of a message's outcome.
async fn fate(world: &World, message: &[u8]) -> &'static str {
    world.ingest.take(message).await.map_or_else(|error| error.as_str(), |_| "taken")
}

#[tokio::test]
async fn points_that_crowd_on_a_column_are_no_layout() {
    let world = World::new().await;
    for (counter, points) in [(1, 128), (2, 5)] {
        let mut message = bomb(counter, 1, points, 86_400_000);
        let stream = StreamNumber(points.into());
        message.layouts[0].0 = stream;
        message.batches.iter_mut().for_each(|(_, of, _)| *of = stream);
        let heard = world.send(&message).await;
        let reasons: Vec<BatchRefusal> =
            heard.refused.iter().map(|refused| refused.reason).collect();
        assert_eq!(reasons, [BatchRefusal::BadLayout; 23], "{points} points on one column");
    }
    assert!(world.blocks().await.is_empty());
    assert!(world.store.list_streams(world.device).await.unwrap().is_empty());
}

/// Profiles cannot have such text, but a device can announce it.
#[tokio::test]
async fn layout_with_text_that_commands_a_terminal_is_refused() {
    let world = World::new().await;
    let layout = with_states(r#"1 = "on???""#);
    let with = |old: &[u8], new: &[u8]| {
        let at = layout.windows(old.len()).position(|part| part == old).unwrap();
        let mut other = layout.clone();
        other[at..at + new.len()].copy_from_slice(new);
        assert!(Layout::from_cbor(&other).is_ok(), "the text alone is refused");
        other
    };
    let layouts = [
        (with(b"???", b"\x1b[2"), false),
        (with(b"???", "\u{202e}".as_bytes()), false),
        (with(b"est/states", b"\x1b"), false),
        (with(b"???", "\u{2600}".as_bytes()), true),
    ];
    for (number, (layout, is_taken)) in (1u16..).zip(layouts) {
        let (stream, id) = (StreamNumber(number), id(1, number.into()));
        let message = Message {
            counter: number.into(),
            batches: vec![(id, stream, constant(1, 1, NOW.0, 1))],
            layouts: vec![(stream, layout)],
            ..Message::default()
        };
        let heard = world.send(&message).await;
        let refused = RefusedBatch { id, reason: BatchRefusal::BadLayout };
        assert_eq!(heard.refused, if is_taken { vec![] } else { vec![refused] }, "{number}");
    }
    assert_eq!(world.store.list_streams(world.device).await.unwrap().len(), 1);
}

/// A few bytes into an inverter's open quarter hour are merged with all the points that it ever had.
#[tokio::test]
async fn points_of_all_layouts_of_an_inverter_are_limited() {
    let world = World::new().await;
    let fit = POINTS_PER_SOURCE_MAX / 128;
    let letters: Vec<char> = ('a'..='p').collect();
    let minutes = |n: i64| constant(64, 15, NOW.0 + n, 60_000);
    for (n, letter) in (1u16..).zip(&letters) {
        let stream = StreamNumber(n);
        let message = Message {
            counter: n.into(),
            batches: vec![(id(1, n.into()), stream, minutes(n.into()))],
            layouts: vec![(stream, layout_named(*letter, 64, 128))],
            ..Message::default()
        };
        let heard = world.send(&message).await;
        let refused = RefusedBatch { id: id(1, n.into()), reason: BatchRefusal::BadLayout };
        let expected = if usize::from(n) <= fit { vec![] } else { vec![refused] };
        assert_eq!(heard.refused, expected, "layout {n}");
    }
    let stored = world.store.list_points(world.device, SOURCE).await.unwrap();
    assert_eq!(stored.len(), POINTS_PER_SOURCE_MAX);
    assert_eq!(world.store.list_streams(world.device).await.unwrap().len(), fit);

    // A layout whose points the inverter has already is still taken.
    let stream = StreamNumber(100);
    let message = Message {
        counter: 100,
        batches: vec![(id(1, 100), stream, constant(32, 15, NOW.0 + 100, 60_000))],
        layouts: vec![(stream, layout_named('a', 32, 128))],
        ..Message::default()
    };
    let heard = world.send(&message).await;
    assert_eq!(heard.refused, []);
    assert!(heard.acks.iter().any(|ack| ack.contains(id(1, 100))), "{heard:?}");
}

#[tokio::test]
async fn batch_of_years_is_refused_and_one_of_slow_samples_is_not() {
    let world = World::new().await;
    let day = 86_400_000;
    let from = NOW.0 - 600 * day;
    let slow = |rows, step| constant(10, rows, from, step);
    let batches = vec![
        (id(1, 1), slow(1024, day)),
        (id(1, 2), slow(2, 601 * day)),
        (id(1, 3), slow(2, i64::from(i32::MAX) * 10_000)),
        (id(1, 4), slow(512, day)),
        (id(1, 5), slow(1024, day / 24)),
    ];
    let heard = world.send(&world.announced(1, batches)).await;
    let refused: Vec<_> = heard.refused.iter().map(|r| (r.id.sequence.0, r.reason)).collect();
    assert_eq!(refused, [1, 2, 3].map(|sequence| (sequence, BatchRefusal::Span)));
    assert_eq!(heard.acks, [ack(1, 1, 5)]);
}

#[tokio::test]
async fn message_that_brings_more_than_its_bytes_are_worth_is_taken_in_parts() {
    let world = World::new().await;
    // Each sample in a quarter hour of its own.
    let mut message = bomb(1, 32, 128, 900_000);
    let sealed = world.seal(&message);
    assert!(sealed.len() < 16_000, "{} bytes", sealed.len());
    let before = world.size();
    let heard = world.send(&message).await;
    assert_eq!(heard.refused, []);
    let taken = world.blocks().await.len();
    assert!((1..6).contains(&taken), "{taken} batches of 131,072 cells each");
    assert!(world.size() - before < 24 << 20, "{} bytes", world.size() - before);
    // The device sends again what was not taken.
    let is_there = |id: &BatchId| heard.acks.iter().any(|ack| ack.contains(*id));
    message.batches.retain(|(id, ..)| !is_there(id));
    assert_eq!(message.batches.len(), 23 - taken);
    message.counter = 2;
    let again = world.send(&message).await;
    assert!(again.acks.iter().any(|ack| ack.contains(message.batches[0].0)));
}

#[tokio::test]
async fn device_over_its_quota_waits_and_another_is_served() {
    let world = World::new().await;
    let before = world.size();
    let mut fates = Vec::new();
    for counter in 1..=80 {
        fates.push(fate(&world, &world.seal(&bomb(counter, 32, 128, 900_000))).await);
        if *fates.last().unwrap() == "over_quota" {
            break;
        }
    }
    assert_eq!(fates.last(), Some(&"over_quota"), "{fates:?}");
    // A change of its site or of its other keys does not pay its debt.
    let next = u64::try_from(fates.len()).unwrap() + 1;
    world.ingest.forget_places();
    assert_eq!(fate(&world, &world.seal(&bomb(next, 32, 128, 900_000))).await, "over_quota");
    world.ingest.forget_keys(world.device);
    assert_eq!(fate(&world, &world.seal(&bomb(next, 32, 128, 900_000))).await, "over_quota");
    assert_eq!(fates[0], "taken");
    let grown = world.size() - before;
    assert!(grown < 160 << 20, "{grown} bytes for {} messages", fates.len());
    let other = enrol(&world.store, "BBBBB").await;
    let world = World { device: other, ..world };
    let message = world.announced(1, vec![(id(1, 1), batch(TimeBase::Unix, &times(NOW.0, 7)))]);
    assert_eq!(world.send(&message).await.acks, [ack(1, 1, 1)]);
}

/// Returns layouts that no other message has, one for each of 23 streams.
fn unseen_layouts(counter: u64, first: u16) -> Vec<(StreamNumber, Vec<u8>)> {
    let layout = |n: u16| {
        let mut layout = layout_of(1, 1);
        // The profile's name.
        let number = format!("x/{:04}", counter * 23 + u64::from(n));
        layout[5..11].copy_from_slice(number.as_bytes());
        (StreamNumber(first + n), layout)
    };
    (0..23).map(layout).collect()
}

/// Returns the bytes of the tables with the dictionary of layouts and points.
async fn dictionary_bytes(world: &World) -> u64 {
    let report = world.store.report().await.unwrap();
    report.kinds.iter().find(|of| of.kind == Kind::Rest).unwrap().bytes
}

#[tokio::test]
async fn device_in_debt_enters_no_layouts() {
    let world = World::new().await;
    let mut counter = 1;
    while fate(&world, &world.seal(&bomb(counter, 32, 128, 900_000))).await == "taken" {
        counter += 1;
    }
    let before = dictionary_bytes(&world).await;
    for n in 0..40 {
        let layouts = unseen_layouts(n, 100);
        let message = Message { counter, layouts, ..Message::default() };
        assert_eq!(fate(&world, &world.seal(&message)).await, "over_quota");
    }
    assert_eq!(dictionary_bytes(&world).await, before);
}

/// Refused ones cost as well: each is compared with what the device has announced already.
#[tokio::test]
async fn announcements_are_charged() {
    let world = World::new().await;
    let mut fates = Vec::new();
    for counter in 1..=200u16 {
        let layouts = unseen_layouts(counter.into(), counter * 23);
        let message = Message { counter: counter.into(), layouts, ..Message::default() };
        fates.push(fate(&world, &world.seal(&message)).await);
        if fates.last() != Some(&"taken") {
            break;
        }
    }
    assert!(fates.len() > 20, "{} messages", fates.len());
    assert_eq!(fates.last(), Some(&"over_quota"));
}

#[tokio::test]
async fn bombs_at_once_are_put_off_and_others_are_served() {
    for count in [4, 32] {
        let world = World::new().await;
        let before = world.size();
        let bombs: Vec<_> = (1..=count).map(|n| world.seal(&bomb(n, 32, 128, 900_000))).collect();
        let other = enrol(&world.store, "BBBBB").await;
        let attack =
            futures_util::future::join_all(bombs.iter().map(|sealed| fate(&world, sealed)));
        let fates = attack.await;
        let taken = fates.iter().filter(|fate| **fate == "taken").count();
        assert!(taken >= 1 && fates.iter().all(|f| ["taken", "stale", "over_quota"].contains(f)));
        assert!(taken <= 2, "{fates:?}");
        assert!(world.size() - before < 64 << 20, "{} bytes", world.size() - before);
        let world = World { device: other, ..world };
        let batches = vec![(id(1, 1), batch(TimeBase::Unix, &times(NOW.0, 7)))];
        assert_eq!(world.send(&world.announced(1, batches)).await.acks, [ack(1, 1, 1)]);
    }
}

#[tokio::test]
async fn stale_message_is_refused_before_it_is_read_and_changes_nothing() {
    let world = World::new().await;
    let first = world.announced(5, vec![(id(1, 1), batch(TimeBase::Unix, &[NOW.0]))]);
    let sealed = world.seal(&first);
    assert_eq!(fate(&world, &sealed).await, "taken");
    let streams = world.store.list_streams(world.device).await.unwrap().len();
    for counter in [0, 1, 4, 5] {
        let mut late =
            world.announced(counter, vec![(id(2, 1), batch(TimeBase::SinceBoot, &times(1000, 3)))]);
        late.layouts.push((StreamNumber(9), layout_of(2, 2)));
        late.clock = Some(ClockReport { epoch: BootEpoch(2), mono: MonoMs(9000), unix: None });
        assert_eq!(fate(&world, &world.seal(&late)).await, "stale", "{counter}");
        // What is in it does not matter.
        let (keys, request) = world.request(counter);
        let mut noise = vec![0xff; 64];
        let length = seal_uplink(&keys, request, &mut noise, 40).unwrap();
        assert_eq!(fate(&world, &noise[..length]).await, "stale", "{counter}");
    }
    assert_eq!(world.store.list_streams(world.device).await.unwrap().len(), streams);
    assert_eq!(fate(&world, &sealed).await, "taken", "the very last is answered again");

    // Another process knows it from the store.
    let ingest = Ingest::new(
        world.store.clone(),
        Clock::simulated(NOW, 0.001),
        Entropy::system(),
        Live::default(),
        Arc::default(),
    );
    let world = World { ingest, ..world };
    let (keys, request) = world.request(5);
    let mut noise = vec![0xff; 64];
    let length = seal_uplink(&keys, request, &mut noise, 40).unwrap();
    assert_eq!(fate(&world, &noise[..length]).await, "stale");
    assert_eq!(fate(&world, &sealed).await, "taken");
}

#[tokio::test]
async fn message_again_gets_the_same_reply_whatever_was_refused_in_it() {
    let world = World::new().await;
    let batches = vec![(id(1, 1), vec![0xf0]), (id(1, 2), batch(TimeBase::Unix, &[NOW.0]))];
    let mut message = world.announced(1, batches);
    message.batches.push((id(1, 3), StreamNumber(8), batch(TimeBase::Unix, &[NOW.0])));
    let first = world.send(&message).await;
    assert_eq!(first.refused, [RefusedBatch { id: id(1, 1), reason: BatchRefusal::Undecodable }]);
    assert_eq!(first.wanted, [StreamNumber(8)]);
    for _ in 0..2 {
        assert_eq!(world.send(&message).await, first);
    }
    assert_eq!(world.blocks().await.len(), 1);
}

#[tokio::test]
async fn stream_is_announced_by_a_message_that_is_accepted() {
    let world = World::new().await;
    assert_eq!(fate(&world, &world.seal(&world.announced(1, Vec::new()))).await, "taken");
    // The key is revoked while it is remembered.
    world.store.revoke_keys(Author::new("a test", NOW), world.device).await.unwrap();
    let mut message = world.announced(2, Vec::new());
    message.layouts = vec![(StreamNumber(2), layout_of(2, 2))];
    assert_eq!(fate(&world, &world.seal(&message)).await, "unknown_key");
    let streams = world.store.list_streams(world.device).await.unwrap();
    let announced = StreamId::new(KeyGeneration(1), STREAM);
    assert_eq!(streams.iter().map(|stream| stream.id).collect::<Vec<_>>(), [announced]);
}

#[tokio::test]
async fn counter_that_the_store_cannot_hold_is_refused() {
    let world = World::new().await;
    for counter in [1 << 63, u64::MAX] {
        let message = world.seal(&world.announced(counter, Vec::new()));
        assert_eq!(fate(&world, &message).await, "bad_counter");
    }
    let message = world.seal(&world.announced((1 << 63) - 1, Vec::new()));
    assert_eq!(fate(&world, &message).await, "taken");
}

/// Polls until `count` messages wait for their turn.
async fn until_waiting(world: &World, count: usize, mut last: impl Future<Output = &str> + Unpin) {
    while TURNS_WAITING_MAX - world.ingest.intake.turns.waiting.available_permits() < count {
        tokio::select! {
            fate = &mut last => panic!("{fate} without a turn"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn large_messages_wait_for_their_turn_and_small_ones_pass_them() {
    let mut world = World::new().await;
    let first = world.device;
    let other = enrol(&world.store, "BBBBB").await;
    let message = |world: &World, counter, rows| {
        let batches =
            vec![(id(1, u32::try_from(counter).unwrap()), constant(10, rows, NOW.0, 1000))];
        world.seal(&world.announced(counter, batches))
    };
    // Large by their content: none has a hundred bytes besides its layout.
    let large = [1, 2, 3].map(|counter| message(&world, counter, 1000));
    assert!(large[0].len() < 1024, "{} bytes", large[0].len());
    world.device = other;
    let (small, late) = (message(&world, 1, 300), message(&world, 2, 1000));
    world.device = first;

    let turns = &world.ingest.intake.turns;
    let all = turns.decoding.try_acquire_many(TURNS_MAX).unwrap();
    let mut waits = Box::pin(fate(&world, &large[0]));
    until_waiting(&world, 1, &mut waits).await;
    let mut next = Box::pin(fate(&world, &large[1]));
    until_waiting(&world, 2, &mut next).await;
    assert_eq!(fate(&world, &large[2]).await, "over_quota", "a third of one device");
    assert_eq!(fate(&world, &small).await, "taken");
    let places = turns.waiting.available_permits();
    let places = turns.waiting.try_acquire_many(places.try_into().unwrap()).unwrap();
    assert_eq!(fate(&world, &late).await, "busy", "all places to wait are taken");
    drop((places, all));
    assert_eq!(waits.await, "taken");
    assert_eq!(next.await, "taken");
    assert_eq!(fate(&world, &late).await, "taken");
    assert_eq!(world.ingest.intake.turns.decoding.available_permits(), TURNS_MAX as usize);
}
