//! Announcements of streams.

use super::*;

#[test]
fn streams_are_announced_once_and_never_with_another_layout() {
    let stream = |number: u16, layout: &[u8]| NewStream {
        id: StreamId::new(KEY, StreamNumber(number)),
        source: SOURCE,
        layout: layout.to_vec(),
        points: Vec::new(),
        at: UnixMs(0),
    };
    let mut engine = Engine::new(Holds::WhatStays);
    let with = |counter, streams| {
        let one = block(id(1, u32::try_from(counter).unwrap()), (0, 5, 0, GOOD));
        Upload { streams, ..upload(counter, vec![one]) }
    };
    let receipt = engine.stored(with(1, vec![stream(1, b"a"), stream(1, b"a")]));
    assert_eq!((receipt.unannounced.len(), engine.rows.streams.len()), (0, 1));
    let receipt = engine.stored(with(2, vec![stream(1, b"b")]));
    assert_eq!(receipt.unannounced, [stream(1, b"").id]);
    assert_eq!((receipt.deferred, receipt.stored), (vec![id(1, 2)], vec![]));
    let many = (0..u16::try_from(STREAMS_PER_KEY_MAX).unwrap() + 2).map(|n| stream(n, b"a"));
    let receipt = engine.stored(with(3, many.collect()));
    assert_eq!(receipt.unannounced.len(), 2);
    assert_eq!(engine.rows.streams.len(), STREAMS_PER_KEY_MAX as usize);
}

#[test]
fn streams_with_more_points_than_an_inverter_may_have_are_deferred() {
    let stream = |number: u16| {
        let point = |n| PointDef { name: format!("x.{number}.{n}"), unit: Unit::None, exponent: 0 };
        NewStream {
            id: StreamId::new(KEY, StreamNumber(number)),
            source: SOURCE,
            layout: number.to_be_bytes().to_vec(),
            points: (0..128).map(point).collect(),
            at: UnixMs(0),
        }
    };
    let fit = u16::try_from(POINTS_PER_SOURCE_MAX / 128).unwrap();
    for holds in [Holds::Everything, Holds::Nothing] {
        let mut engine = Engine::new(holds);
        for number in 1..=fit + 3 {
            let mut one = block(id(1, number.into()), (0, 5, 0, GOOD));
            one.stream = stream(number).id;
            let of_it =
                Upload { streams: vec![stream(number)], ..upload(number.into(), vec![one]) };
            let receipt = engine.stored(of_it);
            let expected = usize::from(number <= fit);
            assert_eq!((receipt.stored.len(), receipt.unannounced.len()), (expected, 1 - expected));
        }
        assert_eq!(engine.rows.streams.len(), usize::from(fit));
        // All at once are limited likewise.
        let mut engine = Engine::new(holds);
        let streams = (1..=fit + 3).map(stream).collect();
        let receipt = engine.stored(Upload { streams, ..upload(1, Vec::new()) });
        assert_eq!(receipt.unannounced, [1, 2, 3].map(|n| stream(fit + n).id));
    }
}
