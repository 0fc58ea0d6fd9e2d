//! What was received under earlier keys of a device, and after a reset.

use super::*;

#[test]
fn counter_of_an_earlier_key_does_not_count() {
    let mut engine = Engine::new(Holds::Nothing);
    engine.rows.link = LoadedLink {
        generation: KeyGeneration(1),
        counter: Counter(1_000),
        digest: Some([1; 32]),
        ..LoadedLink::default()
    };
    engine.stored(upload(1, vec![block(id(1, 1), (0, 5, 0, GOOD))]));
    let link = &engine.rows.link;
    assert_eq!((link.generation, link.counter), (KEY, Counter(1)));
}

#[test]
fn batches_under_earlier_keys_are_known_unless_the_device_was_reset() {
    let earlier = (BootEpoch(3), KeyGeneration(1));
    let one = || block(id(3, 5), (0, 5, 0, GOOD));
    for is_reset in [false, true] {
        let mut engine = Engine::new(Holds::WhatStays);
        engine.rows.key.first_epoch = BootEpoch(10);
        if is_reset {
            engine.rows.key.forgotten = (KeyGeneration(1), BootEpoch(9));
        }
        let mut received = Received::default();
        received.add(5, 5);
        received.add(6, 5);
        engine.rows.received.insert(earlier, received);
        let stored = block(id(3, 5), (0, 5, 0, GOOD));
        engine.rows.blocks.insert((SOURCE, stored.id), stored);

        let same_bytes = engine.stored(upload(1, vec![one()]));
        assert_eq!((same_bytes.duplicates, same_bytes.stored.len()), (1, 0), "{is_reset}");
        let other = block(id(3, 6), (100, 5, 0, GOOD));
        let receipt = engine.stored(upload(2, vec![other]));
        let names: Vec<BatchId> = engine.rows.blocks.keys().map(|(_, id)| *id).collect();
        if is_reset {
            assert_eq!(receipt.stored, [id(3, 6)]);
            assert_eq!(names, [id(3, 5), id(9, 1 << 31)], "under an id of its own");
        } else {
            assert_eq!((receipt.duplicates, names.len()), (1, 1));
        }
    }
}

#[test]
fn batch_whose_time_has_expired_is_known_by_its_edges_after_a_reset() {
    let one = || block(id(3, 5), (0, 5, 0, GOOD));
    let Summary { power, counter, .. } = one().summary;
    for (edges, is_known) in [((power.edges, counter.clone()), true), ((None, None), false)] {
        let mut engine = Engine::new(Holds::WhatStays);
        engine.rows.key.first_epoch = BootEpoch(10);
        engine.rows.key.forgotten = (KeyGeneration(1), BootEpoch(9));
        let (power, counter) = edges;
        engine.rows.expired.insert(id(3, 5), BatchLookup::Expired { power, counter });
        let receipt = engine.stored(upload(1, vec![one()]));
        let expected = if is_known { (1, 0) } else { (0, 1) };
        assert_eq!((receipt.duplicates, receipt.stored.len()), expected);
    }
}

/// The order in which the batches of a backlog are sent, each message as a range of them.
fn orders(count: u32) -> Vec<(&'static str, Vec<Vec<u32>>)> {
    let all: Vec<u32> = (1..=count).collect();
    let messages = |size| all.chunks(size).map(<[u32]>::to_vec).collect::<Vec<_>>();
    let newest_first = |size| messages(size).into_iter().rev().collect::<Vec<_>>();
    let reversed = newest_first(23).into_iter().map(|message| message.into_iter().rev().collect());
    vec![
        ("oldest first", messages(23)),
        ("newest first, one by one", newest_first(1)),
        ("newest message first", newest_first(23)),
        ("newest first", reversed.collect()),
        ("all at once", vec![all.clone()]),
        // The other half began from its own end.
        ("from the middle", {
            let (low, high) = all.split_at(all.len() / 2);
            let high = high.chunks(7).map(<[u32]>::to_vec);
            high.chain(low.rchunks(7).map(<[u32]>::to_vec)).collect()
        }),
    ]
}

/// Batches of a quarter hour at 3 kW, of two epochs, none of which was stored before the reset.
#[test]
fn energy_of_a_backlog_after_a_reset_does_not_depend_on_its_order() {
    let quarter = |n: u32| {
        let of = if n <= 10 { id(3, n) } else { id(4, n - 10) };
        // Two samples, 15 minutes apart, of a counter that makes 3,000 Wh an hour.
        let energy = EnergyPoints {
            power: None,
            counter: Some(EnergyPoint { index: 0, exponent: 0 }),
            rated_w: Some(5_000),
        };
        let mut summarise = Summariser::new(&[PointId(2)], energy);
        for step in 0..2 {
            let at = UnixMs(i64::from(2 * n + step) * 450_000);
            let value = 1_000_000 + i64::from(2 * n + step) * 375;
            summarise.sample(at, LocalDate(0), [(Quality::Good, Some(value))]);
        }
        let first = UnixMs(i64::from(2 * n) * 450_000);
        NewBlock { first, summary: summarise.finish(), ..block(of, (0, 2, 0, (false, false))) }
    };
    for count in [20, 60, 200] {
        for (order, messages) in orders(count) {
            for holds in [Holds::Everything, Holds::WhatStays, Holds::Nothing] {
                let mut engine = Engine::new(holds);
                engine.rows.key = KeyState {
                    first_epoch: BootEpoch(10),
                    forgotten: (KeyGeneration(1), BootEpoch(9)),
                    ..KeyState::default()
                };
                for (counter, message) in (1..).zip(&messages) {
                    let batches = message.iter().map(|n| quarter(*n)).collect();
                    engine.stored(upload(counter, batches));
                }
                let Rows { days, row, blocks, .. } = &engine.rows;
                let open = row.iter().flat_map(|row| row.days.iter().map(|(_, day)| day));
                let counted = sums(days.values().chain(open)).counter_mwh;
                let expected = i64::from(2 * count - 1) * 375_000;
                assert_eq!(counted, expected, "{count} batches, {order}, {holds:?}");
                assert!(blocks.keys().all(|(_, id)| id.epoch == BootEpoch(9)));
            }
        }
    }
}
