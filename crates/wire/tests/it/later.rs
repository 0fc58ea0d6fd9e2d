//! Hand-made messages of a later version: its additions are skipped, and everything that this
//! version knows is read.

use std::time::Duration;

use ecowatt_model::{
    BatchId, BootEpoch, ConfigGeneration, LeaseGeneration, LeaseId, MonoMs, Sequence,
    SequenceRange, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_wire::{
    AckRange, Batch, BatchRefusal, BootReason, Certainty, ClockReport, CommandAction,
    CommandFailure, CommandState, ConfigState, EpochStart, ITEMS_MAX, Key, LeaseCause,
    LeaseRefusal, Limit, LostSamples, ParseError, REPLY_KEYS, RefusedBatch, RefusedLease,
    RefusedSetting, Reply, SettingRefusal, SettingValue, SourceState, UPLINK_KEYS, Uplink,
};

use crate::bytes;

fn id(epoch: u32, sequence: u32) -> BatchId {
    BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
}

#[test]
fn items_and_sections_of_a_later_uplink_are_skipped() {
    // Every array has additional items, and every enum a code that this version does not know.
    let bytes = bytes(
        "aa
         01 84 85 02 07 01 41aa 82 05 01                    # confirmed
               87 02 08 01 41bb 83 06 18c8 a0 f6 820102     # certainty 200, and more
               84 02 09 01 41cc
               86 02 0a 01 41dd f6 a0                      # no start, and one more
         02 85 02 1903e8 05 a1 01 02 80                     # two more clocks
         03 81 85 01 00 41a0 f5 6161
         04 8b 6161 18c8 03 04 05 06 07 08                  # boot reason 200
               82 87 00 05 01 02 03 04 a0                   # state 5 and two more items
                  85 01 01 01 02 03
               f6 a16178 80                                 # two more items
         05 81 85 01 02 03 04 1903e7
         06 85 07 18c8 81 84 01 f6 18c8 a0 81 84 02 03 f6 80 f6  # state and reason 200, and more
         07 82 87 01 18c8 f6 00 00 40 a0 86 02 03 05 18c8 01 41ee # state and failure 200
         08 82 07 81 820102                                 # a reserved key
         09 1a00010000
         1903e8 a1 61 61 82 f4 f97e00",
    );
    let uplink = Uplink::parse(&bytes).unwrap();
    let start = |unix, certainty| Some(EpochStart { unix: UnixMs(unix), certainty });
    let stream = StreamNumber(1);
    assert_eq!(
        uplink.batches().collect::<Vec<_>>(),
        [
            Batch { id: id(2, 7), stream, bytes: &[0xaa], start: start(5, Certainty::Confirmed) },
            Batch { id: id(2, 8), stream, bytes: &[0xbb], start: start(6, Certainty::Estimated) },
            Batch { id: id(2, 9), stream, bytes: &[0xcc], start: None },
            Batch { id: id(2, 10), stream, bytes: &[0xdd], start: None },
        ]
    );
    let clock = ClockReport { epoch: BootEpoch(2), mono: MonoMs(1000), unix: Some(UnixMs(5)) };
    assert_eq!(uplink.clock(), Some(clock));
    assert_eq!(uplink.streams().map(|s| (s.number, s.layout)).next(), Some((stream, &[0xa0][..])));
    let status = uplink.status().unwrap();
    assert_eq!((status.firmware, status.boot_reason), ("a", BootReason::Unknown));
    assert_eq!((status.samples, status.clock_deviation_ms), (3, 8));
    let sources: Vec<_> = status.sources.iter().map(|s| (s.source, s.state, s.failures)).collect();
    let states = [SourceState::Unknown, SourceState::Online];
    assert_eq!(sources, [(SourceNumber(0), states[0], 2), (SourceNumber(1), states[1], 2)]);
    let batches = Some(SequenceRange { first: Sequence(2), last: Sequence(3) });
    let dropped = LostSamples { epoch: BootEpoch(1), batches, samples: 4 };
    assert_eq!(uplink.dropped().collect::<Vec<_>>(), [dropped]);
    let reported = uplink.reported().unwrap();
    assert_eq!((reported.generation, reported.state), (ConfigGeneration(7), ConfigState::Unknown));
    let other = RefusedSetting { setting: 1, source: None, reason: SettingRefusal::Other };
    assert_eq!(reported.refused.iter().collect::<Vec<_>>(), [other]);
    let value = SettingValue { setting: 2, value: 3, source: None };
    assert_eq!(reported.values.iter().collect::<Vec<_>>(), [value]);
    let results: Vec<_> = uplink.results().map(|r| (r.id.0, r.state, r.failure)).collect();
    let none = CommandFailure::None;
    assert_eq!(results, [(1, CommandState::Unknown, none), (2, CommandState::Failed, none)]);
    assert_eq!(uplink.patience(), Duration::from_millis(65_536));
}

#[test]
fn items_sections_and_refusals_of_a_later_reply_are_skipped() {
    let bytes = bytes(
        "a9
         01 81 85 02 01 09 a0 80
         02 1b0000019aa4b64500
         03 81 01
         04 83 83 02 07 17 84 02 08 18ff f6 85 02 09 05 01 02
         05 1a000dbba0
         06 83 07 81 84 18c8 05 f6 a0 f6                     # setting 200, and more
         07 83 87 01 18c8 f6 05 f6 40 80                     # kind 200
               86 02 01 00 05 06 43 820102                 # arguments of another kind
               86 03 04 00 05 06 44 821901f4               # half of a number
         08 80
         18ff f7",
    );
    let reply = Reply::parse(&bytes).unwrap();
    let acks = AckRange { epoch: BootEpoch(2), first: Sequence(1), last: Sequence(9) };
    assert_eq!(reply.acks().collect::<Vec<_>>(), [acks]);
    let refused: Vec<_> = reply.refused().collect();
    assert_eq!(
        refused,
        [
            RefusedBatch { id: id(2, 7), reason: BatchRefusal::Other(23) },
            RefusedBatch { id: id(2, 8), reason: BatchRefusal::Other(255) },
            RefusedBatch { id: id(2, 9), reason: BatchRefusal::NoStart },
        ]
    );
    assert_eq!(reply.wanted().collect::<Vec<_>>(), [StreamNumber(1)]);
    assert_eq!(reply.time(), Some(UnixMs(1_763_700_000_000)));
    assert!(reply.check_in().is_some());
    let desired = reply.desired().unwrap();
    assert_eq!(desired.generation, ConfigGeneration(7));
    let value = SettingValue { setting: 200, value: 5, source: None };
    assert_eq!(desired.values.iter().collect::<Vec<_>>(), [value]);
    let orders: Vec<_> = reply.commands().map(|c| (c.id.0, c.order)).collect();
    assert_eq!(
        orders,
        [
            (1, CommandAction::Other(200)),
            (2, CommandAction::Other(1)),
            (3, CommandAction::Other(4))
        ]
    );
}

#[test]
fn items_of_this_version_may_not_be_missing() {
    for text in [
        "a1 01 81 83 02 07 01",            // a batch without its bytes
        "a1 01 81 85 02 07 01 41aa 81 05", // a start without certainty
        "a1 01 81 85 02 07 01 41aa 05",    // a wrong value in place of a start
        "a1 02 82 02 05",                  // a clock without the time
        "a1 04 88 6161 00 03 04 05 06 07 08",
        "a1 05 81 83 01 02 03",
        "a1 06 83 07 01 80",          // settings without values
        "a1 07 81 85 01 02 f6 00 00", // a result without words
    ] {
        let bytes = bytes(text);
        let parsed = Uplink::parse(&bytes);
        assert!(matches!(parsed, Err(ParseError::Malformed(_))), "{text}: {parsed:?}");
    }
    for text in [
        "a1 01 81 82 02 01",
        "a1 04 81 82 02 07",
        "a1 06 81 07",                // a generation without values
        "a1 07 81 85 01 02 f6 05 f6", // a command without arguments
    ] {
        let bytes = bytes(text);
        let parsed = Reply::parse(&bytes);
        assert!(matches!(parsed, Err(ParseError::Malformed(_))), "{text}: {parsed:?}");
    }
}

/// Values of every kind that CBOR has, some nested as deeply as a message is long.
fn anything() -> Vec<Vec<u8>> {
    let mut values: Vec<_> = [
        "00 # numbers",
        "1bffffffffffffffff",
        "3bffffffffffffffff",
        "40",
        "6161",
        "80",
        "a0",
        "c1 1a00010000 # tagged",
        "d9d9f7 82 01 a1 f6 f5",
        "f5",
        "f7",
        "f8ff",
        "f97e00 # not a number",
        "fb3ff8000000000000",
    ]
    .map(bytes)
    .into();
    let long = |head: &str, len| [bytes(head), vec![b'x'; len]].concat();
    values.push(long("59 8000", 0x8000));
    values.push(long("7a 00010000", 0x10000));
    let nested = |head: u8, depth| [vec![head; depth], vec![0x00]].concat();
    values.push(nested(0x81, 50_000));
    values.push(nested(0xc2, 50_000));
    // {0: {0: … 0}}
    values.push([bytes("a100").repeat(20_000), vec![0]].concat());
    values.push([bytes("994000"), [0x81, 0x20].repeat(0x4000)].concat());
    values
}

#[test]
fn every_key_that_is_not_in_use_is_skipped_whatever_its_value() {
    let further = [12, 23, 24, 255, 256, u16::MAX].map(|key| Key::Reserved(key, "anything"));
    for value in anything() {
        for key in UPLINK_KEYS.into_iter().chain(further) {
            let message = [vec![0xa1], head(0, key.number()), value.clone()].concat();
            let is_taken = Uplink::parse(&message).is_ok();
            match key {
                Key::Reserved(..) => {
                    assert!(is_taken, "{key:?} {:02x?}", &message[..9.min(message.len())])
                }
                Key::InUse(9, _) => assert_eq!(is_taken, value == [0], "patience"),
                Key::InUse(number, _) => assert!(!is_taken || is_empty_list(&value), "{number}"),
            }
        }
        for key in REPLY_KEYS.into_iter().chain(further) {
            let message = [vec![0xa1], head(0, key.number()), value.clone()].concat();
            if matches!(key, Key::Reserved(..)) {
                assert!(Reply::parse(&message).is_ok(), "{key:?}");
            }
        }
    }
}

fn is_empty_list(value: &[u8]) -> bool {
    value == [0x80]
}

/// The shortest head of a major type.
fn head(major: u8, value: u16) -> Vec<u8> {
    let major = major << 5;
    match value.to_be_bytes() {
        [0, low @ 0..24] => vec![major | low],
        [0, low] => vec![major | 24, low],
        [high, low] => vec![major | 25, high, low],
    }
}

/// Full lists whose items each have as many extra items as allowed, between and before unknown
/// sections, of which there are more than a writer of this version can count.
#[test]
fn a_later_message_is_read_at_every_limit() {
    // More items than fit in a one-byte head, so that longer heads are read as well.
    let more = 300u16;
    let longer = |items: u16, item: &str| {
        let mut bytes = [head(4, items + more), bytes(item)].concat();
        (0..more)
            .for_each(|n| bytes.extend(if n % 2 == 0 { vec![0xf6] } else { vec![0x81, 0xa0] }));
        bytes
    };
    let full = |key: &str, item: Vec<u8>| [bytes(key), vec![0x97], item.repeat(ITEMS_MAX)].concat();
    let source = longer(5, "07 18ff 1affffffff 1affffffff 19ffff");
    let status = [
        head(4, 9 + more),
        bytes("7820"),
        vec![b'x'; 32],
        bytes("18ff 00 01 1bffffffffffffffff 1bffffffffffffffff 02 3b7fffffffffffffff 97"),
        source.repeat(ITEMS_MAX),
        vec![0xf6; more.into()],
    ]
    .concat();
    let unknown: Vec<u8> =
        (12..206u16).flat_map(|key| [head(0, key), bytes("82 81 80 a1 20 f4")].concat()).collect();
    let refused = longer(3, "01 f6 01").repeat(ITEMS_MAX);
    let values = longer(3, "01 1affffffff 07").repeat(ITEMS_MAX);
    let sections = [
        full("01", longer(5, "02 07 01 41aa 82 05 01")),
        [vec![0x02], longer(3, "02 1903e8 f6")].concat(),
        full("03", longer(3, "01 00 41a0")),
        [vec![0x04], status].concat(),
        full("05", longer(4, "01 00 00 04")),
        [
            bytes("06"),
            head(4, 4 + more),
            bytes("07 01 97"),
            refused,
            bytes("97"),
            values,
            vec![0xf6; more.into()],
        ]
        .concat(),
        full("07", longer(6, "01 02 f6 00 00 41aa")),
        bytes("09 1affffffff"),
    ];
    let message = [head(5, 8 + 194), sections.concat(), unknown.clone()].concat();
    let uplink = Uplink::parse(&message).unwrap();
    assert_eq!((uplink.batches().len(), uplink.streams().len()), (ITEMS_MAX, ITEMS_MAX));
    assert!(uplink.batches().all(|batch| batch.start.is_some() && batch.bytes == [0xaa]));
    assert_eq!(uplink.clock().map(|clock| clock.unix), Some(None));
    let status = uplink.status().unwrap();
    assert_eq!((status.boot_reason, status.link_failures), (BootReason::Unknown, 2));
    assert_eq!(status.clock_deviation_ms, i64::MIN);
    assert_eq!(status.sources.iter().filter(|s| s.quarantined == u16::MAX).count(), ITEMS_MAX);
    assert!(uplink.dropped().all(|dropped| dropped.batches.is_none() && dropped.samples == 4));
    let reported = uplink.reported().unwrap();
    assert_eq!((reported.refused.len(), reported.values.len()), (ITEMS_MAX, ITEMS_MAX));
    assert!(reported.values.iter().all(|value| value.source == Some(SourceNumber(7))));
    assert!(uplink.results().all(|result| result.words == [0xaa]) && uplink.results().len() == 23);

    let sections = [
        full("01", longer(3, "02 01 1affffffff")),
        bytes("02 1b7fffffffffffffff"),
        full("03", bytes("19ffff")),
        full("04", longer(3, "02 07 18ff")),
        bytes("05 1affffffff"),
    ];
    let desired = longer(3, "01 1affffffff 07").repeat(ITEMS_MAX);
    let settings = [bytes("06 82 07 97"), desired].concat();
    let commands = full("07", longer(6, "01 06 f6 05 f6 41 80"));
    let last = [settings, commands, bytes("08 80 09 1affffffff 0a 80")].concat();
    let message = [head(5, 5 + 5), sections.concat(), last].concat();
    let reply = Reply::parse(&message).unwrap();
    assert_eq!((reply.acks().len(), reply.wanted().len()), (ITEMS_MAX, ITEMS_MAX));
    assert!(reply.refused().all(|refused| refused.reason == BatchRefusal::Other(255)));
    assert_eq!(reply.desired().unwrap().values.len(), ITEMS_MAX);
    assert!(
        reply.commands().all(|c| c.order == CommandAction::Upload) && reply.commands().len() == 23
    );
    assert_eq!(reply.held().as_millis(), u128::from(u32::MAX));
}

/// The page and the table of keys agree.
#[test]
fn keys_match_the_description_of_the_protocol() {
    let page = include_str!("../../../../docs/wire-protocol.md");
    for key in 1..=11 {
        let cell = |keys: &[Key]| match keys.iter().find(|held| held.number() == key) {
            Some(Key::InUse(_, meaning)) => (*meaning).to_owned(),
            Some(Key::Reserved(_, meaning)) => format!("*{meaning}*"),
            None => "–".to_owned(),
        };
        let row = format!("| {key} | {} | {} |", cell(&UPLINK_KEYS), cell(&REPLY_KEYS));
        assert!(page.contains(&row), "docs/wire-protocol.md has no row: {row}");
    }
    let ascending = |keys: &[Key]| keys.is_sorted_by_key(|key| key.number());
    assert!(ascending(&UPLINK_KEYS) && ascending(&REPLY_KEYS));
}

#[test]
fn leases_of_a_later_version_are_read() {
    // More items at every place, a unit, a reason and a cause that this version does not know.
    let reply = bytes("a1 0b 83 04 81 8a 07 f6 83 09 1903e8 f6 00 01 00 0a 82 01 02 05 a0 80");
    let leases = Reply::parse(&reply).unwrap().leases().unwrap();
    let lease = leases.leases.iter().next().unwrap();
    assert_eq!((leases.generation, lease.limit), (LeaseGeneration(4), Limit::Unknown));
    assert_eq!((lease.then, lease.priority), (Some(Limit::Watts(2)), 5));
    let uplink =
        bytes("a1 0b 84 04 81 83 08 18c8 f6 81 8d 00 03 05 f6 07 18c8 f6 18c8 00 f6 f6 f6 80 f6");
    let reported = Uplink::parse(&uplink).unwrap().leases().unwrap();
    let refused = RefusedLease { id: LeaseId(8), reason: LeaseRefusal::Other };
    assert_eq!(reported.refused.iter().collect::<Vec<_>>(), [refused]);
    let change = reported.changes.iter().next().unwrap();
    assert_eq!((change.cause, change.failure), (LeaseCause::Unknown, CommandFailure::None));
}
