//! Messages that are not the next of their device.

use super::*;

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
