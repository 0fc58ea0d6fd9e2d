//! Effects of each fault on a read, and that no answer is ever false.

use std::sync::OnceLock;

use super::*;
use crate::faults::table::FAULTS;
use crate::plant::Plants;
use crate::scenario::{FaultLevel, Threads};

/// 2026-06-21T10:00Z.
const START: UnixMs = UnixMs(1_782_036_000_000);
const STEP: Duration = Duration::from_secs(60);
/// Until night at both sites.
const ROWS: usize = 900;
const TIMEOUT: Duration = Duration::from_secs(1);

fn plants() -> &'static Plants {
    static PLANTS: OnceLock<Plants> = OnceLock::new();
    PLANTS.get_or_init(|| Plants::compute(3, START, STEP, ROWS, Threads::Two, &|_, _| {}).unwrap())
}

/// Number 0 has the seed map, number 1 is a SunSpec inverter.
fn bus(plant: usize) -> Bus {
    Bus::new(plants().of(plant), 5, START).unwrap()
}

fn later(seconds: u64) -> UnixMs {
    START.plus(Duration::from_secs(seconds))
}

fn first_read(plant: usize) -> Read {
    plants().of(plant).plan.reads()[0]
}

/// An answer that owns its words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    after: Duration,
    result: Result<Vec<u16>, String>,
    is_intact: Option<bool>,
    is_false: bool,
}

fn seen(answered: &Answered<'_>) -> Seen {
    let result = match answered.result {
        ReadResult::Words(words) => Ok(words.to_vec()),
        ReadResult::Exception(code) => Err(format!("exception {}", code.code())),
        ReadResult::Timeout => Err("timeout".to_owned()),
        ReadResult::Garbled => Err("garbled".to_owned()),
        ReadResult::Unreachable => Err("unreachable".to_owned()),
    };
    Seen {
        after: answered.after,
        result,
        is_intact: answered.answered.map(|answered| answered.is_intact),
        is_false: answered.is_false,
    }
}

fn ask(bus: &mut Bus, plant: usize, now: UnixMs, random: &mut Random) -> Seen {
    seen(&bus.read(&first_read(plant), TIMEOUT, now, random))
}

/// Returns what a device sees of reads at 60, 120, … seconds while a fault is active.
fn under(spec: &FaultSpec, reads: u64) -> (Vec<Seen>, Bus) {
    let (mut bus, mut random) = (bus(0), Random::new(9, 9));
    ask(&mut bus, 0, START, &mut random).result.unwrap();
    bus.add_fault(spec, START).unwrap();
    let seen = (1..=reads).map(|n| ask(&mut bus, 0, later(60 * n), &mut random)).collect();
    (seen, bus)
}

fn problems(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.result.as_ref().map_or_else(|text| &**text, |_| "words")).collect()
}

#[test]
fn a_healthy_inverter_gives_what_its_table_holds() {
    for plant in 0..2 {
        let (mut bus, mut random) = (bus(plant), Random::new(1, 1));
        for minute in 0..600 {
            let now = later(60 * minute);
            for read in plants().of(plant).plan.reads() {
                let answered = bus.read(read, TIMEOUT, now, &mut random);
                assert!(!answered.is_false && answered.latency <= answered.after);
                let at = answered.answered.unwrap().at;
                assert!(at >= now && at <= now.plus(answered.after));
                let ReadResult::Words(words) = answered.result else { panic!("{answered:?}") };
                let held = plants().of(plant).table.words(at, read.address, read.count);
                assert_eq!(Some(words), held);
            }
        }
        let counts = bus.counts();
        assert_eq!((counts.words, counts.connections, counts.false_answers), (counts.reads, 1, 0));
    }
}

#[test]
fn misread_answers_are_not_what_was_held_and_shift_no_other_draw() {
    for plant in 0..2 {
        let (mut calm, mut misread) =
            (bus(plant), bus(plant).misread(&Arc::new(Weights::of(FaultLevel::High, 0)), 3));
        let (mut random, mut same) = (Random::new(1, 1), Random::new(1, 1));
        let mut kinds = [0; 3];
        for minute in 0..6_000 {
            let now = later(6 * minute);
            for read in plants().of(plant).plan.reads() {
                let held = seen(&calm.read(read, TIMEOUT, now, &mut random));
                let answered = misread.read(read, TIMEOUT, now, &mut same);
                let (is_misread, answered) = (answered.is_misread, seen(&answered));
                if !is_misread {
                    assert_eq!(answered, held);
                    continue;
                }
                assert_eq!((answered.after, answered.is_false), (held.after, false));
                let (words, held) = (answered.result.unwrap(), held.result.unwrap());
                let wrong = words.iter().zip(&held).filter(|(word, held)| word != held).count();
                let filler = [0, u16::MAX].iter().any(|filler| words.iter().all(|w| w == filler));
                kinds[if filler { 0 } else { wrong.min(2) }] += 1;
            }
        }
        assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
        let misreadings = kinds.iter().sum::<u64>();
        assert_eq!(
            (misread.counts().misreadings, misread.counts().false_answers),
            (misreadings, 0)
        );
    }
}

#[test]
fn each_fault_leads_to_what_it_should() {
    let always = FaultSpec::always;
    let delay = |delay_ms| FaultSpec { delay_ms: Some(delay_ms), ..always(Kind::Delay) };
    let exception = |code| FaultSpec { code: Some(code), ..always(Kind::Exception) };
    for (spec, expected) in [
        (always(Kind::WrongCrc), "garbled"),
        (always(Kind::Truncated), "garbled"),
        (always(Kind::Garbage), "garbled"),
        (always(Kind::Overlong), "garbled"),
        (always(Kind::Duplicate), "words"),
        (always(Kind::WrongUnit), "garbled"),
        (always(Kind::WrongFunction), "garbled"),
        (always(Kind::StaleAnswer), "timeout"),
        (exception(2), "exception 2"),
        (exception(0x0B), "exception 11"),
        (always(Kind::Silence), "timeout"),
        (delay(400), "words"),
        (delay(1_500), "timeout"),
        (always(Kind::Reset), "unreachable"),
        (always(Kind::Frozen), "words"),
        (always(Kind::NightSleep), "words"),
    ] {
        let (seen, mut bus) = under(&spec, 50);
        assert_eq!(problems(&seen), [expected; 50], "{spec:?}");
        assert!(seen.iter().all(|seen| !seen.is_false), "{spec:?}");
        let counts = bus.counts();
        assert_eq!(counts.faults.of(spec.kind), 1);
        if spec.kind != Kind::NightSleep {
            assert!(counts.struck.of(spec.kind) >= 50, "{spec:?}");
        }
        bus.calm();
        let healed = ask(&mut bus, 0, later(60 * 51), &mut Random::new(2, 2));
        assert!(healed.result.is_ok() && !healed.is_false, "{spec:?}: {healed:?}");
    }
}

#[test]
fn waits_are_as_long_as_they_are() {
    let (seen, _) = under(&FaultSpec::always(Kind::Silence), 5);
    assert!(seen.iter().all(|seen| (TIMEOUT..TIMEOUT * 2).contains(&seen.after)));
    let delayed = FaultSpec { delay_ms: Some(300), ..FaultSpec::always(Kind::Delay) };
    let (seen, _) = under(&delayed, 5);
    assert!(seen.iter().all(|seen| seen.after > Duration::from_millis(300)));
    assert!(seen.iter().all(|seen| seen.after < TIMEOUT));
}

#[test]
fn frozen_words_are_those_of_when_they_froze_and_not_false() {
    let (seen, _) = under(&FaultSpec::always(Kind::Frozen), 30);
    let read = first_read(0);
    let held = plants().of(0).table.words(START, read.address, read.count).unwrap();
    assert!(seen.iter().all(|seen| seen.result.as_deref() == Ok(held) && !seen.is_false));
}

#[test]
fn a_reboot_takes_a_minute() {
    let (mut bus, mut random) = (bus(0), Random::new(9, 9));
    ask(&mut bus, 0, START, &mut random).result.unwrap();
    bus.add_fault(&FaultSpec::always(Kind::Reboot), later(10)).unwrap();
    for second in [11, 40, 69] {
        let seen = ask(&mut bus, 0, later(second), &mut random);
        assert_eq!(seen.result, Err("unreachable".to_owned()));
    }
    assert!(ask(&mut bus, 0, later(71), &mut random).result.is_ok());
    assert_eq!(bus.counts().struck.of(Kind::Reboot), 1);
}

#[test]
fn the_night_is_silent_when_it_should_be() {
    let (mut bus, mut random) = (bus(0), Random::new(9, 9));
    bus.add_fault(&FaultSpec::always(Kind::NightSleep), START).unwrap();
    assert!(ask(&mut bus, 0, later(60), &mut random).result.is_ok());
    let night = plants().of(0).table.shown_at(ROWS - 1);
    assert!(plants().of(0).table.is_asleep(night));
    assert_eq!(ask(&mut bus, 0, night, &mut random).result, Err("timeout".to_owned()));
    assert_eq!(bus.counts().struck.of(Kind::NightSleep), 1);
}

#[test]
fn an_address_that_is_refused_spares_the_others() {
    let mut bus = bus(0);
    let spec =
        FaultSpec { code: Some(2), addresses: Some([7, 7]), ..FaultSpec::always(Kind::Exception) };
    bus.add_fault(&spec, START).unwrap();
    let mut random = Random::new(9, 9);
    let mut ask = |address, count| {
        let read = Read::of_all(Table::Holding, address, count, 0, 0);
        seen(&bus.read(&read, TIMEOUT, START, &mut random)).result
    };
    assert_eq!(ask(0, 10), Err("exception 2".to_owned()));
    assert!(ask(0, 7).is_ok() && ask(8, 2).is_ok());
    assert_eq!(ask(9, 2), Err("exception 2".to_owned()), "there is no register 10");
}

#[test]
fn a_connection_that_idled_too_long_is_opened_again_unnoticed() {
    let (mut bus, mut random) = (bus(0), Random::new(9, 9));
    for (seconds, connections) in [(0, 1), (200, 1), (499, 1), (801, 2), (802, 2)] {
        assert!(ask(&mut bus, 0, later(seconds), &mut random).result.is_ok());
        assert_eq!(bus.counts().connections, connections, "at {seconds} s");
    }
    bus.disconnect();
    assert!(ask(&mut bus, 0, later(803), &mut random).result.is_ok());
    assert_eq!(bus.counts().connections, 3);
}

#[test]
fn what_is_left_of_a_long_duplicate_does_no_harm() {
    let mut bus = bus(1);
    bus.add_fault(&FaultSpec::always(Kind::Duplicate), START).unwrap();
    let (mut random, read) = (Random::new(9, 9), Read::of_all(Table::Holding, 40_000, 125, 0, 0));
    let mut kinds = [0; 2];
    for minute in 0..400 {
        let answered = bus.read(&read, TIMEOUT, later(60 * minute), &mut random);
        assert!(!answered.is_false);
        match answered.result {
            ReadResult::Words(_) => kinds[0] += 1,
            // Six bytes of the two answers exceed what is taken at once and begin the next
            // exchange.
            ReadResult::Garbled | ReadResult::Timeout => kinds[1] += 1,
            ReadResult::Exception(_) | ReadResult::Unreachable => panic!("{answered:?}"),
        }
    }
    assert!(kinds.iter().all(|times| *times > 100), "{kinds:?}");
}

/// Runs a device for weeks in a storm of faults; returns a digest of what it saw, and the counts.
fn storm(seed: u64, plant: usize, reads: u64) -> (u64, Counts) {
    let mut bus = Bus::new(plants().of(plant), seed, START).unwrap();
    let mut random = Random::new(seed, 1);
    let mut digest = 0_u64;
    for number in 0..reads {
        let now = later(number * 20);
        if random.happens(10_000) {
            bus.disturb(&mut random, now, &Weights::of(FaultLevel::High, 0));
        }
        if random.happens(1_000) {
            bus.calm();
        }
        let plan = plants().of(plant).plan;
        let read = plan.reads()[pick(&mut random, plan.reads().len())];
        let seen = seen(&bus.read(&read, TIMEOUT, now, &mut random));
        for word in format!("{seen:?}").bytes() {
            digest = digest.wrapping_mul(31).wrapping_add(u64::from(word));
        }
    }
    (digest, bus.counts())
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    assert_eq!(storm(1, 0, 5_000), storm(1, 0, 5_000));
    assert_ne!(storm(1, 0, 5_000).0, storm(2, 0, 5_000).0);
}

#[test]
fn no_answer_is_false_whatever_happens() {
    let mut all = Counts::default();
    for seed in 0..24 {
        let plant = usize::try_from(seed).unwrap();
        let (_, counts) = storm(seed, plant, 6_000);
        all.add(&counts);
    }
    assert_eq!(all.false_answers, 0, "{all:?}");
    assert_eq!(
        all.words + all.exceptions + all.timeouts + all.garbled + all.unreachable,
        all.reads
    );
    for outcome in [all.words, all.exceptions, all.timeouts, all.garbled, all.unreachable] {
        assert!(outcome > 1_000, "{all:?}");
    }
    let kinds = FAULTS.iter().filter_map(|row| match row.fault {
        Fault::Line(kind) => Some(kind),
        _ => None,
    });
    for kind in kinds {
        assert!(all.faults.of(kind) > 0 && all.struck.of(kind) > 0, "{kind:?}: {all:?}");
    }
}

#[test]
fn false_words_would_be_noticed() {
    let (mut bus, mut random) = (bus(0), Random::new(9, 9));
    ask(&mut bus, 0, START, &mut random).result.unwrap();
    let read = first_read(0);
    assert!(bus.is_true(&read));
    bus.words[0] ^= 1;
    assert!(!bus.is_true(&read));
    // Sent and accepted alike, but not what the table holds.
    if let Some(answered) = &mut bus.answered {
        answered.words[0] ^= 1;
    }
    assert!(!bus.is_true(&read));
    bus.answered = None;
    assert!(!bus.is_true(&read));
}

#[test]
fn without_faults_a_level_of_none_disturbs_nothing() {
    let (mut bus, mut random) = (bus(0), Random::new(9, 9));
    bus.disturb(&mut random, START, &Weights::of(FaultLevel::None, 0));
    assert_eq!(bus.counts(), Counts::default());
    bus.disturb(&mut random, START, &Weights::of(FaultLevel::Low, 0));
    assert_eq!(bus.counts().faults.iter().map(|(_, count)| count).sum::<u64>(), 1);
}

/// A slow line and a slow way together may exceed the profile's time, without any fault.
#[test]
fn an_answer_that_was_not_had_was_missed_or_slow() {
    let mut bus = bus(0).at_pace(AnswerDelay::Wire { baud: 600 });
    let (patience, mut random) = (bus.patience, Random::new(9, 9));
    let read = Read::of_all(Table::Holding, 0, 10, 0, 0);
    let [mut had, mut slow, mut missed] = [0; 3];
    for minute in 0..6_000 {
        let timeout = if minute % 2 == 0 { patience } else { patience * 3 / 4 };
        let answered = bus.read(&read, timeout, later(6 * minute), &mut random);
        let is_had = matches!(answered.result, ReadResult::Words(_));
        assert_eq!(u8::from(is_had) + u8::from(answered.is_slow) + u8::from(answered.is_missed), 1);
        assert!(!answered.is_missed || timeout < patience);
        had += u32::from(is_had);
        slow += u32::from(answered.is_slow);
        missed += u32::from(answered.is_missed);
    }
    assert!(had > 1_000 && slow > 3 && missed > 3, "{had} had, {slow} slow, {missed} missed");
}
