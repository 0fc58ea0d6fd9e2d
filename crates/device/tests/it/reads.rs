//! Polling alone, with inverters that misbehave at random: which registers get into samples.

use std::time::Duration;

use ecowatt_codec::{CodecMemory, encoded_len_max};
use ecowatt_device::{
    Action, CompletedRead, Config, Credentials, Device, Event, Inverter, LinkFailure, ReadResult,
    SourceConfig, StartInfo, UplinkConfig, limits,
};
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_modbus::ExceptionCode;
use ecowatt_model::{
    BootEpoch, Counter, DeviceNumber, KeyGeneration, Mark, MonoMs, SourceNumber, StreamNumber,
    UnixMs,
};
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{Group, Plan, Profile, Read, Table, Transport};
use ecowatt_wire::{BootReason, SourceState};
use proptest::prelude::*;

const COLUMNS: usize = 128;
const ROWS: usize = 4;
const SOURCE: SourceNumber = SourceNumber(0);

/// Reaction of an inverter to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// After this many milliseconds.
    Words(u64),
    Exception(u8),
    Silence,
    Garbled,
    Unreachable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    at: u64,
    words: Vec<u16>,
    marks: Vec<Mark>,
}

impl Taken {
    /// Whether everything that was due was read.
    fn is_whole(&self) -> bool {
        self.marks.iter().all(|mark| matches!(mark, Mark::Read | Mark::NotDue))
    }
}

/// Everything observed in a run.
#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Taken>,
    events: Vec<Event>,
    /// When, address, count.
    requests: Vec<(u64, u16, u16)>,
    state: Option<SourceState>,
}

impl Seen {
    fn since(&self, at: u64) -> impl Iterator<Item = &Taken> {
        self.samples.iter().filter(move |sample| sample.at >= at)
    }

    fn requests_since(&self, at: u64) -> usize {
        self.requests.iter().filter(|(when, _, _)| *when >= at).count()
    }

    fn has(&self, event: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(event)
    }
}

/// Polls for this many seconds; `word` returns the content of a register at a time.
fn poll(
    plan: Plan,
    timeout: Duration,
    seconds: u64,
    mut inverter: impl FnMut(&Read, u64) -> Answer,
    word: impl Fn(u16, u64) -> u16,
) -> Seen {
    let config = SourceConfig {
        number: SOURCE,
        stream: StreamNumber(1),
        plan,
        interval: None,
        timeout_max: timeout,
    };
    let uplink =
        UplinkConfig { interval: Duration::from_secs(900), message_bytes_max: 48 * 1024, seed: 1 };
    let mut core_config = Config::new(uplink);
    core_config.batch_rows = 2;
    let started = StartInfo {
        epoch: BootEpoch(1),
        reason: BootReason::First,
        system: Some(UnixMs(1_767_268_800_000)),
        firmware: heapless::String::try_from("reads 1").unwrap(),
    };
    let credentials = Credentials {
        kid: KeyId { device: DeviceNumber(7), generation: KeyGeneration(1) },
        key: DeviceKey::new([5; 32]),
        reserved: Counter(1 << 40),
    };
    let mut source = Box::new([Inverter::<COLUMNS, ROWS>::IDLE]);
    source[0].configure(&config, MonoMs(0)).unwrap();
    let mut core = Device::<_, COLUMNS, ROWS>::new(
        core_config,
        started,
        &credentials,
        Only(source),
        &|_| None,
        MonoMs(0),
    );
    let mut codec = Box::new(CodecMemory::<COLUMNS>::new());
    let mut buffer = vec![0; encoded_len_max(ROWS, COLUMNS).max(60 * 1024)];
    let (mut now, mut seen) = (MonoMs(0), Seen::default());
    while now.0 < seconds * 1_000 {
        let Some(action) = core.poll_action(now) else {
            now = core.poll_at().max(MonoMs(now.0 + 1));
            continue;
        };
        match action {
            Action::Write { write, .. } => panic!("{write:?}"),
            Action::Read { read, timeout, .. } => {
                seen.requests.push((now.0, read.address, read.count));
                let (began, wait) = (now, u64::try_from(timeout.as_millis()).unwrap());
                let words: Vec<u16> = (read.address..=u16::MAX)
                    .take(read.count.into())
                    .map(|address| word(address, now.0))
                    .collect();
                let (after, result) = match inverter(&read, now.0) {
                    Answer::Words(after) if after <= wait => (after, ReadResult::Words(&words)),
                    Answer::Words(_) | Answer::Silence => (wait, ReadResult::Timeout),
                    Answer::Exception(code) => {
                        (20, ReadResult::Exception(ExceptionCode::from_code(code)))
                    }
                    Answer::Garbled => (20, ReadResult::Garbled),
                    Answer::Unreachable => (20, ReadResult::Unreachable),
                };
                now = MonoMs(now.0 + after);
                let latency = Duration::from_millis(after);
                core.handle_read(now, SOURCE, &CompletedRead { began, latency, result });
            }
            Action::Draft(source) => {
                let sample = core.newest(source).unwrap();
                seen.samples.push(Taken {
                    at: now.0,
                    words: sample.words.to_vec(),
                    marks: sample.marks.to_vec(),
                });
                core.handle_drafted(source, true);
            }
            Action::Cut(source) => {
                core.cut(now, source, &mut codec, &mut buffer).unwrap();
                core.handle_persisted(now, true);
            }
            Action::Send => {
                let none = &mut std::iter::empty();
                core.compose(now, none, &[], &mut std::iter::empty(), &mut buffer).unwrap();
                core.handle_link_failure(now, LinkFailure::Unreachable);
            }
            Action::Keep(slot) => core.handle_kept(now, slot, true),
            Action::Limit(source) => panic!("{source}"),
            Action::End(ending) => panic!("{ending:?}"),
            Action::Reserve(limit) => core.handle_reserved(limit),
        }
        while let Some(event) = core.poll_event() {
            if !matches!(event, Event::LinkLost { .. }) {
                seen.events.push(event);
            }
        }
    }
    seen.state = core.sources().next().map(|source| source.state);
    seen
}

/// One inverter on the heap.
struct Only(Box<[Inverter<COLUMNS, ROWS>; 1]>);

impl AsRef<[Inverter<COLUMNS, ROWS>]> for Only {
    fn as_ref(&self) -> &[Inverter<COLUMNS, ROWS>] {
        &*self.0
    }
}

impl AsMut<[Inverter<COLUMNS, ROWS>]> for Only {
    fn as_mut(&mut self) -> &mut [Inverter<COLUMNS, ROWS>] {
        &mut *self.0
    }
}

const FIVE: Group = Group { every_ms: 5_000 };
const MINUTE: Group = Group { every_ms: 60_000 };
const ONCE: Group = Group { every_ms: 0 };
const SECOND: Duration = Duration::from_secs(1);

/// Reads of (address, count, group).
fn plan(groups: &[Group], reads: &[(u16, u16, u8)]) -> Plan {
    let reads: Vec<Read> = reads
        .iter()
        .map(|&(address, count, group)| Read::of_all(Table::Holding, address, count, group, 0))
        .collect();
    Plan::new(groups, &reads, None).unwrap()
}

fn same(address: u16, _: u64) -> u16 {
    address
}

fn covers(read: &Read, address: u16) -> bool {
    (read.address..read.address + read.count).contains(&address)
}

proptest! {
    /// Long reads after short ones, quick after slow, any jitter: an answer within the profile's
    /// time is taken.
    #[test]
    fn every_answer_within_the_profiles_time_is_taken(
        counts in prop::collection::vec(1u16..=30, 1..4),
        latencies in prop::collection::vec(1u64..=10_000, 1..12),
        timeout in 200u64..=10_000,
    ) {
        let reads: Vec<_> = (0u16..).zip(&counts).map(|(n, count)| (n * 100, *count, 0)).collect();
        let mut turn = 0;
        let seen = poll(plan(&[FIVE], &reads), Duration::from_millis(timeout), 600, |_, _| {
            turn += 1;
            Answer::Words(latencies[turn % latencies.len()].min(timeout))
        }, same);
        prop_assert!(seen.samples.len() > 3);
        prop_assert!(seen.samples.iter().all(Taken::is_whole));
        prop_assert_eq!(seen.events.len(), 1, "{:?}", seen.events);
    }
}

#[test]
fn a_slow_read_after_a_quick_one_is_waited_for() {
    // 9,600 Bd: one register in 45 ms, a hundred in 258; and a dongle that sometimes takes 2.5 s.
    let mut turn = 0;
    let seen = poll(
        plan(&[FIVE], &[(0, 1, 0), (10, 100, 0)]),
        SECOND * 10,
        3_600,
        |read, _| {
            turn += 1;
            let jitter = if turn % 8 == 7 { 2_500 } else { 20 };
            Answer::Words(jitter + 2 * u64::from(read.count))
        },
        same,
    );
    assert!(seen.samples.len() > 700 && seen.samples.iter().all(Taken::is_whole));
}

#[derive(Debug, Clone)]
enum Fault {
    /// Applies to every request; [`Fault::One`] to those that include one register.
    All(Answer),
    One(u16, Answer),
    /// Reads of more registers.
    Longer(u16, Answer),
}

fn fault() -> impl Strategy<Value = Fault> {
    let answer = || {
        prop_oneof![
            (1u8..=11).prop_map(Answer::Exception),
            Just(Answer::Silence),
            Just(Answer::Garbled),
            Just(Answer::Unreachable),
        ]
    };
    prop_oneof![
        answer().prop_map(Fault::All),
        (0u16..60, answer()).prop_map(|(register, answer)| Fault::One(register, answer)),
        (1u16..20, answer()).prop_map(|(count, answer)| Fault::Longer(count, answer)),
    ]
}

fn struck(fault: &Fault, read: &Read) -> Option<Answer> {
    match fault {
        Fault::All(answer) => Some(answer.clone()),
        Fault::One(register, answer) => covers(read, *register).then(|| answer.clone()),
        Fault::Longer(count, answer) => (read.count > *count).then(|| answer.clone()),
    }
}

/// How long a device may take to read everything again: the longest pauses, one after the other,
/// and some cycles to find the cause.
const RECOVERY_S: u64 = 300 + 6 * 3_600 + 1_200;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// After any faults, once the inverter answers, all of its registers are read without a
    /// restart.
    #[test]
    fn every_state_leads_back(
        reads in prop::collection::vec((1u16..=16, 0u8..3), 1..5),
        faults in prop::collection::vec((1u64..1_500, fault()), 1..8),
    ) {
        let reads: Vec<_> =
            (0u16..).zip(&reads).map(|(n, (count, group))| (n * 16, *count, *group)).collect();
        let mut until = 0;
        let mut times = Vec::new();
        for (lasting, fault) in &faults {
            until += lasting * 1_000;
            times.push((until, fault));
        }
        let seen = poll(
            plan(&[FIVE, MINUTE, ONCE], &reads),
            SECOND,
            until / 1_000 + RECOVERY_S + 120,
            |read, now| {
                let fault = times.iter().find(|(until, _)| now < *until);
                fault.and_then(|(_, fault)| struck(fault, read)).unwrap_or(Answer::Words(20))
            },
            same,
        );
        let well = until + RECOVERY_S * 1_000;
        let is_polled = reads.iter().any(|(_, _, group)| *group != 2);
        prop_assert!(!is_polled || seen.since(well).count() > 0);
        prop_assert!(seen.since(well).all(Taken::is_whole));
        // Registers that are read once were read in the end.
        for column in 0..reads.iter().map(|(_, count, _)| usize::from(*count)).sum() {
            prop_assert!(seen.samples.iter().any(|sample| sample.marks[column] == Mark::Read));
        }
    }

    /// One read that always fails, in whatever way, does not keep the others from being read.
    #[test]
    fn a_read_that_never_works_keeps_no_other_from_being_read(
        bad in 0usize..4,
        answer in prop_oneof![
            (1u8..=9).prop_map(Answer::Exception), Just(Answer::Silence), Just(Answer::Garbled),
        ],
        is_away_first in any::<bool>(),
    ) {
        let reads = [(0, 4, 0), (10, 4, 0), (20, 4, 0), (30, 4, 0)];
        let seen = poll(plan(&[FIVE], &reads), SECOND, 3_600, |read, now| {
            if is_away_first && now < 60_000 {
                Answer::Silence
            } else if read.address / 10 == reads[bad].0 / 10 {
                answer.clone()
            } else {
                Answer::Words(20)
            }
        }, same);
        let others = (0..16).filter(|column| column / 4 != bad);
        let samples: Vec<_> = seen.since(600_000).collect();
        prop_assert!(samples.len() > 550);
        for column in others {
            prop_assert!(samples.iter().all(|sample| sample.marks[column] == Mark::Read));
        }
        prop_assert_eq!(seen.state, Some(SourceState::Online));
    }
}

#[test]
fn what_is_read_once_is_read_again_when_the_inverter_comes_back() {
    // Another inverter after three minutes of silence, and again after three minutes of refusals.
    let serial = |now: u64| {
        if now < 300_000 {
            1
        } else if now < 900_000 {
            2
        } else {
            3
        }
    };
    let seen = poll(
        plan(&[FIVE, ONCE], &[(0, 2, 0), (50, 1, 1)]),
        SECOND,
        1_800,
        |_, now| match now {
            120_000..300_000 => Answer::Silence,
            700_000..900_000 => Answer::Exception(4),
            _ => Answer::Words(20),
        },
        |address, now| if address == 50 { serial(now) } else { address },
    );
    let serials: Vec<u16> = seen
        .samples
        .iter()
        .filter(|sample| sample.marks[2] == Mark::Read)
        .map(|sample| sample.words[2])
        .collect();
    assert_eq!(serials, [1, 2, 3]);
}

#[test]
fn what_is_read_once_and_refused_is_tried_again() {
    for (code, within) in [(2, 606_000), (3, 606_000), (6, 80_000), (4, 80_000)] {
        let seen = poll(
            plan(&[FIVE, ONCE], &[(0, 2, 0), (50, 4, 1)]),
            SECOND,
            1_200,
            |read, now| match now < 30_000 && covers(read, 51) {
                true => Answer::Exception(code),
                false => Answer::Words(20),
            },
            same,
        );
        let first = seen.samples.iter().find(|sample| sample.marks[3] == Mark::Read).unwrap();
        assert!(first.at <= within, "{code}: {}", first.at);
        assert!(seen.since(700_000).all(|sample| sample.marks[3] == Mark::NotDue), "{code}");
    }
}

#[test]
fn a_cycle_of_quarantined_registers_is_not_silence() {
    let seen = poll(
        plan(&[FIVE, MINUTE], &[(0, 1, 0), (50, 2, 1)]),
        SECOND,
        3_600,
        |read, _| if covers(read, 0) { Answer::Exception(2) } else { Answer::Words(20) },
        same,
    );
    let changes = seen.events.iter().filter(|event| matches!(event, Event::Source { .. }));
    assert_eq!(changes.count(), 1, "{:?}", seen.events);
    assert_eq!(seen.state, Some(SourceState::Online));
    assert!(seen.since(60_000).any(|sample| sample.marks[1] == Mark::Read));
}

#[test]
fn a_group_without_registers_has_no_effect() {
    // As in a profile of which the inverter has only a part.
    let seen =
        poll(plan(&[FIVE, MINUTE], &[(50, 2, 1)]), SECOND, 600, |_, _| Answer::Words(20), same);
    assert_eq!(seen.samples.len(), 10);
    assert!(seen.samples.iter().all(Taken::is_whole));
    let once =
        poll(plan(&[FIVE, ONCE], &[(50, 2, 1)]), SECOND, 600, |_, _| Answer::Words(20), same);
    assert_eq!((once.samples.len(), once.state), (1, Some(SourceState::Online)));
}

/// Numbers in 0 to 51 and a text of 16 registers.
fn with_text() -> Plan {
    let whole = Read::of_all(Table::Holding, 0, 52, 0, 0);
    let text = Read::of_all(Table::Holding, 100, 16, 1, 0).undivided();
    Plan::new(&[FIVE, ONCE], &[whole, text], None).unwrap().with_text(52, 16)
}

#[test]
fn the_longest_answered_read_is_learned() {
    for carries in [6, 10, 13, 20, 30, 51, 60] {
        for answer in [
            Answer::Exception(3),
            Answer::Exception(2),
            Answer::Exception(1),
            Answer::Exception(4),
            Answer::Silence,
            Answer::Garbled,
        ] {
            let seen = poll(
                with_text(),
                SECOND,
                600,
                |read, _| if read.count > carries { answer.clone() } else { Answer::Words(20) },
                same,
            );
            let what = format!("{carries} {answer:?}");
            // Once it is known no read is too long, and every register is read.
            let steady: Vec<_> = seen.since(240_000).collect();
            assert!(steady.len() > 60 && steady.iter().all(|sample| sample.is_whole()), "{what}");
            let asked = seen.requests.iter().filter(|(at, _, _)| *at >= 240_000);
            assert!(asked.clone().all(|(_, _, count)| *count <= carries), "{what}");
            let parts = seen.requests_since(240_000) / steady.len();
            assert!(parts <= usize::from(2 * 52_u16.div_ceil(carries)), "{what}: {parts}");
            let text = seen.samples.iter().find(|sample| sample.marks[52] == Mark::Read).unwrap();
            assert_eq!(text.words[52..], (100..116).collect::<Vec<u16>>(), "{what}");
            let is_shortened = |event: &Event| matches!(event, Event::ReadsShortened { registers, .. } if *registers <= carries);
            assert_eq!(seen.has(is_shortened), carries < 52, "{what}: {:?}", seen.events);
            assert!(!seen.has(|event| matches!(event, Event::Quarantined { .. })), "{what}");
        }
    }
}

#[test]
fn a_bad_register_is_found_even_where_reads_must_be_shortened() {
    let seen = poll(
        with_text(),
        SECOND,
        600,
        |read, _| match read.count > 20 || covers(read, 7) {
            true => Answer::Exception(3),
            false => Answer::Words(20),
        },
        same,
    );
    for sample in seen.since(60_000) {
        let marks: Vec<_> = (0..52).filter(|column| sample.marks[*column] != Mark::Read).collect();
        assert_eq!(marks, [7]);
    }
    assert!(seen.samples.iter().any(|sample| sample.marks[67] == Mark::Read));
}

/// Four registers, and 49 with a hole of three in them that no point needs.
fn with_hole() -> Plan {
    let mut text = String::from(
        r#"
schema = 1
id = "acme/any"
version = 1
title = "Any"
sources = ["Manual"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
[groups]
live = { every_s = 5 }
[points]
"#,
    );
    for address in (0..4).chain(400..420).chain(423..452) {
        text += &format!(
            "\"x.r{address}\" = {{ address = {address}, table = \"holding\", type = \"u16\", group = \"live\" }}\n"
        );
    }
    let plan = Profile::parse(&text).unwrap().compile(Transport::TCP).unwrap().plan;
    assert_eq!(plan.reads().iter().map(|read| read.count).collect::<Vec<_>>(), [4, 52]);
    plan
}

#[test]
fn a_hole_that_is_met_with_silence_is_read_around() {
    let is_in_hole = |read: &Read| (420..423).any(|address| covers(read, address));
    let seen = poll(
        with_hole(),
        SECOND,
        3_600,
        |read, _| if is_in_hole(read) { Answer::Silence } else { Answer::Words(20) },
        same,
    );
    let steady: Vec<_> = seen.since(600_000).collect();
    assert!(steady.len() > 590 && steady.iter().all(|sample| sample.is_whole()));
    assert!(!seen.has(|event| matches!(event, Event::Quarantined { .. })), "{:?}", seen.events);
}

#[test]
fn a_register_that_is_met_with_silence_is_quarantined() {
    let seen = poll(
        plan(&[FIVE], &[(0, 4, 0), (100, 52, 0)]),
        SECOND,
        7_200,
        |read, _| if covers(read, 141) { Answer::Silence } else { Answer::Words(20) },
        same,
    );
    let steady: Vec<_> = seen.since(900_000).collect();
    let bad = |sample: &Taken| -> Vec<usize> {
        (0..56).filter(|column| sample.marks[*column] != Mark::Read).collect()
    };
    // Its retries, after ten minutes and more, cost what follows in their cycle.
    let alone = steady.iter().filter(|sample| bad(sample) == [45]).count();
    assert!(steady.len() > 1_200 && alone >= steady.len() - 10, "{alone} of {}", steady.len());
    assert!(seen.has(|event| matches!(event, Event::Quarantined { address: 141, count: 1, .. })));
}

#[test]
fn a_line_that_loses_frames_quarantines_nothing() {
    let mut draw = 1u32;
    let seen = poll(
        plan(&[FIVE], &[(0, 4, 0), (20, 1, 0), (100, 52, 0)]),
        SECOND,
        24 * 3_600,
        |_, _| {
            draw = draw.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if draw >> 16 < 0x4CCC { Answer::Silence } else { Answer::Words(20) }
        },
        same,
    );
    assert!(!seen.has(|event| matches!(event, Event::Quarantined { .. })), "{:?}", seen.events);
}

#[test]
fn an_outage_is_not_taken_for_a_length_limit() {
    let seen = poll(
        plan(&[FIVE], &[(0, 100, 0)]),
        SECOND,
        7_200,
        |_, now| match now % 1_800_000 {
            300_000..1_200_000 => Answer::Silence,
            _ => Answer::Words(20),
        },
        same,
    );
    assert!(!seen.has(|event| matches!(event, Event::ReadsShortened { .. })));
    let last = seen.requests.last().unwrap();
    assert_eq!(last.2, 100);
}

const MODELS: [FoundModel; 2] =
    [FoundModel { id: 1, address: 10, length: 6 }, FoundModel { id: 103, address: 18, length: 10 }];

/// Model 1 once, model 103 every five seconds, and a register outside the models.
fn guarded() -> Plan {
    plan(&[FIVE, ONCE], &[(0, 1, 0), (18, 12, 0), (10, 8, 1)]).with_guards(&MODELS).unwrap()
}

/// A map whose registers after the first model are moved up by `shift`.
fn map(id: u16, shift: u16) -> impl Fn(u16, u64) -> u16 {
    move |address, _| match address {
        0 => 7,
        10 => 1,
        11 => 6 + shift,
        _ if address == 18 + shift => id,
        _ if address == 19 + shift => 10,
        _ => 1_000 + address,
    }
}

#[test]
fn no_word_of_a_model_that_has_moved_is_taken() {
    let well = poll(guarded(), SECOND, 60, |_, _| Answer::Words(20), map(103, 0));
    assert!(well.samples.iter().all(Taken::is_whole));
    assert!(!well.has(|event| matches!(event, Event::ModelsMoved { .. })));
    for (id, shift) in [(103, 1), (113, 0), (103, 2), (0xFFFF, 0)] {
        let (before, after) = (map(103, 0), map(id, shift));
        let seen = poll(
            guarded(),
            SECOND,
            600,
            |_, _| Answer::Words(20),
            |address, now| if now < 100_000 { before(address, now) } else { after(address, now) },
        );
        assert!(seen.since(0).take_while(|s| s.at < 100_000).all(Taken::is_whole));
        assert!(seen.since(100_000).count() > 20);
        for sample in seen.since(100_000) {
            // The register outside the models is still read.
            assert_eq!((sample.marks[0], sample.words[0]), (Mark::Read, 7));
            assert!(sample.marks[1..13].iter().all(|mark| *mark == Mark::Garbled));
            assert!(sample.words[1..13].iter().all(|word| *word == 0));
        }
        assert!(seen.has(|event| matches!(event, Event::ModelsMoved { .. })));
    }
}

#[test]
fn a_model_whose_header_is_refused_is_discarded() {
    let seen = poll(
        guarded(),
        SECOND,
        300,
        |read, now| match now > 100_000 && covers(read, 18) {
            true => Answer::Exception(2),
            false => Answer::Words(20),
        },
        map(103, 0),
    );
    for sample in seen.since(110_000) {
        assert!(sample.marks[1..13].iter().all(|mark| *mark != Mark::Read), "{sample:?}");
    }
    assert!(seen.has(|event| matches!(event, Event::ModelsMoved { .. })));
}

#[test]
fn a_map_that_disappears_is_reported() {
    for code in [2, 3] {
        let seen = poll(
            guarded(),
            SECOND,
            300,
            |_, now| if now > 100_000 { Answer::Exception(code) } else { Answer::Words(20) },
            map(103, 0),
        );
        assert!(seen.has(|event| matches!(event, Event::ModelsMoved { .. })));
    }
    // Exception 6 (busy) says nothing about the map.
    let seen = poll(
        guarded(),
        SECOND,
        300,
        |_, now| if now > 100_000 { Answer::Exception(6) } else { Answer::Words(20) },
        map(103, 0),
    );
    assert!(!seen.has(|event| matches!(event, Event::ModelsMoved { .. })));
}

#[test]
fn recovery_covers_the_longest_pauses() {
    let longest = limits::QUARANTINE_RETRY_MAX + limits::BACK_OFF_MAX;
    assert!(longest < Duration::from_secs(RECOVERY_S));
}
