//! Messages of a later version, by hand: whatever it added is passed over, and what this version
//! knows is read.

use ecowatt_model::{BatchId, BootEpoch, MonoMs, Sequence, SourceNumber, StreamNumber, UnixMs};
use ecowatt_wire::{
    AckRange, Batch, BootReason, Certainty, ClockReport, Dropped, EpochStart, ParseError, Refusal,
    Refused, Reply, SourceState, Uplink,
};

/// Bytes of hexadecimal text with blanks and comments to the end of a line.
fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn id(epoch: u32, sequence: u32) -> BatchId {
    BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
}

#[test]
fn items_and_sections_of_a_later_uplink_are_passed_over() {
    let bytes = bytes(
        "a9
         01 83 85 02 07 01 41aa 82 05 01                    # confirmed
               87 02 08 01 41bb 83 06 18c8 a0 f6 820102     # certainty 200, and more
               84 02 09 01 41cc
         02 85 02 1903e8 05 a1 01 02 80                     # two more clocks
         03 81 85 01 00 41a0 f5 6161
         04 8b 6161 18c8 03 04 05 06 07 08                  # boot reason 200
               82 87 00 05 01 02 03 04 a0                   # state 5 and two more items
                  85 01 01 01 02 03
               f6 a16178 80                                 # two more items
         05 81 85 01 02 03 04 1903e7
         06 82 07 81 820102                                 # keys that are set aside
         07 81 a0
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
    let batches = Some((Sequence(2), Sequence(3)));
    let dropped = Dropped { epoch: BootEpoch(1), batches, samples: 4 };
    assert_eq!(uplink.dropped().collect::<Vec<_>>(), [dropped]);
}

#[test]
fn items_sections_and_refusals_of_a_later_reply_are_passed_over() {
    let bytes = bytes(
        "a8
         01 81 85 02 01 09 a0 80
         02 1b0000019aa4b64500
         03 81 01
         04 83 83 02 07 17 84 02 08 18ff f6 85 02 09 05 01 02
         05 1a000dbba0
         06 82 07 a0
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
            Refused { id: id(2, 7), reason: Refusal::Other(23) },
            Refused { id: id(2, 8), reason: Refusal::Other(255) },
            Refused { id: id(2, 9), reason: Refusal::NoStart },
        ]
    );
    assert_eq!(reply.wanted().collect::<Vec<_>>(), [StreamNumber(1)]);
    assert_eq!(reply.time(), Some(UnixMs(1_763_700_000_000)));
    assert!(reply.check_in().is_some());
}

#[test]
fn what_this_version_has_may_not_be_missing() {
    for text in [
        "a1 01 81 83 02 07 01",            // a batch without its bytes
        "a1 01 81 85 02 07 01 41aa 81 05", // a start without certainty
        "a1 01 81 85 02 07 01 41aa f6",    // no start in its place
        "a1 02 82 02 05",                  // a clock without the time
        "a1 04 88 6161 00 03 04 05 06 07 08",
        "a1 05 81 83 01 02 03",
    ] {
        let bytes = bytes(text);
        let parsed = Uplink::parse(&bytes);
        assert!(matches!(parsed, Err(ParseError::Malformed(_))), "{text}: {parsed:?}");
    }
    for text in ["a1 01 81 82 02 01", "a1 04 81 82 02 07"] {
        let bytes = bytes(text);
        let parsed = Reply::parse(&bytes);
        assert!(matches!(parsed, Err(ParseError::Malformed(_))), "{text}: {parsed:?}");
    }
}
