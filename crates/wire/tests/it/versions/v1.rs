//! Bytes of version 1, as devices in the field send and expect them. Not to be edited: a change that
//! breaks one of these breaks devices.

use core::time::Duration;

use ecowatt_model::{BatchId, BootEpoch, MonoMs, Sequence, SourceNumber, StreamNumber, UnixMs};
use ecowatt_wire::{
    AckRange, Batch, BootReason, Certainty, ClockReport, Dropped, EpochStart, Refusal, Refused,
    Reply, ReplyWriter, SourceState, SourceStatus, Sources, Status, Stream, Uplink, UplinkWriter,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(epoch: u32, sequence: u32) -> BatchId {
    BatchId { epoch: BootEpoch(epoch), sequence: Sequence(sequence) }
}

#[test]
fn ordinary_uplink() {
    let mut buffer = [0; 64];
    let mut writer = UplinkWriter::new(&mut buffer);
    let batch =
        Batch { id: id(2, 300), stream: StreamNumber(1), bytes: &[0xaa, 0xbb], start: None };
    assert_eq!(writer.batches(&mut std::iter::once(batch), 0), Ok(1));
    let length = writer.finish();
    assert_eq!(hex(&buffer[..length]), "a10181840219012c0142aabb");
}

#[test]
fn uplink_with_every_section() {
    let mut buffer = [0; 256];
    let mut writer = UplinkWriter::new(&mut buffer);
    let confirmed = EpochStart { unix: UnixMs(1_763_699_940_000), certainty: Certainty::Confirmed };
    let estimated = EpochStart { unix: UnixMs(-1), certainty: Certainty::Estimated };
    let stream = StreamNumber(1);
    let batches = [
        Batch { id: id(2, 300), stream, bytes: &[0xaa], start: None },
        Batch { id: id(2, 301), stream, bytes: &[], start: Some(confirmed) },
        Batch { id: id(1, 9), stream, bytes: &[0xbb], start: Some(estimated) },
    ];
    writer.batches(&mut batches.into_iter(), 0).unwrap();
    let clock = ClockReport {
        epoch: BootEpoch(2),
        mono: MonoMs(60_000),
        unix: Some(UnixMs(1_763_700_000_000)),
    };
    writer.clock(&clock).unwrap();
    let stream = Stream { number: StreamNumber(1), source: SourceNumber(0), layout: &[0xa0] };
    writer.streams(&mut std::iter::once(stream), 0).unwrap();
    let sources = [SourceStatus {
        source: SourceNumber(0),
        state: SourceState::Online,
        requests: 1_000,
        failures: 2,
        quarantined: 1,
    }];
    writer
        .status(&Status {
            firmware: "ecowatt 0.1.0",
            boot_reason: BootReason::Unclean,
            samples: 500,
            backlog_batches: 3,
            spool_bytes: 4_096,
            spool_capacity_bytes: 67_108_864,
            link_failures: 4,
            clock_deviation_ms: -15,
            sources: Sources::Given(&sources),
        })
        .unwrap();
    let lost = Some((Sequence(5), Sequence(9)));
    let dropped = Dropped { epoch: BootEpoch(1), batches: lost, samples: 900 };
    writer.dropped(&mut std::iter::once(dropped), 0).unwrap();
    let length = writer.finish();
    assert_eq!(
        hex(&buffer[..length]),
        concat!(
            "a5",
            "01",
            "83",
            "840219012c0141aa",
            "850219012d0140821b0000019aa4b55aa001",
            "8501090141bb822000",
            "02",
            "8302",
            "19ea60",
            "1b0000019aa4b64500",
            "03",
            "81",
            "83010041a0",
            "04",
            "89",
            "6d65636f7761747420302e312e30",
            "01",
            "1901f4",
            "03",
            "191000",
            "1a04000000",
            "04",
            "2e",
            "81",
            "8500011903e80201",
            "05",
            "81",
            "84010509190384",
        )
    );
    let uplink = Uplink::parse(&buffer[..length]).unwrap();
    assert_eq!(uplink.batches().collect::<Vec<_>>(), batches);
    assert_eq!(uplink.clock(), Some(clock));
    assert_eq!(uplink.streams().collect::<Vec<_>>(), [stream]);
    let status = uplink.status().unwrap();
    assert_eq!(status.firmware, "ecowatt 0.1.0");
    assert_eq!(status.clock_deviation_ms, -15);
    assert_eq!(status.sources.iter().collect::<Vec<_>>(), sources);
    assert_eq!(uplink.dropped().collect::<Vec<_>>(), [dropped]);
}

#[test]
fn samples_lost_in_batches_and_in_none() {
    let mut buffer = [0; 32];
    let mut writer = UplinkWriter::new(&mut buffer);
    let batches = Some((Sequence(1), Sequence(300)));
    let dropped = [
        Dropped { epoch: BootEpoch(7), batches, samples: 54_000 },
        Dropped { epoch: BootEpoch(8), batches: None, samples: 31 },
    ];
    assert_eq!(writer.dropped(&mut dropped.into_iter(), 0), Ok(2));
    let length = writer.finish();
    assert_eq!(hex(&buffer[..length]), "a1058284070119012c19d2f084080000181f");
    assert_eq!(Uplink::parse(&buffer[..length]).unwrap().dropped().collect::<Vec<_>>(), dropped);
}

#[test]
fn clock_that_is_not_set() {
    let mut buffer = [0; 32];
    let mut writer = UplinkWriter::new(&mut buffer);
    let clock = ClockReport { epoch: BootEpoch(2), mono: MonoMs(1), unix: None };
    writer.clock(&clock).unwrap();
    let length = writer.finish();
    assert_eq!(hex(&buffer[..length]), "a102830201f6");
    assert_eq!(Uplink::parse(&buffer[..length]).unwrap().clock(), Some(clock));
}

#[test]
fn reply_with_every_section() {
    let mut buffer = [0; 128];
    let mut writer = ReplyWriter::new(&mut buffer);
    let acks = [
        AckRange { epoch: BootEpoch(2), first: Sequence(1), last: Sequence(299) },
        AckRange { epoch: BootEpoch(2), first: Sequence(301), last: Sequence(301) },
    ];
    writer.acks(&mut acks.into_iter()).unwrap();
    writer.time(UnixMs(1_763_700_000_000)).unwrap();
    writer.wanted(&mut [StreamNumber(1), StreamNumber(2)].into_iter()).unwrap();
    let refused = Refused { id: id(2, 300), reason: Refusal::Undecodable };
    writer.refused(&mut std::iter::once(refused)).unwrap();
    writer.check_in(Duration::from_secs(900)).unwrap();
    let length = writer.finish();
    assert_eq!(
        hex(&buffer[..length]),
        concat!(
            "a5",
            "01",
            "82",
            "83020119012b",
            "830219012d19012d",
            "02",
            "1b0000019aa4b64500",
            "03",
            "82",
            "01",
            "02",
            "04",
            "81",
            "830219012c01",
            "05",
            "1a000dbba0",
        )
    );
    let reply = Reply::parse(&buffer[..length]).unwrap();
    assert_eq!(reply.acks().collect::<Vec<_>>(), acks);
    assert_eq!(reply.time(), Some(UnixMs(1_763_700_000_000)));
    assert_eq!(reply.wanted().collect::<Vec<_>>(), [StreamNumber(1), StreamNumber(2)]);
    assert_eq!(reply.refused().collect::<Vec<_>>(), [refused]);
    assert_eq!(reply.check_in(), Some(Duration::from_secs(900)));
}
