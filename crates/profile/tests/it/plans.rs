//! Plans cover every point exactly once, whatever the profile.

use std::collections::BTreeSet;

use ecowatt_model::Mark;
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{Compiled, Profile, Read, Transport, catalogue};
use proptest::prelude::*;

const HEAD: &str = r#"
schema = 1
id = "acme/any"
version = 1
title = "Any"
sources = ["Manual"]
[transport]
kinds = ["tcp"]
unit = 1
timeout_ms = 1000
barriers = [{ table = "input", address = 300 }]
[groups]
fast = { every_s = 1 }
slow = { every_s = 60 }
once = { every_s = 0 }
[points]
"#;

#[derive(Debug, Clone)]
struct Register {
    address: u16,
    is_wide: bool,
    group: &'static str,
    table: &'static str,
}

fn register() -> impl Strategy<Value = Register> {
    let group = prop_oneof![Just("fast"), Just("slow"), Just("once")];
    let table = prop_oneof![Just("input"), Just("holding")];
    (0u16..600, any::<bool>(), group, table).prop_map(|(address, is_wide, group, table)| Register {
        address,
        is_wide,
        group,
        table,
    })
}

/// The smallest reads that a read is split into.
fn pieces(read: Read) -> Vec<Read> {
    match read.bisect() {
        Some((left, right)) => pieces(left).into_iter().chain(pieces(right)).collect(),
        None => vec![read],
    }
}

proptest! {
    #[test]
    fn every_point_is_covered_exactly_once(
        registers in prop::collection::vec(register(), 1..20),
        baud in prop::sample::select(vec![1_200u32, 9_600, 115_200]),
    ) {
        let mut text = String::from(HEAD);
        for (index, Register { address, is_wide, group, table }) in registers.iter().enumerate() {
            let kind = if *is_wide { "u32" } else { "u16" };
            text += &format!(
                "\"x.p{index:02}\" = {{ address = {address}, type = \"{kind}\", \
                 table = \"{table}\", group = \"{group}\" }}\n"
            );
        }
        let profile = Profile::parse(&text).unwrap();
        let is_torn = |r: &Register| {
            r.table == "input" && (r.address == 300 || (r.is_wide && r.address == 299))
        };
        let Ok(compiled) = profile.compile(Transport::serial(baud)) else {
            let reads_are_many = registers.len() > 10;
            prop_assert!(registers.iter().any(is_torn) || reads_are_many);
            return Ok(());
        };
        let (plan, layout) = (&compiled.plan, &compiled.layout);

        // The columns of the plan are those of the layout.
        let planned: Vec<_> = plan
            .reads()
            .iter()
            .flat_map(|read| {
                read.columns().map(|(offset, _)| (read.table, read.address + offset, read.group))
            })
            .collect();
        let laid: Vec<_> =
            layout.columns().iter().map(|c| (c.table, c.address, c.group)).collect();
        prop_assert_eq!(&planned, &laid);
        prop_assert_eq!(plan.column_count(), laid.len());

        // No register is read twice; no read is too long or crosses a barrier.
        let distinct: BTreeSet<_> = planned.iter().map(|(table, address, _)| (table, address)).collect();
        for read in plan.reads() {
            prop_assert!(read.count <= 125);
            let over_barrier = read.table.as_str() == "input"
                && (read.address..read.address + read.count).contains(&300);
            prop_assert!(!over_barrier);
        }
        let needed: BTreeSet<_> = registers
            .iter()
            .flat_map(|r| (r.address..=r.address + u16::from(r.is_wide)).map(|a| (r.table, a)))
            .collect();
        prop_assert_eq!(distinct.len(), needed.len());

        // Each point decodes from its own registers, at least as often as configured.
        let words: Vec<u16> = laid.iter().map(|(_, address, _)| *address).collect();
        let marks = vec![Mark::Read; words.len()];
        for (reading, register) in layout.decode(&words, &marks).zip(&registers) {
            let address = i64::from(register.address);
            let expected = if register.is_wide { (address << 16) | (address + 1) } else { address };
            prop_assert_eq!(reading.good(), Some(expected));
            let column = &layout.columns()[usize::from(layout.points()[reading.point].first_column)];
            let every = |group: usize| layout.groups()[group].wrapping_sub(1);
            let asked = profile.points()[reading.point].group;
            prop_assert!(every(usize::from(column.group)) <= every(asked));
        }

        // Splitting keeps all columns and tears no number.
        for read in plan.reads() {
            let parts = pieces(*read);
            let columns: Vec<usize> =
                parts.iter().flat_map(|part| part.columns().map(|(_, column)| column)).collect();
            prop_assert_eq!(columns, read.columns().map(|(_, column)| column).collect::<Vec<_>>());
            for (point, register) in layout.points().iter().zip(&registers) {
                let first = usize::from(point.first_column);
                if register.is_wide && read.columns().any(|(_, column)| column == first) {
                    let holds_both = parts.iter().any(|part| {
                        [first, first + 1].iter().all(|c| part.columns().any(|(_, col)| col == *c))
                    });
                    prop_assert!(holds_both);
                }
            }
        }
    }
}

#[test]
fn the_seed_sleeps_without_output_power_and_string_current() {
    let seed = catalogue::find("ecowatt/seed-sim").unwrap();
    let plan = seed.compile(Transport::TCP).unwrap().plan;
    let sleep = plan.sleep().unwrap();
    let dusk = [2300, 0, 5000, 2800, 2750, 1, 0, 250, 100, 12];
    assert!(sleep.is_asleep(&dusk, &[Mark::Read; 10]));
    for (column, word) in [(5, 5), (6, 9), (9, 50)] {
        let mut day = dusk;
        day[column] = word;
        assert!(!sleep.is_asleep(&day, &[Mark::Read; 10]), "{column}");
    }
}

#[test]
fn a_sunspec_inverter_sleeps_with_little_power_unless_it_has_a_fault() {
    let models = [FoundModel { id: 103, address: 2, length: 50 }];
    let profile = catalogue::find("sunspec/generic-pv").unwrap().resolve(&models).unwrap();
    let compiled = profile.compile(Transport::TCP).unwrap();
    let column = |address| compiled.layout.columns().iter().position(|c| c.address == address);
    let mut words = vec![0; compiled.layout.columns().len()];
    let marks = vec![Mark::Read; words.len()];
    let sleep = compiled.plan.sleep().unwrap();
    let (power, factor, state) = (column(16), column(17), column(40));
    words[power.unwrap()] = 120;
    words[factor.unwrap()] = (-1i16).cast_unsigned();
    words[state.unwrap()] = 4;
    assert!(sleep.is_asleep(&words, &marks));
    words[factor.unwrap()] = 0;
    assert!(!sleep.is_asleep(&words, &marks));
    words[power.unwrap()] = 0;
    words[state.unwrap()] = 7;
    assert!(!sleep.is_asleep(&words, &marks));
}

#[test]
fn every_inverter_of_the_catalogue_can_sleep() {
    let has_rule =
        |profile: Profile| profile.compile(Transport::TCP).unwrap().plan.sleep().is_some();
    let (sunspec, plain): (Vec<Profile>, Vec<Profile>) = catalogue::list()
        .iter()
        .map(|entry| catalogue::find(entry.id).unwrap())
        .partition(Profile::needs_discovery);
    assert!(!sunspec.is_empty() && plain.len() >= 3);
    for profile in plain {
        assert!(has_rule(profile.clone()), "{}", profile.id());
    }
    for profile in sunspec {
        for (id, length) in
            [(101, 50), (102, 50), (103, 50), (111, 60), (112, 60), (113, 60), (701, 153)]
        {
            let models = [FoundModel { id, address: 2, length }];
            assert!(has_rule(profile.resolve(&models).unwrap()), "{}, model {id}", profile.id());
        }
    }
}

#[test]
fn a_float_is_compared_by_its_high_word() {
    let models = [FoundModel { id: 113, address: 2, length: 60 }];
    let profile = catalogue::find("sunspec/generic-pv").unwrap().resolve(&models).unwrap();
    let compiled = profile.compile(Transport::TCP).unwrap();
    let column = |address| compiled.layout.columns().iter().position(|c| c.address == address);
    let (power, state) = (column(2 + 22).unwrap(), column(2 + 48).unwrap());
    let sleep = compiled.plan.sleep().unwrap();
    let mut words = vec![0; compiled.layout.columns().len()];
    let marks = vec![Mark::Read; words.len()];
    let mut is_asleep = |watts: f32, state_word: u16| {
        let bits = watts.to_bits();
        let word = |shift: u32| u16::try_from((bits >> shift) & 0xFFFF).unwrap();
        (words[power], words[power + 1], words[state]) = (word(16), word(0), state_word);
        sleep.is_asleep(&words, &marks)
    };
    for watts in [-0.0, 0.0, 0.001, 7.25, 49.7, -3.0, f32::MIN] {
        assert!(is_asleep(watts, 4), "{watts}");
        assert!(!is_asleep(watts, 7), "{watts} and a fault");
    }
    for watts in [50.0, 50.001, 4_000.0, f32::MAX, f32::INFINITY, f32::NAN] {
        assert!(!is_asleep(watts, 4), "{watts}");
    }
}

#[test]
fn sleep_of_huawei_is_its_own_state_and_that_of_sungrow_little_current() {
    let huawei = catalogue::find("huawei/sun2000").unwrap().compile(Transport::TCP).unwrap();
    let sungrow = catalogue::find("sungrow/sg-string").unwrap().compile(Transport::TCP).unwrap();
    let is_asleep = |compiled: &Compiled, set: &[(u16, u16)]| {
        let columns = compiled.layout.columns();
        let mut words = vec![0; columns.len()];
        for (address, word) in set {
            words[columns.iter().position(|c| c.address == *address).unwrap()] = *word;
        }
        compiled.plan.sleep().unwrap().is_asleep(&words, &vec![Mark::Read; words.len()])
    };
    for (state, expected) in [(0xA000, true), (0x0002, true), (0x0200, false), (0x0300, false)] {
        assert_eq!(is_asleep(&huawei, &[(32_089, state)]), expected, "{state:#x}");
    }
    let (current_1, current_2, state) = (5_011, 5_013, 5_037);
    for (set, expected) in [
        ([(current_1, 4), (current_2, 0), (state, 0)], true),
        ([(current_1, 0), (current_2, 0), (state, 0x1400)], true),
        ([(current_1, 5), (current_2, 0), (state, 0)], false),
        ([(current_1, 0), (current_2, 30), (state, 0)], false),
        ([(current_1, 0), (current_2, 0), (state, 0x5500)], false),
    ] {
        assert_eq!(is_asleep(&sungrow, &set), expected, "{set:?}");
    }
}

#[test]
fn a_sleep_rule_with_a_missing_condition_is_dropped() {
    // Model 160 has strings and no power of the inverter.
    let models = [FoundModel { id: 160, address: 2, length: 28 }];
    let profile = catalogue::find("sunspec/generic-pv").unwrap().resolve(&models).unwrap();
    assert_eq!(profile.compile(Transport::TCP).unwrap().plan.sleep(), None);
}
