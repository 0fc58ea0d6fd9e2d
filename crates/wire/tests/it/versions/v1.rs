//! Bytes of version 1, as devices in the field send and expect them.
//!
//! **If a test here fails**, the change that made it fail would cut off devices in the field from
//! their server. Revert the change; do not edit the bytes. An addition goes into its own section or
//! to the end of an array (`wire/src/lib.rs` lists what may be added), gets its own bytes here, and
//! is written only when it is needed. Messages without it keep their bytes.
//!
//! Bytes are followed by `#` and their meaning.

use core::time::Duration;

use ecowatt_model::{
    BatchId, BootEpoch, CommandId, ConfigGeneration, LeaseGeneration, LeaseId, MonoMs, Sequence,
    SequenceRange, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_wire::{
    AckRange, Batch, BatchRefusal, BootReason, Certainty, ClockReport, Command, CommandAction,
    CommandFailure, CommandResult, CommandState, ConfigState, Desired, DesiredLeases, EpochStart,
    Lease, LeaseCause, LeaseRefusal, Limit, LimitChange, LostSamples, RefusedBatch, RefusedLease,
    RefusedSetting, Reply, ReplyWriter, Reported, ReportedLeases, SectionList, SettingRefusal,
    SettingValue, SourceState, SourceStatus, Status, Stream, Uplink, UplinkWriter,
};

use crate::bytes;

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
    let golden = bytes(
        "a1             # a message of one section
         01 81          # batches: one
            84          # of four items
               02       # epoch
               19012c   # sequence 300
               01       # stream
               42 aabb  # two bytes of the codec's",
    );
    assert_eq!(buffer[..length], golden);
}

#[test]
fn uplink_with_every_section() {
    // Batches without a start, with a confirmed one and with an estimated one.
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
            sources: SectionList::Given(&sources),
        })
        .unwrap();
    let lost = Some(SequenceRange { first: Sequence(5), last: Sequence(9) });
    let dropped = LostSamples { epoch: BootEpoch(1), batches: lost, samples: 900 };
    writer.dropped(&mut std::iter::once(dropped), 0).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a5                                 # a message of five sections
         01 83                              # batches: three
            84 02 19012c 01 41 aa           # epoch 2, sequence 300, stream 1, its bytes
            85 02 19012d 01 40              # sequence 301, no bytes
               82 1b0000019aa4b55aa0 01     # the epoch began at this Unix ms: confirmed
            85 01 09 01 41 bb               # epoch 1, sequence 9
               82 20 00                     # the epoch began at -1: estimated
         02 83                              # clock
               02                           # epoch
               19ea60                       # 60,000 ms since it began
               1b0000019aa4b64500           # the time of day, Unix ms
         03 81                              # streams: one
            83 01 00 41 a0                  # number 1, source 0, its layout
         04 89                              # status
               6d 65636f7761747420302e312e30 # firmware: ecowatt 0.1.0
               01                           # boot reason: unclean
               1901f4                       # 500 samples
               03                           # 3 batches wait
               191000                       # in 4,096 bytes
               1a04000000                   # of 67,108,864
               04                           # 4 messages without a reply
               2e                           # the clock is 15 ms behind
               81                           # sources: one
                  85 00 01 1903e8 02 01     # source 0, online, 1,000 reads, 2 failed, 1 register out
         05 81                              # dropped: one range
            84 01 05 09 190384              # epoch 1, batches 5 to 9, 900 samples",
    );
    assert_eq!(buffer[..length], golden);
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
fn samples_lost_in_batches_and_outside_of_batches() {
    let mut buffer = [0; 32];
    let mut writer = UplinkWriter::new(&mut buffer);
    let batches = Some(SequenceRange { first: Sequence(1), last: Sequence(300) });
    let dropped = [
        LostSamples { epoch: BootEpoch(7), batches, samples: 54_000 },
        LostSamples { epoch: BootEpoch(8), batches: None, samples: 31 },
    ];
    assert_eq!(writer.dropped(&mut dropped.into_iter(), 0), Ok(2));
    let length = writer.finish();
    let golden = bytes(
        "a1
         05 82                        # dropped: two
            84 07 01 19012c 19d2f0    # epoch 7, batches 1 to 300, 54,000 samples
            84 08 00 00 181f          # epoch 8, in no batch: 31 samples in all",
    );
    assert_eq!(buffer[..length], golden);
    assert_eq!(Uplink::parse(&buffer[..length]).unwrap().dropped().collect::<Vec<_>>(), dropped);
}

#[test]
fn clock_that_is_not_set() {
    let mut buffer = [0; 32];
    let mut writer = UplinkWriter::new(&mut buffer);
    let clock = ClockReport { epoch: BootEpoch(2), mono: MonoMs(1), unix: None };
    writer.clock(&clock).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a1
         02 83 02 01 f6  # clock: epoch 2, 1 ms since it began, no idea of the time of day",
    );
    assert_eq!(buffer[..length], golden);
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
    let refused = RefusedBatch { id: id(2, 300), reason: BatchRefusal::Undecodable };
    writer.refused(&mut std::iter::once(refused)).unwrap();
    writer.check_in(Duration::from_secs(900)).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a5                        # a message of five sections
         01 82                     # acknowledged: two ranges
            83 02 01 19012b        # epoch 2, batches 1 to 299
            83 02 19012d 19012d    # and 301
         02 1b0000019aa4b64500     # the time, Unix ms
         03 82 01 02               # wanted: streams 1 and 2
         04 81                     # refused: one
            83 02 19012c 01        # epoch 2, batch 300: undecodable
         05 1a000dbba0             # come again after 900,000 ms",
    );
    assert_eq!(buffer[..length], golden);
    let reply = Reply::parse(&buffer[..length]).unwrap();
    assert_eq!(reply.acks().collect::<Vec<_>>(), acks);
    assert_eq!(reply.time(), Some(UnixMs(1_763_700_000_000)));
    assert_eq!(reply.wanted().collect::<Vec<_>>(), [StreamNumber(1), StreamNumber(2)]);
    assert_eq!(reply.refused().collect::<Vec<_>>(), [refused]);
    assert_eq!(reply.check_in(), Some(Duration::from_secs(900)));
}

#[test]
fn reply_that_was_delayed() {
    let mut buffer = [0; 32];
    let mut writer = ReplyWriter::new(&mut buffer);
    writer.time(UnixMs(1_763_700_000_000)).unwrap();
    writer.held(Duration::from_secs(50)).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a2
         02 1b0000019aa4b64500  # the time, Unix ms
         09 19c350              # 50,000 ms after the message had come",
    );
    assert_eq!(buffer[..length], golden);
    let reply = Reply::parse(&buffer[..length]).unwrap();
    assert_eq!(
        (reply.time(), reply.held()),
        (Some(UnixMs(1_763_700_000_000)), Duration::from_secs(50))
    );
}

#[test]
fn reports_of_settings_and_commands() {
    let mut buffer = [0; 128];
    let mut writer = UplinkWriter::new(&mut buffer);
    let refused = [
        RefusedSetting { setting: 99, source: None, reason: SettingRefusal::Unknown },
        RefusedSetting {
            setting: 1,
            source: Some(SourceNumber(7)),
            reason: SettingRefusal::NoSource,
        },
    ];
    let values = [
        SettingValue { setting: 2, value: 60_000, source: None },
        SettingValue { setting: 1, value: 5_000, source: Some(SourceNumber(0)) },
    ];
    let reported = Reported {
        generation: ConfigGeneration(12),
        state: ConfigState::Trial,
        refused: SectionList::Given(&refused),
        values: SectionList::Given(&values),
    };
    writer.reported(&reported).unwrap();
    let results = [
        CommandResult {
            id: CommandId(41),
            state: CommandState::Succeeded,
            at: Some(UnixMs(1_763_700_000_000)),
            failure: CommandFailure::None,
            detail: 0,
            words: &[0x01, 0xf4],
        },
        CommandResult {
            id: CommandId(300),
            state: CommandState::Failed,
            at: None,
            failure: CommandFailure::Exception,
            detail: 2,
            words: &[],
        },
    ];
    assert_eq!(writer.results(&mut results.into_iter(), 0), Ok(2));
    writer.patience(Duration::from_secs(30)).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a3                                 # a message of three sections
         06 84                              # reported configuration
               0c                           # generation 12
               02                           # state: trial
               82                           # refused: two
                  83 1863 f6 01             # setting 99: not known
                  83 01 07 04               # setting 1 of source 7: no such source
               82                           # values in use: two
                  82 02 19ea60              # setting 2: 60,000
                  83 01 191388 00           # setting 1: 5,000, for source 0
         07 82                              # results: two
            86 1829 02                      # command 41: succeeded
               1b0000019aa4b64500           # at this Unix ms
               00 00                        # no failure, no detail
               42 01f4                      # register read back: 500
            86 19012c 03 f6 0b 02 40        # command 300: failed, time unknown, exception 2
         09 197530                          # the reply may be held for 30,000 ms",
    );
    assert_eq!(buffer[..length], golden);
    let uplink = Uplink::parse(&buffer[..length]).unwrap();
    let parsed = uplink.reported().unwrap();
    assert_eq!((parsed.generation, parsed.state), (reported.generation, reported.state));
    assert_eq!(parsed.refused.iter().collect::<Vec<_>>(), refused);
    assert_eq!(parsed.values.iter().collect::<Vec<_>>(), values);
    assert_eq!(uplink.results().collect::<Vec<_>>(), results);
    assert_eq!(uplink.patience(), Duration::from_secs(30));
}

#[test]
fn desired_settings_and_commands() {
    let mut buffer = [0; 256];
    let mut writer = ReplyWriter::new(&mut buffer);
    let values = [
        SettingValue { setting: 2, value: 60_000, source: None },
        SettingValue { setting: 1, value: 5_000, source: Some(SourceNumber(0)) },
    ];
    let desired = Desired { generation: ConfigGeneration(12), values: SectionList::Given(&values) };
    writer.desired(&desired).unwrap();
    let deadline = UnixMs(1_763_700_000_000);
    let to_source = |id, order| Command {
        id: CommandId(id),
        source: Some(SourceNumber(0)),
        deadline,
        not_before: None,
        order,
    };
    let write = CommandAction::Write { point: "control.p_limit", mantissa: 500, exponent: -1 };
    let upload = Command {
        id: CommandId(300),
        source: None,
        deadline,
        not_before: Some(UnixMs(7)),
        order: CommandAction::Upload,
    };
    let read = CommandAction::ReadRegisters { function: 4, address: 30_000, count: 2 };
    let commands = [to_source(41, write), upload, to_source(301, read)];
    assert_eq!(writer.commands(&mut commands.into_iter()), Ok(3));
    let length = writer.finish();
    let golden = bytes(
        "a2                                 # a message of two sections
         06 82                              # desired configuration
               0c                           # generation 12
               82                           # values: two
                  82 02 19ea60              # setting 2: 60,000
                  83 01 191388 00           # setting 1: 5,000, for source 0
         07 83                              # commands: three
            86 1829 01 00                   # command 41: write, source 0
               1b0000019aa4b64500           # until this Unix ms
               f6                           # from now on
               55                           # arguments, 21 bytes:
                  83 6f 636f6e74726f6c2e705f6c696d6974 # point control.p_limit
                     1901f4 20              # 500 x 10^-1
            86 19012c 06 f6                 # command 300: upload, the device itself
               1b0000019aa4b64500 07 41 80  # not before Unix ms 7, no arguments
            86 19012d 03 00                 # command 301: read registers, source 0
               1b0000019aa4b64500 f6
               46 83 04 197530 02           # function 4, address 30,000, two registers",
    );
    assert_eq!(buffer[..length], golden);
    let reply = Reply::parse(&buffer[..length]).unwrap();
    let parsed = reply.desired().unwrap();
    assert_eq!(parsed.generation, desired.generation);
    assert_eq!(parsed.values.iter().collect::<Vec<_>>(), values);
    assert_eq!(reply.commands().collect::<Vec<_>>(), commands);
}

#[test]
fn desired_leases() {
    let leases = [
        Lease {
            id: LeaseId(7),
            source: None,
            limit: Limit::Permille(500),
            from_s: 1_763_700_000,
            to_s: 1_763_703_600,
            ramp_s: 60,
            link_loss_s: 900,
            then: Some(Limit::Permille(0)),
            priority: 5,
        },
        Lease {
            id: LeaseId(8),
            source: Some(SourceNumber(2)),
            limit: Limit::Watts(3_000),
            from_s: 1_763_700_000,
            to_s: 1_763_703_600,
            ramp_s: 0,
            link_loss_s: 10,
            then: None,
            priority: 9,
        },
    ];
    let mut buffer = [0; 128];
    let mut writer = ReplyWriter::new(&mut buffer);
    let generation = LeaseGeneration(4);
    writer.leases(&DesiredLeases { generation, leases: SectionList::Given(&leases) }).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a1                                 # a reply of one section
         0b 82                              # desired leases
               04                           # generation 4
               82                           # two
                  89 07 f6                  # lease 7, of all sources
                     82 00 1901f4           # 500 thousandths
                     1a691fed20 1a691ffb30  # from, to before, Unix s
                     183c 190384            # ramp of 60 s; the link is lost after 900 s
                     82 00 00               # then nothing
                     05                     # priority
                  89 08 02                  # lease 8, of source 2
                     82 01 190bb8           # 3,000 W
                     1a691fed20 1a691ffb30
                     00 0a f6 09            # then what was found before",
    );
    assert_eq!(buffer[..length], golden);
    let parsed = Reply::parse(&buffer[..length]).unwrap().leases().unwrap();
    assert_eq!(parsed.generation, generation);
    assert_eq!(parsed.leases.iter().collect::<Vec<_>>(), leases);
}

#[test]
fn reports_of_leases() {
    let refused = [RefusedLease { id: LeaseId(8), reason: LeaseRefusal::NoSource }];
    let changes = [
        LimitChange {
            source: SourceNumber(0),
            epoch: BootEpoch(3),
            mono: MonoMs(70_000),
            at: Some(UnixMs(1_763_700_000_000)),
            lease: Some(LeaseId(7)),
            cause: LeaseCause::Lease,
            limit_ppm: Some(500_000),
            failure: CommandFailure::None,
            detail: 0,
            confirmed_ms: Some(80),
            power_w: Some(-3),
            power_ms: Some(4_100),
        },
        LimitChange {
            source: SourceNumber(1),
            epoch: BootEpoch(3),
            mono: MonoMs(5),
            at: None,
            lease: None,
            cause: LeaseCause::Released,
            limit_ppm: None,
            failure: CommandFailure::Exception,
            detail: 2,
            confirmed_ms: None,
            power_w: None,
            power_ms: None,
        },
    ];
    let mut buffer = [0; 128];
    let mut writer = UplinkWriter::new(&mut buffer);
    let generation = LeaseGeneration(4);
    let reported = ReportedLeases {
        generation,
        refused: SectionList::Given(&refused),
        changes: SectionList::Given(&changes),
    };
    writer.leases(&reported).unwrap();
    let length = writer.finish();
    let golden = bytes(
        "a1                                 # a message of one section
         0b 83                              # reported leases
               04                           # generation 4
               81 82 08 02                  # lease 8 refused: no such source
               82                           # two changes
                  8c 00                     # of source 0
                     03 1a00011170          # in epoch 3, at 70,000 ms of it
                     1b0000019aa4b64500     # at this Unix ms
                     07 01                  # lease 7, because it lasts
                     1a0007a120             # 500,000 millionths
                     00 00                  # no failure, no detail
                     1850                   # read back after 80 ms
                     22 191004              # -3 W after 4,100 ms
                  8c 01 03 05 f6            # of source 1, time unknown
                     f6 04 f6               # none is left, no limit
                     0b 02 f6 f6 f6         # exception 2, nothing measured",
    );
    assert_eq!(buffer[..length], golden);
    let parsed = Uplink::parse(&buffer[..length]).unwrap().leases().unwrap();
    assert_eq!(parsed.generation, generation);
    assert_eq!(parsed.refused.iter().collect::<Vec<_>>(), refused);
    assert_eq!(parsed.changes.iter().collect::<Vec<_>>(), changes);
}
