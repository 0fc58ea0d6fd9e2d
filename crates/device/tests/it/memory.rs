//! Adds up the memory of a device, which is all static: what a microcontroller needs for each
//! profile in the catalogue. And lives a day in it.

use std::time::Duration;

use ecowatt_codec::{CodecMemory, Decoder, encoded_len_max_of};
use ecowatt_device::limits::MESSAGE_BYTES_MIN;
use ecowatt_device::{
    Action, CompletedRead, Config, Credentials, Device, Event, Inverter, LinkFailure, ReadResult,
    SourceConfig, StartInfo, UplinkConfig,
};
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_modbus::RTU_ADU_MAX;
use ecowatt_model::{
    BootEpoch, COLUMNS_MAX, Counter, DeviceNumber, KeyGeneration, Mark, MonoMs, SourceNumber,
    StreamNumber, UnixMs,
};
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{Plan, Transport, catalogue};
use ecowatt_wire::BootReason;

/// Limit for a device with one inverter.
const BYTES_MAX: usize = 16 * 1024;

/// A three-phase SunSpec inverter with two strings.
const MODELS: [FoundModel; 6] = [
    FoundModel { id: 1, address: 40_002, length: 66 },
    FoundModel { id: 103, address: 40_070, length: 50 },
    FoundModel { id: 120, address: 40_122, length: 26 },
    FoundModel { id: 121, address: 40_150, length: 30 },
    FoundModel { id: 123, address: 40_182, length: 24 },
    FoundModel { id: 160, address: 40_208, length: 48 },
];

const SOURCE: SourceNumber = SourceNumber(0);
const START: UnixMs = UnixMs(1_767_268_800_000);
const DAY_MS: u64 = 24 * 3_600_000;
const HOUR_MS: u64 = 3_600_000;
const AWAY_MS: u64 = 120_000;

fn plan(id: &str) -> Plan {
    let profile = catalogue::find(id).unwrap();
    let profile =
        if profile.needs_discovery() { profile.resolve(&MODELS).unwrap() } else { profile };
    profile.compile(Transport::TCP).unwrap().plan
}

/// Registers that are read more than once per connection.
fn repeated(plan: &Plan) -> usize {
    let is_repeated = |group: u8| plan.groups()[usize::from(group)].every_ms > 0;
    let repeated = plan.reads().iter().filter(|read| is_repeated(read.group));
    repeated.map(|read| read.column_count()).sum()
}

/// Largest batch of `ROWS` samples in `ROWS` × `COLUMNS` cells.
fn batch_bytes<const COLUMNS: usize, const ROWS: usize>(plan: &Plan) -> usize {
    encoded_len_max_of(ROWS, plan.column_count(), ROWS * COLUMNS)
}

/// Checks that a device with one such inverter has enough memory below the limit; returns what it
/// takes.
type Check = fn(&str) -> String;

/// A [`Check`] with room for `ROWS` samples of `COLUMNS` registers.
fn check<const COLUMNS: usize, const ROWS: usize>(id: &str) -> String {
    let plan = plan(id);
    assert_eq!(repeated(&plan), COLUMNS, "{id}");
    let core = size_of::<Device<[Inverter<COLUMNS, ROWS>; 1], COLUMNS, ROWS>>();
    let codec = size_of::<CodecMemory<COLUMNS>>();
    // Never in use together: while a batch is cut there is no message, and the other way round.
    let shared = MESSAGE_BYTES_MIN.max(codec + batch_bytes::<COLUMNS, ROWS>(&plan));
    let total = core + shared + RTU_ADU_MAX;
    assert!(total <= BYTES_MAX, "{id} takes {total} bytes");
    live_a_day::<COLUMNS, ROWS>(plan);
    format!(
        "{id}, {COLUMNS} × {ROWS}: {core} core + {shared} shared ({codec} codec, \
         {MESSAGE_BYTES_MIN} message) + {RTU_ADU_MAX} frame = {total}"
    )
}

#[test]
fn every_profile_of_the_catalogue_stays_below_the_limit() {
    let checks: [(&str, Check); 4] = [
        ("ecowatt/seed-sim", check::<10, 32>),
        ("sungrow/sg-string", check::<17, 24>),
        ("huawei/sun2000", check::<16, 16>),
        ("sunspec/generic-pv", check::<38, 16>),
    ];
    for entry in catalogue::list() {
        assert!(checks.iter().any(|(id, _)| *id == entry.id), "{}", entry.id);
    }
    for (id, check) in checks {
        println!("{}", check(id));
    }
}

/// Without buffers, the smallest profile has room for a quarter of an hour at 5 s.
#[test]
fn a_device_of_ten_registers_fits_its_memory() {
    let core = size_of::<Device<[Inverter<12, 180>; 1], 12, 180>>();
    let codec = size_of::<CodecMemory<10>>();
    println!("{}", core + codec);
    assert!(core + codec <= BYTES_MAX, "{}", core + codec);
}

/// What a register holds if it is in the header of a model.
fn header(address: u16) -> Option<u16> {
    let model = MODELS.iter().rfind(|model| address >= model.address)?;
    [model.id, model.length].get(usize::from(address - model.address)).copied()
}

/// A day of samples that do not compress, with an inverter that is away for two minutes of each
/// hour. Every sample must get into a batch.
fn live_a_day<const COLUMNS: usize, const ROWS: usize>(plan: Plan) {
    let (columns, batch_bytes) = (plan.column_count(), batch_bytes::<COLUMNS, ROWS>(&plan));
    let timeout_max = Duration::from_secs(1);
    let stream = StreamNumber(1);
    let config = SourceConfig { number: SOURCE, stream, plan, interval: None, timeout_max };
    let uplink = UplinkConfig {
        interval: Duration::from_secs(900),
        message_bytes_max: MESSAGE_BYTES_MIN,
        seed: 1,
    };
    let started = StartInfo {
        epoch: BootEpoch(1),
        reason: BootReason::First,
        system: Some(START),
        firmware: heapless::String::try_from("memory 1").unwrap(),
    };
    let credentials = Credentials {
        kid: KeyId { device: DeviceNumber(7), generation: KeyGeneration(1) },
        key: DeviceKey::new([5; 32]),
        reserved: Counter(0),
    };
    let mut inverters = [Inverter::<COLUMNS, ROWS>::IDLE];
    inverters[0].configure(&config, MonoMs(0)).unwrap();
    let none = &|_| None;
    let mut core =
        Device::new(Config::new(uplink), started, &credentials, inverters, none, MonoMs(0));
    let mut state = CodecMemory::<COLUMNS>::new();
    let (mut batch, mut message) = (vec![0; batch_bytes], vec![0; MESSAGE_BYTES_MIN]);
    let (mut now, mut random) = (MonoMs(0), 1u32);
    let (mut taken, mut cut) = (Vec::new(), 0);
    while now.0 < DAY_MS {
        let Some(action) = core.poll_action(now) else {
            now = core.poll_at().max(MonoMs(now.0 + 1));
            continue;
        };
        match action {
            Action::Write { write, .. } => panic!("{write:?}"),
            Action::Read { read, .. } => {
                let words = (read.address..).take(read.count.into()).map(|address| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    header(address).unwrap_or(u16::try_from(random >> 16).unwrap())
                });
                let words: Vec<u16> = words.collect();
                let result = match now.0 % HOUR_MS > HOUR_MS - AWAY_MS {
                    false => ReadResult::Words(&words),
                    true => ReadResult::Unreachable,
                };
                let latency = Duration::ZERO;
                core.handle_read(now, SOURCE, &CompletedRead { began: now, latency, result });
            }
            Action::Draft(source) => {
                let sample = core.newest(source).unwrap();
                taken.push((sample.t_ms, sample.words.to_vec(), sample.marks.to_vec()));
                core.handle_drafted(source, true);
            }
            Action::Cut(source) => {
                let bytes = core.cut(now, source, &mut state, &mut batch).unwrap();
                let mut whole = CodecMemory::<COLUMNS_MAX>::new();
                let mut decoder = Decoder::new(&batch[..bytes.len], &mut whole).unwrap();
                let (mut words, mut marks) = (vec![0; columns], vec![Mark::Read; columns]);
                while let Some(t_ms) = decoder.next_row(&mut words, &mut marks).unwrap() {
                    assert_eq!((t_ms, words.clone(), marks.clone()), taken[cut], "row {cut}");
                    cut += 1;
                }
                core.handle_persisted(now, true);
            }
            Action::Send => {
                let none = &mut std::iter::empty();
                core.compose(now, none, &[], &mut std::iter::empty(), &mut message).unwrap();
                core.handle_link_failure(now, LinkFailure::Unreachable);
            }
            Action::Keep(slot) => core.handle_kept(now, slot, true),
            Action::Limit(source) => panic!("{source}"),
            Action::End(ending) => panic!("{ending:?}"),
            Action::Reserve(limit) => core.handle_reserved(limit),
        }
        while let Some(event) = core.poll_event() {
            assert!(!matches!(event, Event::SampleDropped { .. }), "{event:?}");
        }
    }
    assert!(cut + ROWS > taken.len() && cut > 1_000, "{cut} of {}", taken.len());
}
