//! What an accepted message stores, and what its reply says.

use super::*;

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
