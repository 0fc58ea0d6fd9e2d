//! Every profile of the catalogue loads and compiles to the reads listed here.

use std::fmt::Write;

use ecowatt_model::Mark;
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{Compiled, Profile, RegisterPlace, Transport, TransportKind, catalogue};

fn reads(profile: &Profile, transport: Transport) -> String {
    let compiled = profile.compile(transport).unwrap();
    let mut text = String::new();
    for read in compiled.plan.reads() {
        let group = &profile.groups()[usize::from(read.group)].name;
        let columns = read.column_count();
        let (table, address, count) = (read.table.as_str(), read.address, read.count);
        writeln!(text, "{group} {table} {address}+{count} {columns} columns").unwrap();
    }
    text
}

fn find(id: &str) -> Profile {
    let entry = catalogue::list().iter().find(|entry| entry.id == id).unwrap();
    Profile::parse(entry.text).unwrap_or_else(|error| panic!("{id}: {error}"))
}

/// A three-phase inverter with two strings.
const MODELS: [FoundModel; 6] = [
    FoundModel { id: 1, address: 40_002, length: 66 },
    FoundModel { id: 103, address: 40_070, length: 50 },
    FoundModel { id: 120, address: 40_122, length: 26 },
    FoundModel { id: 121, address: 40_150, length: 30 },
    FoundModel { id: 123, address: 40_182, length: 24 },
    FoundModel { id: 160, address: 40_208, length: 48 },
];

#[test]
fn every_entry_has_the_id_it_is_listed_under() {
    for entry in catalogue::list() {
        let profile = Profile::parse(entry.text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(profile.id(), entry.id);
        assert_eq!(catalogue::find(entry.id), Some(profile));
    }
    assert_eq!(catalogue::find("acme/none"), None);
}

#[test]
fn every_link_that_a_profile_names_can_be_planned() {
    for entry in catalogue::list() {
        let profile = find(entry.id);
        let profile =
            if profile.needs_discovery() { profile.resolve(&MODELS).unwrap() } else { profile };
        for &kind in &profile.transport().kinds {
            profile.compile(profile.link_cost(kind)).unwrap();
        }
    }
}

#[test]
fn the_seed_is_one_read() {
    let seed = find("ecowatt/seed-sim");
    for kind in [TransportKind::Tcp, TransportKind::Rtu, TransportKind::RtuOverTcp] {
        assert_eq!(reads(&seed, seed.link_cost(kind)), "live holding 0+10 10 columns\n");
    }
    let layout = seed.compile(Transport::TCP).unwrap().layout;
    let addresses: Vec<u16> = layout.columns().iter().map(|column| column.address).collect();
    assert_eq!(addresses, (0..10).collect::<Vec<_>>());
}

#[test]
fn sungrow_joins_live_registers() {
    let sungrow = find("sungrow/sg-string");
    let expected = "\
live input 5010+28 11 columns
energy holding 5006+2 2 columns
energy input 5002+6 2 columns
energy input 5143+2 2 columns
static input 5000+1 1 columns
";
    assert_eq!(reads(&sungrow, Transport::TCP), expected);
    assert_eq!(reads(&sungrow, sungrow.link_cost(TransportKind::Rtu)), expected);
}

#[test]
fn huawei_reads_alarms_apart() {
    let huawei = find("huawei/sun2000");
    let expected = "\
live holding 32008+1 1 columns
live holding 32064+26 10 columns
energy holding 32106+10 4 columns
energy holding 40125+1 1 columns
static holding 30000+25 25 columns
static holding 30073+2 2 columns
";
    assert_eq!(reads(&huawei, huawei.link_cost(TransportKind::Rtu)), expected);
}

#[test]
fn sunspec_takes_addresses_from_the_device() {
    let sunspec = find("sunspec/generic-pv");
    assert!(sunspec.needs_discovery());
    assert!(sunspec.compile(Transport::TCP).is_err());
    let resolved = sunspec.resolve(&MODELS).unwrap();
    assert!(!resolved.needs_discovery());
    let expected = "\
live holding 40070+42 22 columns
live holding 40208+42 11 columns
slow holding 40182+24 5 columns
static holding 40002+66 50 columns
static holding 40122+5 4 columns
";
    assert_eq!(reads(&resolved, Transport::TCP), expected);
    let scale = match resolved.point("ac.power").unwrap().place {
        RegisterPlace::Registers { address, scale_address, .. } => (address, scale_address),
        RegisterPlace::SunSpec(_) => panic!("not resolved"),
    };
    assert_eq!(scale, (40_084, Some(40_085)));
    assert!(resolved.point("pv.2.voltage").is_some());
    assert!(resolved.point("pv.3.voltage").is_none());
    assert_eq!(
        resolved.models_used().iter().map(|found| found.id).collect::<Vec<_>>(),
        [1, 103, 120, 123, 160]
    );
}

/// A three-phase inverter with three ports and no model below 700.
const DER_MODELS: [FoundModel; 10] = [
    FoundModel { id: 1, address: 40_002, length: 66 },
    FoundModel { id: 701, address: 40_070, length: 153 },
    FoundModel { id: 702, address: 40_225, length: 50 },
    FoundModel { id: 703, address: 40_277, length: 17 },
    FoundModel { id: 704, address: 40_296, length: 65 },
    FoundModel { id: 705, address: 40_363, length: 57 },
    FoundModel { id: 712, address: 40_422, length: 32 },
    FoundModel { id: 713, address: 40_456, length: 7 },
    FoundModel { id: 714, address: 40_465, length: 18 + 3 * 25 },
    FoundModel { id: 64_001, address: 40_560, length: 12 },
];

#[test]
fn models_from_701_on_are_read_like_the_older_ones() {
    let resolved = find("sunspec/generic-pv").resolve(&DER_MODELS).unwrap();
    let expected = "\
live holding 40070+123 23 columns
live holding 40465+83 15 columns
slow holding 40296+55 5 columns
slow holding 40456+9 6 columns
static holding 40002+66 50 columns
static holding 40225+46 4 columns
";
    assert_eq!(reads(&resolved, Transport::TCP), expected);
    let compiled = resolved.compile(Transport::TCP).unwrap();
    let layout = compiled.layout;
    let mut words = vec![0; layout.columns().len()];
    let mut set = |address: u16, word: i16| {
        let column = layout.columns().iter().position(|column| column.address == address).unwrap();
        words[column] = word.cast_unsigned();
    };
    // 360 at a factor of 1; 12,345,678 Wh in four words; 49.98 Hz in two; state running.
    for (offset, word) in [(10, 360), (116, 1), (17, 0), (18, 4_998), (115, -2), (4, 3)] {
        set(40_070 + offset, word);
    }
    for (offset, word) in [(19, 0), (20, 0), (21, 188), (22, 24_910), (120, 0)] {
        set(40_070 + offset, word);
    }
    // The second port: 512.5 V, 3.4 A.
    for (offset, word) in [(15, -1), (16, -1), (45 + 11, 5_125), (45 + 10, 34)] {
        set(40_465 + offset, word);
    }
    // 5,000 W, and a limit of 70 % that is in force.
    for (address, word) in [(40_227, 5_000), (40_270, 0), (40_311, 70), (40_350, 0), (40_310, 1)] {
        set(address, word);
    }
    let marks = vec![Mark::Read; words.len()];
    let value = |name: &str| {
        let point = layout.find(name).unwrap_or_else(|| panic!("{name}"));
        layout.reading(point, &words, &marks).good()
    };
    assert_eq!(value("ac.power"), Some(3_600));
    assert_eq!(value("ac.energy.total"), Some(188 * 65_536 + 24_910));
    assert_eq!(value("ac.frequency"), Some(4_998));
    assert_eq!((value("pv.2.voltage"), value("pv.2.current")), (Some(5_125), Some(340)));
    assert_eq!((value("info.rated_power"), value("control.p_limit")), (Some(5_000), Some(700)));
    assert_eq!(value("control.limit_on"), Some(1));
    assert!(layout.find("pv.3.power").is_some() && layout.find("pv.4.power").is_none());
    let state = &layout.points()[layout.roles().state.unwrap()];
    assert_eq!(value("state").and_then(|code| state.label(code)), Some("running"));
    // Asleep: very little power in one of the states of the night, by their names.
    let column = |address| layout.columns().iter().position(|c| c.address == address).unwrap();
    let (power, state) = (column(40_080), column(40_074));
    let sleep = *compiled.plan.sleep().unwrap();
    let mut asleep = |watts: u16, code: u16| {
        (words[power], words[state]) = (watts, code);
        sleep.is_asleep(&words, &marks)
    };
    assert!(asleep(4, 1) && asleep(4, 3) && asleep(4, 7) && asleep(0, 0));
    assert!(!asleep(5, 3) && !asleep(0, 6) && !asleep(0, 2));
}

#[test]
fn an_inverter_without_a_measurement_of_the_profile_does_not_fit() {
    let sunspec = find("sunspec/generic-pv");
    let model = |id, address, length| FoundModel { id, address, length };
    for models in [
        vec![model(1, 40_002, 66)],
        vec![model(1, 40_002, 66), model(120, 40_070, 26), model(123, 40_098, 24)],
        vec![model(1, 40_002, 66), model(203, 40_070, 105)],
        vec![model(64_200, 2, 7)],
        // Too short for any of its points.
        vec![model(103, 40_002, 0)],
        vec![],
    ] {
        assert!(sunspec.resolve(&models).is_err(), "{models:?}");
    }
}

#[test]
fn every_sample_contains_the_headers_of_its_models() {
    for models in [&MODELS[..], &DER_MODELS[..]] {
        let resolved = find("sunspec/generic-pv").resolve(models).unwrap();
        let Compiled { plan, layout } = resolved.compile(Transport::serial(9_600)).unwrap();
        assert_eq!(plan.guards().len(), resolved.models_used().len());
        let column = |column: usize| layout.columns()[column];
        for guard in plan.guards() {
            let (first, second) = (column(guard.column.into()), column(guard.column as usize + 1));
            let found = guard.model;
            assert_eq!((first.address, second.address), (found.address, found.address + 1));
            // As often as the model's fastest point.
            let every = |group: u8| layout.groups()[usize::from(group)].wrapping_sub(1);
            let own = layout.columns().iter().filter(|c| guard.covers(c.table, c.address));
            assert!(own.clone().count() > 2);
            assert!(own.clone().all(|other| every(first.group) <= every(other.group)));
            let mut words = vec![0; layout.columns().len()];
            let marks = vec![Mark::Read; words.len()];
            assert_eq!(guard.holds(&words, &marks), Some(false));
            (words[usize::from(guard.column)], words[guard.column as usize + 1]) =
                (found.id, found.length);
            assert_eq!(guard.holds(&words, &marks), Some(true));
        }
    }
}

#[test]
fn a_device_with_floats_or_many_modules_still_fits() {
    let sunspec = find("sunspec/generic-pv");
    let floats = [
        FoundModel { id: 113, address: 2, length: 60 },
        FoundModel { id: 160, address: 64, length: 8 + 20 * 40 },
    ];
    let resolved = sunspec.resolve(&floats).unwrap();
    // A module's voltage and its scale factor must come in one read of at most 125 registers.
    assert!(resolved.point("pv.6.voltage").is_some());
    assert!(resolved.point("pv.7.voltage").is_none());
    assert_eq!(resolved.out_of_reach().len(), 3 * (40 - 6));
    assert!(resolved.out_of_reach().iter().any(|name| name == "pv.7.voltage"));
    resolved.compile(Transport::TCP).unwrap();
    resolved.compile(Transport::serial(9_600)).unwrap();
}
