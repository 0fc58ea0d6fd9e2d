//! What a message, a device and all devices together may cost.

use super::*;

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
