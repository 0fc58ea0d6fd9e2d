//! Bytes of the slots in version 1, as devices in the field have them in their flash.
//!
//! **If a test here fails**, a device that gets this change loses its kept state at the update. Revert
//! the change, do not edit the bytes; or add a new version of the slot's format and still read this
//! one.

use ecowatt_device::Slot;
use ecowatt_wire::SourceState;

use crate::rig::{Rig, check};

/// Source 0 sleeps since 2026-01-01T12:00:00.060Z.
const SLEEP: [u8; 10] = [
    1, // version
    0, // source
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6d, 0xd6, 0x3c, // Unix milliseconds
];
/// No inverter sleeps.
const AWAKE: [u8; 1] = [1];

/// Generation 2, on trial, after generation 1.
const TRIAL: [u8; 37] = [
    1, // version
    0, 0, 0, 2, // generation
    2, // on trial
    0, // starts
    0, 0, 0, 1, // generation of the previous values
    2, 1, // numbers of values and of previous ones
    0x81, 0, 0x00, 0x00, 0x07, 0xd0, // samples of source 0 every 2,000 ms
    2, 0, 0x00, 0x00, 0x4e, 0x20, // uploads every 20,000 ms
    2, 0, 0x00, 0x00, 0x75, 0x30, // uploads every 30,000 ms
    6, 3, 0, // log level: not supported
    0x01, 0x84, 9, // samples of source 9: no such source
];

#[test]
fn sleep_is_kept() {
    check(
        "show keep
         inverter dusk
         start
         run 6s
         inverter well
         run 300s",
        "0.060 keep sleep [01, 00, 00, 00, 01, 9b, 79, 6d, d6, 3c]
         305.020 keep sleep [01]",
    );
}

#[test]
fn sleep_is_handed_back() {
    let state = |bytes: &[u8]| {
        let mut rig = Rig::new(None);
        rig.hold(Slot::Sleep, bytes);
        rig.run_script("inverter quiet\nstart\nrun 60s");
        rig.state()
    };
    assert_eq!(state(&SLEEP), SourceState::Asleep);
    assert_eq!(state(&AWAKE), SourceState::Offline);
    // An unknown version, and damaged bytes.
    assert_eq!(state(&[&[2], &SLEEP[1..]].concat()), SourceState::Offline);
    assert_eq!(state(&SLEEP[..9]), SourceState::Offline);
    assert_eq!(state(&[]), SourceState::Offline);
}

#[test]
fn desired_is_kept() {
    // The decision on generation 2, while generation 1 is in use.
    let mut rig = Rig::new(None);
    rig.run_script(
        "want upload_interval=30000
         start
         run 3s
         want sampling_interval@0=2000 upload_interval=20000 log_level=1 sampling_interval@9=2000
         server leaves
         run 40s",
    );
    assert_eq!(rig.kept(Slot::Desired), TRIAL);
}

#[test]
fn desired_is_handed_back() {
    let transcript = |bytes: &[u8]| {
        let mut rig = Rig::new(None);
        rig.hold(Slot::Desired, bytes);
        // The rig compares the values in the report with these.
        rig.run_script(
            "want upload_interval=30000
             want sampling_interval@0=2000 upload_interval=20000 log_level=1 sampling_interval@9=2000
             show report
             start
             run 10ms",
        );
        rig.transcript().to_owned()
    };
    let refused = "6 Unsupported 1@9 NoSource";
    let with = |state: u8, starts: u8| {
        let mut bytes = TRIAL;
        (bytes[5], bytes[6]) = (state, starts);
        transcript(&bytes)
    };
    // A trial is reported once its start is counted.
    assert_eq!(with(1, 0), format!("0.000 report 2 Applied {refused}\n"));
    assert_eq!(with(2, 0), format!("0.000 report 2 Trial {refused}\n"));
    assert_eq!(with(2, 2), format!("0.000 report 2 Reverted {refused}\n"));
    assert_eq!(with(3, 0), format!("0.000 report 2 Reverted {refused}\n"));
    // An unknown version, and damaged bytes.
    assert_eq!(transcript(&[&[2], &TRIAL[1..]].concat()), "0.000 report 0 Applied\n");
    assert_eq!(transcript(&TRIAL[..36]), "0.000 report 0 Applied\n");
    assert_eq!(transcript(&[]), "0.000 report 0 Applied\n");
}

/// Two commands seen: one under which the epoch ends, and one that waits.
const COMMANDS: [u8; 47] = [
    1, // version
    1, 2, 3, 5, // highest number
    0, 0, 0, 0, 0, 0, 0, 3, // numbers seen
    1, 2, 3, 4, // number
    1, // restart begun
    1, 0, 0, 0, // accepted, no failure, no detail
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6e, 0xc4, 0x74, // Unix milliseconds
    1, 2, 3, 5, // number
    0, // nothing that a start completes
    1, 0, 0, 0, // accepted, no failure, no detail
    0x00, 0x00, 0x01, 0x9b, 0x79, 0x6e, 0xc4, 0x74, // Unix milliseconds
];

#[test]
fn commands_are_kept() {
    let mut rig = Rig::new(None);
    rig.run_script("start\nrun 50s\norder restart\norder upload after=30\nflash lasts\nrun 20s");
    assert_eq!(rig.kept(Slot::Commands), COMMANDS);
}

#[test]
fn commands_are_handed_back() {
    let transcript = |bytes: &[u8]| {
        let mut rig = Rig::new(None);
        rig.hold(Slot::Commands, bytes);
        // The server sends both, and only a device that does not know them accepts them.
        rig.run_script("order clear\norder clear\nshow result\nstart\nrun 100ms");
        rig.transcript().to_owned()
    };
    let with = |begun: u8, state: u8, failure: u8, detail: u8| {
        let mut bytes = COMMANDS;
        bytes[17..22].copy_from_slice(&[begun, state, failure, 0, detail]);
        bytes[22..30].fill(0);
        transcript(&bytes[..30])
    };
    let first = |result: &str| format!("0.000 result 1 {result}\n");
    let second = "0.020 result 2 Unknown at 20\n";
    let at_start = "0.000 result 1 Succeeded at 0\n0.000 result 2 Unknown at 0\n";
    assert_eq!(transcript(&COMMANDS), at_start);
    assert_eq!(with(0, 1, 0, 0), first("Unknown at 0") + second);
    assert_eq!(with(2, 1, 0, 0), first("Succeeded at 0") + second);
    assert_eq!(with(3, 1, 0, 0), first("Succeeded at 0") + second);
    assert_eq!(with(0, 2, 0, 0), first("Succeeded at -") + second);
    assert_eq!(with(0, 3, 11, 4), first("Failed Exception 4 at -") + second);
    assert_eq!(with(0, 4, 0, 0), first("Expired at -") + second);
    // An unknown version, and damaged bytes.
    let unknown = "0.020 result 1 Succeeded at 20\n0.020 result 2 Succeeded at 20\n";
    assert_eq!(transcript(&[&[2], &COMMANDS[1..]].concat()), unknown);
    assert_eq!(transcript(&COMMANDS[..46]), unknown);
    assert_eq!(transcript(&[]), unknown);
}

/// A lease of half of the power for ten minutes, then a fifth, whose limit was found to be 1,021.
const LIMITS: [u8; 52] = [
    1, // version
    0, 0, 0, 1, // generation
    1, // one lease
    0, 0, 0, 1, // its number
    0x69, 0x56, 0x61, 0xf2, // from, Unix seconds
    0x69, 0x56, 0x64, 0x4a, // to
    0, 0, 0x01, 0xf4, // limit: 500 thousandths
    0, 0, 0, 200, // then 200 thousandths
    0, 30, // ramp, seconds
    0, 60, // the link is lost after, seconds
    0, 5,   // all sources, priority
    4,   // something is stated for afterwards
    255, // not refused
    0,   // source
    0, 21, // first register
    0x00, 0x0f, 0x42, 0x40, // all of the power, in millionths
    1,    // one word
    0x03, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, // 1,021
];

#[test]
fn limits_are_kept() {
    let mut rig = Rig::new(None);
    rig.run_script("start\nrun 50s\nlease 500 for=600 then=200 ramp=30\nrun 20s");
    assert_eq!(rig.kept(Slot::Limits), LIMITS);
}

#[test]
fn limits_are_handed_back() {
    let transcript = |bytes: &[u8]| {
        let mut rig = Rig::new(None);
        rig.hold(Slot::Limits, bytes);
        rig.run_script("server away\nshow write\nstart\nrun 100s");
        rig.transcript().to_owned()
    };
    // The link is lost, the lease lasts: its fallback holds.
    assert_eq!(transcript(&LIMITS), "60.020 write 21 = 20 Confirmed\n");
    assert_eq!(transcript(&[&[2], &LIMITS[1..]].concat()), "");
    assert_eq!(transcript(&LIMITS[..51]), "");
    assert_eq!(transcript(&[]), "");
}
