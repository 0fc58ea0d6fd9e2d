//! The maximum length of a section is exactly the length of its largest value.

use std::time::Duration;

use ecowatt_model::{BatchId, BootEpoch, MonoMs, Sequence, SourceNumber, StreamNumber, UnixMs};
use ecowatt_wire::{
    AckRange, Batch, BootReason, Certainty, ClockReport, Dropped, EpochStart, FIRMWARE_MAX,
    ITEMS_MAX, LAYOUT_MAX, Refusal, Refused, Reply, ReplyWriter, SourceState, SourceStatus,
    Sources, Status, Stream, Uplink, UplinkWriter, WriteError, list_len_max, uplink_fixed_len_max,
};

const ID: BatchId = BatchId { epoch: BootEpoch(u32::MAX), sequence: Sequence(u32::MAX) };
const STREAM: StreamNumber = StreamNumber(u16::MAX);
const PAYLOAD: [u8; 1000] = [7; 1000];
const LAYOUT: [u8; LAYOUT_MAX] = [1; LAYOUT_MAX];

const BATCH: Batch<'_> = Batch {
    id: ID,
    stream: STREAM,
    bytes: &PAYLOAD,
    start: Some(EpochStart { unix: UnixMs(i64::MIN), certainty: Certainty::Confirmed }),
};
const CLOCK: ClockReport = ClockReport {
    epoch: BootEpoch(u32::MAX),
    mono: MonoMs(u64::MAX),
    unix: Some(UnixMs(i64::MAX)),
};
const ANNOUNCED: Stream<'_> = Stream { number: STREAM, source: SourceNumber(255), layout: &LAYOUT };
const SOURCE: SourceStatus = SourceStatus {
    source: SourceNumber(255),
    state: SourceState::Faulty,
    requests: u32::MAX,
    failures: u32::MAX,
    quarantined: u16::MAX,
};
const DROPPED: Dropped = Dropped {
    epoch: BootEpoch(u32::MAX),
    batches: Some((Sequence(u32::MAX), Sequence(u32::MAX))),
    samples: u32::MAX,
};

fn status<'a>(firmware: &'a str, sources: &'a [SourceStatus]) -> Status<'a> {
    Status {
        firmware,
        boot_reason: BootReason::First,
        samples: u32::MAX,
        backlog_batches: u32::MAX,
        spool_bytes: u64::MAX,
        spool_capacity_bytes: u64::MAX,
        link_failures: u32::MAX,
        clock_deviation_ms: i64::MIN,
        sources: Sources::Given(sources),
    }
}

/// Length of a section, without the head of the message.
fn uplink(write: impl FnOnce(&mut UplinkWriter<'_>)) -> usize {
    let mut buffer = vec![0; 200_000];
    let mut writer = UplinkWriter::new(&mut buffer);
    write(&mut writer);
    let length = writer.finish();
    assert!(Uplink::parse(&buffer[..length]).is_ok());
    length - 1
}

fn reply(write: impl FnOnce(&mut ReplyWriter<'_>)) -> usize {
    let mut buffer = vec![0; 4096];
    let mut writer = ReplyWriter::new(&mut buffer);
    write(&mut writer);
    let length = writer.finish();
    assert!(Reply::parse(&buffer[..length]).is_ok());
    length - 1
}

#[test]
fn largest_sections_of_an_uplink_have_their_stated_length() {
    for count in [1, 2, ITEMS_MAX] {
        let batches =
            uplink(|w| assert_eq!(w.batches(&mut vec![BATCH; count].into_iter(), 0), Ok(count)));
        assert_eq!(batches, list_len_max(count * (PAYLOAD.len() + Batch::HEAD_LEN_MAX)));
        let streams = uplink(|w| {
            assert_eq!(w.streams(&mut vec![ANNOUNCED; count].into_iter(), 0), Ok(count))
        });
        assert_eq!(streams, list_len_max(count * (LAYOUT_MAX + Stream::HEAD_LEN_MAX)));
        let dropped =
            uplink(|w| assert_eq!(w.dropped(&mut vec![DROPPED; count].into_iter(), 0), Ok(count)));
        assert_eq!(dropped, list_len_max(count * Dropped::LEN_MAX));
    }
    assert_eq!(uplink(|w| w.clock(&CLOCK).unwrap()), 1 + ClockReport::LEN_MAX);
    let firmware = "x".repeat(FIRMWARE_MAX);
    for count in [0, 1, ITEMS_MAX] {
        let sources = vec![SOURCE; count];
        let length = uplink(|w| w.status(&status(&firmware, &sources)).unwrap());
        assert_eq!(length, 1 + Status::len_max(count));
        let both = uplink(|w| {
            w.clock(&CLOCK).unwrap();
            w.status(&status(&firmware, &sources)).unwrap();
        });
        assert_eq!(1 + both, uplink_fixed_len_max(count));
    }
}

#[test]
fn largest_sections_of_a_reply_have_their_stated_length() {
    let ack = AckRange { epoch: ID.epoch, first: ID.sequence, last: ID.sequence };
    let refused = Refused { id: ID, reason: Refusal::Other(255) };
    for count in [1, ITEMS_MAX] {
        let acks = reply(|w| assert_eq!(w.acks(&mut vec![ack; count].into_iter()), Ok(count)));
        assert_eq!(acks, list_len_max(count * AckRange::LEN_MAX));
        let refused =
            reply(|w| assert_eq!(w.refused(&mut vec![refused; count].into_iter()), Ok(count)));
        assert_eq!(refused, list_len_max(count * Refused::LEN_MAX));
    }
    let all = reply(|w| {
        w.acks(&mut [ack; ITEMS_MAX].into_iter()).unwrap();
        w.time(UnixMs(i64::MAX)).unwrap();
        w.wanted(&mut [STREAM; ITEMS_MAX].into_iter()).unwrap();
        w.refused(&mut [refused; ITEMS_MAX].into_iter()).unwrap();
        w.check_in(Duration::MAX).unwrap();
        w.held(Duration::MAX).unwrap();
    });
    assert_eq!(1 + all, Reply::LEN_MAX);
}

#[test]
fn a_status_with_more_sources_than_a_list_can_have_is_not_written() {
    let sources = [SOURCE; ITEMS_MAX + 1];
    let mut buffer = [0; 4096];
    let mut writer = UplinkWriter::new(&mut buffer);
    assert_eq!(writer.status(&status("x", &sources)), Err(WriteError::TooManyItems));
    assert_eq!(writer.finish(), 1);
}
