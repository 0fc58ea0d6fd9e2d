//! Messages of a device, sealed as devices seal them, against a store of their own.

use std::sync::Arc;

use ecowatt_clock::Clock;
use ecowatt_codec::{Batch, COLUMNS_MAX, State, TimeBase, encode, encoded_len_max};
use ecowatt_envelope::{DeviceKey, Kid, LinkKeys, RequestId, open_reply, seal_uplink};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, MonoMs, Sequence, SourceNumber,
    StreamNumber, UnixMs,
};
use ecowatt_profile::{Layout, Transport, catalogue};
use ecowatt_store::{Block, ClaimFor, NewClaim, RedeemClaim, Store, TimeQuality, TimeRange};
use ecowatt_wire::{AckRange, ClockReport, Refusal, Refused, Reply, Stream, UplinkWriter};

use super::{Ingest, IngestError};
use crate::entropy::Entropy;
use crate::live::{Live, What};
use crate::metrics::Metrics;

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

/// A message in the making.
#[derive(Default)]
struct Message {
    counter: u64,
    batches: Vec<(BatchId, StreamNumber, Vec<u8>)>,
    layouts: Vec<(StreamNumber, Vec<u8>)>,
    clock: Option<ClockReport>,
}

/// What the device reads from a reply.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    acks: Vec<AckRange>,
    wanted: Vec<StreamNumber>,
    refused: Vec<Refused>,
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

/// A batch of ten columns: samples at these times, with 1,000 W more from each to the next.
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
    let mut state: Box<State<COLUMNS_MAX>> = Box::default();
    let length = encode(&batch, &mut state, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let claim = NewClaim {
            claim_for: ClaimFor::New {
                name: "barn".into(),
                site: "Hof".into(),
                time_zone: Some("Europe/Berlin".into()),
            },
            id: "AAAAA".into(),
            secret: vec![1; 15],
            created: NOW,
            expires: UnixMs(NOW.0 + 1),
        };
        let device = store.create_claim(claim).await.unwrap();
        let redeemed = RedeemClaim {
            id: "AAAAA".into(),
            public_key: [1; 32],
            generation: KeyGeneration(1),
            first_epoch: ecowatt_model::BootEpoch(1),
            secret: SECRET,
            reply: Vec::new(),
            at: NOW,
        };
        store.redeem_claim(redeemed).await.unwrap();
        let live = Live::default();
        let metrics = Arc::new(Metrics::default());
        let clock = Clock::simulated(NOW, 0.001);
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
        let kid = Kid { device: self.device, generation: KeyGeneration(1) };
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
        });
        assert_eq!(writer.batches(&mut batches).unwrap(), message.batches.len());
        if let Some(clock) = &message.clock {
            writer.clock(clock).unwrap();
        }
        let mut layouts = message.layouts.iter().map(|(number, layout)| Stream {
            number: *number,
            source: SOURCE,
            layout,
        });
        writer.streams(&mut layouts).unwrap();
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
            layouts: vec![(STREAM, self.layout.to_cbor())],
            clock: None,
        }
    }

    async fn blocks(&self) -> Vec<Block> {
        let range = TimeRange { from: UnixMs(0), to: UnixMs(i64::MAX) };
        self.store.blocks(self.device, SOURCE, range, None).await.unwrap()
    }
}

fn times(from: i64, count: i64) -> Vec<i64> {
    (0..count).map(|i| from + i * 5000).collect()
}

#[tokio::test]
async fn message_is_stored_answered_and_shown() {
    let world = World::new().await;
    let mut events = world.live.subscribe();
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
    let What::Sample(sample) = event.what else { panic!("{event:?}") };
    assert_eq!((sample.device.as_str(), sample.inverter, sample.t_ms), ("dev-1", 0, NOW.0 - 5000));
    assert!(sample.values.contains(&("ac.power".into(), 1000.0)), "{sample:?}");
    assert!(sample.values.contains(&("ac.frequency".into(), 50.01)), "{sample:?}");
    assert!(events.try_recv().is_err(), "one sample an inverter, the newest");

    // The reply got lost: the device sends the same bytes.
    let reply = world.ingest.take(&sealed).await.unwrap();
    assert_eq!(unsealed(&keys, request, &reply), expected);
    assert_eq!(world.blocks().await.len(), 2);
    assert!(events.try_recv().is_err());
    let link = world.store.find_device(world.device).await.unwrap().unwrap().link;
    assert_eq!((link.messages, link.batches), (1, 2));
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
    let undecodable = Refusal::Undecodable;
    assert_eq!(
        refused,
        [
            (1, undecodable),
            (2, undecodable),
            (3, undecodable),
            (4, undecodable),
            (5, Refusal::WrongColumns),
            (6, Refusal::BadLayout)
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

    world.store.revoke_keys(world.device, NOW).await.unwrap();
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
async fn epoch_is_anchored_once_and_for_all_of_its_batches() {
    let world = World::new().await;
    let clock =
        |epoch, mono| ClockReport { epoch: BootEpoch(epoch), mono: MonoMs(mono), unix: Some(NOW) };
    // Epoch 5 is 100 s old on arrival; of epoch 4 nobody knows when it was.
    let mut message = world.announced(
        1,
        vec![
            (id(5, 1), batch(TimeBase::SinceBoot, &times(10_000, 3))),
            (id(4, 9), batch(TimeBase::SinceBoot, &times(40_000, 3))),
        ],
    );
    message.clock = Some(clock(5, 100_000));
    world.send(&message).await;
    // The next message has another view of the epoch's age.
    let mut message = world.announced(
        2,
        vec![
            (id(5, 2), batch(TimeBase::SinceBoot, &times(30_000, 3))),
            (id(4, 8), batch(TimeBase::SinceBoot, &times(20_000, 3))),
        ],
    );
    message.clock = Some(clock(5, 70_000));
    world.send(&message).await;
    let blocks = world.blocks().await;
    let placed: Vec<_> = blocks.iter().map(|b| (b.id, b.first.0 - NOW.0, b.time_quality)).collect();
    // Epoch 4 ends, with its last sample, where epoch 5 begins.
    assert_eq!(
        placed,
        [
            (id(4, 8), -100_000 - 30_000, TimeQuality::Estimated),
            (id(4, 9), -100_000 - 10_000, TimeQuality::Estimated),
            (id(5, 1), -90_000, TimeQuality::Anchored),
            (id(5, 2), -70_000, TimeQuality::Anchored),
        ]
    );
    assert_eq!(blocks[2].time_offset_ms, NOW.0 - 100_000);
}

#[tokio::test]
async fn message_that_may_have_come_late_gives_an_estimate() {
    let world = World::new().await;
    let late = UnixMs(NOW.0 - 61_000);
    let clocks = [None, Some(late), Some(UnixMs(NOW.0 - 60_000))];
    for (epoch, unix) in (1..).zip(clocks) {
        let batches = vec![(id(epoch, 1), batch(TimeBase::SinceBoot, &times(10_000, 3)))];
        let mut message = world.announced(epoch.into(), batches);
        message.clock = Some(ClockReport { epoch: BootEpoch(epoch), mono: MonoMs(30_000), unix });
        world.send(&message).await;
    }
    let mut placed: Vec<_> = (world.blocks().await.iter())
        .map(|b| (b.id.epoch.0, b.first.0 - NOW.0, b.time_quality))
        .collect();
    placed.sort_unstable_by_key(|(epoch, ..)| *epoch);
    assert_eq!(
        placed,
        [
            (1, -20_000, TimeQuality::Estimated),
            (2, -20_000, TimeQuality::Estimated),
            (3, -80_000, TimeQuality::Anchored),
        ]
    );
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
    world.send(&world.announced(1, batches)).await;
    let qualities: Vec<_> =
        world.blocks().await.iter().map(|b| (b.id.sequence.0, b.time_quality)).collect();
    let (suspect, device) = (TimeQuality::Suspect, TimeQuality::Device);
    assert_eq!(qualities, [(2, suspect), (3, device), (1, suspect)]);
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
    const { assert!(20 * 1000 > super::DECODE_INLINE_VALUES_MAX) };
    assert_eq!(world.send(&message).await.acks, [ack(1, 1, 20)]);
    let rows: u32 = world.blocks().await.iter().map(|block| u32::from(block.rows)).sum();
    assert_eq!(rows, 20_000);
}
