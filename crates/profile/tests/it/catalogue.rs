//! Every profile of the catalogue loads and gives the reads that are written here.

use std::fmt::Write;

use ecowatt_profile::sunspec::Found;
use ecowatt_profile::{Place, Profile, Transport, TransportKind, catalogue};

fn reads(profile: &Profile, transport: Transport) -> String {
    let compiled = profile.compile(transport).unwrap();
    let mut text = String::new();
    for read in compiled.plan.reads() {
        let (group, _) = &profile.groups()[usize::from(read.group)];
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
const MODELS: [Found; 6] = [
    Found { id: 1, address: 40_002, length: 66 },
    Found { id: 103, address: 40_070, length: 50 },
    Found { id: 120, address: 40_122, length: 26 },
    Found { id: 121, address: 40_150, length: 30 },
    Found { id: 123, address: 40_182, length: 24 },
    Found { id: 160, address: 40_208, length: 48 },
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
live holding 40072+40 20 columns
live holding 40210+40 9 columns
slow holding 40187+19 3 columns
static holding 40004+64 48 columns
static holding 40125+2 2 columns
";
    assert_eq!(reads(&resolved, Transport::TCP), expected);
    let scale = match resolved.point("ac.power").unwrap().place {
        Place::Registers { address, scale_address, .. } => (address, scale_address),
        Place::SunSpec(_) => panic!("not resolved"),
    };
    assert_eq!(scale, (40_084, Some(40_085)));
    assert!(resolved.point("pv.2.voltage").is_some());
    assert!(resolved.point("pv.3.voltage").is_none());
    assert!(sunspec.resolve(&[Found { id: 701, address: 40_070, length: 153 }]).is_err());
}

#[test]
fn a_device_with_floats_or_many_modules_still_fits() {
    let sunspec = find("sunspec/generic-pv");
    let floats = [
        Found { id: 113, address: 2, length: 60 },
        Found { id: 160, address: 64, length: 8 + 20 * 40 },
    ];
    let resolved = sunspec.resolve(&floats).unwrap();
    // A module's voltage and its scale factor must come in one read of at most 125 registers.
    assert!(resolved.point("pv.6.voltage").is_some());
    assert!(resolved.point("pv.7.voltage").is_none());
    resolved.compile(Transport::TCP).unwrap();
    resolved.compile(Transport::serial(9_600)).unwrap();
}
