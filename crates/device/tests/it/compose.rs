//! A message can always be made, whatever waits to be sent.

use std::time::Duration;

use ecowatt_device::limits::MESSAGE_BYTES_MIN;
use ecowatt_device::{
    Config, Controls, Credentials, Device, Inverter, SealedMessage, SourceConfig, SpoolContents,
    StartInfo, UplinkConfig,
};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, MESSAGE_MAX, UnverifiedUplink, seal_reply};
use ecowatt_model::{
    BatchId, BootEpoch, Counter, DeviceNumber, KeyGeneration, MonoMs, SOURCES_MAX, Sequence,
    SequenceRange, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_profile::{Control, Group, Plan, Read, Table};
use ecowatt_wire::{
    Batch, BootReason, Certainty, EpochStart, FIRMWARE_MAX, ITEMS_MAX, LAYOUT_MAX, LostSamples,
    ReplyWriter, Stream, Uplink,
};
use proptest::collection::vec;
use proptest::prelude::*;

const COLUMNS: usize = 2;
const ROWS: usize = 4;
type Core = Device<Vec<Inverter<COLUMNS, ROWS>>, COLUMNS, ROWS>;

const KID: KeyId = KeyId { device: DeviceNumber(u32::MAX), generation: KeyGeneration(u16::MAX) };
/// Inverters of which nothing may be written.
struct Uncontrolled;

impl Controls for Uncontrolled {
    fn find(&self, _: SourceNumber, _: &str) -> Option<Control> {
        None
    }

    fn rated_w(&self, _: SourceNumber) -> Option<u32> {
        None
    }
}

/// Longer than the largest message.
const BATCH_MAX: usize = 2 * MESSAGE_MAX;

/// What waits to be sent, in lengths and numbers.
#[derive(Debug, Clone)]
struct Waiting {
    batches: Vec<usize>,
    layouts: Vec<usize>,
    gaps: usize,
    spooled: (u32, u64, u64),
    firmware: usize,
    system: Option<i64>,
    /// Time since the start.
    now: u64,
}

fn waiting() -> impl Strategy<Value = Waiting> {
    let length = prop_oneof![0..300_usize, 0..BATCH_MAX];
    (
        vec(length, 0..2 * ITEMS_MAX),
        vec(0..=LAYOUT_MAX, 0..=SOURCES_MAX),
        0..2 * ITEMS_MAX,
        any::<(u32, u64, u64)>(),
        0..=FIRMWARE_MAX,
        any::<Option<i64>>(),
        prop_oneof![0..10_000_000_u64, 0..=u64::MAX / 4],
    )
        .prop_map(|(batches, layouts, gaps, spooled, firmware, system, now)| Waiting {
            batches,
            layouts,
            gaps,
            spooled,
            firmware,
            system,
            now,
        })
}

fn core(waiting: &Waiting, sources: u8, message_bytes_max: usize) -> Core {
    let interval = Duration::from_secs(60);
    let uplink = UplinkConfig { interval, message_bytes_max, seed: 1 };
    let started = StartInfo {
        epoch: BootEpoch(u32::MAX),
        reason: BootReason::Unclean,
        system: waiting.system.map(UnixMs),
        firmware: "v".repeat(waiting.firmware).as_str().try_into().unwrap(),
    };
    let credentials =
        Credentials { kid: KID, key: DeviceKey::new([5; 32]), reserved: Counter(1 << 62) };
    let inverters = (0..sources).map(|number| {
        let reads = [Read::of_all(Table::Holding, 0, 2, 0, 0)];
        let source = SourceConfig {
            number: SourceNumber(number),
            stream: StreamNumber(u16::MAX - u16::from(number)),
            plan: Plan::new(&[Group { every_ms: 5_000 }], &reads, None).unwrap(),
            interval: None,
            timeout_max: Duration::from_secs(1),
        };
        let mut inverter = Inverter::IDLE;
        inverter.configure(&source, MonoMs(0)).unwrap();
        inverter
    });
    let mut core = Core::new(
        Config::new(uplink),
        started,
        &credentials,
        inverters.collect(),
        &|_| None,
        MonoMs(0),
    );
    core.handle_reserved(Counter((1 << 62) + 1_000));
    let (batches, bytes, capacity_bytes) = waiting.spooled;
    core.handle_spooled(MonoMs(0), SpoolContents { batches, bytes, capacity_bytes });
    core
}

fn compose(core: &mut Core, waiting: &Waiting, buffer: &mut [u8]) -> SealedMessage {
    let bytes = vec![0xA5; BATCH_MAX];
    let start = EpochStart { unix: UnixMs(i64::MAX), certainty: Certainty::Confirmed };
    let epoch = BootEpoch(u32::MAX);
    let mut batches = (0..).zip(&waiting.batches).map(|(number, length)| Batch {
        id: BatchId { epoch, sequence: Sequence(u32::MAX - number) },
        stream: StreamNumber(u16::MAX),
        bytes: &bytes[..*length],
        start: Some(start),
    });
    let streams: Vec<_> = (0..)
        .zip(&waiting.layouts)
        .map(|(number, length)| Stream {
            number: StreamNumber(u16::MAX - number),
            source: SourceNumber(u8::try_from(number).unwrap()),
            layout: &bytes[..*length],
        })
        .collect();
    let gap = LostSamples {
        epoch,
        batches: Some(SequenceRange { first: Sequence(u32::MAX - 1), last: Sequence(u32::MAX) }),
        samples: u32::MAX,
    };
    let mut gaps = std::iter::repeat_n(gap, waiting.gaps);
    core.compose(MonoMs(waiting.now), &mut batches, &streams, &mut gaps, buffer).unwrap()
}

proptest! {
    #[test]
    fn message_fits_its_budget_and_crowds_no_section_out(
        waiting in waiting(),
        sources in 1..=u8::try_from(SOURCES_MAX).unwrap(),
        message_bytes_max in prop_oneof![0..MESSAGE_MAX + 1_000, Just(MESSAGE_BYTES_MIN)],
        is_heard in any::<bool>(),
    ) {
        let mut core = core(&waiting, sources, message_bytes_max);
        let keys = LinkKeys::derive(&DeviceKey::new([5; 32]), KID);
        // Exactly what a message may have: nothing is written beyond it.
        let budget = message_bytes_max.clamp(MESSAGE_BYTES_MIN, MESSAGE_MAX);
        let mut buffer = vec![0; budget];
        if is_heard {
            // Batches go out once the server has answered.
            let first = compose(&mut core, &waiting, &mut buffer);
            let mut reply = [0; 256];
            let mut writer = ReplyWriter::new(&mut reply);
            writer.time(UnixMs(1_800_000_000_000)).unwrap();
            let len = writer.finish();
            let len = seal_reply(&keys, first.request, &[1; 12], &mut reply, len).unwrap();
            core.handle_reply(MonoMs(waiting.now), &reply[..len], &mut [0; 256], &Uncontrolled).unwrap();
            core.handle_reserved(Counter((1 << 62) + 2_000));
        }
        let outgoing = compose(&mut core, &waiting, &mut buffer);
        prop_assert!(outgoing.len <= budget);

        let mut plain = vec![0; budget];
        let sealed = UnverifiedUplink::parse(&buffer[..outgoing.len]).unwrap();
        let uplink = Uplink::parse(sealed.open(&keys, &mut plain).unwrap()).unwrap();
        prop_assert_eq!(uplink.batches().len(), outgoing.batches);
        prop_assert_eq!(uplink.streams().len(), outgoing.streams);
        prop_assert_eq!(uplink.dropped().len(), outgoing.dropped);
        // Every message brings each kind forward, so that none waits for ever.
        prop_assert_eq!(outgoing.streams == 0, waiting.layouts.is_empty());
        prop_assert_eq!(outgoing.dropped == 0, waiting.gaps == 0);
        prop_assert!(is_heard || uplink.status().is_some());
    }
}
