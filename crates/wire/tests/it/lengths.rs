//! The maximum length of a section is exactly the length of its largest value.

use std::time::Duration;

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{
    BatchId, BootEpoch, CommandId, ConfigGeneration, LeaseGeneration, LeaseId, MonoMs, Sequence,
    SequenceRange, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_wire::{
    ARGUMENTS_MAX, AckRange, Batch, BatchRefusal, BootReason, CHANGES_MAX, COMMANDS_MAX, Certainty,
    ClockReport, Command, CommandAction, CommandFailure, CommandResult, CommandState, ConfigState,
    Desired, DesiredLeases, EpochStart, FIRMWARE_MAX, ITEMS_MAX, LAYOUT_MAX, Lease, LeaseCause,
    LeaseRefusal, Limit, LimitChange, LostSamples, PATIENCE_LEN_MAX, RESULTS_MAX, RefusedBatch,
    RefusedLease, RefusedSetting, Reply, ReplyWriter, Reported, ReportedLeases, SectionList,
    SettingRefusal, SettingValue, SourceState, SourceStatus, Status, Stream, Uplink, UplinkWriter,
    WriteError, list_len_max, reported_leases_len_max, uplink_fixed_len_max,
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
const DROPPED: LostSamples = LostSamples {
    epoch: BootEpoch(u32::MAX),
    batches: Some(SequenceRange { first: Sequence(u32::MAX), last: Sequence(u32::MAX) }),
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
        sources: SectionList::Given(sources),
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
        assert_eq!(dropped, list_len_max(count * LostSamples::LEN_MAX));
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
    let refused = RefusedBatch { id: ID, reason: BatchRefusal::Other(255) };
    for count in [1, ITEMS_MAX] {
        let acks = reply(|w| assert_eq!(w.acks(&mut vec![ack; count].into_iter()), Ok(count)));
        assert_eq!(acks, list_len_max(count * AckRange::LEN_MAX));
        let refused =
            reply(|w| assert_eq!(w.refused(&mut vec![refused; count].into_iter()), Ok(count)));
        assert_eq!(refused, list_len_max(count * RefusedBatch::LEN_MAX));
    }
    let all = reply(|w| {
        w.acks(&mut [ack; ITEMS_MAX].into_iter()).unwrap();
        w.time(UnixMs(i64::MAX)).unwrap();
        w.wanted(&mut [STREAM; ITEMS_MAX].into_iter()).unwrap();
        w.refused(&mut [refused; ITEMS_MAX].into_iter()).unwrap();
        w.check_in(Duration::MAX).unwrap();
        let generation = ConfigGeneration(u32::MAX);
        w.desired(&Desired { generation, values: SectionList::Given(&[VALUE; ITEMS_MAX]) })
            .unwrap();
        assert_eq!(w.commands(&mut vec![command(ORDERS[0]); 9].into_iter()), Ok(COMMANDS_MAX));
        w.held(Duration::MAX).unwrap();
        let generation = LeaseGeneration(u32::MAX);
        w.leases(&DesiredLeases { generation, leases: SectionList::Given(&[LEASE; LEASES_MAX]) })
            .unwrap();
    });
    // A later version may use longer arguments and numbers of kinds.
    let spare = COMMANDS_MAX * (ARGUMENTS_MAX - 46 + 1);
    assert_eq!(1 + all + spare, Reply::LEN_MAX);
}

const VALUE: SettingValue =
    SettingValue { setting: 255, value: u32::MAX, source: Some(SourceNumber(255)) };
const REFUSED: RefusedSetting = RefusedSetting {
    setting: 255,
    source: Some(SourceNumber(255)),
    reason: SettingRefusal::NoSource,
};

fn reported<'a>(refused: &'a [RefusedSetting], values: &'a [SettingValue]) -> Reported<'a> {
    Reported {
        generation: ConfigGeneration(u32::MAX),
        state: ConfigState::Reverted,
        refused: SectionList::Given(refused),
        values: SectionList::Given(values),
    }
}

const LIMIT: Limit = Limit::Watts(u32::MAX);

const LEASE: Lease = Lease {
    id: LeaseId(u32::MAX),
    source: Some(SourceNumber(255)),
    limit: LIMIT,
    from_s: u32::MAX,
    to_s: u32::MAX,
    ramp_s: u16::MAX,
    link_loss_s: u16::MAX,
    then: Some(LIMIT),
    priority: 255,
};

const CHANGE: LimitChange = LimitChange {
    source: SourceNumber(255),
    epoch: BootEpoch(u32::MAX),
    mono: MonoMs(u64::MAX),
    at: Some(UnixMs(i64::MIN)),
    lease: Some(LeaseId(u32::MAX)),
    cause: LeaseCause::Released,
    limit_ppm: Some(u32::MAX),
    failure: CommandFailure::Leased,
    detail: u16::MAX,
    confirmed_ms: Some(u32::MAX),
    power_w: Some(i32::MIN),
    power_ms: Some(u32::MAX),
};

#[test]
fn largest_reports_of_leases_have_their_stated_length() {
    let refused = RefusedLease { id: LeaseId(u32::MAX), reason: LeaseRefusal::TooMany };
    for count in 0..=LEASES_MAX {
        let (refused, changes) = (vec![refused; count], vec![CHANGE; CHANGES_MAX - count]);
        let reported = ReportedLeases {
            generation: LeaseGeneration(u32::MAX),
            refused: SectionList::Given(&refused),
            changes: SectionList::Given(&changes),
        };
        let length = uplink(|w| w.leases(&reported).unwrap());
        assert_eq!(length, reported_leases_len_max(count, CHANGES_MAX - count));
    }
    let mut buffer = [0; 1024];
    let many = ReportedLeases {
        generation: LeaseGeneration(1),
        refused: SectionList::Given(&[]),
        changes: SectionList::Given(&[CHANGE; CHANGES_MAX + 1]),
    };
    assert_eq!(UplinkWriter::new(&mut buffer).leases(&many), Err(WriteError::TooManyItems));
    let leases = SectionList::Given(&[LEASE; LEASES_MAX + 1][..]);
    let many = DesiredLeases { generation: LeaseGeneration(1), leases };
    assert_eq!(ReplyWriter::new(&mut buffer).leases(&many), Err(WriteError::TooManyItems));
}

const RESULT: CommandResult<'_> = CommandResult {
    id: CommandId(u32::MAX),
    state: CommandState::Failed,
    at: Some(UnixMs(i64::MIN)),
    failure: CommandFailure::Storage,
    detail: u16::MAX,
    words: &[7; ARGUMENTS_MAX],
};

#[test]
fn largest_reports_of_settings_and_commands_have_their_stated_length() {
    for count in [0, 1, ITEMS_MAX] {
        let (refused, values) = (vec![REFUSED; count], vec![VALUE; count]);
        let length = uplink(|w| w.reported(&reported(&refused, &values)).unwrap());
        assert_eq!(length, 1 + Reported::len_max(count, count));
    }
    for count in [1, RESULTS_MAX] {
        let length = uplink(|w| {
            assert_eq!(w.results(&mut [RESULT; 99].into_iter().take(count), 0), Ok(count))
        });
        assert_eq!(length, list_len_max(count * CommandResult::LEN_MAX));
    }
    let results = &mut [RESULT; RESULTS_MAX + 1].into_iter();
    assert!(uplink(|w| assert_eq!(w.results(results, 0), Ok(RESULTS_MAX))) > 0);
    assert_eq!(uplink(|w| w.patience(Duration::MAX).unwrap()), PATIENCE_LEN_MAX);
}

#[test]
fn more_settings_than_a_list_can_have_are_not_written() {
    let mut buffer = [0; 4096];
    let values = [VALUE; ITEMS_MAX + 1];
    let mut writer = UplinkWriter::new(&mut buffer);
    assert_eq!(writer.reported(&reported(&[], &values)), Err(WriteError::TooManyItems));
    let mut writer = ReplyWriter::new(&mut buffer);
    let desired = Desired { generation: ConfigGeneration(1), values: SectionList::Given(&values) };
    assert_eq!(writer.desired(&desired), Err(WriteError::TooManyItems));
}

/// The longest arguments of each kind of command.
const ORDERS: [CommandAction<'_>; 11] = [
    CommandAction::Write {
        point: "a-point-with-a-name-of-32-bytes.",
        mantissa: i64::MIN,
        exponent: i8::MIN,
    },
    CommandAction::WriteRegister { address: u16::MAX, value: u16::MAX },
    CommandAction::ReadRegisters { function: 4, address: u16::MAX, count: 30 },
    CommandAction::LimitPower { permille: u16::MAX },
    CommandAction::LimitPowerWatts { watts: u32::MAX },
    CommandAction::Upload,
    CommandAction::Diagnose,
    CommandAction::Restart,
    CommandAction::Reboot,
    CommandAction::ClearFault,
    CommandAction::FactoryReset,
];

fn command(order: CommandAction<'_>) -> Command<'_> {
    Command {
        id: CommandId(u32::MAX),
        source: Some(SourceNumber(255)),
        deadline: UnixMs(i64::MAX),
        not_before: Some(UnixMs(i64::MIN)),
        order,
    }
}

#[test]
fn every_command_fits_and_is_read_back() {
    for order in ORDERS {
        let mut buffer = [0; 256];
        let mut writer = ReplyWriter::new(&mut buffer);
        assert_eq!(writer.commands(&mut std::iter::once(command(order))), Ok(1));
        let length = writer.finish();
        assert!(length <= 1 + list_len_max(Command::LEN_MAX), "{order:?}");
        let reply = Reply::parse(&buffer[..length]).unwrap();
        assert_eq!(reply.commands().collect::<Vec<_>>(), [command(order)]);
    }
    let longer = CommandAction::Write { point: &"x".repeat(80), mantissa: 0, exponent: 0 };
    let mut buffer = [0; 256];
    let mut writer = ReplyWriter::new(&mut buffer);
    assert_eq!(writer.commands(&mut std::iter::once(command(longer))), Ok(0));
}

#[test]
fn a_status_with_more_sources_than_a_list_can_have_is_not_written() {
    let sources = [SOURCE; ITEMS_MAX + 1];
    let mut buffer = [0; 4096];
    let mut writer = UplinkWriter::new(&mut buffer);
    assert_eq!(writer.status(&status("x", &sources)), Err(WriteError::TooManyItems));
    assert_eq!(writer.finish(), 1);
}
